"""S14: n layers need two buffers forward, whatever n is; with the way back, each keeps its output."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends.symbolic import Variable, compile, nd, nn

#: Wide enough that each layer is a kernel of its own.
ROWS, WIDTH = 256, 64


def layers(count):
    x = Variable("x")
    for n in range(count):
        x = nd.sigmoid(nn.dense(x, Variable(f"w{n}"), Variable(f"b{n}")))
    return x


def inputs(count):
    rng = np.random.default_rng(0)
    arrays = {"x": rng.standard_normal((ROWS, WIDTH)).astype(np.float32)}
    for n in range(count):
        arrays[f"w{n}"] = rng.standard_normal((WIDTH, WIDTH)).astype(np.float32) / 8
        arrays[f"b{n}"] = np.zeros(WIDTH, np.float32)
    return arrays


@pytest.mark.parametrize("level", ["O1", "O2"])
@pytest.mark.parametrize("count", [2, 4, 16, 64])
def test_layers_need_two_buffers_the_outputs_included(count, level, measured):
    memory = compile(layers(count), level=level).lower(**inputs(count)).memory
    assert memory.buffers == 2
    assert memory.planned - memory.inputs == 2 * ROWS * WIDTH * 4 == memory.lower_bound - memory.inputs
    measured(f"forward: {memory.buffers} buffers for 2, 4, 16 and 64 layers")


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_two_buffers_are_enough_for_the_right_result(level):
    arrays = inputs(16)
    wanted = arrays["x"].astype(np.float64)
    for n in range(16):
        wanted = 1 / (1 + np.exp(-(wanted @ arrays[f"w{n}"] + arrays[f"b{n}"])))
    np.testing.assert_allclose(compile(layers(16), level=level)(**arrays), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("level", ["O1", "O2"])
@pytest.mark.parametrize("count", [2, 8, 32])
def test_a_chain_of_elementwise_ops_needs_its_input_and_its_output(count, level):
    x = Variable("x")
    for n in range(count):
        x = nd.tanh(x) * (1.0 + n)
    memory = compile(x, level=level).lower(x=np.ones((ROWS, WIDTH), np.float32)).memory
    assert memory.buffers == 1
    assert memory.planned == 2 * ROWS * WIDTH * 4


@pytest.mark.parametrize("level", ["O1", "O2"])
@pytest.mark.parametrize("backend", ["ref", "cpu"])
def test_a_value_with_two_readers_is_never_overwritten(level, backend):
    """`t` is read by a product, and again at the end: the steps between must not take its place."""
    x, w = Variable("x"), Variable("w")
    t = nd.tanh(x)
    out = nd.exp(nd.matmul(nd.sigmoid(t), w)) + t
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((32, 32)), rng.standard_normal((32, 32)) / 32
    t_ = np.tanh(a)
    wanted = np.exp(1 / (1 + np.exp(-t_)) @ b) + t_
    np.testing.assert_allclose(compile(out, level=level, backend=backend)(x=a, w=b), wanted, rtol=1e-9)


def trained(count):
    """A loss over the layers, and its gradients with regard to all weights."""
    names = [f"{kind}{n}" for n in range(count) for kind in "wb"]
    leaves = {name: Variable(name) for name in ["x", *names]}
    out = leaves["x"]
    for n in range(count):
        out = nd.sigmoid(nn.dense(out, leaves[f"w{n}"], leaves[f"b{n}"]))
    loss = nd.mean(out)
    return [loss, *loss.grad([leaves[name] for name in names])]


@pytest.mark.parametrize("count", [2, 4, 16])
def test_with_the_way_back_each_layer_keeps_its_output(count, measured):
    arrays = inputs(count)
    there_and_back = compile(trained(count)).lower(**arrays).memory
    forward = compile(layers(count)).lower(**arrays).memory
    one = ROWS * WIDTH * 4
    # The output of each layer is read on the way back; the last one's gradient is made where it stands.
    assert there_and_back.arena >= (count - 1) * one
    assert there_and_back.arena <= (count + 2) * one, "and hardly more than that"
    assert forward.planned - forward.inputs == 2 * one
    measured(f"{count} layers with the way back: {there_and_back.arena / one:.1f} buffers of a layer's size")


def test_the_way_back_is_right():
    count = 3
    arrays = {name: array.astype(np.float64) for name, array in inputs(count).items()}
    _, *found = compile(trained(count))(**arrays)
    value = compile(trained(count)[0])
    for position, name in ((0, "w0"), (3, "b1"), (4, "w2")):
        direction = np.random.default_rng(1).standard_normal(arrays[name].shape)
        up, down = (value(**{**arrays, name: arrays[name] + step * direction}) for step in (1e-5, -1e-5))
        np.testing.assert_allclose((found[position] * direction).sum(), (up - down) / 2e-5, rtol=1e-5, atol=1e-9)
