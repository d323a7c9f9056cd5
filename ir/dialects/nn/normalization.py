"""Normalization layers: batch_norm, layer_norm, rms_norm and group_norm."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd.checks import need_shape, normalize_axis
from dlir.ir.dialects.nd.composite import narrowed, widened
from dlir.ir.dialects.nd.gradients import spread
from dlir.ir.dialects.nd.samples import pick, random_array, random_dtype
from dlir.ir.dialects.nn.base import Layer, need_floats, need_vector
from dlir.ir.op import InferError, Tensor
from dlir.ir.ops import nd


class BatchNorm(Layer, name="nn.batch_norm"):
    """Batch normalization with given statistics: (x - mean) * gamma / sqrt(var + epsilon) + beta for each channel.

    x [N, C, ...]; gamma, beta, mean and var [C].  f16 and bf16 are computed in f32, and the result is rounded once.
    """

    @staticmethod
    def infer(x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, *, epsilon: float = 1e-5) -> Tensor:
        need_channels(x, gamma=gamma, beta=beta, mean=mean, var=var)
        return x

    @staticmethod
    def decompose(x: Value, gamma: Value, beta: Value, mean: Value, var: Value, *, epsilon: float = 1e-5) -> Value:
        gamma, beta, mean, var = map(widened, (gamma, beta, mean, var))
        return narrowed(normalized(widened(x), gamma, beta, mean, var, epsilon), x)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        channels = int(rng.integers(1, 4))
        shape = [(2,), (0,), (1,)][int(rng.integers(3))] + (channels,) + [(), (3,), (2, 3)][int(rng.integers(3))]
        gamma, beta, mean, var = (random_array(rng, (channels,)) for _ in range(4))
        return [random_array(rng, shape), gamma, beta, mean, np.abs(var)], {"epsilon": float(rng.choice([1e-5, 1e-3]))}


class BatchNormTrain(Layer, name="nn.batch_norm_train"):
    """Batch normalization with the statistics of the batch itself, and running statistics brought up to date.

    x [N, C, ...]; gamma, beta, mean and var [C].  Gives (y, new mean, new var): y is (x - batch mean) * gamma /
    sqrt(batch variance + epsilon) + beta for each channel, and a new statistic is (1 - momentum) * old + momentum *
    batch's, the variance that of a sample (with n - 1), as in PyTorch.  f16 and bf16 are computed in f32.
    """

    @staticmethod
    def infer(
        x: Tensor,
        gamma: Tensor,
        beta: Tensor,
        mean: Tensor,
        var: Tensor,
        *,
        momentum: float = 0.1,
        epsilon: float = 1e-5,
    ) -> tuple[Tensor, Tensor, Tensor]:
        need_channels(x, gamma=gamma, beta=beta, mean=mean, var=var)
        if x.is_static and x.size == x.shape[1]:
            raise InferError(f"needs more than one value for each channel, got {x}")
        return x, mean, var

    @staticmethod
    def decompose(
        x: Value,
        gamma: Value,
        beta: Value,
        mean: Value,
        var: Value,
        *,
        momentum: float = 0.1,
        epsilon: float = 1e-5,
    ) -> tuple[Value, Value, Value]:
        wide, axes = widened(x), (0, *range(2, x.rank))
        batch_mean = nd.mean(wide, axes=axes)
        centred = nd.sub(wide, per_channel(batch_mean, x))
        square = nd.sum(nd.mul(centred, centred), axes=axes)
        count = element_count(wide, axes)
        batch_var = nd.div(square, count)
        y = normalized(wide, widened(gamma), widened(beta), batch_mean, batch_var, epsilon)
        sample_var = nd.div(square, nd.sub(count, 1.0) if isinstance(count, Value) else count - 1.0)
        moved = [
            narrowed(nd.add(nd.mul(widened(old), 1.0 - momentum), nd.mul(new, momentum)), old)
            for old, new in ((mean, batch_mean), (var, sample_var))
        ]
        return narrowed(y, x), moved[0], moved[1]

    def vjp(self, cotangents: Sequence[Value | None], needs: Sequence[bool]) -> list[Value | None]:
        """Two sums over the batch, of g and of g times the deviation, give all gradients (Ioffe and Szegedy, 2015)."""
        x, gamma, beta, mean, var = self.operands
        g, g_mean, g_var = (None if g is None else widened(g) for g in cotangents)
        wide, axes, momentum = widened(x), (0, *range(2, x.rank)), self["momentum"]
        centred = nd.sub(wide, per_channel(nd.mean(wide, axes=axes), x))
        count = element_count(wide, axes)
        parts: list[Value] = []
        found: list[Value | None] = [None] * 5
        if g is not None:
            batch_var = nd.div(nd.sum(nd.mul(centred, centred), axes=axes), count)
            deviation = nd.sqrt(nd.add(batch_var, self["epsilon"]))
            total, slant = nd.sum(g, axes=axes), nd.sum(nd.mul(g, centred), axes=axes)
            found[1] = narrowed(nd.div(slant, deviation), gamma)
            found[2] = narrowed(total, beta)
            level = nd.div(total, count)
            tilt = nd.div(nd.div(slant, count), nd.mul(deviation, deviation))
            rest = nd.sub(nd.sub(g, per_channel(level, x)), nd.mul(centred, per_channel(tilt, x)))
            parts.append(nd.mul(rest, per_channel(nd.div(widened(gamma), deviation), x)))
        if g_mean is not None:
            found[3] = narrowed(nd.mul(g_mean, 1.0 - momentum), mean)
            parts.append(spread(nd.div(nd.mul(g_mean, momentum), count), wide, axes))
        if g_var is not None:
            found[4] = narrowed(nd.mul(g_var, 1.0 - momentum), var)
            others = nd.sub(count, 1.0) if isinstance(count, Value) else count - 1.0
            parts.append(nd.mul(centred, per_channel(nd.div(nd.mul(g_var, 2.0 * momentum), others), x)))
        found[0] = narrowed(functools.reduce(nd.add, parts), x)
        return found

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        arrays, attributes = BatchNorm.sample(rng)
        x = arrays[0]
        if x.size == x.shape[1]:
            arrays[0] = np.concatenate([x, x + 1])
        return arrays, {**attributes, "momentum": float(rng.choice([0.1, 0.5]))}


class LayerNorm(Layer, name="nn.layer_norm"):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, with mean and variance over the axes from `axis` on.

    gamma and beta (both optional) have the shape of those axes.
    """

    @staticmethod
    def infer(
        x: Tensor,
        gamma: Tensor | None = None,
        beta: Tensor | None = None,
        *,
        axis: int = -1,
        epsilon: float = 1e-5,
    ) -> Tensor:
        need_floats(x, gamma, beta)
        axis = normalize_axis(axis, x.rank)
        for name, type in (("gamma", gamma), ("beta", beta)):
            if type is not None:
                need_shape(name, type, x.shape[axis:], f"the axes from {axis} on of x {x}")
        return x

    @staticmethod
    def decompose(
        x: Value,
        gamma: Value | None = None,
        beta: Value | None = None,
        *,
        axis: int = -1,
        epsilon: float = 1e-5,
    ) -> Value:
        axes = (-1,) if axis == -1 else tuple(range(normalize_axis(axis, x.rank), x.rank))
        return nd.layer_norm(x, gamma, beta, axes=axes, epsilon=epsilon)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, [(4,), (2, 3), (0, 3), (2, 1), (2, 3, 4)][int(rng.integers(5))])
        axis = int(rng.integers(-x.ndim, x.ndim))
        shape = x.shape[axis % x.ndim :]
        extra = [random_array(rng, shape) if rng.random() < 0.6 else None for _ in range(2)]
        return [x, *extra], {"axis": axis, "epsilon": float(rng.choice([1e-5, 1e-3]))}


