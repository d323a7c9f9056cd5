"""Reductions over some of the axes: sum, prod, mean, max, min, any, all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from dlir.ir.affine import AffineExpr, AffineMap, dim
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import ElementContext, Monoid, Primitive, Space
from dlir.ir.dialects.nd.checks import need_kind, normalize_axes, reduced_shape
from dlir.ir.dialects.nd.composite import narrowed, widened
from dlir.ir.dialects.nd.gradients import extents, of_first, products_of_others, shaped, spread, static_shape
from dlir.ir.dialects.nd.operands import common_dtype, constant, promote
from dlir.ir.dialects.nd.samples import random_array, random_dtype, random_shape
from dlir.ir.dialects.nd.scalars import accumulator, narrow, widen
from dlir.ir.op import InferError, Tensor
from dlir.ir.ops import arith, nd
from dlir.ir.types import F64, I1, I32, I64, Shape, is_float

Axes = tuple[int, ...] | None


class Reduction(Primitive):
    """Base of reductions over `axes` (None: all of them); with `keepdims` these stay, with extent 1."""

    kinds: ClassVar[str] = "iuf"
    monoid: ClassVar[Monoid]

    @classmethod
    def infer(cls, x: Tensor, *, axes: tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        need_kind(x.dtype, cls.kinds)
        return x.with_shape(reduced_shape(x.shape, normalize_axes(axes, x.rank), keepdims))

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes that are reduced over, counted from the front, in increasing order."""
        return normalize_axes(self["axes"], self.operands[0].rank)

    def space(self) -> Space:
        shape, axes = self.operands[0].shape, self.axes
        result = self.results[0].shape
        reduction = tuple(shape[axis] for axis in axes)
        kept = iter(range(len(shape)) if self["keepdims"] else range(len(result)))
        exprs: list[AffineExpr] = []
        for axis in range(len(shape)):
            if axis in axes:
                exprs.append(dim(len(result) + axes.index(axis)))
                if self["keepdims"]:
                    next(kept)
            else:
                exprs.append(dim(next(kept)))
        read = AffineMap(len(result) + len(reduction), tuple(exprs))
        return Space(result, reduction, (read,), self.monoid)

    def element(self, ctx: ElementContext, index: Sequence[AffineExpr]) -> Value:
        (read,) = self.space().maps
        assert read is not None
        return widen(ctx.load(0, read.apply(index)))

    @classmethod
    def sample(cls, rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        return random_reduction(rng, cls.kinds, allow_empty=True)


def random_reduction(rng: np.random.Generator, kinds: str, allow_empty: bool) -> tuple[list[Any], dict[str, Any]]:
    """An array and the attributes of a reduction over it; over at least one element unless `allow_empty`."""
    x = random_array(rng, random_shape(rng), random_dtype(rng, kinds))
    axes = tuple(axis - x.ndim * int(rng.integers(2)) for axis in range(x.ndim) if rng.random() < 0.5)
    if not allow_empty:
        axes = tuple(axis for axis in axes if x.shape[axis])
    everything = rng.random() < 0.2 and (allow_empty or x.size > 0)
    return [x], {"axes": None if everything else axes, "keepdims": bool(rng.integers(2))}


class Sum(Reduction, name="nd.sum"):
    """The sum; 0 over nothing.

    The dtype stays (integers wrap around); f16 and bf16 are summed in f32 and rounded once.  Builders turn bools into
    i64.
    """

    monoid = "add"

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        return promote(groups, I64 if common_dtype(groups) is I1 else None)

    @staticmethod
    def eval(x: Any, *, axes: Axes = None, keepdims: bool = False) -> Any:
        return np.sum(x, axes, dtype=wide_dtype(x), keepdims=keepdims).astype(x.dtype)

    @of_first
    def vjp(self, g: Value) -> Value:
        return spread(g, self.operands[0], self.axes)


class Prod(Reduction, name="nd.prod"):
    """The product; 1 over nothing.

    The dtype stays (integers wrap around); f16 and bf16 are multiplied in f32 and rounded once.  Builders turn bools
    into i64.
    """

    monoid = "mul"

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        return promote(groups, I64 if common_dtype(groups) is I1 else None)

    @staticmethod
    def eval(x: Any, *, axes: Axes = None, keepdims: bool = False) -> Any:
        with np.errstate(over="ignore"):
            return np.prod(x, axes, dtype=wide_dtype(x), keepdims=keepdims).astype(x.dtype)

    @of_first
    def vjp(self, g: Value) -> Value:
        x, axes = self.operands[0], self.axes
        shape = static_shape(self, x)
        order = (*(axis for axis in range(len(shape)) if axis not in axes), *axes)
        lines = nd.transpose(widened(x), perm=order)
        kept = lines.shape[: len(shape) - len(axes)]
        lines = shaped(lines, (*kept, math.prod(shape[axis] for axis in axes)))
        found = products_of_others(lines, shaped(widened(g), kept))
        found = shaped(found, tuple(shape[axis] for axis in order))
        return narrowed(nd.transpose(found, perm=tuple(order.index(axis) for axis in range(len(shape)))), x)


class Mean(Reduction, name="nd.mean"):
    """The mean of floats; NaN over nothing.

    f16 and bf16 are summed in f32 and rounded once.  Builders turn integers and bools into f64, as in NumPy.
    """

    monoid = "add"
    kinds = "f"

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        dtype = common_dtype(groups)
        return promote(groups, dtype if is_float(dtype) else F64)

    @staticmethod
    def eval(x: Any, *, axes: Axes = None, keepdims: bool = False) -> Any:
        total = np.sum(x, axes, dtype=wide_dtype(x), keepdims=keepdims)
        count = math.prod(x.shape[axis] for axis in normalize_axes(axes, x.ndim))
        return (total / total.dtype.type(count)).astype(x.dtype)

    def finish(self, ctx: ElementContext, accumulated: Value, index: Sequence[AffineExpr]) -> Value:
        count = math.prod(self.operands[0].shape[axis] for axis in self.axes)
        quotient = arith.divf(accumulated, ctx.constant(float(count), accumulated.type))
        return narrow(quotient, self.results[0].dtype)

    @of_first
    def vjp(self, g: Value) -> Value:
        x, axes = self.operands[0], self.axes
        counted = [x.shape[axis] for axis in axes]
        if None in counted:
            ones = nd.broadcast_to(constant(1.0, accumulator(x.dtype)), x, shape=extents(x))
            share = nd.div(widened(g), nd.sum(ones, axes=axes, keepdims=self["keepdims"]))
        else:
            # Of nothing there is nothing to share.
            share = nd.mul(widened(g), 1 / max(1, math.prod(counted)))
        return spread(narrowed(share, x), x, axes)


class Extremum(Reduction):
    """Base of max and min, which nothing has."""

    kinds = "biuf"

    @classmethod
    def infer(cls, x: Tensor, *, axes: tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        refuse_empty(x.shape, axes)
        return super().infer(x, axes=axes, keepdims=keepdims)

    def space(self) -> Space:
        space = super().space()
        if self.operands[0].dtype is not I1:
            return space
        return Space(space.parallel, space.reduction, space.maps, "or" if self.monoid == "max" else "and")

    @of_first
    def vjp(self, g: Value) -> Value:
        """Of equals, each gets the same share, as in JAX."""
        x, axes = self.operands[0], self.axes
        found = nd.equal(x, spread(self.result, x, axes))
        count = nd.sum(nd.cast(found, dtype=I32), axes=axes, keepdims=self["keepdims"])
        return nd.select(found, spread(nd.div(g, nd.cast(count, dtype=g.dtype)), x, axes), 0.0)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        return random_reduction(rng, cls.kinds, allow_empty=False)


class Max(Extremum, name="nd.max"):
    """The largest element; NaN if there is one.  Over nothing it is an error.  On bools: whether any is true."""

    monoid = "max"

    @staticmethod
    def eval(x: Any, *, axes: Axes = None, keepdims: bool = False) -> Any:
        refuse_empty(x.shape, axes)
        return np.max(x, axes, keepdims=keepdims)


class Min(Extremum, name="nd.min"):
    """The smallest element; NaN if there is one.  Over nothing it is an error.  On bools: whether all are true."""

    monoid = "min"

    @staticmethod
    def eval(x: Any, *, axes: Axes = None, keepdims: bool = False) -> Any:
        refuse_empty(x.shape, axes)
        return np.min(x, axes, keepdims=keepdims)


class Quantifier(Reduction):
    """Base of any and all.  Builders take any dtype: what is not zero is true, NaN included."""

    differentiable = False
    kinds = "b"

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        return promote(groups, I1)


class Any_(Quantifier, name="nd.any"):
    """Whether any of the bools is true; false over nothing."""

    monoid = "or"

    @staticmethod
    def eval(x: Any, *, axes: Axes = None, keepdims: bool = False) -> Any:
        return np.any(x, axes, keepdims=keepdims)


class All(Quantifier, name="nd.all"):
    """Whether all of the bools are true; true over nothing."""

    monoid = "and"

    @staticmethod
    def eval(x: Any, *, axes: Axes = None, keepdims: bool = False) -> Any:
        return np.all(x, axes, keepdims=keepdims)


def refuse_empty(shape: Shape, axes: Axes) -> None:
    """InferError if an axis that is reduced over has no elements."""
    for axis in normalize_axes(axes, len(shape)):
        if shape[axis] == 0:
            raise InferError(f"axis {axis} has no elements, and nothing has no largest or smallest one")


def wide_dtype(x: Any) -> Any:
    """The dtype in which sums are made."""
    return np.float32 if x.dtype.itemsize == 2 and x.dtype.kind not in "iu" else x.dtype
