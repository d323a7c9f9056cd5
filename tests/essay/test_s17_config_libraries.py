"""S17: a library of layers is asked for all activations or all gradients; being ready for both costs memory."""

from __future__ import annotations

import numpy as np
import pytest
from support.layer_nets import LENET, inputs_of, weights_of

from dlir.frontends.layers import Net
from dlir.frontends.symbolic import compile


def lenet() -> Net:
    return Net.from_text(LENET, weights_of(LENET))


def test_activations_of_all_layers(measured):
    torch = pytest.importorskip("torch")
    weights = {name: torch.tensor(value) for name, value in weights_of(LENET).items()}
    x, labels = inputs_of(LENET)
    found = lenet().activations(x, labels)
    functional = torch.nn.functional
    want = {"conv1": functional.conv2d(torch.tensor(x), weights["k1"], weights["c1"])}
    want["pool1"] = functional.max_pool2d(torch.tanh(want["conv1"]), 2)
    want["conv2"] = functional.conv2d(want["pool1"], weights["k2"], weights["c2"])
    want["flat"] = functional.max_pool2d(torch.tanh(want["conv2"]), 2).flatten(1)
    want["logits"] = want["flat"] @ weights["w"] + weights["b"]
    want["loss"] = functional.cross_entropy(want["logits"], torch.tensor(labels))
    assert list(found) == "conv1 tanh1 pool1 conv2 tanh2 pool2 flat logits loss".split()
    for name, value in want.items():
        np.testing.assert_allclose(found[name], value.numpy(), rtol=1e-4, atol=1e-5)
    measured(f"net.activations(x): {len(found)} layers, equal to torch's")


def test_gradients_of_all_weights(measured):
    torch = pytest.importorskip("torch")
    weights = {name: torch.tensor(value, requires_grad=True) for name, value in weights_of(LENET).items()}
    x, labels = inputs_of(LENET)
    functional = torch.nn.functional
    pool1 = functional.max_pool2d(torch.tanh(functional.conv2d(torch.tensor(x), weights["k1"], weights["c1"])), 2)
    pool2 = functional.max_pool2d(torch.tanh(functional.conv2d(pool1, weights["k2"], weights["c2"])), 2)
    logits = pool2.flatten(1) @ weights["w"] + weights["b"]
    functional.cross_entropy(logits, torch.tensor(labels)).backward()
    found = lenet().gradients(x, labels)
    assert sorted(found) == sorted(weights)
    for name, value in weights.items():
        np.testing.assert_allclose(found[name], value.grad.numpy(), rtol=1e-4, atol=1e-6)
    measured(f"net.gradients(x, y): {len(found)} weights, equal to torch's")


def test_generality_costs_memory(measured):
    net = lenet()
    x, labels = inputs_of(LENET)
    planned = {
        "the loss": compile(net.loss, inputs=["x", "labels"]).lower(x, labels).memory.planned,
        "all activations": net.compile_activations.lower(x, labels).memory.planned,
    }
    planned["all gradients"] = net.compile_gradients.lower(x, labels).memory.planned
    assert planned["the loss"] < planned["all activations"]
    assert planned["the loss"] < planned["all gradients"]
    measured(", ".join(f"{name} {size:,} B" for name, size in planned.items()))
