"""Windows that slide over the last dimensions of an array: what convolution and pooling share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlir.ir.affine import AffineExpr
from dlir.ir.dialects.nd.checks import per_dim
from dlir.ir.errors import InferError


@dataclass(frozen=True, slots=True)
class Windows:
    """Kernel extent, stride, dilation and padding before and after, for each spatial dimension.

    With `ceil_mode` a last window that only partly lies on the padded input counts too, if it starts on the input or
    the padding before it (PyTorch's rule).
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    dilation: tuple[int, ...]
    ceil_mode: bool = False

    @staticmethod
    def of(
        kernel: Sequence[Any],
        stride: tuple[int, ...] | None = None,
        padding: tuple[int, ...] | None = None,
        dilation: tuple[int, ...] | None = None,
        ceil_mode: bool = False,
    ) -> Windows:
        """From attributes: `padding` has one integer for each dimension, or all of those before and then all after."""
        rank = len(kernel)
        kernel = per_dim("kernel", tuple(kernel), rank, 1, 1)
        low = high = per_dim("padding", (padding or ())[:rank] or None, rank, 0, 0)
        if padding is not None and len(padding) != rank:
            if len(padding) != 2 * rank:
                raise InferError(f"'padding' needs {rank} or {2 * rank} integers, got {list(padding)}")
            high = per_dim("padding", padding[rank:], rank, 0, 0)
        strides, dilations = per_dim("stride", stride, rank, 1, 1), per_dim("dilation", dilation, rank, 1, 1)
        return Windows(kernel, strides, low, high, dilations, ceil_mode)

    @property
    def spans(self) -> tuple[int, ...]:
        """How many elements a window reaches over, in each dimension."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation))

    def result_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """How many windows there are over spatial dimensions of this shape; InferError if there are none."""
        result: list[int | None] = []
        for axis, extent in enumerate(shape):
            if extent is None:
                result.append(None)
                continue
            room = extent + self.low[axis] + self.high[axis] - self.spans[axis]
            if room < 0:
                raise InferError(
                    f"the window of {self.spans[axis]} is larger than spatial dimension {axis}, "
                    f"which has {extent} elements ({room + self.spans[axis]} with padding)"
                )
            count = room // self.stride[axis] + 1
            if self.ceil_mode and room % self.stride[axis] and count * self.stride[axis] < extent + self.low[axis]:
                count += 1
            result.append(count)
        return tuple(result)

    def positions(self, window: Sequence[AffineExpr], inside: Sequence[AffineExpr]) -> tuple[AffineExpr, ...]:
        """Where in the input element `inside` of window number `window` lies."""
        return tuple(
            number * stride + offset * dilation - low
            for number, offset, stride, dilation, low in zip(window, inside, self.stride, self.dilation, self.low)
        )

    def may_leave(self, shape: Sequence[int], counts: Sequence[int]) -> list[tuple[bool, bool]]:
        """For each dimension, whether some of its `counts` windows begin before, and some end after, the input."""
        return [
            (low > 0, (count - 1) * stride - low + span > extent)
            for low, count, stride, span, extent in zip(self.low, counts, self.stride, self.spans, shape)
        ]

    def view(self, x: np.ndarray, fill: Any) -> np.ndarray:
        """The windows over the last dimensions of `x` as an array: [*leading, *counts, *kernel]."""
        leading = x.ndim - len(self.kernel)
        counts = self.result_shape(x.shape[leading:])
        padding = [(0, 0)] * leading
        for axis, extent in enumerate(x.shape[leading:]):
            count = counts[axis]
            assert count is not None
            needed = (count - 1) * self.stride[axis] + self.spans[axis]
            padding.append((self.low[axis], max(0, needed - extent - self.low[axis])))
        padded = np.pad(x, padding, constant_values=fill)
        axes = tuple(range(leading, x.ndim))
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.spans, axes)
        every = [slice(None)] * leading
        chosen = [slice(0, (count or 0) * stride, stride) for count, stride in zip(counts, self.stride)]
        return windows[(*every, *chosen, *(slice(None, None, step) for step in self.dilation))]
