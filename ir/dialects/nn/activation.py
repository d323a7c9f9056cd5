"""Activations, and flatten: layers without weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd import activation as nd_activation
from dlir.ir.dialects.nd import normalization as nd_normalization
from dlir.ir.dialects.nd.checks import normalize_axis
from dlir.ir.dialects.nd.movement import Reshape
from dlir.ir.dialects.nd.samples import random_array, random_dtype, random_shape
from dlir.ir.dialects.nd.unary import Tanh as NdTanh
from dlir.ir.dialects.nn.base import Layer, Mirror
from dlir.ir.op import InferError, Tensor
from dlir.ir.ops import nd
from dlir.ir.types import Shape


class Relu(Mirror, name="nn.relu", of=nd_activation.Relu):
    """max(x, 0); NaN for NaN."""


class Sigmoid(Mirror, name="nn.sigmoid", of=nd_activation.Sigmoid):
    """1 / (1 + exp(-x))."""


class Tanh(Mirror, name="nn.tanh", of=NdTanh):
    """The hyperbolic tangent."""


class Gelu(Mirror, name="nn.gelu", of=nd_activation.Gelu):
    """x times the normal distribution's probability of a value below x, exactly or, with `tanh`, nearly."""


class Silu(Mirror, name="nn.silu", of=nd_activation.Silu):
    """x * sigmoid(x), also called swish."""


class HardSwish(Mirror, name="nn.hardswish", of=nd_activation.HardSwish):
    """x * max(0, min(6, x + 3)) / 6."""


class HardSigmoid(Mirror, name="nn.hardsigmoid", of=nd_activation.HardSigmoid):
    """max(0, min(1, alpha * x + beta))."""


class Elu(Mirror, name="nn.elu", of=nd_activation.Elu):
    """x above zero, alpha * (exp(x) - 1) elsewhere."""


class LeakyRelu(Mirror, name="nn.leaky_relu", of=nd_activation.LeakyRelu):
    """x above zero, alpha * x elsewhere."""


class Softmax(Mirror, name="nn.softmax", of=nd_normalization.Softmax):
    """exp(x) along `axis`, divided by its sum: positive, with sum 1."""


class LogSoftmax(Mirror, name="nn.log_softmax", of=nd_normalization.LogSoftmax):
    """The logarithm of softmax along `axis`, finite where softmax itself gives 0."""


class Flatten(Layer, name="nn.flatten"):
    """The dimensions from `axis` on joined into one; those before it stay.  One dimension may be dynamic."""

    @staticmethod
    def infer(x: Tensor, *, axis: int = 1) -> Tensor:
        return Reshape.infer(x, shape=_flattened(x.shape, axis))

    @staticmethod
    def decompose(x: Value, *, axis: int = 1) -> Value:
        return nd.reshape(x, shape=_flattened(x.shape, axis))

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, random_shape(rng, 1), random_dtype(rng))
        return [x], {"axis": int(rng.integers(-x.ndim, x.ndim))}


def _flattened(shape: Shape, axis: int) -> tuple[int, ...]:
    """The shape for nd.reshape: -1 stands where a dimension is dynamic."""
    axis = normalize_axis(axis, len(shape))
    joined: int | None = 1
    for extent in shape[axis:]:
        joined = None if joined is None or extent is None else joined * extent
    found = tuple(-1 if extent is None else extent for extent in (*shape[:axis], joined))
    if found.count(-1) > 1:
        raise InferError(f"cannot flatten from axis {axis}: more than one dimension is dynamic")
    return found
