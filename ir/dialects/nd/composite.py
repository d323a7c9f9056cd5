"""Named formulas over other ``nd`` ops: relu, sigmoid, softmax, layer_norm, argmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Composite
from dlir.ir.dialects.nd.checks import (
    need_kind,
    need_shape,
    normalize_axes,
    normalize_axis,
    reduced_shape,
    same_dtype,
)
from dlir.ir.dialects.nd.operands import common_dtype, promote, tensors
from dlir.ir.dialects.nd.reduction import refuse_empty
from dlir.ir.dialects.nd.samples import random_array, random_dtype, random_shape
from dlir.ir.dialects.nd.scalars import accumulator
from dlir.ir.dialects.nd.unary import float_for
from dlir.ir.op import InferError, Tensor
from dlir.ir.ops import nd
from dlir.ir.types import I64, is_float


class Relu(Composite, name="nd.relu"):
    """max(x, 0); NaN for NaN."""

    @staticmethod
    def infer(x: Tensor) -> Tensor:
        need_kind(x.dtype, "if")
        return x

    @staticmethod
    def decompose(x: Value) -> Value:
        return nd.maximum(x, 0)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        return [random_array(rng, random_shape(rng), random_dtype(rng, "if"), special=True)], {}


class FloatComposite(Composite):
    """Base of formulas over floats; builders turn integers into the float that NumPy takes for functions."""

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        return promote(groups, float_for(common_dtype(groups)))


class Sigmoid(FloatComposite, name="nd.sigmoid"):
    """1 / (1 + exp(-x)); 0 and 1 far from zero.  f16 and bf16 are computed in f32."""

    @staticmethod
    def infer(x: Tensor) -> Tensor:
        need_kind(x.dtype, "f")
        return x

    @staticmethod
    def decompose(x: Value) -> Value:
        return _narrow(nd.div(1.0, nd.add(1.0, nd.exp(nd.neg(_widen(x))))), x)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        return [random_array(rng, random_shape(rng), random_dtype(rng, "f"), special=True)], {}


class Softmax(FloatComposite, name="nd.softmax"):
    """exp(x - max(x)) / sum(exp(x - max(x))) along `axis`: positive, with sum 1.  f16 and bf16 are computed in f32."""

    @staticmethod
    def infer(x: Tensor, *, axis: int = -1) -> Tensor:
        need_kind(x.dtype, "f")
        refuse_empty(x.shape, (normalize_axis(axis, x.rank),))
        return x

    @staticmethod
    def decompose(x: Value, *, axis: int = -1) -> Value:
        wide = _widen(x)
        powers = nd.exp(nd.sub(wide, nd.max(wide, axes=(axis,), keepdims=True)))
        return _narrow(nd.div(powers, nd.sum(powers, axes=(axis,), keepdims=True)), x)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, random_shape(rng, 1), random_dtype(rng, "f"))
        axes = [axis for axis in range(-x.ndim, x.ndim) if x.shape[axis]]
        return ([x], {"axis": int(rng.choice(axes))}) if axes else ([np.ones((2, 0, 3), "f4")], {"axis": 0})


class LayerNorm(FloatComposite, name="nd.layer_norm"):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, with mean and variance over `axes`.

    `scale` and `bias` are optional, of the shape that the axes have in x.  The variance is the mean of the squared
    deviations.  f16 and bf16 are computed in f32.
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
        found = normalize_axes(axes, x.rank)
        normalized = tuple(x.shape[axis] for axis in found)
        for name, operand in (("scale", scale), ("bias", bias)):
            if operand is not None:
                same_dtype(x, operand)
                need_shape(name, operand, normalized, f"axes {list(found)} of {x}")
                if None in normalized and found != tuple(range(x.rank - len(found), x.rank)):
                    raise InferError(f"cannot align {name} with dynamic axes {list(found)} that are not the last ones")
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
        wide, axes = _widen(x), normalize_axes(axes, x.rank)
        centred = nd.sub(wide, nd.mean(wide, axes=axes, keepdims=True))
        variance = nd.mean(nd.mul(centred, centred), axes=axes, keepdims=True)
        result = nd.div(centred, nd.sqrt(nd.add(variance, epsilon)))
        if scale is not None:
            result = nd.mul(result, aligned(_widen(scale), x.rank, axes))
        if bias is not None:
            result = nd.add(result, aligned(_widen(bias), x.rank, axes))
        return _narrow(result, x)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        dtype = random_dtype(rng, "f")
        x = random_array(rng, random_shape(rng, 1), dtype)
        axes = tuple(axis for axis in range(x.ndim) if rng.random() < 0.5) or (-1,)
        shape = tuple(x.shape[axis] for axis in axes)
        extra = [random_array(rng, shape, dtype) if rng.random() < 0.6 else None for _ in range(2)]
        return [x, *extra], {"axes": axes, "epsilon": float(rng.choice([1e-5, 0.1]))}


class Argmax(Composite, name="nd.argmax"):
    """The index (i64) of the largest element along `axis`; of equals the first.  A NaN counts as the largest."""

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        return tensors(groups)

    @staticmethod
    def infer(x: Tensor, *, axis: int, keepdims: bool = False) -> Tensor:
        need_kind(x.dtype, "bif")
        axes = (normalize_axis(axis, x.rank),)
        refuse_empty(x.shape, axes)
        return Tensor(reduced_shape(x.shape, axes, keepdims), I64)

    @staticmethod
    def decompose(x: Value, *, axis: int, keepdims: bool = False) -> Value:
        is_largest = nd.equal(x, nd.max(x, axes=(axis,), keepdims=True))
        if is_float(x.dtype):
            is_largest = nd.logical_or(is_largest, nd.not_equal(x, x))
        extents = tuple(-1 if extent is None else extent for extent in x.shape)
        index = nd.iota(x if -1 in extents else None, shape=extents, axis=axis, dtype=I64)
        # Where it is not the largest, an index beyond all: at least one is the largest, so it is never chosen.
        beyond = nd.select(is_largest, index, np.iinfo(np.int64).max)
        return nd.min(beyond, axes=(axis,), keepdims=keepdims)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, random_shape(rng, 1), random_dtype(rng), special=True)
        axes = [axis for axis in range(-x.ndim, x.ndim) if x.shape[axis]]
        if not axes:
            x, axes = np.ones((2, 0, 3), "f4"), [0]
        return [x], {"axis": int(rng.choice(axes)), "keepdims": bool(rng.integers(2))}


def aligned(value: Value, rank: int, axes: tuple[int, ...]) -> Value:
    """`value`, whose dimensions are the `axes` of an array of this rank, so that it broadcasts against that array."""
    if axes == tuple(range(rank - len(axes), rank)):
        return value
    extents = dict(zip(axes, value.shape))
    return nd.reshape(value, shape=tuple(extents.get(axis, 1) for axis in range(rank)))


def _widen(x: Value) -> Value:
    """`x`, as f32 when it is f16 or bf16."""
    dtype = accumulator(x.dtype)
    return x if dtype is x.dtype else nd.cast(x, dtype=dtype)


def _narrow(value: Value, like: Value) -> Value:
    """`value` in the dtype of `like`."""
    return value if value.dtype is like.dtype else nd.cast(value, dtype=like.dtype)
