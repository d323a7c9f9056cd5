"""Checks and small computations on shapes, axes and dtypes that the ``infer`` functions share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dlir.ir.dialects.nd.operands import spell_shape
from dlir.ir.errors import InferError
from dlir.ir.types import I1, FloatType, IntegerType, Shape, TensorType, Type

#: Spellings of the kinds that `kind_of` tells apart.
KIND_WORDS = {"b": "bool (i1)", "i": "integers", "u": "unsigned integers", "f": "floats"}


def kind_of(dtype: Type) -> str | None:
    """b, i, u or f for a bool, a signed or unsigned integer or a float; None for what arrays do not compute with."""
    if dtype is I1:
        return "b"
    if not (isinstance(dtype, IntegerType | FloatType) and dtype.has_numpy):
        return None
    if isinstance(dtype, IntegerType):
        return "u" if dtype.signedness == "unsigned" else "i"
    return "f"


def need_kind(dtype: Type, kinds: str) -> None:
    """InferError unless `dtype` is of one of `kinds`, letters as in `kind_of`."""
    kind = kind_of(dtype)
    if kind is None or kind not in kinds:
        if isinstance(dtype, IntegerType | FloatType) and kind is None:
            raise InferError(f"does not compute with {dtype}: no array in memory has such elements")
        # Where both kinds of integers are taken, "integers" says it.
        words = [KIND_WORDS[letter] for letter in kinds if letter != "u" or "i" not in kinds]
        listed = " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
        raise InferError(f"takes {listed}, got {dtype}", hint="convert with nd.cast")


def same_dtype(*types: TensorType) -> Type:
    """The one dtype of all operands; InferError if they differ."""
    for type in types[1:]:
        if type.dtype is not types[0].dtype:
            listed = " and ".join(str(type) for type in types)
            raise InferError(f"needs operands of one dtype, got {listed}", hint="convert one of them with nd.cast")
    return types[0].dtype


def same_shape(*types: TensorType) -> Shape:
    """The one shape of all operands; InferError if they differ."""
    for type in types[1:]:
        if type.shape != types[0].shape:
            listed = " and ".join(str(type) for type in types)
            raise InferError(
                f"needs operands of one shape, got {listed}", hint="make the shapes equal with nd.broadcast_to"
            )
    return types[0].shape


def normalize_axis(axis: int, rank: int) -> int:
    """`axis` counted from the front; a negative one counts from the back.  InferError if there is no such axis."""
    if not -rank <= axis < rank:
        raise InferError(f"axis {axis} is out of range for an array of rank {rank}")
    return axis % rank


def normalize_axes(axes: Iterable[int] | None, rank: int) -> tuple[int, ...]:
    """Axes counted from the front, in increasing order; all of them for None.  InferError for repeated ones."""
    if axes is None:
        return tuple(range(rank))
    found = sorted(normalize_axis(axis, rank) for axis in axes)
    if len(set(found)) < len(found):
        raise InferError(f"axes {list(axes)} name an axis twice")
    return tuple(found)


def reduced_shape(shape: Shape, axes: Sequence[int], keepdims: bool) -> Shape:
    """The shape after a reduction over `axes` (normalized)."""
    if keepdims:
        return tuple(1 if axis in axes else extent for axis, extent in enumerate(shape))
    return tuple(extent for axis, extent in enumerate(shape) if axis not in axes)


def fits(actual: int | None, expected: int | None) -> bool:
    """Whether two dimensions can be equal at run time."""
    return actual is None or expected is None or actual == expected


def need_shape(name: str, type: TensorType, expected: Shape, why: str) -> None:
    """InferError unless the shape of operand `name` is `expected`; `why` says where that comes from."""
    if type.shape != expected:
        raise InferError(f"needs {name} of shape {spell_shape(expected)} ({why}), got {type}")


def need_rank(name: str, type: TensorType, rank: int, layout: str) -> None:
    """InferError unless operand `name` has this rank; `layout` names its dimensions."""
    if type.rank != rank:
        raise InferError(f"needs {name} of rank {rank} ({layout}), got {type}")


def need_static(name: str, type: TensorType) -> tuple[int, ...]:
    """The shape of operand `name`; InferError if a dimension is only known at run time."""
    shape = tuple(extent for extent in type.shape if extent is not None)
    if len(shape) < type.rank:
        raise InferError(f"needs {name} of static shape, got {type}")
    return shape


def per_dim(name: str, value: tuple[int, ...] | None, count: int, default: int, least: int) -> tuple[int, ...]:
    """An attribute with one integer for each of `count` dimensions; `default` for all if it is None."""
    if value is None:
        return (default,) * count
    if len(value) != count:
        raise InferError(f"'{name}' needs {count} integers, one for each spatial dimension, got {list(value)}")
    if any(item < least for item in value):
        raise InferError(f"'{name}' must be at least {least}, got {list(value)}")
    return tuple(value)
