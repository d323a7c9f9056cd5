"""Where along an axis the largest and the smallest elements are: argmax and argmin."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Composite
from dlir.ir.dialects.nd.checks import need_kind, normalize_axis, reduced_shape
from dlir.ir.dialects.nd.creation import indices
from dlir.ir.dialects.nd.operands import tensors
from dlir.ir.dialects.nd.reduction import refuse_empty
from dlir.ir.dialects.nd.samples import random_array, random_dtype, random_shape
from dlir.ir.op import Tensor
from dlir.ir.ops import nd
from dlir.ir.types import I64, is_float


class Position(Composite):
    """Base of argmax and argmin."""

    differentiable = False

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        return tensors(groups)

    @classmethod
    def infer(cls, x: Tensor, *, axis: int, keepdims: bool = False) -> Tensor:
        need_kind(x.dtype, "biuf")
        axes = (normalize_axis(axis, x.rank),)
        refuse_empty(x.shape, axes)
        return Tensor(reduced_shape(x.shape, axes, keepdims), I64)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, random_shape(rng, 1), random_dtype(rng, "biuf"), special=True)
        axes = [axis for axis in range(-x.ndim, x.ndim) if x.shape[axis]]
        if not axes:
            x, axes = np.ones((2, 0, 3), "f4"), [0]
        return [x], {"axis": int(rng.choice(axes)), "keepdims": bool(rng.integers(2))}


class Argmax(Position, name="nd.argmax"):
    """The index (i64) of the largest element along `axis`; of equals the first.  A NaN counts as the largest."""

    @staticmethod
    def decompose(x: Value, *, axis: int, keepdims: bool = False) -> Value:
        return _first_equal(x, nd.max(x, axes=(axis,), keepdims=True), axis, keepdims)


class Argmin(Position, name="nd.argmin"):
    """The index (i64) of the smallest element along `axis`; of equals the first.  A NaN counts as the smallest."""

    @staticmethod
    def decompose(x: Value, *, axis: int, keepdims: bool = False) -> Value:
        return _first_equal(x, nd.min(x, axes=(axis,), keepdims=True), axis, keepdims)


def _first_equal(x: Value, extremum: Value, axis: int, keepdims: bool) -> Value:
    """The first index along `axis` at which x is NaN or equal to the extremum."""
    found = nd.equal(x, extremum)
    if is_float(x.dtype):
        found = nd.logical_or(found, nd.not_equal(x, x))
    # Elsewhere an index beyond all: at least one is equal, so it is never chosen.
    index = nd.select(found, indices(x, axis), np.iinfo(np.int64).max)
    return nd.min(index, axes=(axis,), keepdims=keepdims)
