"""Windows as dimensions of an array: unfold, its transpose fold, and what gradients of pooling make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlir.ir.affine import AffineExpr, AffineMap, dims
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import ElementContext, Primitive, Space
from dlir.ir.dialects.nd.checks import fits, need_kind
from dlir.ir.dialects.nd.gradients import of_first, repeated, shaped
from dlir.ir.dialects.nd.guards import guarded_load
from dlir.ir.dialects.nd.reduction import wide_dtype
from dlir.ir.dialects.nd.samples import pick, random_array, random_dtype
from dlir.ir.dialects.nd.scalars import widen
from dlir.ir.dialects.nd.windows import Windows
from dlir.ir.op import InferError, Tensor
from dlir.ir.ops import nd
from dlir.ir.types import Shape


class Unfold(Primitive, name="nd.unfold"):
    """The windows over the last dimensions of x: [*leading, *spatial] -> [*leading, *counts, *kernel] (PyTorch, ONNX Im2Col).

    `stride` defaults to ones; `padding`, with elements of `value`, has one integer for each spatial dimension, or all of
    those before and then all of those after.
    """

    @staticmethod
    def infer(
        x: Tensor,
        *,
        kernel: tuple[int, ...],
        stride: tuple[int, ...] | None = None,
        padding: tuple[int, ...] | None = None,
        value: float = 0.0,
    ) -> Tensor:
        need_kind(x.dtype, "f")
        leading = x.rank - len(kernel)
        if leading < 0:
            raise InferError(f"a kernel of {len(kernel)} dimensions does not fit {x}")
        counts = Windows.of(kernel, stride, padding).result_shape(x.shape[leading:])
        return x.with_shape((*x.shape[:leading], *counts, *kernel))

    @staticmethod
    def eval(x: Any, *, kernel: tuple[int, ...], stride: Any = None, padding: Any = None, value: float = 0.0) -> Any:
        return Windows.of(kernel, stride, padding).view(x, value)

    def _windows(self) -> Windows:
        return Windows.of(self["kernel"], self["stride"], self["padding"])

    def _may_leave(self) -> list[tuple[bool, bool]]:
        x, windows = self.operands[0], self._windows()
        leading = x.rank - len(windows.kernel)
        counts = self.result.shape[leading : x.rank]
        return [(False, False)] * leading + windows.may_leave(x.shape[leading:], counts)

    def space(self) -> Space:
        shape, windows = self.result.shape, self._windows()
        index = dims(shape)
        rank = len(windows.kernel)
        leading = len(shape) - 2 * rank
        places = windows.positions(index[leading : leading + rank], index[leading + rank :])
        guarded = any(below or above for below, above in self._may_leave())
        return Space(shape, maps=(AffineMap(len(shape), (*index[:leading], *places)),), guarded=guarded)

    def element(self, ctx: ElementContext, index: Sequence[AffineExpr]) -> Value:
        (read,) = self.space().maps
        assert read is not None
        x = self.operands[0]
        outside = ctx.constant(self["value"], x.dtype)
        return guarded_load(ctx, 0, read.apply(index), x.shape, self._may_leave(), outside)

    @of_first
    def vjp(self, g: Value) -> Value:
        leading = self.operands[0].rank - len(self["kernel"])
        spatial = self.operands[0].shape[leading:]
        return nd.fold(g, shape=spatial, stride=self["stride"], padding=self["padding"])

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x, attributes = _random_windows(rng)
        return [x], {**attributes, "value": pick(rng, [0.0, 1.5, -np.inf])}


class Fold(Primitive, name="nd.fold"):
    """The sum of windows, each where it lies in an array of `shape`: [*leading, *counts, *kernel] -> [*leading, *shape].

    It is the transpose of ``nd.unfold`` with the same `stride` and `padding` (PyTorch; ONNX Col2Im): what lies on the padding
    counts for nothing.  f16 and bf16 are summed in f32.
    """

    @staticmethod
    def infer(
        x: Tensor,
        *,
        shape: tuple[int, ...],
        stride: tuple[int, ...] | None = None,
        padding: tuple[int, ...] | None = None,
    ) -> Tensor:
        need_kind(x.dtype, "f")
        rank = len(shape)
        leading = x.rank - 2 * rank
        if leading < 0:
            raise InferError(f"a shape of {rank} dimensions does not fit {x}, which has two for each of them")
        kernel = x.shape[x.rank - rank :]
        if None not in kernel:
            counts = Windows.of(kernel, stride, padding).result_shape(shape)
            if not all(fits(mine, other) for mine, other in zip(x.shape[leading:], counts)):
                raise InferError(f"there are {list(counts)} windows of {list(kernel)} over {list(shape)}, but x is {x}")
        return x.with_shape((*x.shape[:leading], *shape))

    @staticmethod
    def eval(x: Any, *, shape: tuple[int, ...], stride: Any = None, padding: Any = None) -> Any:
        rank = len(shape)
        windows = Windows.of(x.shape[x.ndim - rank :], stride, padding)
        leading = x.ndim - 2 * rank
        padded = [n + low + high for n, low, high in zip(shape, windows.low, windows.high)]
        total = np.zeros((*x.shape[:leading], *padded), wide_dtype(x))
        for offset in np.ndindex(*windows.kernel):
            spans = zip(offset, x.shape[leading:], windows.stride)
            places: Any = tuple(slice(first, first + (count - 1) * step + 1, step) for first, count, step in spans)
            total[(..., *places)] += x[(..., *offset)]
        inside: Any = tuple(slice(low, low + n) for n, low in zip(shape, windows.low))
        return total[(..., *inside)].astype(x.dtype)

    def _windows(self) -> Windows:
        x, rank = self.operands[0], len(self["shape"])
        return Windows.of(x.shape[x.rank - rank :], self["stride"], self["padding"])

    def space(self) -> Space:
        shape, windows = self.result.shape, self._windows()
        leading = len(shape) - len(windows.kernel)
        # Of the windows over a place, the last one and those before it, as many as can reach that far.
        reach = tuple(-(-k // step) for k, step in zip(windows.kernel, windows.stride))
        index = dims((*shape, *reach))
        numbers, offsets = [], []
        for axis, step in enumerate(windows.stride):
            place = index[leading + axis] + windows.low[axis]
            back = index[len(shape) + axis]
            numbers.append(place // step - back)
            offsets.append(place % step + back * step)
        read = AffineMap(len(index), (*index[:leading], *numbers, *offsets))
        may_leave = self._may_leave()
        return Space(shape, reach, (read,), "add", any(below or above for below, above in may_leave))

    def _may_leave(self) -> list[tuple[bool, bool]]:
        x, windows = self.operands[0], self._windows()
        rank = len(windows.kernel)
        leading = x.rank - 2 * rank
        numbers, offsets = [], []
        for axis, (k, step, low) in enumerate(zip(windows.kernel, windows.stride, windows.low)):
            extent, count = self["shape"][axis], x.shape[leading + axis]
            reach = -(-k // step)
            numbers.append((low // step < reach - 1, (extent - 1 + low) // step >= count))
            offsets.append((False, k % step != 0))
        return [*[(False, False)] * leading, *numbers, *offsets]

    def element(self, ctx: ElementContext, index: Sequence[AffineExpr]) -> Value:
        (read,) = self.space().maps
        assert read is not None
        x = self.operands[0]
        zero = ctx.constant(0.0, x.dtype)
        return widen(guarded_load(ctx, 0, read.apply(index), x.shape, self._may_leave(), zero))

    @of_first
    def vjp(self, g: Value) -> Value:
        return nd.unfold(g, kernel=self._windows().kernel, stride=self["stride"], padding=self["padding"])

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x, attributes = _random_windows(rng)
        rank = len(attributes["kernel"])
        kernel = attributes.pop("kernel")
        opened = Windows.of(kernel, **attributes).view(x, 0.0)
        return [np.array(opened)], {"shape": x.shape[x.ndim - rank :], **attributes}


def _random_windows(rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
    rank = int(rng.integers(1, 3))
    kernel = tuple(int(n) for n in rng.integers(1, 4, rank))
    padding = tuple(int(n) for n in rng.integers(0, 3, rank * int(rng.integers(1, 3))))
    stride = tuple(int(n) for n in rng.integers(1, 4, rank)) if rng.random() < 0.7 else None
    shape = (*pick(rng, [(), (2,), (1, 3), (0, 2)]), *(k + int(rng.integers(0, 4)) for k in kernel))
    return random_array(rng, shape, random_dtype(rng, "f")), {"kernel": kernel, "stride": stride, "padding": padding}


@dataclass(frozen=True, slots=True)
class Patches:
    """The windows of a pooling op over arrays of shape `shape`, opened to dimensions of their own and closed again.

    Windows that lie side by side and cover everything are the same elements in another shape; others are unfolded.
    """

    shape: Shape
    windows: Windows
    counts: tuple[int, ...]

    @property
    def leading(self) -> int:
        """How many dimensions come before the spatial ones."""
        return len(self.shape) - len(self.counts)

    @property
    def are_tiles(self) -> bool:
        """Whether the windows cover everything once, and a reshape can say so."""
        whole = tuple(count * k for count, k in zip(self.counts, self.windows.kernel))
        covers = whole == self.shape[self.leading :] and self.windows.stride == self.windows.kernel
        covers = covers and not any(self.windows.low)
        return covers and self.shape.count(None) <= 1

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes of the opened array that lie in the windows."""
        rank, leading = len(self.counts), self.leading
        if self.are_tiles:
            return tuple(range(leading + 1, leading + 2 * rank, 2))
        return tuple(range(leading + rank, leading + 2 * rank))

    @property
    def opened_shape(self) -> Shape:
        """The shape of the opened array."""
        kernel = self.windows.kernel
        if self.are_tiles:
            return (*self.shape[: self.leading], *(n for pair in zip(self.counts, kernel) for n in pair))
        return (*self.shape[: self.leading], *self.counts, *kernel)

    @property
    def _padding(self) -> tuple[int, ...]:
        """What the windows need around the array: less than the op's padding where they do not reach it, more where they
        leave it."""
        w = self.windows
        ends = [(count - 1) * step + k for count, step, k in zip(self.counts, w.stride, w.kernel)]
        spatial = self.shape[self.leading :]
        return (*w.low, *(max(0, end - low - n) for end, low, n in zip(ends, w.low, spatial) if n is not None))

    def open(self, x: Value, outside: float) -> Value:
        """The windows of `x`, which is of `shape`, with `outside` beyond its borders."""
        if self.are_tiles:
            return shaped(x, self.opened_shape)
        w = self.windows
        return nd.unfold(x, kernel=w.kernel, stride=w.stride, padding=self._padding, value=outside)

    def spread(self, value: Value) -> Value:
        """One element for each window, repeated for all of its places."""
        return repeated(value, self.opened_shape, self.axes)

    def close(self, parts: Value) -> Value:
        """What is found in the windows, summed where they overlap, in an array of `shape`."""
        if self.are_tiles:
            return shaped(parts, self.shape)
        spatial = tuple(extent for extent in self.shape[self.leading :] if extent is not None)
        return nd.fold(parts, shape=spatial, stride=self.windows.stride, padding=self._padding)
