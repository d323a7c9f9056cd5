"""Formulas that are the named op up to rounding, in their usual spellings, and what only looks like them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.buffers import make_function

from dlir.backends.ref.reference import Reference
from dlir.ir.ops import nd
from dlir.ir.traversal import clone
from dlir.ir.types import F16, F32, F64, TensorType
from dlir.ir.verifier import verified
from dlir.passes.manager import PassManager

SHAPE = (3, 4)


def recognised(body, *types, options=""):
    """The ops that are left of a function, without constants and views, and the results before and after."""
    module = make_function(list(types) or [TensorType(SHAPE, F32)], body)
    found = clone(module)
    PassManager.from_text(f"canonicalize,cse,recognise{options},canonicalize").run(found)
    verified(found)
    rng = np.random.default_rng(0)
    arrays = [
        rng.normal(0, 2, type.shape).astype(type.dtype.numpy)
        for type in (arg.type for arg in module.body.first.body.args)
    ]
    results = [Reference(one).run("main", arrays)[0] for one in (module, found)]
    np.testing.assert_allclose(*results, rtol=2e-5, atol=2e-6)
    names = [op.name.removeprefix("nd.") for op in found.body.first.body.ops]
    return [name for name in names if name not in ("constant", "broadcast_to", "func.return", "reshape")]


def relu6(x):
    return nd.minimum(nd.maximum(x, 0.0), 6.0)


def clip(x, low, high):
    return nd.maximum(nd.minimum(x, high), low)


ROOT = math.sqrt(2 / math.pi)

SPELLINGS = {
    "silu": [
        lambda x: nd.mul(x, nd.sigmoid(x)),
        lambda x: nd.mul(nd.div(1.0, nd.add(nd.exp(nd.neg(x)), 1.0)), x),
        lambda x: nd.div(x, nd.add(1.0, nd.exp(nd.neg(x)))),
    ],
    "hardsigmoid": [
        lambda x: nd.div(relu6(nd.add(x, 3.0)), 6.0),
        lambda x: nd.div(clip(nd.add(3.0, x), 0.0, 6.0), 6.0),
        lambda x: clip(nd.add(nd.mul(x, 1 / 6), 0.5), 0.0, 1.0),
        lambda x: clip(nd.add(nd.mul(0.2, x), 0.25), 0.0, 1.0),
        lambda x: nd.minimum(nd.relu(nd.add(nd.div(x, 6.0), 0.5)), 1.0),
    ],
    "hardswish": [
        lambda x: nd.div(nd.mul(x, relu6(nd.add(x, 3.0))), 6.0),
        lambda x: nd.mul(x, nd.div(relu6(nd.add(x, 3.0)), 6.0)),
        lambda x: nd.mul(clip(nd.add(nd.mul(x, 1 / 6), 0.5), 0.0, 1.0), x),
        lambda x: nd.div(nd.mul(clip(nd.add(x, 3.0), 0.0, 6.0), x), 6.0),
    ],
    "gelu": [
        lambda x: nd.mul(nd.mul(0.5, x), nd.add(1.0, nd.erf(nd.div(x, math.sqrt(2))))),
        lambda x: nd.mul(nd.mul(x, nd.add(nd.erf(nd.mul(x, math.sqrt(0.5))), 1.0)), 0.5),
        lambda x: nd.mul(x, nd.mul(0.5, nd.add(1.0, nd.erf(nd.div(x, math.sqrt(2)))))),
        lambda x: nd.div(nd.mul(nd.add(1.0, nd.erf(nd.div(x, math.sqrt(2)))), x), 2.0),
        lambda x: nd.mul(nd.div(x, 2.0), nd.add(1.0, nd.erf(nd.div(x, math.sqrt(2))))),
        lambda x: nd.mul(
            nd.mul(0.5, x), nd.add(1.0, nd.tanh(nd.mul(ROOT, nd.add(x, nd.mul(0.044715, nd.pow(x, 3.0))))))
        ),
        lambda x: nd.mul(
            nd.mul(x, 0.5),
            nd.add(1.0, nd.tanh(nd.mul(nd.mul(ROOT, x), nd.add(1.0, nd.mul(0.044715, nd.mul(x, x)))))),
        ),
        lambda x: nd.mul(
            x,
            nd.mul(
                0.5,
                nd.add(nd.tanh(nd.mul(nd.add(nd.mul(nd.mul(nd.mul(x, x), x), 0.044715), x), ROOT)), 1.0),
            ),
        ),
    ],
    "softmax": [lambda x: nd.div(nd.exp(x), nd.sum(nd.exp(x), axes=(-1,), keepdims=True))],
    "log_softmax": [
        lambda x: nd.log(nd.softmax(x)),
        lambda x: nd.sub(
            nd.sub(x, nd.max(x, axes=(1,), keepdims=True)),
            nd.log(nd.sum(nd.exp(nd.sub(x, nd.max(x, axes=(1,), keepdims=True))), axes=(1,), keepdims=True)),
        ),
        lambda x: nd.sub(
            x,
            nd.add(
                nd.log(nd.sum(nd.exp(nd.sub(x, nd.max(x, axes=(1,), keepdims=True))), axes=(1,), keepdims=True)),
                nd.max(x, axes=(1,), keepdims=True),
            ),
        ),
    ],
    "rms_norm": [
        lambda x: nd.div(x, nd.sqrt(nd.add(nd.mean(nd.mul(x, x), axes=(-1,), keepdims=True), 1e-5))),
        lambda x: nd.mul(nd.rsqrt(nd.add(1e-6, nd.mean(nd.pow(x, 2.0), axes=(-1,), keepdims=True))), x),
        lambda x: nd.mul(x, nd.div(1.0, nd.sqrt(nd.add(nd.mean(nd.mul(x, x), axes=(-1,), keepdims=True), 1e-5)))),
    ],
}


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize(
    ("name", "number"), [(name, i) for name, found in SPELLINGS.items() for i in range(len(found))]
)
def test_every_spelling_becomes_the_named_op(name, number, dtype):
    assert recognised(SPELLINGS[name][number], TensorType(SHAPE, dtype)) == [name]


def test_layer_norm_with_a_reciprocal_root_and_its_weights():
    def body(x, scale, bias):
        centred = nd.sub(x, nd.mean(x, axes=(-1,), keepdims=True))
        root = nd.rsqrt(nd.add(nd.mean(nd.mul(centred, centred), axes=(-1,), keepdims=True), 1e-5))
        return nd.add(nd.mul(nd.mul(centred, root), scale), bias)

    types = [TensorType(shape, F32) for shape in (SHAPE, SHAPE[1:], SHAPE[1:])]
    assert recognised(body, *types) == ["layer_norm"]


def test_rms_norm_takes_its_scale():
    def body(x, scale):
        root = nd.sqrt(nd.add(nd.mean(nd.mul(x, x), axes=(-1,), keepdims=True), 1e-5))
        return nd.mul(scale, nd.div(x, root))

    assert recognised(body, TensorType(SHAPE, F32), TensorType(SHAPE[1:], F32)) == ["rms_norm"]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("silu", lambda x: nd.mul(nd.neg(x), nd.sigmoid(x))),
        ("silu", lambda x: nd.div(x, nd.add(1.0, nd.exp(x)))),
        ("hardswish", lambda x: nd.div(nd.mul(x, relu6(nd.add(x, 2.0))), 6.0)),
        ("hardswish", lambda x: nd.div(nd.mul(x, nd.minimum(nd.relu(nd.add(x, 3.0)), 5.0)), 6.0)),
        ("gelu", lambda x: nd.mul(nd.mul(0.5, x), nd.add(1.0, nd.erf(nd.div(x, 1.5))))),
        ("gelu", lambda x: nd.mul(nd.mul(0.5, x), nd.sub(1.0, nd.erf(nd.div(x, math.sqrt(2)))))),
        ("gelu", lambda x: nd.mul(nd.mul(0.5, x), nd.add(1.0, nd.tanh(nd.div(x, math.sqrt(2)))))),
        ("log_softmax", lambda x: nd.sub(x, nd.log(nd.sum(nd.exp(x))))),
        ("rms_norm", lambda x: nd.div(x, nd.sqrt(nd.add(nd.mean(nd.mul(x, 2.0), axes=(-1,), keepdims=True), 9.0)))),
    ],
)
def test_what_only_looks_like_it(name, body):
    assert name not in recognised(body)


def test_a_part_that_is_used_elsewhere_keeps_a_formula_apart():
    def body(x):
        curve = nd.add(1.0, nd.erf(nd.div(x, math.sqrt(2))))
        return nd.mul(nd.mul(0.5, x), curve), curve

    assert "gelu" not in recognised(body)


def test_two_byte_floats_stay():
    body = SPELLINGS["silu"][0]
    module = make_function([TensorType(SHAPE, F16)], body)
    PassManager.from_text("recognise").run(module)
    assert [op.name for op in module.body.first.body.ops][:2] == ["nd.sigmoid", "nd.mul"]


def test_exact_leaves_alone_what_would_be_rounded_elsewhere():
    assert recognised(SPELLINGS["silu"][0], options="{exact=true}") == ["sigmoid", "mul"]
    assert recognised(SPELLINGS["silu"][2], options="{exact=true}") == ["silu"]


@pytest.mark.parametrize("flags", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("side", [0, 1])
def test_a_transpose_becomes_a_flag_of_the_product(flags, side):
    def body(a, b):
        operands = [a, b]
        operands[side] = nd.transpose(operands[side], perm=(0, 2, 1))
        return nd.matmul(*operands, transpose_a=flags[0], transpose_b=flags[1])

    shapes = [(2, 3, 4), (2, 4, 5)]
    swapped = [flags[0] != (side == 0), flags[1] != (side == 1)]
    types = [TensorType((s[0], s[2], s[1]) if swap else s, F32) for s, swap in zip(shapes, swapped, strict=True)]
    assert recognised(body, *types) == ["matmul"]


def test_a_transpose_of_other_dimensions_stays():
    types = [TensorType((3, 2, 4), F32), TensorType((2, 4, 5), F32)]
    assert recognised(lambda a, b: nd.matmul(nd.transpose(a, perm=(1, 0, 2)), b), *types) == ["transpose", "matmul"]
