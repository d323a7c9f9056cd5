"""Adaptive pooling: a given number of windows, spread evenly over the last dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from dlir.ir.affine import AffineExpr, AffineMap, dim
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import ElementContext, Monoid, Primitive, Space
from dlir.ir.dialects.nd.checks import need_kind
from dlir.ir.dialects.nd.composite import narrowed, widened
from dlir.ir.dialects.nd.gradients import along, first_equal, of_first, spread, static_shape
from dlir.ir.dialects.nd.guards import clamped_load
from dlir.ir.dialects.nd.patches import Patches
from dlir.ir.dialects.nd.pooling import lowest
from dlir.ir.dialects.nd.reduction import wide_dtype
from dlir.ir.dialects.nd.samples import pick, random_array, random_dtype
from dlir.ir.dialects.nd.scalars import narrow, widen
from dlir.ir.dialects.nd.windows import Windows
from dlir.ir.op import InferError, Tensor
from dlir.ir.ops import arith, nd
from dlir.ir.types import I64


class AdaptivePool(Primitive):
    """Base of adaptive pooling: window i of n over an extent goes from floor(i * extent / n) to ceil((i + 1) * extent / n).

    Windows differ in length by one and may overlap by one where n does not divide the extent: the space has the longest,
    and what lies beyond the end of a shorter one counts for nothing.
    """

    monoid: ClassVar[Monoid]
    kinds: ClassVar[str]

    @classmethod
    def infer(cls, x: Tensor, *, output_size: tuple[int, ...]) -> Tensor:
        need_kind(x.dtype, cls.kinds)
        leading = x.rank - len(output_size)
        if leading < 0 or not output_size:
            raise InferError(f"an output of {len(output_size)} spatial dimensions does not fit {x}")
        if min(output_size) < 1:
            raise InferError(f"'output_size' must be at least 1, got {list(output_size)}")
        if 0 in x.shape[leading:]:
            raise InferError(f"the spatial dimensions of {x} have no elements")
        return x.with_shape((*x.shape[:leading], *output_size))

    @property
    def leading(self) -> int:
        """How many dimensions come before the spatial ones."""
        return self.results[0].rank - len(self["output_size"])

    def tiles(self) -> Patches | None:
        """The windows as dimensions where they divide the extents, None where they do not."""
        shape, counts = static_shape(self, self.operands[0]), self["output_size"]
        if any(extent % count for extent, count in zip(shape[self.leading :], counts)):
            return None
        kernel = tuple(extent // count for extent, count in zip(shape[self.leading :], counts))
        return Patches(shape, Windows.of(kernel, kernel), counts)

    def outside(self) -> float | int:
        """What counts for nothing."""
        return 0

    def space(self) -> Space:
        shape, result = self.operands[0].shape, self.results[0].shape
        spatial = list(zip(shape, result))[self.leading :]
        longest = tuple(max(stop - start for start, stop in bounds(*extents)) for extents in spatial)
        exprs = [dim(axis, extent) for axis, extent in enumerate(result[: self.leading])]
        for number, (extent, count) in enumerate(spatial):
            window = dim(self.leading + number, count)
            exprs.append(window * extent // count + dim(len(result) + number, longest[number]))
        read = AffineMap(len(result) + len(longest), tuple(exprs))
        return Space(result, longest, (read,), self.monoid, any(extent % count for extent, count in spatial))

    def element(self, ctx: ElementContext, index: Sequence[AffineExpr]) -> Value:
        x, result, space = self.operands[0], self.results[0].shape, self.space()
        (read,) = space.maps
        assert read is not None
        place = read.apply(index)
        may_leave = [(False, False)] * self.leading
        inside: Value | None = None
        for axis in range(self.leading, len(result)):
            extent, count = x.shape[axis], result[axis]
            longest = space.reduction[axis - self.leading]
            may_leave.append((False, (count - 1) * extent // count + longest > extent))
            if extent % count:
                end = ((index[axis] + 1) * extent + (count - 1)) // count
                check = arith.cmpi("slt", ctx.index(place[axis]), ctx.index(end))
                inside = check if inside is None else arith.andi(inside, check)
        found = clamped_load(ctx, 0, place, x.shape, may_leave)
        return widen(found if inside is None else arith.select(inside, found, ctx.constant(self.outside(), x.dtype)))

    @classmethod
    def sample(cls, rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        rank = int(rng.integers(1, 3))
        shape = (*pick(rng, [(), (2,), (1, 3), (0, 2)]), *(int(n) for n in rng.integers(1, 8, rank)))
        output_size = tuple(int(n) for n in rng.integers(1, 5, rank))
        return [random_array(rng, shape, random_dtype(rng, cls.kinds))], {"output_size": output_size}


class AdaptiveMaxPool(AdaptivePool, name="nd.adaptive_max_pool"):
    """The largest element of each of `output_size` windows; NaN if it has one.

    [*leading, *spatial] -> [*leading, *output_size].  Window i of n over an extent goes from floor(i * extent / n) to
    ceil((i + 1) * extent / n).
    """

    monoid = "max"
    kinds = "if"

    @staticmethod
    def eval(x: Any, *, output_size: tuple[int, ...]) -> Any:
        return _pool(x, output_size, lambda window, axes: np.max(window, axes))

    def outside(self) -> float | int:
        return lowest(self.operands[0].dtype.numpy)

    @of_first
    def vjp(self, g: Value) -> Value:
        """To the first of the largest elements of each window, as in PyTorch."""
        x, tiles = self.operands[0], self.tiles()
        if tiles is not None:
            chosen = first_equal(tiles.open(x, 0.0), tiles.spread(self.result), tiles.axes)
            return tiles.close(nd.select(chosen, tiles.spread(g), 0.0))
        # The largest of the largest of each line: one axis after the other, and back.
        stages = [x]
        for axis in reversed(range(self.leading, x.rank)):
            stages.append(_largest_along(stages[-1], axis, self.result.shape[axis]))
        for axis, before, after in zip(range(self.leading, x.rank), stages[-2::-1], stages[:0:-1]):
            g = _back_along(before, after, g, axis)
        return g


class AdaptiveAvgPool(AdaptivePool, name="nd.adaptive_avg_pool"):
    """The mean of each of `output_size` windows, of floats; f16 and bf16 are summed in f32.

    [*leading, *spatial] -> [*leading, *output_size].  Window i of n over an extent goes from floor(i * extent / n) to
    ceil((i + 1) * extent / n).
    """

    monoid = "add"
    kinds = "f"

    @staticmethod
    def eval(x: Any, *, output_size: tuple[int, ...]) -> Any:
        return _pool(x, output_size, lambda window, axes: np.mean(window, axes, dtype=wide_dtype(x)))

    def finish(self, ctx: ElementContext, accumulated: Value, index: Sequence[AffineExpr]) -> Value:
        x, result = self.operands[0], self.results[0]
        fixed = 1
        varying: Value | None = None
        for axis in range(self.leading, result.rank):
            extent, count = x.shape[axis], result.shape[axis]
            if extent % count == 0:
                fixed *= extent // count
                continue
            length = ((index[axis] + 1) * extent + (count - 1)) // count - index[axis] * extent // count
            found = ctx.index(length)
            varying = found if varying is None else arith.muli(varying, found)
        size = ctx.constant(float(fixed), accumulated.type)
        if varying is not None:
            exact = arith.sitofp(arith.index_cast(varying, I64), accumulated.type)
            size = exact if fixed == 1 else arith.mulf(exact, size)
        return narrow(arith.divf(accumulated, size), result.dtype)

    @of_first
    def vjp(self, g: Value) -> Value:
        tiles = self.tiles()
        if tiles is not None:
            share = nd.mul(widened(g), 1 / math.prod(tiles.windows.kernel))
            return tiles.close(tiles.spread(narrowed(share, g)))
        x, wide = self.operands[0], widened(g)
        for axis in range(self.leading, x.rank):
            # A window's share of each element, as a matrix.
            shares = np.zeros((wide.shape[axis], x.shape[axis]), wide.dtype.numpy)
            for number, (start, stop) in enumerate(bounds(x.shape[axis], wide.shape[axis])):
                shares[number, start:stop] = 1 / (stop - start)
            order = (*(other for other in range(x.rank) if other != axis), axis)
            lines = nd.transpose(wide, perm=order)
            found = nd.matmul(nd.reshape(lines, shape=(math.prod(lines.shape[:-1]), lines.shape[-1])), shares)
            found = nd.reshape(found, shape=(*lines.shape[:-1], x.shape[axis]))
            wide = nd.transpose(found, perm=tuple(order.index(other) for other in range(x.rank)))
        return narrowed(wide, x)


def _largest_along(x: Value, axis: int, count: int) -> Value:
    """The largest elements of windows along one axis."""
    parts = [along(x, axis, start, stop) for start, stop in bounds(x.shape[axis], count)]
    return nd.concat(*(nd.max(part, axes=(axis,), keepdims=True) for part in parts), axis=axis)


def _back_along(x: Value, y: Value, g: Value, axis: int) -> Value:
    """The gradient of x, of which `y` has the largest elements of windows along one axis, from that of `y`."""
    found: Value | None = None
    extent = x.shape[axis]
    for number, (start, stop) in enumerate(bounds(extent, y.shape[axis])):
        part = along(x, axis, start, stop)
        largest, here = (spread(along(value, axis, number, number + 1), part, (axis,)) for value in (y, g))
        here = nd.select(first_equal(part, largest, (axis,)), here, 0.0)
        low, high = ([n if other == axis else 0 for other in range(x.rank)] for n in (start, extent - stop))
        here = nd.pad(here, low=tuple(low), high=tuple(high))
        found = here if found is None else nd.add(found, here)
    assert found is not None, "there is at least one window"
    return found


def bounds(extent: int, count: int) -> list[tuple[int, int]]:
    """Where each of `count` windows over `extent` elements starts and stops."""
    return [(number * extent // count, -(-(number + 1) * extent // count)) for number in range(count)]


def _pool(x: Any, output_size: tuple[int, ...], reduce: Any) -> Any:
    """Each window of `x` reduced over the last axes."""
    leading = x.ndim - len(output_size)
    windows = [bounds(extent, count) for extent, count in zip(x.shape[leading:], output_size)]
    result = np.empty((*x.shape[:leading], *output_size), x.dtype)
    for place in np.ndindex(*output_size):
        window = tuple(slice(*windows[axis][number]) for axis, number in enumerate(place))
        result[(..., *place)] = reduce(x[(..., *window)], tuple(range(leading, x.ndim)))
    return result
