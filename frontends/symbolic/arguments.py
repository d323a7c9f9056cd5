"""What a person writes as arguments of an op, a function or an optimiser: checked by name, and with the line it stands in."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np

from dlir.ir.errors import DlirError, did_you_mean
from dlir.ir.location import UNKNOWN, FileLoc, Location
from dlir.ir.op import Op
from dlir.ir.schema import AttributeSpec
from dlir.ir.types import ARRAY_DTYPES, ScalarType, dtype_from_numpy

Params = ParamSpec("Params")
Result = TypeVar("Result")

#: Element types by their names in the IR.
_NAMES = {str(dtype): dtype for dtype in ARRAY_DTYPES}
#: Names that NumPy reads in bytes, and the IR in bits.
_AMBIGUOUS = {"i1": "'bool' or 'int8'", "i8": "'int8' or 'int64'"}


def line_of_user() -> Location:
    """The line of the program that called into this package."""
    frame = sys._getframe(1)
    while frame.f_globals.get("__name__", "").startswith("dlir."):
        if frame.f_back is None:
            return UNKNOWN
        frame = frame.f_back
    return FileLoc(frame.f_code.co_filename, frame.f_lineno, 1)


def sorted_arguments(
    cls: type[Op], inputs: Sequence[Any], keywords: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """The operands in order and the attributes of an op; operands may be given by name, too."""
    schema = cls.schema()
    operands = list(inputs)
    names = [spec.name for spec in schema.operands]
    attributes = {}
    for name, value in keywords.items():
        if name in names:
            position = names.index(name)
            operands += [None] * (position + 1 - len(operands))
            if operands[position] is not None:
                raise DlirError(f"'{cls.op_name}' gets operand '{name}' twice", line_of_user())
            operands[position] = value
        elif name in schema.attributes:
            attributes[name] = _attribute(cls.op_name, schema.attributes[name], value)
        else:
            known = [*names, *schema.attributes]
            hint = did_you_mean(name, known) or f"it takes {', '.join(known) or 'none'}"
            raise DlirError(f"'{cls.op_name}' has no attribute '{name}'", line_of_user(), hint=hint)
    return operands, attributes


def _attribute(op: str, spec: AttributeSpec, value: Any) -> Any:
    """The value of an attribute, which may be a dtype in NumPy's words, or one number for a list of them."""
    if value is None or spec.kind not in _KINDS:
        return element_type(value) if spec.kind == "a scalar type" else value
    if spec.kind == "a list of integers":
        value = (value,) if isinstance(value, int | np.integer) else value
        is_right = isinstance(value, Sequence) and all(isinstance(item, int | np.integer) for item in value)
    else:
        is_right = isinstance(value, _KINDS[spec.kind])
    if not is_right:
        raise DlirError(f"'{op}' attribute '{spec.name}' must be {spec.kind}, got {value!r}", line_of_user())
    return tuple(value) if spec.kind == "a list of integers" else value


#: What may be given for the attributes of plain values.
_KINDS: dict[str, Any] = {
    "a bool": bool | np.bool_,
    "an integer": int | np.integer,
    "a float": int | float | np.integer | np.floating,
    "a string": str,
    "a list of integers": Sequence,
}


def element_type(dtype: Any) -> Any:
    """A dtype as NumPy takes it (``"float32"``, ``np.int64``, ``float``), or by its name in the IR (``"f32"``); None stays."""
    if dtype is None or isinstance(dtype, ScalarType):
        return dtype
    if isinstance(dtype, str) and dtype in _AMBIGUOUS:
        raise DlirError(f"the dtype '{dtype}' may mean two things", line_of_user(), hint=f"write {_AMBIGUOUS[dtype]}")
    try:
        return dtype_from_numpy(dtype)
    except TypeError:
        pass
    if isinstance(dtype, str) and dtype in _NAMES:
        return _NAMES[dtype]
    known = [found.numpy.name for found in _NAMES.values()]
    hint = (did_you_mean(dtype, known) if isinstance(dtype, str) else None) or f"dtypes: {', '.join(known)}"
    raise DlirError(f"there is no dtype {dtype!r}", line_of_user(), hint=hint)


def spell_dtype(dtype: Any) -> str:
    """An element type as `element_type` and NumPy take it: ``'float32'``."""
    return repr(dtype.numpy.name)


def with_known_keywords(function: Callable[Params, Result]) -> Callable[Params, Result]:
    """`function`, which raises DlirError with the name that was meant for a keyword that it does not have."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return function
    names = [parameter.name for parameter in parameters if parameter.name != "self"]
    title = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def checked(*args: Params.args, **keywords: Params.kwargs) -> Result:
        for name in keywords:
            if name not in names:
                hint = did_you_mean(name, names) or f"it takes {', '.join(names)}"
                raise DlirError(f"'{title}' has no argument '{name}'", line_of_user(), hint=hint)
        return function(*args, **keywords)

    return checked


def result_count(cls: type[Op]) -> int | None:
    """How many results an op has that always has several; None for one that has one."""
    found = str(cls.infer.__annotations__.get("return", ""))
    if not found.startswith("tuple[") or "..." in found:
        return None
    return found.count(",") + 1
