"""The closed list of what a rule may ask: functions, adjectives and stances.

A function that has no answer (the shape of a value with dynamic dimensions, the number of what is no constant) raises
Undefined: the rule does not match then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlir.ir.attributes import BoolAttr, DenseElementsAttr, FloatAttr, IntegerAttr
from dlir.ir.core import Value
from dlir.ir.types import I1, IndexType, IntegerType, ScalarType, ShapedType, is_float, is_integer


class Undefined(Exception):
    """A question that has no answer here."""


@dataclass(frozen=True, slots=True)
class Function:
    """One function: the kinds of its arguments and of its result, its meaning, and a line of help.

    A kind is value, type, integer, number, list, bool or text; ``any`` is an attribute whose kind is not known.
    """

    params: tuple[str, ...]
    result: str
    call: Callable[..., Any]
    help: str


@dataclass(frozen=True, slots=True)
class Adjective:
    """What may stand behind ``is``, for a subject of some kinds."""

    kinds: tuple[str, ...]
    test: Callable[[Any], bool]
    help: str


# ---------------------------------------------------------------- constants


def constant_of(value: Value) -> Any:
    """The attribute of the constant that `value` is, or None."""
    op = value.defining_op
    if op is None or op.name not in ("nd.constant", "arith.constant"):
        return None
    found = op.attributes["value"]
    return found if isinstance(found, DenseElementsAttr | IntegerAttr | FloatAttr | BoolAttr) else None


def splat_of(value: Value) -> Any:
    """The one element, a NumPy scalar, that fills the constant `value`, also by way of ``nd.broadcast_to``; or None."""
    while (op := value.defining_op) is not None and op.name == "nd.broadcast_to":
        value = op.operands[0]
    found = constant_of(value)
    if isinstance(found, DenseElementsAttr):
        return found.array[()] if found.is_splat else None
    if found is None or not isinstance(value.dtype, ScalarType):
        return None
    return np.asarray(found.value).astype(value.dtype.numpy)[()]


def same_number(element: Any, number: int | float | bool) -> bool:
    """Whether a constant's element is the number that a rule writes.

    A number with a point means floats only, and is rounded to the element's type; 0.0 and -0.0 differ.  One without means any
    type that holds it, and the float zero that 0 stands for is 0.0.
    """
    dtype = element.dtype
    if isinstance(number, bool):
        return dtype.kind == "b" and bool(element) is number
    is_integral = dtype.kind in "iub"
    if isinstance(number, float):
        if is_integral:
            return False
        with np.errstate(all="ignore"):
            wanted = float(np.asarray(number).astype(dtype))
        found = float(element)
        return (math.isnan(wanted) and math.isnan(found)) or _same_float(found, wanted)
    return int(element) == number if is_integral else _same_float(float(element), float(number))


def _same_float(a: float, b: float) -> bool:
    return a == b and math.copysign(1, a) == math.copysign(1, b)


def _number(value: Value) -> Any:
    found = splat_of(value)
    if found is None:
        raise Undefined
    return found.item() if found.dtype.kind in "iubf" else float(found)


# ---------------------------------------------------------------- shapes and axes


def _shape(value: Value) -> tuple[int, ...]:
    if not isinstance(value.type, ShapedType):
        return ()
    if None in value.shape:
        raise Undefined
    return value.shape


def _rank(value: Value) -> int:
    return len(value.shape) if isinstance(value.type, ShapedType) else 0


def _dim(value: Value, axis: int) -> int:
    if not -_rank(value) <= axis < _rank(value) or value.shape[axis] is None:
        raise Undefined
    return value.shape[axis]


def _axes(axes: int | Sequence[int] | None, value: Value) -> tuple[int, ...]:
    rank = _rank(value)
    if axes is None:
        return tuple(range(rank))
    given = [axes] if isinstance(axes, int) else list(axes)
    if any(not -rank <= axis < rank for axis in given):
        raise Undefined
    return tuple(sorted({axis % rank for axis in given}))


def _permutation(perm: Sequence[int] | None, value: Value) -> tuple[int, ...]:
    rank = _rank(value)
    if perm is None:
        return tuple(range(rank))[::-1]
    if sorted(axis % rank if rank else axis for axis in perm) != list(range(rank)):
        raise Undefined
    return tuple(axis % rank for axis in perm)


def _compose(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...]:
    if any(not 0 <= axis < len(first) for axis in second):
        raise Undefined
    return tuple(first[axis] for axis in second)


def _swapped(items: Sequence[Any]) -> tuple[Any, ...]:
    if len(items) < 2:
        raise Undefined
    return (*items[:-2], items[-1], items[-2])


def _extents(axes: Any, value: Value) -> tuple[int, ...]:
    return tuple(_dim(value, axis) for axis in _axes(axes, value))


def _trailing(axes: Any, value: Value) -> bool:
    found = _axes(axes, value)
    return found == tuple(range(_rank(value) - len(found), _rank(value)))


def _only(items: Sequence[Any]) -> Any:
    if len(items) != 1:
        raise Undefined
    return items[0]


def _full(count: int, item: Any) -> tuple[Any, ...]:
    if not 0 <= count <= 64:
        raise Undefined
    return (item,) * count


# ---------------------------------------------------------------- types


def element_type(type: Any) -> Any:
    """The element type of a shaped type, else the type itself."""
    return type.dtype if isinstance(type, ShapedType) else type


def _widens(narrow: Any, wide: Any) -> bool:
    """Whether each number of one element type is a number of another, bit for bit in both directions."""
    narrow, wide = element_type(narrow), element_type(wide)
    if narrow is wide:
        return True
    if narrow is I1:
        return is_integer(wide) or is_float(wide)
    if is_float(narrow) and is_float(wide):
        return _digits(narrow) <= _digits(wide) and _exponent(narrow) <= _exponent(wide)
    if is_integer(narrow) and is_float(wide):
        return _bits(narrow) <= _digits(wide) and _bits(narrow) < _exponent(wide)
    if is_integer(narrow) and is_integer(wide):
        if _is_unsigned(narrow) == _is_unsigned(wide):
            return _bits(narrow) <= _bits(wide)
        return _is_unsigned(narrow) and _bits(narrow) < _bits(wide)
    return False


def _is_unsigned(dtype: Any) -> bool:
    return isinstance(dtype, IntegerType) and dtype.signedness == "unsigned"


def _bits(dtype: Any) -> int:
    return 64 if isinstance(dtype, IndexType) else dtype.width


def _digits(dtype: Any) -> int:
    """Binary digits of a float's significand, the implied one included."""
    return _finfo(dtype).nmant + 1


