"""recognise: formulas in small ops become the named op, where that is the same."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from support.buffers import make_function

from dlir.ir.builder import before
from dlir.ir.dialects.decompose import Decomposed, decompose_op
from dlir.ir.ops import nd
from dlir.ir.types import BF16, F16, F32, F64, TensorType
from dlir.ir.verifier import verified
from dlir.passes.manager import PassManager
from dlir.passes.recognise import Recognise


def recognised(types, body):
    """The names of the ops that are left of a function."""
    module = make_function(types, body)
    manager = PassManager([Recognise()])
    manager.run(module)
    verified(module)
    names = [op.name for op in module.body.first.body.ops if op.name != "nd.constant"]
    return names[:-1]


def tensor(*shape, dtype=F32):
    return TensorType(shape, dtype)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("dtype", [F32, F64])
def test_sigmoid_either_way_round(flip, dtype):
    def body(x):
        e = nd.exp(nd.neg(x))
        return nd.div(1.0, nd.add(e, 1.0) if flip else nd.add(1.0, e))

    assert recognised([tensor(4, dtype=dtype)], body) == ["nd.sigmoid"]
    assert recognised([tensor(None, 3, dtype=dtype)], body) == ["nd.sigmoid"]
    assert recognised([tensor(dtype=dtype)], body) == ["nd.sigmoid"]


@pytest.mark.parametrize(
    "body",
    [
        lambda x: nd.div(2.0, nd.add(1.0, nd.exp(nd.neg(x)))),
        lambda x: nd.div(1.0, nd.add(1.0, nd.exp(x))),
        lambda x: nd.div(nd.add(1.0, nd.exp(nd.neg(x))), 1.0),
        lambda x: nd.div(1.0, nd.sub(1.0, nd.exp(nd.neg(x)))),
    ],
)
def test_what_only_looks_like_sigmoid(body):
    assert "nd.sigmoid" not in recognised([tensor(4)], body)


def test_a_part_that_is_used_elsewhere_keeps_it_apart():
    def body(x):
        e = nd.exp(nd.neg(x))
        return nd.div(1.0, nd.add(1.0, e)), e

    assert "nd.sigmoid" not in recognised([tensor(4)], body)


@pytest.mark.parametrize("dtype", [F16, BF16])
def test_two_byte_floats_round_at_each_op_and_stay(dtype):
    body = lambda x: nd.div(1.0, nd.add(1.0, nd.exp(nd.neg(x))))  # noqa: E731
    assert "nd.sigmoid" not in recognised([tensor(4, dtype=dtype)], body)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_softmax_along_any_axis(axis):
    def body(x):
        e = nd.exp(nd.sub(x, nd.max(x, axes=(axis,), keepdims=True)))
        return nd.div(e, nd.sum(e, axes=(axis - 3 if axis > 0 else axis,), keepdims=True))

    assert recognised([tensor(2, 3, 4)], body) == ["nd.softmax"]


def test_softmax_with_a_dynamic_batch():
    def body(x):
        e = nd.exp(nd.sub(x, nd.max(x, axes=(-1,), keepdims=True)))
        return nd.div(e, nd.sum(e, axes=(-1,), keepdims=True))

    assert recognised([tensor(None, 4)], body) == ["nd.softmax"]


def test_two_axes_are_no_softmax():
    def body(x):
        e = nd.exp(nd.sub(x, nd.max(x, axes=(0, 1), keepdims=True)))
        return nd.div(e, nd.sum(e, axes=(0, 1), keepdims=True))

    assert "nd.softmax" not in recognised([tensor(3, 4)], body)


@pytest.mark.parametrize(("scaled", "biased", "flip"), list(itertools.product([False, True], repeat=3)))
def test_layer_norm_with_and_without_its_parts(scaled, biased, flip):
    def body(x, scale, bias):
        centred = nd.sub(x, nd.mean(x, axes=(-1,), keepdims=True))
        variance = nd.mean(nd.mul(centred, centred), axes=(-1,), keepdims=True)
        found = nd.div(centred, nd.sqrt(nd.add(1e-5, variance) if flip else nd.add(variance, 1e-5)))
        if scaled:
            found = nd.mul(scale, found) if flip else nd.mul(found, scale)
        if biased:
            found = nd.add(bias, found) if flip else nd.add(found, bias)
        return found

    assert recognised([tensor(5, 4), tensor(4), tensor(4)], body) == ["nd.layer_norm"]


def test_means_written_as_sums_make_a_layer_norm_too():
    def body(x):
        centred = nd.sub(x, nd.div(nd.sum(x, axes=(-1,), keepdims=True), 4.0))
        variance = nd.div(nd.sum(nd.mul(centred, centred), axes=(-1,), keepdims=True), 4.0)
        return nd.div(centred, nd.sqrt(nd.add(variance, 1e-5)))

    assert recognised([tensor(5, 4)], body) == ["nd.layer_norm"]


def test_a_sum_divided_by_something_else_is_no_mean():
    assert recognised([tensor(5, 4)], lambda x: nd.div(nd.sum(x, axes=(0,)), 4.0))[0] == "nd.sum"
    assert recognised([tensor(5, 4)], lambda x: nd.div(nd.sum(x, axes=(0,)), 5.0)) == ["nd.mean"]
    assert recognised([tensor(5, 4)], lambda x: nd.div(nd.sum(x), 20.0)) == ["nd.mean"]


@pytest.mark.parametrize("name", ["relu", "sigmoid", "softmax", "layer_norm"])
def test_the_decomposition_of_an_op_is_recognised_as_that_op(name):
    module = make_function([tensor(3, 4)], lambda x: getattr(nd, name)(x))
    op = module.body.first.body.first
    assert isinstance(op, Decomposed)
    inputs = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    want = op.evaluate([inputs])[0]
    with before(op):
        values = decompose_op(op)
    op.replace_by(values)
    PassManager([Recognise()]).run(module)
    again = [op for op in module.body.first.body.ops if op.name == f"nd.{name}"]
    assert len(again) == 1 and again[0].evaluate([inputs])[0].tobytes() == want.tobytes()
