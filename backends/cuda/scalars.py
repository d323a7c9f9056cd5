"""Scalar types, constants and the closed vocabulary of scalar ops in CUDA C.

Each op of ``arith`` and ``math`` that kernels may hold has one entry here, which gives the C expression for its operands'
texts.  Anything else is an error: no text of the user's reaches the source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from dlir.ir.attributes import FloatAttr, IntegerAttr
from dlir.ir.core import Operation
from dlir.ir.errors import DlirError
from dlir.ir.types import BF16, F16, F32, F64, I1, FloatType, IndexType, IntegerType, Type

#: C types by the text of the IR type; `index` is chosen per translation unit.
C_TYPES = {
    "i1": "bool",
    "i8": "signed char",
    "i16": "short",
    "i32": "int",
    "i64": "long long",
    "f16": "__half",
    "bf16": "__nv_bfloat16",
    "f32": "float",
    "f64": "double",
    "index": "index_t",
}
_UNSIGNED = {
    "i1": "bool",
    "i8": "unsigned char",
    "i16": "unsigned short",
    "i32": "unsigned",
    "i64": "unsigned long long",
    "index": "uindex_t",
}


def c_type(type: Type, op: Operation) -> str:
    """The C type of a scalar; DlirError if CUDA kernels have none, at `op`."""
    found = C_TYPES.get(str(type))
    if found is None:
        raise DlirError(f"the CUDA backend has no type for {type}", op.location)
    return found


# ---------------------------------------------------------------- constants


def literal(value: float | int | bool, type: Type, op: Operation) -> str:
    """A constant, exact to the bit."""
    if isinstance(type, FloatType):
        return _float_literal(float(value), type, op)
    if type is I1:
        return "true" if value else "false"
    return _integer_literal(int(value), type, op)


def _float_literal(value: float, type: FloatType, op: Operation) -> str:
    if type is F64:
        if math.isnan(value):
            return "__longlong_as_double(0x7ff8000000000000LL)"
        if math.isinf(value):
            return f"__longlong_as_double({'0xfff' if value < 0 else '0x7ff'}0000000000000LL)"
        return value.hex()
    if math.isnan(value):
        single = "__int_as_float(0x7fc00000)"
    elif math.isinf(value):
        # Negative infinity's bits do not fit an int.
        single = ("-" if value < 0 else "") + "__int_as_float(0x7f800000)"
    else:
        single = value.hex() + "f"
    return single if type is F32 else narrow(single, type, op)


def _integer_literal(value: int, type: Type, op: Operation) -> str:
    ctype = c_type(type, op)
    width = type.width if isinstance(type, IntegerType) else 64
    value = (value + (1 << width - 1)) % (1 << width) - (1 << width - 1)  # a constant may be written as unsigned
    suffix = "LL" if width == 64 and not -(2**31) < value < 2**31 else ""
    if value == -(1 << width - 1):
        text = f"({value + 1}{suffix} - 1)"
    else:
        text = f"{value}{suffix}" if value >= 0 else f"({value}{suffix})"
    return text if ctype == "int" or ctype == "index_t" else f"({ctype}){text}"


def narrow(text: str, type: Type, op: Operation) -> str:
    """A float expression rounded to f16 or bf16."""
    if type is F16:
        return f"__float2half_rn({text})"
    if type is BF16:
        return f"__float2bfloat16_rn({text})"
    raise DlirError(f"the CUDA backend has no type for {type}", op.location)


def widen(text: str, type: Type) -> str:
    """An expression of any float type narrower than f64, as a float."""
    if type is F16:
        return f"__half2float({text})"
    return f"__bfloat162float({text})" if type is BF16 else text


# ---------------------------------------------------------------- ops

_Emitter = Callable[[Operation, Sequence[str]], str]
_TABLE: dict[str, _Emitter] = {}


def expression(op: Operation, operands: Sequence[str]) -> str:
    """The C expression that computes the only result of a scalar op from its operands' texts."""
    emitter = _TABLE.get(op.name)
    if emitter is None:
        raise DlirError(f"the CUDA backend has no code for '{op.name}'", op.location)
    return emitter(op, operands)


def _floating(single: str, double: str | None = None) -> _Emitter:
    """A float op from its text for float and double; narrower types compute in float and round once."""

    def emit(op: Operation, operands: Sequence[str]) -> str:
        type = op.operands[0].type
        if type is F64:
            return (double or single).format(*operands)
        text = single.format(*(widen(operand, type) for operand in operands))
        return text if type is F32 or op.results[0].type is I1 else narrow(text, type, op)

    return emit