def _exponent(dtype: Any) -> int:
    return _finfo(dtype).maxexp


def _finfo(dtype: Any) -> Any:
    import ml_dtypes

    return ml_dtypes.finfo(dtype.numpy)


# ---------------------------------------------------------------- the tables

FUNCTIONS: dict[str, Function] = {
    "type": Function(("value",), "type", lambda value: value.type, "the type of a value"),
    "dtype": Function(("value",), "type", lambda value: element_type(value.type), "its element type"),
    "shape": Function(("value",), "list", _shape, "its shape; undefined if a dimension is dynamic"),
    "rank": Function(("value",), "integer", _rank, "how many dimensions it has"),
    "size": Function(("value",), "integer", lambda value: math.prod(_shape(value)), "how many elements it has"),
    "dim": Function(("value", "integer"), "integer", _dim, "its extent along an axis; undefined if dynamic"),
    "value": Function(("value",), "number", _number, "the number that fills a constant; undefined for anything else"),
    "axes": Function(
        ("any", "value"), "list", _axes, "an axis or axes, counted from the front and sorted; all for `none`"
    ),
    "extents": Function(("any", "value"), "list", _extents, "the extents of a value along some axes"),
    "count": Function(
        ("any", "value"),
        "integer",
        lambda axes, value: math.prod(_extents(axes, value)),
        "how many elements lie along them",
    ),
    "trailing": Function(("any", "value"), "bool", _trailing, "whether some axes are the last ones of a value"),
    "permutation": Function(("any", "value"), "list", _permutation, "`perm` with its default (reversed) filled in"),
    "compose": Function(("list", "list"), "list", _compose, "first one permutation, then another"),
    "swapped": Function(("list",), "list", _swapped, "a list with its last two items exchanged; undefined if shorter"),
    "range": Function(("integer",), "list", lambda count: tuple(range(count)), "[0, 1, ...]: so many"),
    "full": Function(("integer", "any"), "list", _full, "a list with so many times the same"),
    "only": Function(("list",), "any", _only, "the one element of a list; undefined if it has more or none"),
    "length": Function(("list",), "integer", len, "how many elements a list has"),
    "widens": Function(
        ("type", "type"), "bool", _widens, "whether the second type holds every number of the first exactly"
    ),
}

_DTYPES = "i1 i8 i16 i32 i64 ui8 ui16 ui32 ui64 f16 bf16 f32 f64 index".split()

ADJECTIVES: dict[str, Adjective] = {
    "float": Adjective(("type",), lambda type: is_float(element_type(type)), "of floats"),
    "integer": Adjective(("type",), lambda type: is_integer(element_type(type)), "of integers (bools are none)"),
    "bool": Adjective(("type",), lambda type: element_type(type) is I1, "of bools"),
    "static": Adjective(
        ("type",), lambda type: not isinstance(type, ShapedType) or type.is_static, "without dynamic dimensions"
    ),
    "constant": Adjective(
        ("value",), lambda value: constant_of(value) is not None, "a constant that stands in the text"
    ),
    "splat": Adjective(
        ("value",), lambda value: splat_of(value) is not None, "a constant that is one number everywhere"
    ),
    "none": Adjective(("any", "list"), lambda found: found is None, "an attribute that is not there"),
    **{
        name: Adjective(("type",), lambda type, name=name: str(element_type(type)) == name, f"of {name}")  # type: ignore[misc]
        for name in _DTYPES
    },
}

#: What a rule may ignore: then its two sides may differ there.
STANCES: dict[str, str] = {
    "nan": "an input or a value on the way that is NaN: the result may be anything (LLVM's `nnan`)",
    "inf": "an input or a value on the way that is infinite: the result may be anything (`ninf`)",
    "signed zero": "whether a zero is 0.0 or -0.0 (`nsz`)",
    "rounding": "the last bits: the order of a sum, how often is rounded (`reassoc`, `contract`, `afn`)",
}
