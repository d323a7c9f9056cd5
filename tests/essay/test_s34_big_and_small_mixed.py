"""S34: big and small ops mix: a net of layers gets a loss in small ops and a layer of its user's, and it trains."""

from __future__ import annotations

import difflib

import numpy as np
from support.layer_nets import PERCEPTRON, inputs_of, weights_of

from dlir.frontends.layers import Net
from dlir.frontends.optimizers import SGD, Adam
from dlir.frontends.symbolic import Parameter, nd
from dlir.textir import to_text


def small_loss(logits, labels):
    below = logits - nd.max(logits, axes=(1,), keepdims=True)
    is_label = nd.equal(nd.reshape(labels, shape=(-1, 1)), np.arange(4))
    at_label = nd.sum(nd.select(is_label, below, 0.0), axes=(1,))
    return nd.mean(nd.log(nd.sum(nd.exp(below), axes=(1,))) - at_label)


def gated(h):
    return h * nd.sigmoid(Parameter("gate", np.ones(16, np.float32)) * h)


def perceptron() -> Net:
    return Net.from_text(PERCEPTRON, weights_of(PERCEPTRON))


def test_the_loss_in_small_ops_is_the_loss_layer(measured):
    x, labels = inputs_of(PERCEPTRON)
    big, small = perceptron(), perceptron().with_loss(small_loss)
    want, got = big.gradients(x, labels), small.gradients(x, labels)
    for name, value in want.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(big(x, labels)[1], small(x, labels)[1], rtol=1e-6)
    measured("a loss in small ops has the loss layer's gradients")


def test_only_the_new_part_is_small_in_the_ir(measured):
    x, labels = inputs_of(PERCEPTRON)
    old = perceptron()
    new = perceptron().with_loss(small_loss).insert("h1", gated, "gated")
    before, after = (to_text(net.compile_outputs.module(x, labels)).splitlines() for net in (old, new))
    changed = [line[2:].strip() for line in difflib.ndiff(before, after) if line[0] in "+-"]
    ops = [line.split(" = ")[1].split()[0] for line in changed if " = nd." in line or " = nn." in line]
    removed = [line for line in difflib.ndiff(before, after) if line[0] == "-" and "nn." in line]
    # The layer behind the new one reads that, and the loss layer is gone: nothing else of the net has changed.
    assert sum("nn.cross_entropy" in line for line in removed) == 1 and len(removed) == 2
    assert [op for op in ops if op.startswith("nn.")] == ["nn.dense", "nn.dense", "nn.cross_entropy"]
    assert sum(op.startswith("nd.") for op in ops) >= 10
    measured("the IR differs in the new part only")


def test_it_trains(measured):
    x, labels = inputs_of(PERCEPTRON)
    net = perceptron().with_loss(small_loss).insert("h1", gated, "gated")
    step = net.compile_training(Adam(0.01))
    losses = [float(step(x, labels)) for _ in range(60)]
    assert losses[-1] < 0.1 * losses[0]
    assert not np.array_equal(net.parameters["gate"].value, np.ones(16, np.float32))
    measured(f"it trains: loss {losses[0]:.2f} -> {losses[-1]:.3f} in 60 steps")


def test_a_net_without_a_loss_gets_one(examples_dir):
    net = Net.from_file(examples_dir / "digits.dlir")
    rng = np.random.default_rng(0)
    x, labels = rng.random((64, 64), np.float32), rng.integers(0, 10, 64)

    def likelihood(p, labels):
        is_label = nd.equal(nd.reshape(labels, shape=(-1, 1)), np.arange(10))
        return -nd.mean(nd.log(nd.sum(nd.select(is_label, p, np.float32(0)), axes=(1,)) + 1e-6))

    net = net.with_loss(likelihood)
    step = net.compile_training(SGD(0.01))
    losses = [float(step(x=x, labels=labels)) for _ in range(20)]
    assert losses[-1] < losses[0]
