"""Scans: running totals along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from dlir.ir.affine import AffineExpr, AffineMap, dim, dims
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import ElementContext, Monoid, Primitive, Space
from dlir.ir.dialects.nd.checks import need_kind, normalize_axis
from dlir.ir.dialects.nd.gradients import of_first
from dlir.ir.dialects.nd.operands import common_dtype, promote
from dlir.ir.dialects.nd.reduction import wide_dtype
from dlir.ir.dialects.nd.samples import random_array, random_dtype, random_shape
from dlir.ir.dialects.nd.scalars import widen
from dlir.ir.op import Tensor
from dlir.ir.ops import arith, nd
from dlir.ir.types import I1, I64


class Scan(Primitive):
    """Base of ops whose element i along `axis` combines the elements of the operand up to i.

    To the world it is a reduction of which each point leaves out what comes later; kernel lowering knows that the total
    of one point is the total of the one before it and `term`.
    """

    monoid: ClassVar[Monoid]

    @property
    def axis(self) -> int:
        """The axis, counted from the front."""
        return normalize_axis(self["axis"], self.results[0].rank)

    def space(self) -> Space:
        shape, axis = self.results[0].shape, self.axis
        exprs = list(dims(shape))
        exprs[axis] = dim(len(shape), shape[axis])
        read = AffineMap(len(shape) + 1, tuple(exprs))
        return Space(shape, (shape[axis],), (read,), self.monoid, scan=axis)

    def term(self, ctx: ElementContext, index: Sequence[AffineExpr]) -> Value:
        """What the point `index` of the result adds to the total."""
        return widen(ctx.load(0, index))

    def element(self, ctx: ElementContext, index: Sequence[AffineExpr]) -> Value:
        *point, other = index
        here = point[self.axis]
        found = self.term(ctx, [*point[: self.axis], other, *point[self.axis + 1 :]])
        first, last = (here, other) if self["reverse"] else (other, here)
        predicate = "slt" if self["exclusive"] else "sle"
        is_counted = arith.cmpi(predicate, ctx.index(first), ctx.index(last))
        return arith.select(is_counted, found, ctx.constant(0, found.type))


class Cumsum(Scan, name="nd.cumsum"):
    """The sum of the elements up to each place along `axis`, that place included.

    With `exclusive` it is left out, so that the first sum is 0; with `reverse` the sums begin at the end (ONNX CumSum).
    The dtype stays (integers wrap around); f16 and bf16 are summed in f32 and each sum is rounded once.  Builders turn
    bools into i64.
    """

    monoid = "add"

    @staticmethod
    def infer(x: Tensor, *, axis: int, exclusive: bool = False, reverse: bool = False) -> Tensor:
        need_kind(x.dtype, "iuf")
        normalize_axis(axis, x.rank)
        return x

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        return promote(groups, I64 if common_dtype(groups) is I1 else None)

    @staticmethod
    def eval(x: Any, *, axis: int, exclusive: bool = False, reverse: bool = False) -> Any:
        ordered = np.flip(x, axis) if reverse else x
        totals = np.cumsum(ordered, axis, dtype=wide_dtype(x))
        if exclusive:
            # Moved by one place.  The sum less the element would be NaN from the first infinity on.
            totals = np.roll(totals, 1, axis)
            np.moveaxis(totals, axis, 0)[:1] = 0
        return (np.flip(totals, axis) if reverse else totals).astype(x.dtype)

    @of_first
    def vjp(self, g: Value) -> Value:
        return nd.cumsum(g, axis=self.axis, exclusive=self["exclusive"], reverse=not self["reverse"])

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, random_shape(rng, 1), random_dtype(rng, "iuf"))
        flags = {"exclusive": bool(rng.integers(2)), "reverse": bool(rng.integers(2))}
        return [x], {"axis": int(rng.integers(-x.ndim, x.ndim)), **flags}