class RmsNorm(Layer, name="nn.rms_norm"):
    """x / sqrt(mean(x * x) + epsilon) * gamma, with the mean over the axes from `axis` on.

    gamma (optional) has the shape of those axes.
    """

    @staticmethod
    def infer(x: Tensor, gamma: Tensor | None = None, *, axis: int = -1, epsilon: float = 1e-5) -> Tensor:
        return LayerNorm.infer(x, gamma, None, axis=axis, epsilon=epsilon)

    @staticmethod
    def decompose(x: Value, gamma: Value | None = None, *, axis: int = -1, epsilon: float = 1e-5) -> Value:
        axes = (-1,) if axis == -1 else tuple(range(normalize_axis(axis, x.rank), x.rank))
        return nd.rms_norm(x, gamma, axes=axes, epsilon=epsilon)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        (x, gamma, _), attributes = LayerNorm.sample(rng)
        return [x, gamma], attributes


class GroupNorm(Layer, name="nn.group_norm"):
    """Layer normalization of each group of neighbouring channels: (x - mean) / sqrt(variance + epsilon) * gamma + beta.

    x [N, C, ...], whose channels are cut into `groups` of equal size; gamma and beta (both optional) [C].  f16 and bf16
    are computed in f32, and the result is rounded once.  One dimension may be dynamic, but not the channels.
    """

    @staticmethod
    def infer(
        x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, *, groups: int, epsilon: float = 1e-5
    ) -> Tensor:
        need_channels(x, gamma=gamma, beta=beta)
        channels = x.shape[1]
        if channels is None or groups < 1 or channels % groups:
            raise InferError(
                f"the {'?' if channels is None else channels} channels of {x} cannot be split into {groups} groups"
            )
        if x.shape.count(None) > 1:
            raise InferError(f"needs x with one dynamic dimension at most, got {x}")
        return x

    @staticmethod
    def decompose(
        x: Value, gamma: Value | None = None, beta: Value | None = None, *, groups: int, epsilon: float = 1e-5
    ) -> Value:
        batch, channels, *spatial = (-1 if extent is None else extent for extent in x.shape)
        inner = (channels // groups, *spatial)
        grouped = nd.reshape(widened(x), shape=(batch, groups, *inner))
        axes = tuple(range(2, grouped.rank))
        result = nd.reshape(nd.layer_norm(grouped, axes=axes, epsilon=epsilon), shape=(batch, channels, *spatial))
        if gamma is not None:
            result = nd.mul(result, per_channel(widened(gamma), x))
        if beta is not None:
            result = nd.add(result, per_channel(widened(beta), x))
        return narrowed(result, x)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        groups, size = (int(n) for n in rng.integers(1, 4, 2))
        shape = (pick(rng, [0, 1, 2]), groups * size, *pick(rng, [(), (3,), (2, 3), (1, 1)]))
        dtype = random_dtype(rng, "f")
        weights = [random_array(rng, (groups * size,), dtype) if rng.random() < 0.6 else None for _ in range(2)]
        return [random_array(rng, shape, dtype), *weights], {
            "groups": groups,
            "epsilon": float(rng.choice([1e-5, 1e-3])),
        }


def need_channels(x: Tensor, **weights: Tensor | None) -> None:
    """InferError unless all are floats of one dtype, x is [N, C, ...] and the weights that are there [C]."""
    need_floats(x, *weights.values())
    if x.rank < 2:
        raise InferError(f"needs x of rank 2 or more (batch, channels, ...), got {x}")
    for name, type in weights.items():
        need_vector(name, type, x.shape[1], f"the channels of x {x}")


def per_channel(weight: Value, x: Value) -> Value:
    """`weight` [C] in a shape that broadcasts against x [N, C, ...]."""
    ones = (1,) * (x.rank - 2)
    channels = x.shape[1]
    return nd.reshape(weight, shape=(-1 if channels is None else channels, *ones)) if ones else weight


def normalized(x: Value, gamma: Value, beta: Value, mean: Value, var: Value, epsilon: float) -> Value:
    """(x - mean) * gamma / sqrt(var + epsilon) + beta for each channel."""
    scale = nd.div(gamma, nd.sqrt(nd.add(var, epsilon)))
    mean, scale, beta = (per_channel(value, x) for value in (mean, scale, beta))
    return nd.add(nd.mul(nd.sub(x, mean), scale), beta)


def element_count(x: Value, axes: tuple[int, ...]) -> Value | float:
    """How many elements a reduction of x over `axes` combines; a sum of ones where that is known at run time only."""
    extents = [x.shape[axis] for axis in axes]
    if None not in extents:
        return float(math.prod(extents))
    ones = nd.broadcast_to(np.ones((), x.dtype.numpy), x, shape=tuple(-1 if n is None else n for n in x.shape))
    return nd.sum(ones, axes=axes)
