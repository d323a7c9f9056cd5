"""Pooling layers over images: in windows of a given size or a given number, and over the whole image."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd.adaptive import AdaptiveAvgPool, AdaptiveMaxPool
from dlir.ir.dialects.nd.checks import need_kind, need_rank, per_dim
from dlir.ir.dialects.nd.pooling import AvgPool, MaxPool
from dlir.ir.dialects.nd.reduction import refuse_empty
from dlir.ir.dialects.nd.samples import random_array, random_dtype
from dlir.ir.dialects.nn.base import Layer
from dlir.ir.dialects.nn.linear import unless
from dlir.ir.op import Tensor
from dlir.ir.ops import nd

LAYOUT = "batch, channels, height, width"


class MaxPool2d(Layer, name="nn.max_pool2d"):
    """The largest element of each window: [N, C, H, W] -> [N, C, H', W'], H' = (H + padding - kernel) // stride + 1.

    `stride` defaults to `kernel`.  `padding`, of which nothing is ever chosen, is (vertical, horizontal) on both sides,
    or (top, left, bottom, right), and smaller than the kernel.  With `ceil_mode` the division rounds up, except for a
    last window that would start beyond the input.
    """

    @staticmethod
    def infer(
        x: Tensor,
        *,
        kernel: tuple[int, ...],
        stride: tuple[int, ...] | None = None,
        padding: tuple[int, ...] = (0, 0),
        ceil_mode: bool = False,
    ) -> Tensor:
        _check(x, kernel)
        return MaxPool.infer(x, kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)

    @staticmethod
    def decompose(
        x: Value,
        *,
        kernel: tuple[int, ...],
        stride: tuple[int, ...] | None = None,
        padding: tuple[int, ...] = (0, 0),
        ceil_mode: bool = False,
    ) -> Value:
        return nd.max_pool(x, kernel=kernel, stride=stride, padding=unless(padding, 0), ceil_mode=ceil_mode)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        return _sample(rng)


class AvgPool2d(Layer, name="nn.avg_pool2d"):
    """The mean of each window: [N, C, H, W] -> [N, C, H', W'], H' = (H + padding - kernel) // stride + 1.

    The attributes are those of ``nn.max_pool2d``.  With `count_include_pad` the zeros of the padding count as elements,
    else they do not; what lies beyond the padding never does.
    """

    @staticmethod
    def infer(
        x: Tensor,
        *,
        kernel: tuple[int, ...],
        stride: tuple[int, ...] | None = None,
        padding: tuple[int, ...] = (0, 0),
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> Tensor:
        _check(x, kernel)
        return AvgPool.infer(x, kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)

    @staticmethod
    def decompose(
        x: Value,
        *,
        kernel: tuple[int, ...],
        stride: tuple[int, ...] | None = None,
        padding: tuple[int, ...] = (0, 0),
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> Value:
        return nd.avg_pool(
            x,
            kernel=kernel,
            stride=stride,
            padding=unless(padding, 0),
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
        )

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        arrays, attributes = _sample(rng)
        return arrays, {**attributes, "count_include_pad": bool(rng.integers(2))}


class GlobalPool2d(Layer):
    """Base of pooling over whole images: [N, C, H, W] -> [N, C, 1, 1]."""

    @classmethod
    def infer(cls, x: Tensor) -> Tensor:
        need_kind(x.dtype, cls.kinds)
        need_rank("x", x, 4, LAYOUT)
        refuse_empty(x.shape, (2, 3))
        return x.with_shape((*x.shape[:2], 1, 1))

    #: The kinds of dtype that the layer takes.
    kinds: ClassVar[str]

    @classmethod
    def sample(cls, rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        batch, *rest = int(rng.integers(0, 3)), *(int(n) for n in rng.integers(1, 5, 3))
        return [random_array(rng, (batch, *rest), random_dtype(rng, cls.kinds))], {}


class GlobalAvgPool2d(GlobalPool2d, name="nn.global_avg_pool2d"):
    """The mean of each image: [N, C, H, W] -> [N, C, 1, 1]."""

    kinds = "f"

    @staticmethod
    def decompose(x: Value) -> Value:
        return nd.mean(x, axes=(2, 3), keepdims=True)


class GlobalMaxPool2d(GlobalPool2d, name="nn.global_max_pool2d"):
    """The largest element of each image, NaN if it has one: [N, C, H, W] -> [N, C, 1, 1]."""

    kinds = "if"

    @staticmethod
    def decompose(x: Value) -> Value:
        return nd.max(x, axes=(2, 3), keepdims=True)


class AdaptivePool2d(Layer):
    """Base of pooling to a given size."""

    of: ClassVar[Any]

    @classmethod
    def infer(cls, x: Tensor, *, output_size: tuple[int, ...]) -> Tensor:
        need_rank("x", x, 4, LAYOUT)
        per_dim("output_size", output_size, 2, 1, 1)
        return cls.of.infer(x, output_size=output_size)

    @classmethod
    def decompose(cls, x: Value, *, output_size: tuple[int, ...]) -> Value:
        return cls.of.build(x, output_size=output_size)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        shape = (int(rng.integers(0, 3)), int(rng.integers(1, 3)), *(int(n) for n in rng.integers(1, 9, 2)))
        output_size = tuple(int(n) for n in rng.integers(1, 5, 2))
        return [random_array(rng, shape)], {"output_size": output_size}


class AdaptiveAvgPool2d(AdaptivePool2d, name="nn.adaptive_avg_pool2d"):
    """The mean of each of `output_size` (vertical, horizontal) windows spread evenly: [N, C, H, W] -> [N, C, H', W'].

    Window i of n over an extent goes from floor(i * extent / n) to ceil((i + 1) * extent / n), as in PyTorch.
    """

    of = AdaptiveAvgPool


class AdaptiveMaxPool2d(AdaptivePool2d, name="nn.adaptive_max_pool2d"):
    """The largest element of each of the windows of ``nn.adaptive_avg_pool2d``: [N, C, H, W] -> [N, C, H', W']."""

    of = AdaptiveMaxPool


def _check(x: Tensor, kernel: tuple[int, ...]) -> None:
    need_rank("x", x, 4, LAYOUT)
    per_dim("kernel", kernel, 2, 1, 1)


def _sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
    kernel = tuple(int(n) for n in rng.integers(1, 4, 2))
    size = [k + int(rng.integers(0, 5)) for k in kernel]
    stride = tuple(int(n) for n in rng.integers(1, 4, 2)) if rng.random() < 0.7 else None
    # PyTorch takes at most half of the kernel.
    padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
    attributes = {"kernel": kernel, "stride": stride, "padding": padding, "ceil_mode": bool(rng.integers(2))}
    return [random_array(rng, (int(rng.integers(0, 3)), int(rng.integers(1, 3)), *size))], attributes
