"""Pooling: the largest element, or the mean, of windows over the last dimensions."""

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
from dlir.ir.dialects.nd.gradients import first_equal, of_first, unknown_shape
from dlir.ir.dialects.nd.guards import guarded_load
from dlir.ir.dialects.nd.patches import Patches
from dlir.ir.dialects.nd.samples import random_array, random_dtype
from dlir.ir.dialects.nd.scalars import accumulator, narrow, widen
from dlir.ir.dialects.nd.windows import Windows
from dlir.ir.op import InferError, Tensor
from dlir.ir.ops import arith, nd
from dlir.ir.types import I64, INDEX


class Pool(Primitive):
    """Base of pooling: [*leading, *spatial] -> [*leading, *counts], with as many spatial dimensions as `kernel` has.

    `stride` defaults to `kernel`.  `padding` has one integer for each spatial dimension, or all of those before and
    then all of those after; it must be smaller than the kernel.  With `ceil_mode`, a last window that only partly lies
    on the padded input counts too, if it starts on the input or the padding before it.
    """

    monoid: ClassVar[Monoid]
    kinds: ClassVar[str]

    def windows(self) -> Windows:
        """The windows of this op."""
        return pool_windows(self["kernel"], self["stride"], self["padding"], self["ceil_mode"])

    def outside(self) -> float | int:
        """What is read outside of the input."""
        return 0

    def patches(self) -> Patches:
        """The windows as dimensions; DlirError if the spatial ones are not known."""
        x, windows = self.operands[0], self.windows()
        leading = x.rank - len(windows.kernel)
        if None in x.shape[leading:]:
            raise unknown_shape(self, x)
        return Patches(x.shape, windows, self.result.shape[leading:])

    def space(self) -> Space:
        windows, x, result = self.windows(), self.operands[0], self.results[0].shape
        leading = len(result) - len(windows.kernel)
        spatial = [dim(axis) for axis in range(leading, len(result))]
        inside = [dim(len(result) + i) for i in range(len(windows.kernel))]
        exprs = (*(dim(axis) for axis in range(leading)), *windows.positions(spatial, inside))
        guarded = any(below or above for below, above in windows.may_leave(x.shape[leading:], result[leading:]))
        read = AffineMap(len(result) + len(inside), exprs)
        return Space(result, windows.kernel, (read,), self.monoid, guarded)

    def element(self, ctx: ElementContext, index: Sequence[AffineExpr]) -> Value:
        (read,) = self.space().maps
        assert read is not None
        x, result, windows = self.operands[0], self.results[0].shape, self.windows()
        leading = len(result) - len(windows.kernel)
        may_leave = [(False, False)] * leading + windows.may_leave(x.shape[leading:], result[leading:])
        outside = ctx.constant(self.outside(), x.dtype)
        return widen(guarded_load(ctx, 0, read.apply(index), x.shape, may_leave, outside))

    @classmethod
    def sample(cls, rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        rank = int(rng.integers(1, 3))
        kernel = tuple(int(n) for n in rng.integers(1, 4, rank))
        padding = tuple(int(rng.integers(0, k)) for k in kernel * int(rng.integers(1, 3)))
        stride = tuple(int(n) for n in rng.integers(1, 4, rank)) if rng.random() < 0.7 else None
        leading = [(), (2,), (1, 3), (0, 2)][int(rng.integers(4))]
        shape = (*leading, *(k + int(rng.integers(0, 4)) for k in kernel))
        attributes = {"kernel": kernel, "stride": stride, "padding": padding, "ceil_mode": bool(rng.integers(2))}
        return [random_array(rng, shape, random_dtype(rng, cls.kinds))], attributes


def pool_windows(
    kernel: tuple[int, ...], stride: tuple[int, ...] | None, padding: tuple[int, ...] | None, ceil_mode: bool
) -> Windows:
    """The windows of a pooling op; InferError if the attributes do not fit."""
    windows = Windows.of(kernel, kernel if stride is None else stride, padding, None, ceil_mode)
    if any(max(low, high) >= k for low, high, k in zip(windows.low, windows.high, kernel)):
        raise InferError(f"padding {list(padding or ())} must be smaller than the kernel {list(kernel)}")
    return windows


def pooled(x: Tensor, windows: Windows, kinds: str) -> Tensor:
    """The type that pooling gives; InferError if it cannot be."""
    need_kind(x.dtype, kinds)
    leading = x.rank - len(windows.kernel)
    if leading < 0 or not windows.kernel:
        raise InferError(f"a kernel of {len(windows.kernel)} dimensions does not fit {x}")
    return x.with_shape((*x.shape[:leading], *windows.result_shape(x.shape[leading:])))


class MaxPool(Pool, name="nd.max_pool"):
    """The largest element of each window; NaN if it has one.  Padding is never chosen.

    [*leading, *spatial] -> [*leading, *counts]: `kernel` has one extent for each spatial dimension.  `stride` defaults
    to `kernel`; `padding` has one integer a dimension, or all before and then all after, smaller than the kernel;
    `ceil_mode` keeps a last window that lies only partly on the padded input.
    """

    monoid = "max"
    kinds = "if"

    @staticmethod
    def infer(
        x: Tensor,
        *,
        kernel: tuple[int, ...],
        stride: tuple[int, ...] | None = None,
        padding: tuple[int, ...] | None = None,
        ceil_mode: bool = False,
    ) -> Tensor:
        return pooled(x, pool_windows(kernel, stride, padding, ceil_mode), "if")

    @staticmethod
    def eval(
        x: Any, *, kernel: tuple[int, ...], stride: Any = None, padding: Any = None, ceil_mode: bool = False
    ) -> Any:
        windows = pool_windows(kernel, stride, padding, ceil_mode).view(x, lowest(x.dtype))
        return np.max(windows, tuple(range(-len(kernel), 0)))

    def outside(self) -> float | int:
        return lowest(self.operands[0].dtype.numpy)

    @of_first
    def vjp(self, g: Value) -> Value:
        """To the first of the largest elements of each window, as in PyTorch and JAX."""
        patches = self.patches()
        # NaN is equal to nothing.
        found = patches.open(self.operands[0], math.nan)
        chosen = first_equal(found, patches.spread(self.result), patches.axes)
        return patches.close(nd.select(chosen, patches.spread(g), 0.0))


class AvgPool(Pool, name="nd.avg_pool"):
    """The mean of each window, of floats.

    [*leading, *spatial] -> [*leading, *counts]; the attributes are those of ``nd.max_pool``.  With `count_include_pad`
    the zeros of the padding count as elements, else they do not; what lies beyond the padding never does.
    """

    monoid = "add"
    kinds = "f"

    @staticmethod
    def infer(
        x: Tensor,
        *,
        kernel: tuple[int, ...],
        stride: tuple[int, ...] | None = None,
        padding: tuple[int, ...] | None = None,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> Tensor:
        return pooled(x, pool_windows(kernel, stride, padding, ceil_mode), "f")

    @staticmethod
    def eval(
        x: Any,
        *,
        kernel: tuple[int, ...],
        stride: Any = None,
        padding: Any = None,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> Any:
        windows = pool_windows(kernel, stride, padding, ceil_mode)
        wide = x.astype(np.float32) if x.dtype.itemsize == 2 else x
        total = np.sum(windows.view(wide, 0.0), tuple(range(-len(kernel), 0)))
        counts = np.ones((), wide.dtype)
        for axis, extent in enumerate(x.shape[x.ndim - len(kernel) :]):
            lengths = _lengths(windows, axis, extent, total.shape[total.ndim - len(kernel) + axis], count_include_pad)
            counts = np.multiply.outer(counts, lengths.astype(wide.dtype))
        return (total / counts).astype(x.dtype)

    def finish(self, ctx: ElementContext, accumulated: Value, index: Sequence[AffineExpr]) -> Value:
        windows, x, result = self.windows(), self.operands[0], self.results[0]
        leading = result.rank - len(windows.kernel)
        fixed = 1
        varying: Value | None = None
        for axis, kernel in enumerate(windows.kernel):
            first, last = _counted(windows, axis, x.shape[leading + axis], self["count_include_pad"])
            start = index[leading + axis] * windows.stride[axis] - windows.low[axis]
            lowest_start = -windows.low[axis]
            highest_end = (result.shape[leading + axis] - 1) * windows.stride[axis] + lowest_start + kernel
            if first <= lowest_start and highest_end <= last:
                fixed *= kernel
                continue
            end = arith.minsi(ctx.index(start + kernel), ctx.constant(last, INDEX))
            length = arith.subi(end, arith.maxsi(ctx.index(start), ctx.constant(first, INDEX)))
            varying = length if varying is None else arith.muli(varying, length)
        count = ctx.constant(float(fixed), accumulated.type)
        if varying is not None:
            exact = arith.sitofp(arith.index_cast(varying, I64), accumulated.type)
            count = exact if fixed == 1 else arith.mulf(exact, count)
        return narrow(arith.divf(accumulated, count), result.dtype)

    @of_first
    def vjp(self, g: Value) -> Value:
        windows, patches = self.windows(), self.patches()
        counts = np.ones((), accumulator(g.dtype).numpy)
        for axis, extent in enumerate(patches.shape[patches.leading :]):
            assert extent is not None
            lengths = _lengths(windows, axis, extent, patches.counts[axis], self["count_include_pad"])
            counts = np.multiply.outer(counts, lengths.astype(counts.dtype))
        share = nd.mul(widened(g), 1 / counts.flat[0] if (counts == counts.flat[0]).all() else 1 / counts)
        return patches.close(patches.spread(narrowed(share, g)))

    @classmethod
    def sample(cls, rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        arrays, attributes = super().sample(rng)
        return arrays, {**attributes, "count_include_pad": bool(rng.integers(2))}


def _counted(windows: Windows, axis: int, extent: int, with_padding: bool) -> tuple[int, int]:
    """The range of positions in a dimension that count as elements."""
    return (-windows.low[axis], extent + windows.high[axis]) if with_padding else (0, extent)


def _lengths(windows: Windows, axis: int, extent: int, count: int, with_padding: bool) -> np.ndarray:
    """How many elements count in each of `count` windows over a dimension."""
    starts = np.arange(count) * windows.stride[axis] - windows.low[axis]
    first, last = _counted(windows, axis, extent, with_padding)
    return np.minimum(starts + windows.kernel[axis], last) - np.maximum(starts, first)


def lowest(dtype: np.dtype) -> float | int:
    """The value that is never larger than another."""
    return int(np.iinfo(dtype).min) if dtype.kind == "i" else -math.inf
