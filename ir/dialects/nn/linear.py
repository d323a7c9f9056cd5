"""Layers with weights: dense and conv2d."""

from __future__ import annotations

import typing
from typing import Any

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd.checks import fits, need_rank
from dlir.ir.dialects.nd.contraction import Conv
from dlir.ir.dialects.nd.samples import pick, random_array
from dlir.ir.dialects.nn.base import Activation, Layer, activate, need_floats, need_vector
from dlir.ir.op import InferError, Tensor
from dlir.ir.ops import nd


class Dense(Layer, name="nn.dense"):
    """A fully connected layer: activation(x @ w + bias).

    x [..., batch, in], w [in, out], bias [out] (optional) -> [..., batch, out].  `softmax` and `log_softmax` go along the
    last axis.
    """

    @staticmethod
    def infer(x: Tensor, w: Tensor, bias: Tensor | None = None, *, activation: Activation = "none") -> Tensor:
        need_floats(x, w, bias)
        need_rank("w", w, 2, "in, out")
        if x.rank < 2:
            raise InferError(f"needs x of rank 2 or more (batch, features), got {x}", hint="put nn.flatten before it")
        inputs, outputs = w.shape
        if not fits(x.shape[-1], inputs):
            hint = "put nn.flatten before it" if x.rank > 2 else None
            raise InferError(f"x {x} has {x.shape[-1]} features, but w {w} takes {inputs}", hint=hint)
        need_vector("bias", bias, outputs, f"the outputs of w {w}")
        return x.with_shape((*x.shape[:-1], outputs))

    @staticmethod
    def decompose(x: Value, w: Value, bias: Value | None = None, *, activation: Activation = "none") -> Value:
        y = nd.matmul(x, w)
        return activate(y if bias is None else nd.add(y, bias), activation)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        batch, inputs, outputs = int(rng.integers(0, 4)), int(rng.integers(1, 5)), int(rng.integers(1, 5))
        leading = (2, batch) if rng.random() < 0.2 else (batch,)
        bias = random_array(rng, (outputs,)) if rng.random() < 0.6 else None
        activation = pick(rng, typing.get_args(Activation))
        arrays = [random_array(rng, (*leading, inputs)), random_array(rng, (inputs, outputs)), bias]
        return arrays, {"activation": activation}


class Conv2d(Layer, name="nn.conv2d"):
    """A two-dimensional convolution: activation(conv(x, w) + bias).

    x [N, C, H, W], w [O, C/groups, kh, kw], bias [O] (optional) -> [N, O, H', W'], where
    H' = (H + padding - dilation * (kh - 1) - 1) // stride + 1.  `padding` with zeros is (vertical, horizontal) on both
    sides, or (top, left, bottom, right).  `softmax` and `log_softmax` go along the
    last axis.
    """

    @staticmethod
    def infer(
        x: Tensor,
        w: Tensor,
        bias: Tensor | None = None,
        *,
        stride: tuple[int, ...] = (1, 1),
        padding: tuple[int, ...] = (0, 0),
        dilation: tuple[int, ...] = (1, 1),
        groups: int = 1,
        activation: Activation = "none",
    ) -> Tensor:
        need_floats(x, w, bias)
        need_rank("x", x, 4, "batch, channels, height, width")
        need_rank("w", w, 4, "output channels, channels in a group, height, width")
        need_vector("bias", bias, w.shape[0], f"the output channels of w {w}")
        return Conv.infer(x, w, stride=stride, padding=padding, dilation=dilation, groups=groups)

    @staticmethod
    def decompose(
        x: Value,
        w: Value,
        bias: Value | None = None,
        *,
        stride: tuple[int, ...] = (1, 1),
        padding: tuple[int, ...] = (0, 0),
        dilation: tuple[int, ...] = (1, 1),
        groups: int = 1,
        activation: Activation = "none",
    ) -> Value:
        y = nd.conv(
            x,
            w,
            stride=unless(stride, 1),
            padding=unless(padding, 0),
            dilation=unless(dilation, 1),
            groups=groups,
        )
        if bias is not None:
            y = nd.add(y, nd.reshape(bias, shape=(w.shape[0], 1, 1)))
        return activate(y, activation)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        groups = int(rng.integers(1, 3))
        channels, outputs = int(rng.integers(1, 3)), int(rng.integers(1, 3)) * groups
        kernel, dilation = rng.integers(1, 4, 2), rng.integers(1, 3, 2)
        size = [int(d * (k - 1) + rng.integers(1, 5)) for k, d in zip(kernel, dilation)]
        x = random_array(rng, (int(rng.integers(0, 3)), channels * groups, *size))
        w = random_array(rng, (outputs, channels, *kernel))
        bias = random_array(rng, (outputs,)) if rng.random() < 0.6 else None
        return [x, w, bias], {
            "stride": _pair(rng, 1, 3),
            "padding": _pair(rng, 0, 3),
            "dilation": tuple(int(d) for d in dilation),
            "groups": groups,
            "activation": pick(rng, ["none", *typing.get_args(Activation)]),
        }


def unless(value: tuple[int, ...], default: int) -> tuple[int, ...] | None:
    """`value`, or None if all of it is the default."""
    return None if all(item == default for item in value) else value


def _pair(rng: np.random.Generator, low: int, high: int) -> tuple[int, int]:
    return int(rng.integers(low, high)), int(rng.integers(low, high))
