"""S16: gradients by going back layer by layer, as Caffe does, are those of the explicit gradient graph."""

from __future__ import annotations

import numpy as np
import pytest
from support.layer_nets import LENET, PERCEPTRON, inputs_of, weights_of

from dlir.frontends.layers import Net


@pytest.mark.parametrize("text", [PERCEPTRON, LENET], ids=["perceptron", "lenet"])
def test_implicit_equals_explicit(text, measured):
    net = Net.from_text(text, weights_of(text))
    x, labels = inputs_of(text)
    explicit = net.gradients(x, labels)
    executor = net.layerwise()
    loss = executor.forward(x, labels)
    implicit = executor.backward()
    assert list(explicit) == list(implicit)
    assert abs(float(loss) - float(net.activations(x, labels)["loss"])) < 1e-6
    worst = max(float(np.abs(explicit[name] - implicit[name]).max()) for name in explicit)
    scale = max(float(np.abs(value).max()) for value in explicit.values())
    assert worst <= 1e-5 * scale
    measured(f"{len(explicit)} gradients, largest difference {worst:.0e}")


def test_layers_that_are_alike_are_compiled_once():
    net = Net.from_text(PERCEPTRON, weights_of(PERCEPTRON))
    x, labels = inputs_of(PERCEPTRON)
    executor = net.layerwise()
    for _ in range(3):
        executor.forward(x, labels)
        executor.backward()
    # Dense with tanh (two shapes), dense and the loss, each forward and back.
    assert executor.compilations == 8


def test_each_layer_is_compiled_by_itself():
    """The executor never sees a gradient graph of the net: its programs hold one layer each."""
    net = Net.from_text(LENET, weights_of(LENET))
    executor = net.layerwise()
    executor.forward(*inputs_of(LENET))
    executor.backward()
    layers = [node for node in executor._nodes if node.inputs]
    kinds = executor._kinds.values()
    assert len(layers) > 5 and all(len([o for o in kind.forward.outputs if o.inputs]) == 1 for kind in kinds)
