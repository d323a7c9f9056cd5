"""Attention in its written-out spellings becomes nd.attention, and computes the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.buffers import make_function

from dlir.backends.ref.reference import Reference
from dlir.ir.ops import nd
from dlir.ir.traversal import clone
from dlir.ir.types import F32, F64, I1, I64, TensorType
from dlir.ir.verifier import verified
from dlir.passes.manager import PassManager
from dlir.passes.patterns.proof import prove
from dlir.passes.rules.attention import written_attention

T, S, D, E = 5, 5, 4, 3
CAUSAL = np.tril(np.ones((T, S), bool))


def softmax(scores):
    powers = nd.exp(nd.sub(scores, nd.max(scores, axes=(-1,), keepdims=True)))
    return nd.div(powers, nd.sum(powers, axes=(-1,), keepdims=True))


def product(q, k):
    return nd.matmul(q, nd.transpose(k, perm=(0, 2, 1)))


def indices(axis):
    return nd.iota(shape=(T, S), axis=axis, dtype=I64)


def recognised(body, *masks, dtype=F32, batch=(2,)):
    """The attention that a function has become, or None; the results before and after agree."""
    types = [TensorType((*batch, *shape), dtype) for shape in ((T, D), (S, D), (S, E))]
    module = make_function([*types, *masks], body)
    found = clone(module)
    PassManager.from_text("canonicalize,cse,recognise,canonicalize").run(found)
    verified(found)
    rng = np.random.default_rng(0)
    arrays = [rng.normal(0, 1, type.shape).astype(dtype.numpy) for type in types]
    arrays += [
        rng.random(type.shape) < 0.7 if type.dtype is I1 else rng.normal(0, 1, type.shape).astype("f4")
        for type in masks
    ]
    results = [Reference(one).run("main", arrays)[0] for one in (module, found)]
    np.testing.assert_allclose(*results, rtol=2e-5, atol=2e-6)
    ops = [op for op in found.body.first.body.ops if op.name == "nd.attention"]
    assert len(ops) <= 1
    assert not ops or all(op.name != "nd.matmul" for op in found.body.first.body.ops)
    return ops[0] if ops else None


SCALED = [
    (lambda q, k: product(q, k), 1.0),
    (lambda q, k: nd.mul(product(q, k), 0.5), None),
    (lambda q, k: nd.mul(0.25, product(q, k)), 0.25),
    (lambda q, k: nd.div(product(q, k), math.sqrt(D)), None),
    (lambda q, k: product(nd.mul(q, 0.5), k), None),
    (lambda q, k: product(nd.mul(q, 0.25), nd.div(k, 2.0)), 0.125),
    (lambda q, k: nd.div(nd.matmul(q, k, transpose_b=True), 3.0), 1 / 3),
]


@pytest.mark.parametrize("number", range(len(SCALED)))
@pytest.mark.parametrize("dtype", [F32, F64])
def test_scaled_in_any_way_or_not(number, dtype):
    scores, scale = SCALED[number]
    op = recognised(lambda q, k, v: nd.matmul(softmax(scores(q, k)), v), dtype=dtype)
    assert op["scale"] == (scale if scale is None else pytest.approx(scale)) and not op["causal"]


def scaled(q, k):
    return nd.mul(product(q, k), 0.5)


CAUSALS = [
    lambda s: nd.select(CAUSAL, s, -math.inf),
    lambda s: nd.select(CAUSAL, s, -1e30),
    lambda s: nd.select(np.logical_not(CAUSAL), -1e10, s),
    lambda s: nd.select(nd.less_equal(indices(1), indices(0)), s, -math.inf),
    lambda s: nd.select(nd.greater(indices(1), indices(0)), -math.inf, s),
    lambda s: nd.add(s, np.where(CAUSAL, 0, -math.inf).astype("f4")),
    lambda s: nd.add(np.where(CAUSAL, 0, -1e9).astype("f4")[None], s),
]


@pytest.mark.parametrize("number", range(len(CAUSALS)))
def test_causal_masks_are_known_by_what_they_hold(number):
    op = recognised(lambda q, k, v: nd.matmul(softmax(CAUSALS[number](scaled(q, k))), v))
    assert op["causal"] and len(op.operands) == 3


@pytest.mark.parametrize("shape", [(T, S), (2, T, S), (2, 1, S), (T, 1)])
def test_other_masks_are_an_operand(shape):
    mask = TensorType(shape, I1)
    for number in (-math.inf, -1e10):
        op = recognised(
            lambda q, k, v, m, n=number: nd.matmul(
                softmax(nd.select(nd.logical_or(m, np.eye(T, dtype=bool)), scaled(q, k), n)), v
            ),
            mask,
        )
        assert len(op.operands) == 4 and op.operands[3].dtype is (I1 if number == -math.inf else F32)
    op = recognised(lambda q, k, v, m: nd.matmul(softmax(nd.add(m, scaled(q, k))), v), TensorType(shape, F32))
    assert len(op.operands) == 4 and op.operands[3].shape == shape


def test_a_causal_and_another_mask():
    def body(q, k, v, m):
        return nd.matmul(softmax(nd.select(CAUSAL, nd.add(scaled(q, k), m), -1e30)), v)

    op = recognised(body, TensorType((2, 1, S), F32))
    assert op["causal"] and op.operands[3].shape == (2, 1, S)


def test_keys_that_lie_across():
    op = recognised(lambda q, k, v: nd.matmul(softmax(nd.matmul(q, nd.transpose(nd.mul(k, k), perm=(0, 2, 1)))), v))
    assert op is not None


def almost_causal():
    mask = CAUSAL.copy()
    mask[0, -1] = True
    return mask


@pytest.mark.parametrize(
    "body",
    [
        lambda q, k, v: nd.matmul(nd.softmax(scaled(q, k), axis=1), v),
        lambda q, k, v: nd.matmul(nd.tanh(softmax(scaled(q, k))), v),
        lambda q, k, v: nd.matmul(softmax(nd.tanh(scaled(q, k))), v),
        lambda q, k, v: nd.matmul(softmax(nd.select(CAUSAL, scaled(q, k), -1e4)), nd.mul(v, v)),
        lambda q, k, v: nd.matmul(softmax(nd.select(almost_causal(), scaled(q, k), 5.0)), v),
        lambda q, k, v: nd.matmul(softmax(nd.mul(nd.add(product(q, k), CAUSAL.astype("f4")), 0.5)), v),
    ],
)
def test_what_only_looks_like_attention(body):
    assert recognised(body) is None


def test_an_almost_causal_mask_is_no_causal_one():
    op = recognised(lambda q, k, v: nd.matmul(softmax(nd.select(almost_causal(), scaled(q, k), -math.inf)), v))
    assert not op["causal"] and len(op.operands) == 4


def test_weights_that_are_asked_for_stay():
    def body(q, k, v):
        weights = softmax(scaled(q, k))
        return nd.matmul(weights, v), weights

    assert recognised(body) is None


def test_the_rule_holds_on_random_programs():
    def example(maker):
        batch, queries, keys, features = (int(n) for n in maker.rng.integers(1, 4, 4))
        dtype = maker.pick([F32, F64])
        q, k, v = (maker.input(dtype, (batch, n, f)) for n, f in ((queries, features), (keys, features), (keys, 2)))
        scores = nd.mul(nd.matmul(q, k, transpose_b=True), maker.pick([0.5, 1.0]))
        if maker.chance(0.5):
            scores = nd.add(scores, maker.input(dtype, (queries, keys)))
        if maker.chance(0.3):
            scores = nd.select(np.tril(np.ones((queries, keys), bool)), scores, -1e30)
        return nd.matmul(nd.softmax(scores), v)

    verdict = prove(written_attention, example, programs=20)
    assert verdict.ok, verdict.problem
