"""What ops that read and write at indices share: what an index means, which shapes fit, and their scalar code.

An index counts from the end when it is negative, as in NumPy.  One that is outside all the same is that of the nearest
element, so that nothing outside of an array is ever touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dlir.ir.affine import AffineExpr, constant, symbol
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import ElementContext
from dlir.ir.dialects.nd.checks import fits, kind_of
from dlir.ir.dialects.nd.gradients import extents
from dlir.ir.dialects.nd.operands import broadcast_shape, spell_shape
from dlir.ir.dialects.nd.operands import constant as nd_constant
from dlir.ir.dialects.nd.samples import pick, random_array, random_dtype, random_shape
from dlir.ir.errors import InferError
from dlir.ir.op import Tensor
from dlir.ir.ops import arith, nd
from dlir.ir.types import I8, I16, I32, I64, INDEX, UI8, UI16, UI32, Shape, TensorType

#: The dtypes that indices may have.  All their values fit the index type of loops, so that nothing wraps around.
INDEX_DTYPES = (I8, I16, I32, I64, UI8, UI16, UI32)


def need_indices(name: str, type: Tensor) -> None:
    """InferError unless operand `name` holds integers that can be indices."""
    if type.dtype not in INDEX_DTYPES:
        hint = "convert with nd.cast" if (kind_of(type.dtype) or "") in "iuf" else None
        raise InferError(f"needs integers, such as i64, as {name}, got {type}", hint=hint)


def need_elements(extent: int | None, indices: Shape) -> None:
    """InferError if an axis of `extent` has nothing to be found at indices of this shape."""
    if extent == 0 and 0 not in indices:
        raise InferError("an axis without elements has nothing at any index")


def need_fit(name: str, type: Tensor, expected: Shape, why: str) -> None:
    """InferError unless operand `name` can have shape `expected`; `why` says where that comes from."""
    if type.rank != len(expected) or not all(map(fits, type.shape, expected)):
        raise InferError(f"needs {name} of shape {spell_shape(expected)} ({why}), got {type}")


def need_along(x: Tensor, indices: Tensor, axis: int) -> None:
    """InferError unless the dimensions of `indices` can be those of x but for `axis`."""
    expected = list(x.shape)
    if indices.rank == x.rank:
        expected[axis] = indices.shape[axis]
    need_fit("indices", indices, tuple(expected), "that of x but for the axis")


def along_axis(values: list[Any], axis: int) -> list[Any]:
    """x and what goes along it at `axis`, with their other dimensions broadcast to each other, where that is needed."""
    if not all(isinstance(value.type, TensorType) for value in values):
        return values
    shapes = [value.type.shape for value in values]
    rank = len(shapes[0])
    if any(len(shape) != rank for shape in shapes) or not -rank <= axis < rank:
        return values
    axis %= rank
    others = [(*shape[:axis], 1, *shape[axis + 1 :]) for shape in shapes]
    if others.count(others[0]) == len(others) or any(None in shape for shape in shapes):
        return values
    common = broadcast_shape(others)
    return [_spread(value, (*common[:axis], shape[axis], *common[axis + 1 :])) for value, shape in zip(values, shapes)]


def _spread(value: Value, shape: Sequence[Any]) -> Value:
    return value if value.shape == shape else nd.broadcast_to(value, shape=shape)


def places(indices: np.ndarray, extent: int) -> np.ndarray:
    """Where the elements are that `indices` mean along an axis of `extent` elements."""
    found = indices.astype(np.int64)
    return np.clip(np.where(found < 0, found + extent, found), 0, max(extent - 1, 0))


def place_at(ctx: ElementContext, found: Value, dtype: Any, extent: int) -> AffineExpr:
    """As `places` for one index, a scalar of element type `dtype`, as code."""
    if extent <= 1:
        return constant(0)
    if kind_of(dtype) == "u":
        position = arith.index_castui(found, INDEX)
    else:
        position = arith.index_cast(found, INDEX)
        zero = ctx.constant(0, INDEX)
        from_end = arith.addi(position, ctx.constant(extent, INDEX))
        position = arith.maxsi(arith.select(arith.cmpi("slt", position, zero), from_end, position), zero)
    return symbol(arith.minsi(position, ctx.constant(extent - 1, INDEX)), extent)


def start_at(ctx: ElementContext, operand: int, dtype: Any, room: int) -> AffineExpr:
    """The first place of a slice: the scalar `operand`, brought to 0 .. `room`."""
    if room == 0:
        return constant(0)
    found = ctx.load(operand, ())
    if kind_of(dtype) == "u":
        position = arith.index_castui(found, INDEX)
    else:
        position = arith.maxsi(arith.index_cast(found, INDEX), ctx.constant(0, INDEX))
    return symbol(arith.minsi(position, ctx.constant(room, INDEX)), room + 1)


def zeros_like(x: Value) -> Value:
    """Zeros of the shape and dtype of `x`."""
    if None not in x.shape:
        return nd_constant(0, x.dtype, x.shape)
    return nd.broadcast_to(nd_constant(0, x.dtype), x, shape=extents(x))


def random_indices(rng: np.random.Generator, shape: Sequence[int], extent: int) -> np.ndarray:
    """Indices for ``sample``: most of them inside, some counted from the end, some outside."""
    dtype = pick(rng, [I32, I64, I64, I8, UI32])
    low = 0 if kind_of(dtype) == "u" else -extent
    found = rng.integers(low, max(extent, 1), tuple(shape))
    outside = rng.integers(0 if low == 0 else -extent - 3, extent + 4, tuple(shape))
    return np.asarray(np.where(rng.random(tuple(shape)) < 0.15, outside, found), dtype.numpy)


def random_along(rng: np.random.Generator, kinds: str) -> tuple[np.ndarray, np.ndarray, int]:
    """An array, indices along one of its axes, and that axis, for ``sample``: the indices have as many dimensions."""
    x = random_array(rng, random_shape(rng, 1), random_dtype(rng, kinds))
    axis = int(rng.integers(-x.ndim, x.ndim))
    shape = list(x.shape)
    shape[axis] = int(rng.integers(0, 5)) if x.shape[axis] else 0
    return x, random_indices(rng, shape, x.shape[axis]), axis
