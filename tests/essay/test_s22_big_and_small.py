"""S22: every big op is the small ops that it decomposes into: outputs and gradients."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends.symbolic import Variable, compile, grad, load, nd, nn, sorted_nodes
from dlir.ir.dialects.func import find_function
from dlir.ir.registry import dialect_ops
from dlir.ir.types import is_float
from dlir.passes.manager import PassManager
from dlir.textir import to_text


def arrays(**shapes):
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def agree(big, small, inputs):
    """Outputs and gradients with regard to all inputs are the same."""
    leaves = [node for node in sorted_nodes([big, small]) if node.op == "variable"]
    weights = np.random.default_rng(1).standard_normal(compile(big, backend="ref")(**inputs).shape).astype(np.float32)
    for backend in ("ref", "cpu"):
        one, two = (compile([node, *node.grad(leaves, weights)], backend=backend)(**inputs) for node in (big, small))
        for mine, theirs in zip(one, two, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)


def drawn(cls, rng):
    """Operands of an op (float64 for floats, None for what is absent) and attributes, of which no array is empty."""
    while True:
        arrays, attributes = cls.sample(rng)
        present = [np.asarray(array) for array in arrays if array is not None]
        if all(array.size for array in present) and any(array.dtype.kind == "f" for array in present):
            break
    # Positive, as variances are; of both signs otherwise.
    move = np.abs if "batch_norm" in cls.op_name else np.asarray
    return [
        array if array is None or array.dtype.kind != "f" else move(rng.standard_normal(array.shape))
        for array in arrays
    ], attributes


@pytest.mark.parametrize("name", dialect_ops("nn"))
def test_every_big_op_is_the_small_ops_that_it_decomposes_into(name, tmp_path, measured):
    """The op by itself against the text that ``lower-nn`` makes of it, read back as a program: results and gradients."""
    cls, rng = dialect_ops("nn")[name], np.random.default_rng(len(name))
    arrays, attributes = drawn(cls, rng)
    inputs = {f"x{n}": array for n, array in enumerate(arrays) if array is not None}
    operands = [Variable(f"x{n}") if array is not None else None for n, array in enumerate(arrays)]
    found = getattr(nn, name.partition(".")[2])(*operands, **attributes)
    big = list(found) if isinstance(found, tuple) else [found]
    module = PassManager.from_text("lower-nn").run(compile(big).module(**inputs))
    assert not any(op.name.startswith("nn.") for op in module.walk())
    (tmp_path / "small.dlir").write_text(to_text(module))
    read = load(tmp_path / "small.dlir")
    types = find_function(module, "main").type.results
    pairs = zip(
        derived(big, types, inputs), derived(read if isinstance(read, list) else [read], types, inputs), strict=True
    )
    for mine, theirs in pairs:
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)
    measured(f"{len(dialect_ops('nn'))} big ops: outputs and gradients are their decompositions' at 1e-5")


def derived(outputs, types, inputs):
    """The results, and their gradients weighed with random numbers."""
    leaves = [node for node in sorted_nodes(outputs) if node.op == "variable"]
    floats = [n for n, type in enumerate(types) if is_float(type.dtype)]
    weights = [np.random.default_rng(n).standard_normal(types[n].shape).astype(types[n].dtype.numpy) for n in floats]
    wrt = [leaf for leaf in leaves if inputs[leaf.name].dtype.kind == "f"]
    wrt.sort(key=lambda leaf: leaf.name)
    slopes = grad([outputs[n] for n in floats], wrt, weights)
    return compile([*outputs, *slopes])(**{leaf.name: inputs[leaf.name] for leaf in leaves})


def test_dense_is_matmul_add_maximum():
    x, w, b = map(Variable, "xwb")
    small = nd.maximum(nd.matmul(x, w) + b, 0.0)
    agree(nn.dense(x, w, b, activation="relu"), small, arrays(x=(4, 3), w=(3, 5), b=(5,)))


def test_softmax_is_written_out():
    x = Variable("x")
    e = nd.exp(x - nd.max(x, axes=(1,), keepdims=True))
    agree(nn.softmax(x, axis=1), e / nd.sum(e, axes=(1,), keepdims=True), arrays(x=(4, 7)))


def test_layer_norm_is_written_out():
    x, g, b = map(Variable, "xgb")
    centred = x - nd.mean(x, axes=(1,), keepdims=True)
    variance = nd.mean(centred * centred, axes=(1,), keepdims=True)
    small = centred * nd.rsqrt(variance + 1e-5) * g + b
    agree(nn.layer_norm(x, g, b, epsilon=1e-5), small, arrays(x=(4, 6), g=(6,), b=(6,)))


def test_batch_norm_is_written_out():
    x, g, b, m, v = map(Variable, "xgbmv")
    inputs = arrays(x=(2, 3, 4, 4), g=(3,), b=(3,), m=(3,), v=(3,))
    inputs["v"] = np.abs(inputs["v"])
    channel = [nd.reshape(t, shape=(1, 3, 1, 1)) for t in (g, b, m, v)]
    small = (x - channel[2]) / nd.sqrt(channel[3] + 1e-5) * channel[0] + channel[1]
    agree(nn.batch_norm(x, g, b, m, v, epsilon=1e-5), small, inputs)


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh"])
def test_activations_are_small_ops(name):
    x = Variable("x")
    small = {"relu": nd.maximum(x, 0.0), "sigmoid": 1.0 / (1.0 + nd.exp(-x)), "tanh": nd.tanh(x)}[name]
    agree(getattr(nn, name)(x), small, arrays(x=(3, 5)))


def test_cross_entropy_is_written_out():
    x, t = Variable("x"), Variable("t")
    e = x - nd.max(x, axes=(1,), keepdims=True)
    small = nd.mean(nd.sum(t * (nd.log(nd.sum(nd.exp(e), axes=(1,), keepdims=True)) - e), axes=(1,)))
    inputs = arrays(x=(4, 7), t=(4, 7))
    inputs["t"] = np.abs(inputs["t"])
    agree(nn.cross_entropy(x, t), small, inputs)


def test_convolution_is_a_product_of_patches():
    x, k, b = map(Variable, "xkb")
    patches = [
        nd.reshape(nd.slice(x, start=(0, 0, i, j), stop=(2, 3, i + 4, j + 4)), shape=(2, 3, 1, 16))
        for i in range(2)
        for j in range(2)
    ]
    columns = nd.reshape(nd.concat(patches, axis=2), shape=(2, 12, 16))
    flat = nd.matmul(nd.reshape(k, shape=(6, 12)), columns)
    small = nd.reshape(flat, shape=(2, 6, 4, 4)) + nd.reshape(b, shape=(6, 1, 1))
    agree(nn.conv2d(x, k, b), small, arrays(x=(2, 3, 5, 5), k=(6, 3, 2, 2), b=(6,)))
