"""Normalization layers: batch_norm and layer_norm."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd.checks import need_shape, normalize_axis
from dlir.ir.dialects.nd.samples import random_array
from dlir.ir.dialects.nn.base import Layer, need_floats, need_vector
from dlir.ir.op import InferError, Tensor
from dlir.ir.ops import nd


class BatchNorm(Layer, name="nn.batch_norm"):
    """Batch normalization with given statistics: (x - mean) * gamma / sqrt(var + epsilon) + beta for each channel.

    x [N, C, ...]; gamma, beta, mean and var [C].
    """

    @staticmethod
    def infer(x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, *, epsilon: float = 1e-5) -> Tensor:
        need_floats(x, gamma, beta, mean, var)
        if x.rank < 2:
            raise InferError(f"needs x of rank 2 or more (batch, channels, ...), got {x}")
        for name, type in (("gamma", gamma), ("beta", beta), ("mean", mean), ("var", var)):
            need_vector(name, type, x.shape[1], f"the channels of x {x}")
        return x

    @staticmethod
    def decompose(x: Value, gamma: Value, beta: Value, mean: Value, var: Value, *, epsilon: float = 1e-5) -> Value:
        scale = nd.div(gamma, nd.sqrt(nd.add(var, epsilon)))
        channels, ones = x.shape[1], (1,) * (x.rank - 2)
        if ones:
            shape = (-1 if channels is None else channels, *ones)
            mean, scale, beta = (nd.reshape(value, shape=shape) for value in (mean, scale, beta))
        return nd.add(nd.mul(nd.sub(x, mean), scale), beta)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        channels = int(rng.integers(1, 4))
        shape = [(2,), (0,), (1,)][int(rng.integers(3))] + (channels,) + [(), (3,), (2, 3)][int(rng.integers(3))]
        gamma, beta, mean, var = (random_array(rng, (channels,)) for _ in range(4))
        return [random_array(rng, shape), gamma, beta, mean, np.abs(var)], {"epsilon": float(rng.choice([1e-5, 1e-3]))}


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