def _function(name: str) -> _Emitter:
    arguments = ", ".join(f"{{{i}}}" for i in range(_ARITY.get(name, 1)))
    return _floating(f"{name}f({arguments})", f"{name}({arguments})")


_ARITY = {"pow": 2, "atan2": 2, "copysign": 2, "fmod": 2, "fma": 3}


def _wrapping(template: str) -> _Emitter:
    """Integer arithmetic modulo 2^width: C leaves signed overflow undefined, so it is done unsigned.

    Indices never overflow, and the compiler may use that.
    """

    def emit(op: Operation, operands: Sequence[str]) -> str:
        type = op.results[0].type
        if isinstance(type, IndexType):
            return template.format(*operands)
        text = template.format(*(f"(unsigned long long){operand}" for operand in operands))
        if str(type) in ("i1", "i8", "i16", "i32"):
            text = template.format(*(f"(unsigned){operand}" for operand in operands))
        return f"({c_type(type, op)})({text})"

    return emit


def _unsigned(template: str) -> _Emitter:
    def emit(op: Operation, operands: Sequence[str]) -> str:
        ctype = _UNSIGNED[str(op.operands[0].type)]
        text = template.format(*(f"({ctype}){operand}" for operand in operands))
        return text if op.results[0].type is I1 else f"({c_type(op.results[0].type, op)})({text})"

    return emit


def _signed(template: str) -> _Emitter:
    def emit(op: Operation, operands: Sequence[str]) -> str:
        text = template.format(*operands)
        # Small integers are promoted to int: what comes out is cut back.
        return f"({c_type(op.results[0].type, op)})({text})" if str(op.results[0].type) in ("i8", "i16") else text

    return emit


def _cast(op: Operation, operands: Sequence[str]) -> str:
    return f"({c_type(op.results[0].type, op)}){operands[0]}"


def _cast_unsigned(op: Operation, operands: Sequence[str]) -> str:
    source, target = op.operands[0].type, op.results[0].type
    text = f"({_UNSIGNED[str(source)]}){operands[0]}"
    return _to_float(text, target, op) if isinstance(target, FloatType) else f"({c_type(target, op)}){text}"


def _to_float(text: str, type: FloatType, op: Operation) -> str:
    if type in (F32, F64):
        return f"({c_type(type, op)}){text}"
    return narrow(f"(float){text}", type, op)


def _signed_to_float(op: Operation, operands: Sequence[str]) -> str:
    # i1 is 0 or -1 as a signed number.
    text = f"-(int){operands[0]}" if op.operands[0].type is I1 else operands[0]
    return _to_float(f"({text})", op.results[0].type, op)


def _float_to_integer(op: Operation, operands: Sequence[str]) -> str:
    source, target = op.operands[0].type, op.results[0].type
    ctype = c_type(target, op) if op.name == "arith.fptosi" else _UNSIGNED[str(target)]
    text = f"({ctype}){widen(operands[0], source)}"
    return text if op.name == "arith.fptosi" else f"({c_type(target, op)}){text}"


def _float_to_float(op: Operation, operands: Sequence[str]) -> str:
    source, target = op.operands[0].type, op.results[0].type
    text = widen(operands[0], source)
    return f"({c_type(target, op)}){text}" if target in (F32, F64) else narrow(f"(float){text}", target, op)


def _sign_extend(op: Operation, operands: Sequence[str]) -> str:
    text = f"-(int){operands[0]}" if op.operands[0].type is I1 else operands[0]
    return f"({c_type(op.results[0].type, op)})({text})"


def _truncate(op: Operation, operands: Sequence[str]) -> str:
    if op.results[0].type is I1:
        return f"({operands[0]} & 1) != 0"
    return _cast(op, operands)


def _constant(op: Operation, operands: Sequence[str]) -> str:
    value = op.attributes["value"]
    return literal(value.value, op.results[0].type, op)


_FLOAT_COMPARISONS = {
    "false": "false",
    "oeq": "{0} == {1}",
    "ogt": "{0} > {1}",
    "oge": "{0} >= {1}",
    "olt": "{0} < {1}",
    "ole": "{0} <= {1}",
    "one": "({0} < {1} || {0} > {1})",
    "ord": "({0} == {0} && {1} == {1})",
    "ueq": "!({0} < {1} || {0} > {1})",
    "ugt": "!({0} <= {1})",
    "uge": "!({0} < {1})",
    "ult": "!({0} >= {1})",
    "ule": "!({0} > {1})",
    "une": "{0} != {1}",
    "uno": "({0} != {0} || {1} != {1})",
    "true": "true",
}
