"""Formulas that scale an array by what it holds along some axes: softmax, log_softmax, layer_norm, rms_norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd.checks import need_kind, need_shape, normalize_axes, normalize_axis, same_dtype
from dlir.ir.dialects.nd.composite import FloatComposite, aligned, narrowed, widened
from dlir.ir.dialects.nd.gradients import of_each, of_first
from dlir.ir.dialects.nd.reduction import refuse_empty
from dlir.ir.dialects.nd.samples import random_array, random_dtype, random_shape
from dlir.ir.op import InferError, Tensor
from dlir.ir.ops import nd


class Softmax(FloatComposite, name="nd.softmax"):
    """exp(x - max(x)) / sum(exp(x - max(x))) along `axis`: positive, with sum 1."""

    @staticmethod
    def infer(x: Tensor, *, axis: int = -1) -> Tensor:
        need_kind(x.dtype, "f")
        refuse_empty(x.shape, (normalize_axis(axis, x.rank),))
        return x

    @staticmethod
    def decompose(x: Value, *, axis: int = -1) -> Value:
        wide = widened(x)
        powers = nd.exp(nd.sub(wide, nd.max(wide, axes=(axis,), keepdims=True)))
        return narrowed(nd.div(powers, nd.sum(powers, axes=(axis,), keepdims=True)), x)

    @of_first
    def vjp(self, g: Value) -> Value:
        y, wide = widened(self.result), widened(g)
        mean = nd.sum(nd.mul(wide, y), axes=(self["axis"],), keepdims=True)
        return narrowed(nd.mul(y, nd.sub(wide, mean)), g)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, random_shape(rng, 1), random_dtype(rng, "f"))
        axes = [axis for axis in range(-x.ndim, x.ndim) if x.shape[axis]]
        return ([x], {"axis": int(rng.choice(axes))}) if axes else ([np.ones((2, 0, 3), "f4")], {"axis": 0})


class LogSoftmax(FloatComposite, name="nd.log_softmax"):
    """log(softmax(x)) along `axis`, computed as x - max(x) - log(sum(exp(x - max(x)))): finite where softmax gives 0."""

    @staticmethod
    def infer(x: Tensor, *, axis: int = -1) -> Tensor:
        need_kind(x.dtype, "f")
        refuse_empty(x.shape, (normalize_axis(axis, x.rank),))
        return x

    @staticmethod
    def decompose(x: Value, *, axis: int = -1) -> Value:
        wide = widened(x)
        below = nd.sub(wide, nd.max(wide, axes=(axis,), keepdims=True))
        return narrowed(nd.sub(below, nd.log(nd.sum(nd.exp(below), axes=(axis,), keepdims=True))), x)

    @of_first
    def vjp(self, g: Value) -> Value:
        wide = widened(g)
        total = nd.sum(wide, axes=(self["axis"],), keepdims=True)
        return narrowed(nd.sub(wide, nd.mul(nd.exp(widened(self.result)), total)), g)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        return Softmax.sample(rng)


class LayerNorm(FloatComposite, name="nd.layer_norm"):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, with mean and variance over `axes`.

    `scale` and `bias` are optional, of the shape that the axes have in x.  The variance is the mean of the squared
    deviations.
    """

    @staticmethod
    def infer(
        x: Tensor,
        scale: Tensor | None = None,
        bias: Tensor | None = None,
        *,
        axes: tuple[int, ...] = (-1,),
        epsilon: float = 1e-5,
    ) -> Tensor:
        need_kind(x.dtype, "f")
        _need_weights(x, axes, scale=scale, bias=bias)
        return x

    @staticmethod
    def decompose(
        x: Value,
        scale: Value | None = None,
        bias: Value | None = None,
        *,
        axes: tuple[int, ...] = (-1,),
        epsilon: float = 1e-5,
    ) -> Value:
        wide, axes = widened(x), normalize_axes(axes, x.rank)
        centred = nd.sub(wide, nd.mean(wide, axes=axes, keepdims=True))
        result = nd.div(centred, _deviation(centred, axes, epsilon))
        if scale is not None:
            result = nd.mul(result, aligned(widened(scale), x.rank, axes))
        if bias is not None:
            result = nd.add(result, aligned(widened(bias), x.rank, axes))
        return narrowed(result, x)

    @of_each
    def vjp(self, g: Value, needs: Sequence[bool]) -> list[Value | None]:
        x, scale, bias = self.groups
        g, wide, axes = widened(g), widened(x), normalize_axes(self["axes"], x.rank)
        found: list[Value | None] = [None]
        if any(needs[: 2 if scale is not None else 1]):
            centred = nd.sub(wide, nd.mean(wide, axes=axes, keepdims=True))
            deviation = _deviation(centred, axes, self["epsilon"])
            normal = nd.div(centred, deviation)
        if needs[0]:
            weighted = _weighted(g, scale, axes)
            along = nd.mul(normal, nd.mean(nd.mul(weighted, normal), axes=axes, keepdims=True))
            level = nd.mean(weighted, axes=axes, keepdims=True)
            found[0] = narrowed(nd.div(nd.sub(nd.sub(weighted, level), along), deviation), x)
        if scale is not None:
            found.append(_summed(nd.mul(g, normal), scale, axes) if needs[1] else None)
        if bias is not None:
            found.append(_summed(g, bias, axes) if needs[-1] else None)
        return found

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        dtype = random_dtype(rng, "f")
        x = random_array(rng, random_shape(rng, 1), dtype)
        axes = tuple(axis for axis in range(x.ndim) if rng.random() < 0.5) or (-1,)
        shape = tuple(x.shape[axis] for axis in axes)
        extra = [random_array(rng, shape, dtype) if rng.random() < 0.6 else None for _ in range(2)]
        return [x, *extra], {"axes": axes, "epsilon": float(rng.choice([1e-5, 0.1]))}


