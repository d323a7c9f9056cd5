"""What formulas over other ``nd`` ops share: the float in which they are computed, and alignment of weights."""

from __future__ import annotations

from typing import Any

from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Composite
from dlir.ir.dialects.nd.operands import common_dtype, promote
from dlir.ir.dialects.nd.scalars import accumulator
from dlir.ir.dialects.nd.unary import float_for
from dlir.ir.ops import nd


class FloatComposite(Composite):
    """Base of formulas over floats; builders turn integers into the float that NumPy takes for functions.

    f16 and bf16 are computed in f32, and the result is rounded once.
    """

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        return promote(groups, float_for(common_dtype(groups)))


def aligned(value: Value, rank: int, axes: tuple[int, ...]) -> Value:
    """`value`, whose dimensions are the `axes` of an array of this rank, so that it broadcasts against that array."""
    if axes == tuple(range(rank - len(axes), rank)):
        return value
    extents = dict(zip(axes, value.shape))
    return nd.reshape(value, shape=tuple(extents.get(axis, 1) for axis in range(rank)))


def widened(x: Value) -> Value:
    """`x`, as f32 when it is f16 or bf16."""
    dtype = accumulator(x.dtype)
    return x if dtype is x.dtype else nd.cast(x, dtype=dtype)


def narrowed(value: Value, like: Value) -> Value:
    """`value` in the dtype of `like`."""
    return value if value.dtype is like.dtype else nd.cast(value, dtype=like.dtype)
