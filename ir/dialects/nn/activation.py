"""Activations, and flatten: layers without weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd.checks import need_kind, normalize_axis
from dlir.ir.dialects.nd.composite import Relu as NdRelu
from dlir.ir.dialects.nd.composite import Softmax as NdSoftmax
from dlir.ir.dialects.nd.movement import Reshape
from dlir.ir.dialects.nd.samples import random_array, random_dtype, random_shape
from dlir.ir.dialects.nn.base import Layer
from dlir.ir.op import InferError, Tensor
from dlir.ir.ops import nd
from dlir.ir.types import Shape


class Relu(Layer, name="nn.relu"):
    """max(x, 0); NaN for NaN."""

    @staticmethod
    def infer(x: Tensor) -> Tensor:
        return NdRelu.infer(x)

    @staticmethod
    def decompose(x: Value) -> Value:
        return nd.relu(x)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        return [random_array(rng, random_shape(rng), random_dtype(rng, "if"))], {}


class Sigmoid(Layer, name="nn.sigmoid"):
    """1 / (1 + exp(-x))."""

    @staticmethod
    def infer(x: Tensor) -> Tensor:
        need_kind(x.dtype, "f")
        return x

    @staticmethod
    def decompose(x: Value) -> Value:
        return nd.sigmoid(x)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        return [random_array(rng, random_shape(rng), random_dtype(rng, "f"))], {}


class Tanh(Layer, name="nn.tanh"):
    """The hyperbolic tangent."""

    @staticmethod
    def infer(x: Tensor) -> Tensor:
        need_kind(x.dtype, "f")
        return x

    @staticmethod
    def decompose(x: Value) -> Value:
        return nd.tanh(x)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        return [random_array(rng, random_shape(rng), random_dtype(rng, "f"))], {}


class Softmax(Layer, name="nn.softmax"):
    """exp(x) along `axis`, divided by its sum: positive, with sum 1."""

    @staticmethod
    def infer(x: Tensor, *, axis: int = -1) -> Tensor:
        return NdSoftmax.infer(x, axis=axis)

    @staticmethod
    def decompose(x: Value, *, axis: int = -1) -> Value:
        return nd.softmax(x, axis=axis)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, [(3,), (2, 5), (1, 1), (0, 4), (2, 3, 4)][int(rng.integers(5))])
        axis = int(rng.integers(-x.ndim, x.ndim))
        return [x], {"axis": axis if x.shape[axis] else -1}


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