class RmsNorm(FloatComposite, name="nd.rms_norm"):
    """x / sqrt(mean(x * x) + epsilon) * scale, with the mean over `axes` (Zhang and Sennrich, 2019).

    `scale` is optional, of the shape that the axes have in x.
    """

    @staticmethod
    def infer(
        x: Tensor, scale: Tensor | None = None, *, axes: tuple[int, ...] = (-1,), epsilon: float = 1e-5
    ) -> Tensor:
        need_kind(x.dtype, "f")
        _need_weights(x, axes, scale=scale)
        return x

    @staticmethod
    def decompose(
        x: Value, scale: Value | None = None, *, axes: tuple[int, ...] = (-1,), epsilon: float = 1e-5
    ) -> Value:
        wide, axes = widened(x), normalize_axes(axes, x.rank)
        result = nd.div(wide, _deviation(wide, axes, epsilon))
        if scale is not None:
            result = nd.mul(result, aligned(widened(scale), x.rank, axes))
        return narrowed(result, x)

    @of_each
    def vjp(self, g: Value, needs: Sequence[bool]) -> list[Value | None]:
        x, scale = self.groups
        g, wide, axes = widened(g), widened(x), normalize_axes(self["axes"], x.rank)
        deviation = _deviation(wide, axes, self["epsilon"])
        normal = nd.div(wide, deviation)
        found: list[Value | None] = [None]
        if needs[0]:
            weighted = _weighted(g, scale, axes)
            along = nd.mul(normal, nd.mean(nd.mul(weighted, normal), axes=axes, keepdims=True))
            found[0] = narrowed(nd.div(nd.sub(weighted, along), deviation), x)
        if scale is not None:
            found.append(_summed(nd.mul(g, normal), scale, axes) if needs[1] else None)
        return found

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        (x, scale, _), attributes = LayerNorm.sample(rng)
        return [x, scale], attributes


def _deviation(x: Value, axes: tuple[int, ...], epsilon: float) -> Value:
    """The root of the mean square along `axes`, which stay with extent 1, and epsilon."""
    return nd.sqrt(nd.add(nd.mean(nd.mul(x, x), axes=axes, keepdims=True), epsilon))


def _weighted(g: Value, scale: Value | None, axes: tuple[int, ...]) -> Value:
    """The cotangent of what was scaled, from that of the scaled."""
    return g if scale is None else nd.mul(g, aligned(widened(scale), g.rank, axes))


def _summed(g: Value, weights: Value, axes: tuple[int, ...]) -> Value:
    """The cotangent of `weights`, which lie along `axes`, from that of each element."""
    others = tuple(axis for axis in range(g.rank) if axis not in axes)
    return narrowed(nd.sum(g, axes=others) if others else g, weights)


def _need_weights(x: Tensor, axes: tuple[int, ...], **weights: Tensor | None) -> None:
    """InferError unless the weights that are there have the shape that `axes` have in x, and its dtype."""
    found = normalize_axes(axes, x.rank)
    normalized = tuple(x.shape[axis] for axis in found)
    for name, operand in weights.items():
        if operand is not None:
            same_dtype(x, operand)
            need_shape(name, operand, normalized, f"axes {list(found)} of {x}")
            if None in normalized and found != tuple(range(x.rank - len(found), x.rank)):
                raise InferError(f"cannot align {name} with dynamic axes {list(found)} that are not the last ones")
