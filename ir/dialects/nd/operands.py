"""What builders of ``nd`` ops accept beyond the IR: Python numbers, NumPy arrays, broadcasting and promotion.

The rules are NumPy 2's: a Python number takes the dtype of the arrays beside it unless its kind is higher, and trailing
dimensions are aligned.  What they need is made explicit as ``nd.constant``, ``nd.cast`` and ``nd.broadcast_to``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from dlir.ir.attributes import DenseElementsAttr
from dlir.ir.core import Value
from dlir.ir.errors import InferError
from dlir.ir.ops import nd
from dlir.ir.types import (
    BF16,
    F16,
    F32,
    F64,
    I1,
    I64,
    IntegerType,
    ScalarType,
    Shape,
    TensorType,
    dtype_from_numpy,
    is_float,
)

#: What a person may write where an op takes a tensor.
Operand = Value | np.ndarray | np.generic | bool | int | float


def constant(array: Any, dtype: ScalarType | None = None, shape: Shape | None = None) -> Value:
    """``nd.constant`` of a NumPy array, or of a number that fills `shape`."""
    array = np.asarray(array)
    if dtype is None:
        dtype = _dtype_of(array)
    with np.errstate(all="ignore"):
        array = array.astype(dtype.numpy)
    return nd.constant(value=DenseElementsAttr(array, TensorType(array.shape if shape is None else shape, dtype)))


def tensors(groups: Sequence[Any]) -> list[Any]:
    """Groups with a constant in place of each number and array."""
    return [tuple(map(_tensor, group)) if isinstance(group, tuple) else _tensor(group) for group in groups]


def _tensor(item: Any) -> Any:
    return item if item is None or isinstance(item, Value) else constant(_checked(item))


def promote(items: Sequence[Any], dtype: ScalarType | None = None) -> list[Any]:
    """The operands as tensors of one dtype: `dtype`, or the one that NumPy would compute in."""
    items = list(map(_checked, items))
    if not _are_tensors(items):
        return items
    if dtype is None:
        dtype = common_dtype(items)
    return [_as_dtype(item, dtype) for item in items]


def combine(items: Sequence[Any], dtypes_of: Callable[[list[Any]], Sequence[ScalarType]]) -> list[Any]:
    """The operands as tensors of one shape, each of the dtype that `dtypes_of` gives for it."""
    items = list(map(_checked, items))
    if not _are_tensors(items):
        return items
    shape = broadcast_shape([item.shape if isinstance(item, Value) else np.shape(item) for item in items])
    filled = None if None in shape else shape
    values = [_as_dtype(item, dtype, filled) for item, dtype in zip(items, dtypes_of(items), strict=True)]
    return [_broadcast(value, shape, values) for value in values]


def _are_tensors(items: Sequence[Any]) -> bool:
    """Whether all Values among the operands are tensors; if not, the op's own check says so."""
    return all(isinstance(item.type, TensorType) for item in items if isinstance(item, Value))


def _as_dtype(item: Any, dtype: ScalarType, shape: Shape | None = None) -> Any:
    """An operand as a tensor of `dtype`; InferError for a Python integer that it cannot hold."""
    if isinstance(item, Value):
        return item if item.dtype is dtype else nd.cast(item, dtype=dtype)
    if item is None:
        return None
    if isinstance(item, int) and isinstance(dtype, IntegerType) and dtype is not I1:
        limits = np.iinfo(dtype.numpy)
        if not limits.min <= item <= limits.max:
            raise InferError(f"the number {item} is out of bounds for {dtype}")
    return constant(item, dtype, shape if np.shape(item) == () else None)


def common_dtype(items: Iterable[Any]) -> ScalarType:
    """The dtype in which NumPy 2 would compute with these operands; InferError if there is none."""
    strong: ScalarType | None = None
    weak = 0
    for item in items:
        if type(item) in _WEAK:
            weak = max(weak, _WEAK[type(item)])
        elif item is not None:
            dtype = item.dtype if isinstance(item, Value) else _dtype_of(item)
            strong = dtype if strong is None else promoted(strong, dtype)
    if strong is None or weak > _rank(strong):
        return (I1, I1, I64, F64)[weak]
    return strong


def promoted(a: ScalarType, b: ScalarType) -> ScalarType:
    """The smallest dtype that NumPy considers able to hold both."""
    if a is b:
        return a
    if BF16 in (a, b):
        # NumPy has no rule for bf16: with f16 it makes f32, and integers do not widen it (as in JAX).
        other = b if a is BF16 else a
        return BF16 if not is_float(other) else F32 if other is F16 else other
    try:
        return dtype_from_numpy(np.result_type(a.numpy, b.numpy))
    except (TypeError, AttributeError):
        raise InferError(f"cannot combine {a} and {b}", hint="cast one of them with nd.cast") from None


def broadcast_shape(shapes: Sequence[Shape], what: str = "shapes") -> Shape:
    """The shape that NumPy's broadcasting gives; a dynamic dimension only meets itself or 1.  InferError if none."""
    rank = max(map(len, shapes))
    result: list[int | None] = [1] * rank
    for shape in shapes:
        for axis, extent in enumerate(shape, rank - len(shape)):
            if extent == 1 or extent == result[axis]:
                continue
            if result[axis] != 1:
                raise InferError(f"{what} {' and '.join(map(spell_shape, shapes))} do not broadcast{_why(shapes)}")
            result[axis] = extent
    return tuple(result)


def _broadcast(value: Value, shape: Shape, others: Sequence[Value]) -> Value:
    """`value` in `shape`; dynamic dimensions that it lacks are taken from the other operands."""
    for other in others:
        missing = None in _new_dims(value.shape, shape)
        if value.shape == shape or not missing:
            break
        partial = broadcast_shape([value.shape, other.shape])
        if None in _new_dims(value.shape, partial):
            value = nd.broadcast_to(value, other, shape=tuple(-1 if d is None else d for d in partial))
    if value.shape == shape:
        return value
    return nd.broadcast_to(value, shape=tuple(-1 if extent is None else extent for extent in shape))


def _new_dims(old: Shape, new: Shape) -> list[int | None]:
    """The dimensions of `new` that a value of shape `old` does not have itself."""
    padded = (1,) * (len(new) - len(old)) + old
    return [extent for before, extent in zip(padded, new, strict=True) if before != extent]


def spell_shape(shape: Shape) -> str:
    """A shape as text: ``2x?x3``; ``scalar`` for rank 0."""
    return "x".join("?" if extent is None else str(extent) for extent in shape) or "scalar"


def _why(shapes: Sequence[Shape]) -> str:
    return "; a dynamic dimension '?' only goes with itself and 1" if any(None in shape for shape in shapes) else ""


_WEAK: dict[type, int] = {bool: 1, int: 2, float: 3}


def _rank(dtype: ScalarType) -> int:
    """Where a dtype stands among bool, integers and floats."""
    return 1 if dtype is I1 else 3 if is_float(dtype) else 2


def _checked(item: Any) -> Any:
    """An operand that can become a tensor, as a Value, an array, a number or None; InferError for anything else."""
    if item is None or isinstance(item, Value | np.ndarray | np.generic) or type(item) in _WEAK:
        return item
    if isinstance(item, list | tuple):
        return np.asarray(item)
    raise InferError(f"takes tensors, arrays and numbers, got a {type(item).__name__}")


def _dtype_of(array: Any) -> ScalarType:
    try:
        return dtype_from_numpy(np.asarray(array).dtype)
    except TypeError as error:
        raise InferError(str(error)) from None
