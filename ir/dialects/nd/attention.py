"""Scaled dot-product attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Composite
from dlir.ir.dialects.nd.checks import fits, need_kind, same_dtype
from dlir.ir.dialects.nd.composite import narrowed, widened
from dlir.ir.dialects.nd.creation import indices
from dlir.ir.dialects.nd.gradients import folded_back, of_each
from dlir.ir.dialects.nd.operands import broadcast_shape, common_dtype, promote, tensors
from dlir.ir.dialects.nd.samples import pick, random_array, random_dtype
from dlir.ir.dialects.nd.unary import float_for
from dlir.ir.op import InferError, Tensor
from dlir.ir.ops import nd
from dlir.ir.types import I1


class Attention(Composite, name="nd.attention"):
    """softmax(q @ k.T * scale + mask) @ v: PyTorch's ``scaled_dot_product_attention``.

    q [..., T, d], k [..., S, d] and v [..., S, e] -> [..., T, e]; leading dimensions broadcast.  `mask` (optional)
    broadcasts to [..., T, S]: a bool says which keys a query sees, a float of q's dtype is added to the scores.  With
    `causal` query t sees only keys 0 to t.  A query that sees nothing, its scores all -inf, gives 0.  `scale` defaults
    to 1 / sqrt(d).  f16 and bf16 are computed in f32, and the result is rounded once.
    """

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        mask = tensors(groups[3:])[0]
        floats = [*groups[:3], mask if isinstance(mask, Value) and mask.type.dtype is not I1 else None]
        *found, added = promote(floats, float_for(common_dtype(floats)))
        return [*found, mask if added is None else added]

    @staticmethod
    def infer(
        q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, *, scale: float | None = None, causal: bool = False
    ) -> Tensor:
        need_kind(same_dtype(q, k, v), "f")
        for name, type in (("q", q), ("k", k), ("v", v)):
            if type.rank < 2:
                raise InferError(f"needs {name} of rank 2 or more (positions, features), got {type}")
        if not fits(q.shape[-1], k.shape[-1]):
            raise InferError(f"q {q} and k {k} differ in features: {q.shape[-1]} and {k.shape[-1]}")
        if not fits(k.shape[-2], v.shape[-2]):
            raise InferError(f"k {k} and v {v} differ in positions: {k.shape[-2]} and {v.shape[-2]}")
        if scale is None and q.shape[-1] in (0, None):
            raise InferError(f"needs 'scale', which 1 / sqrt({q.shape[-1] or '?'}) cannot stand for, with q {q}")
        scores = (*broadcast_shape([q.shape[:-2], k.shape[:-2]], "batch shapes"), q.shape[-2], k.shape[-2])
        if mask is not None:
            if mask.dtype is not I1:
                same_dtype(q, mask)
            if broadcast_shape([scores, mask.shape], "scores and mask of shapes") != scores:
                raise InferError(f"mask {mask} does not broadcast to the scores' shape {Tensor(scores, q.dtype)}")
        return q.with_shape((*broadcast_shape([scores[:-2], v.shape[:-2]], "batch shapes"), q.shape[-2], v.shape[-1]))

    @staticmethod
    def decompose(
        q: Value, k: Value, v: Value, mask: Value | None = None, *, scale: float | None = None, causal: bool = False
    ) -> Value:
        weights = _weights(_scores(q, k, mask, _scale(q, scale), causal))
        return narrowed(nd.matmul(weights, widened(v)), q)

    @of_each
    def vjp(self, g: Value, needs: Sequence[bool]) -> list[Value | None]:
        """Through the weights, which are computed again; a query that sees nothing has no gradient."""
        q, k, v, mask = self.groups
        g, scale = widened(g), _scale(q, self["scale"])
        weights = _weights(_scores(q, k, mask, scale, self["causal"]))
        found: list[Value | None] = [None] * len(needs)
        if needs[2]:
            found[2] = narrowed(folded_back(nd.matmul(weights, g, transpose_a=True), v), v)
        if needs[0] or needs[1] or any(needs[3:]):
            # The sum of a row's weights times their cotangents is that of its results times theirs.
            total = nd.sum(nd.mul(g, widened(self.result)), axes=(-1,), keepdims=True)
            scores = nd.mul(weights, nd.sub(nd.matmul(g, widened(v), transpose_b=True), total))
            if needs[0]:
                found[0] = narrowed(folded_back(nd.mul(nd.matmul(scores, widened(k)), scale), q), q)
            if needs[1]:
                sides = nd.mul(nd.matmul(scores, widened(q), transpose_a=True), scale)
                found[1] = narrowed(folded_back(sides, k), k)
            if any(needs[3:]):
                found[3] = narrowed(folded_back(scores, mask), mask)
        return found

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        queries, keys, features, outputs = (int(n) for n in rng.integers(1, 6, 4))
        queries, keys = pick(rng, [(queries, keys)] * 6 + [(0, keys), (queries, 0), (queries, queries)])
        dtype = random_dtype(rng, "f")
        left, right = pick(rng, [((), ()), ((2,), (2,)), ((2, 3), (2, 1)), ((2,), ()), ((0,), (1,))])
        batch = np.broadcast_shapes(left, right)
        q = random_array(rng, (*left, queries, features), dtype)
        k, v = (random_array(rng, (*right, keys, n), dtype) for n in (features, outputs))
        shape = pick(rng, [(queries, keys), (*batch, queries, keys), (1, keys), (queries, 1)])
        mask = pick(rng, [None, random_array(rng, shape, I1), random_array(rng, shape, dtype)])
        attributes = {"scale": pick(rng, [None, 0.5]), "causal": bool(rng.integers(2))}
        return [q, k, v, mask], attributes


def _scale(q: Value, scale: float | None) -> float:
    return 1 / math.sqrt(q.shape[-1]) if scale is None else scale


def _scores(q: Value, k: Value, mask: Value | None, scale: float, causal: bool) -> Value:
    """How much each query is to see of each key, before it is made a share."""
    scores = nd.mul(nd.matmul(widened(q), widened(k), transpose_b=True), scale)
    if mask is not None:
        scores = nd.select(mask, scores, -math.inf) if mask.dtype is I1 else nd.add(scores, widened(mask))
    if causal:
        query, key = indices(scores, -2), indices(scores, -1)
        scores = nd.select(nd.less_equal(key, query), scores, -math.inf)
    return scores


def _weights(scores: Value) -> Value:
    """softmax(scores) along the last axis, and 0 where all of it is -inf or there is none."""
    if scores.shape[-1] == 0:
        return scores
    largest = nd.max(scores, axes=(-1,), keepdims=True)
    nothing = nd.equal(largest, -math.inf)
    powers = nd.exp(nd.sub(scores, nd.select(nothing, 0.0, largest)))
    total = nd.sum(powers, axes=(-1,), keepdims=True)
    return nd.div(powers, nd.select(nothing, 1.0, total))
