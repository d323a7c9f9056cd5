"""Scalar types, constants and the closed vocabulary of scalar ops in CUDA C.

Each op of ``arith`` and ``math`` that a kernel may hold has one entry here, which gives the C expression for the texts
of its operands (names and literals).  Anything else is an error: nothing that a user wrote reaches the source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from dlir.backends.cuda.matrices import compute, constant_matrix, matrix_type
from dlir.ir.core import Operation
from dlir.ir.errors import DlirError
from dlir.ir.types import BF16, F16, F32, F64, I1, INDEX, FloatType, IntegerType, Type, VectorType

_INTEGERS = {1: "bool", 8: "signed char", 16: "short", 32: "int", 64: "long long"}
_UNSIGNED = {1: "bool", 8: "unsigned char", 16: "unsigned short", 32: "unsigned", 64: "unsigned long long"}
_FLOATS = {F16: "__half", BF16: "__nv_bfloat16", F32: "float", F64: "double"}


def c_type(type: Any, op: Operation) -> str:
    """The C type of a scalar, a vector or a warp's matrix; DlirError at `op` if kernels have none.

    Signedness lies in the ops, as in ``arith``.
    """
    if type is INDEX:
        return "index_t"
    if isinstance(type, VectorType) and type.rank == 1 and not type.scalable:
        return f"dl_vector<{c_type(type.dtype, op)}, {type.shape[0]}>"
    matrix = matrix_type(type, op)
    if matrix is not None:
        return matrix
    found = _INTEGERS.get(type.width) if isinstance(type, IntegerType) else _FLOATS.get(type)
    if found is None:
        raise DlirError(f"the CUDA backend has no type for {type}", op.location)
    return found


def _unsigned_type(type: Any) -> str:
    return "uindex_t" if type is INDEX else _UNSIGNED[type.width]


# ---------------------------------------------------------------- constants


def literal(value: float | int | bool, type: Any, op: Operation) -> str:
    """A constant of scalar `type`, exact to the bit."""
    if isinstance(type, FloatType):
        return _float_literal(float(value), type, op)
    if type is I1:
        return "true" if value else "false"
    return _integer_literal(int(value), type, op)


def _float_literal(value: float, type: FloatType, op: Operation) -> str:
    sign = "-" if math.copysign(1.0, value) < 0 and not math.isnan(value) else ""
    special = not math.isfinite(value)
    if type is F64:
        bits = "0x7ff8000000000000LL" if math.isnan(value) else "0x7ff0000000000000LL"
        text = f"__longlong_as_double({bits})" if special else abs(value).hex()
    else:
        bits = "0x7fc00000" if math.isnan(value) else "0x7f800000"
        text = f"__int_as_float({bits})" if special else abs(value).hex() + "f"
    text = f"({sign}{text})" if sign else text
    return text if type in (F32, F64) else narrow(text, type, op)


def _integer_literal(value: int, type: Any, op: Operation) -> str:
    ctype = c_type(type, op)
    width = type.width if isinstance(type, IntegerType) else 64
    value = (value + (1 << width - 1)) % (1 << width) - (1 << width - 1)  # a constant may be written as unsigned
    suffix = "LL" if width == 64 and not -(2**31) < value < 2**31 else ""
    # C has no negative literals: the smallest integer is an expression.
    lowest = value == -(1 << width - 1) and width >= 32
    text = f"{value + 1}{suffix} - 1" if lowest else f"{value}{suffix}"
    text = f"({text})" if value < 0 else text
    return text if ctype in ("int", "index_t") else f"({ctype}){text}"


def narrow(text: str, type: Type, op: Operation) -> str:
    """A float expression rounded to f16 or bf16."""
    names = {F16: "__float2half_rn", BF16: "__float2bfloat16_rn"}
    if type not in names:
        raise DlirError(f"the CUDA backend has no type for {type}", op.location)
    return f"{names[type]}({text})"


def widen(text: str, type: Type) -> str:
    """An f16 or bf16 expression as a float; others as they are."""
    names = {F16: "__half2float", BF16: "__bfloat162float"}
    return f"{names[type]}({text})" if type in names else text


# ---------------------------------------------------------------- kinds of entries

_Emitter = Callable[[Operation, Sequence[str]], str]


def expression(op: Operation, operands: Sequence[str]) -> str:
    """The C expression that computes the only result of a scalar op from its operands' texts."""
    emitter = _TABLE.get(op.name)
    if emitter is None:
        raise DlirError(f"the CUDA backend has no code for '{op.name}'", op.location)
    return emitter(op, operands)


def _result(op: Operation) -> Any:
    return op.results[0].type


def _floating(single: str, double: str | None = None) -> _Emitter:
    """A float op by its text for float and for double; narrower types compute in float and round."""

    def emit(op: Operation, operands: Sequence[str]) -> str:
        type = op.operands[0].type
        if type is F64:
            return (double or single).format(*operands)
        text = single.format(*(widen(operand, type) for operand in operands))
        return text if type is F32 or _result(op) is I1 else narrow(text, type, op)

    return emit


def _function(name: str, arity: int = 1) -> _Emitter:
    arguments = ", ".join(f"{{{i}}}" for i in range(arity))
    return _floating(f"{name}f({arguments})", f"{name}({arguments})")


def _wrapping(template: str) -> _Emitter:
    """Integer arithmetic modulo 2^width, done unsigned because C leaves signed overflow undefined.

    Indices never overflow, which the compiler may use.
    """

    def emit(op: Operation, operands: Sequence[str]) -> str:
        type = _result(op)
        if type is INDEX:
            return template.format(*operands)
        if type is I1:
            return f"({template.format(*operands)}) & 1"
        # At least 32 bits wide: two unsigned shorts would be multiplied as ints.
        wide = _UNSIGNED[max(32, type.width)]
        return f"({c_type(type, op)})({template.format(*(f'({wide}){operand}' for operand in operands))})"

    return emit


def _integer(template: str) -> _Emitter:
    """Signed integers; what C promoted to int is cut back."""

    def emit(op: Operation, operands: Sequence[str]) -> str:
        text = template.format(*operands)
        type = _result(op)
        return f"({c_type(type, op)})({text})" if isinstance(type, IntegerType) and 1 < type.width < 32 else text

    return emit


def _unsigned(template: str) -> _Emitter:
    """Integers taken as unsigned."""

    def emit(op: Operation, operands: Sequence[str]) -> str:
        ctype = _unsigned_type(op.operands[0].type)
        text = template.format(*(f"({ctype}){operand}" for operand in operands))
        return f"({c_type(_result(op), op)})({text})"

    return emit


def _division(checked: str, plain: str, unsigned: bool = False) -> _Emitter:
    """A division: by a constant other than 0 and -1 it needs no check."""

    def emit(op: Operation, operands: Sequence[str]) -> str:
        divisor = op.operands[1].defining_op
        known = divisor.get("value") if divisor is not None and divisor.name == "arith.constant" else None
        template = plain if known not in (None, 0, -1) else f"{checked}({{0}}, {{1}})"
        return (_unsigned if unsigned else _integer)(template)(op, operands)

    return emit


# ---------------------------------------------------------------- conversions


def _cast(op: Operation, operands: Sequence[str]) -> str:
    return f"({c_type(_result(op), op)}){operands[0]}"


def _sign_extend(op: Operation, operands: Sequence[str]) -> str:
    return f"({c_type(_result(op), op)}){_as_signed(op, operands)}"


def _zero_extend(op: Operation, operands: Sequence[str]) -> str:
    return f"({c_type(_result(op), op)})({_unsigned_type(op.operands[0].type)}){operands[0]}"


def _index_cast(op: Operation, operands: Sequence[str]) -> str:
    return _truncate(op, operands) if _result(op) is I1 else _sign_extend(op, operands)


def _truncate(op: Operation, operands: Sequence[str]) -> str:
    return f"({operands[0]} & 1) != 0" if _result(op) is I1 else _cast(op, operands)


def _as_signed(op: Operation, operands: Sequence[str]) -> str:
    """The operand as a signed number: true is -1."""
    return f"(-(int){operands[0]})" if op.operands[0].type is I1 else operands[0]


def _signed_to_float(op: Operation, operands: Sequence[str]) -> str:
    return _to_float(_as_signed(op, operands), op)


def _unsigned_to_float(op: Operation, operands: Sequence[str]) -> str:
    return _to_float(f"({_unsigned_type(op.operands[0].type)}){operands[0]}", op)


def _to_float(text: str, op: Operation) -> str:
    type = _result(op)
    return f"({_FLOATS[type]}){text}" if type in (F32, F64) else narrow(f"(float){text}", type, op)


def _float_to_integer(op: Operation, operands: Sequence[str]) -> str:
    type, text = _result(op), widen(operands[0], op.operands[0].type)
    is_signed = op.name == "arith.fptosi"
    if type is I1:
        return f"{text} <= -1" if is_signed else f"{text} >= 1"
    if is_signed:
        return f"dl_to_signed<{c_type(type, op)}>({text})"
    return f"({c_type(type, op)})dl_to_unsigned<{_unsigned_type(type)}>({text})"


def _extend_float(op: Operation, operands: Sequence[str]) -> str:
    return f"({c_type(_result(op), op)}){widen(operands[0], op.operands[0].type)}"


def _truncate_float(op: Operation, operands: Sequence[str]) -> str:
    source, target = op.operands[0].type, _result(op)
    if target is F32:
        return f"(float){operands[0]}"
    if source is F64:
        return f"{'__double2half' if target is F16 else '__double2bfloat16'}({operands[0]})"
    return narrow(operands[0], target, op)


_BITCASTS = {
    (F32, 32): "__float_as_int",
    (32, F32): "__int_as_float",
    (F64, 64): "__double_as_longlong",
    (64, F64): "__longlong_as_double",
    (F16, 16): "__half_as_short",
    (16, F16): "__short_as_half",
    (BF16, 16): "__bfloat16_as_short",
    (16, BF16): "__short_as_bfloat16",
}


def _bitcast(op: Operation, operands: Sequence[str]) -> str:
    ends: list[Any] = [op.operands[0].type, _result(op)]
    key = tuple(end.width if isinstance(end, IntegerType) else end for end in ends)
    if key[0] == key[1]:
        return operands[0]
    if key not in _BITCASTS:
        raise DlirError(f"the CUDA backend cannot see the bits of {ends[0]} as {ends[1]}", op.location)
    return f"{_BITCASTS[key]}({operands[0]})"


# ---------------------------------------------------------------- the rest


def _constant(op: Operation, operands: Sequence[str]) -> str:
    value = op.get("value")
    if not isinstance(value, bool | int | float):
        raise DlirError("the CUDA backend has no code for constant arrays inside a kernel", op.location)
    return literal(value, _result(op), op)


_INTEGER_PREDICATES = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_FLOAT_PREDICATES = {
    "false": "false",
    "oeq": "{0} == {1}",
    "ogt": "{0} > {1}",
    "oge": "{0} >= {1}",
    "olt": "{0} < {1}",
    "ole": "{0} <= {1}",
    "one": "{0} < {1} || {0} > {1}",
    "ord": "{0} == {0} && {1} == {1}",
    "ueq": "!({0} < {1} || {0} > {1})",
    "ugt": "!({0} <= {1})",
    "uge": "!({0} < {1})",
    "ult": "!({0} >= {1})",
    "ule": "!({0} > {1})",
    "une": "{0} != {1}",
    "uno": "{0} != {0} || {1} != {1}",
    "true": "true",
}


def _compare_integers(op: Any, operands: Sequence[str]) -> str:
    word = op.predicate
    template = f"{{0}} {_INTEGER_PREDICATES[word[-2:]]} {{1}}"
    if word[0] == "u":
        return _unsigned(template)(op, operands)
    return template.format(*(_as_signed(op, [operand]) for operand in operands))


def _compare_floats(op: Any, operands: Sequence[str]) -> str:
    return _floating(_FLOAT_PREDICATES[op.predicate])(op, operands)


_TABLE: dict[str, _Emitter] = {
    "arith.constant": _constant,
    "arith.addi": _wrapping("{0} + {1}"),
    "arith.subi": _wrapping("{0} - {1}"),
    "arith.muli": _wrapping("{0} * {1}"),
    "arith.divsi": _division("dl_div", "{0} / {1}"),
    "arith.remsi": _division("dl_rem", "{0} % {1}"),
    "arith.divui": _division("dl_divu", "{0} / {1}", unsigned=True),
    "arith.remui": _division("dl_remu", "{0} % {1}", unsigned=True),
    "arith.floordivsi": _integer("dl_floordiv({0}, {1})"),
    "arith.ceildivsi": _integer("dl_ceildiv({0}, {1})"),
    "arith.ceildivui": _unsigned("dl_ceildivu({0}, {1})"),
    "arith.andi": _integer("{0} & {1}"),
    "arith.ori": _integer("{0} | {1}"),
    "arith.xori": _integer("{0} ^ {1}"),
    "arith.shli": _unsigned("dl_shl({0}, {1})"),
    "arith.shrui": _unsigned("dl_shr({0}, {1})"),
    "arith.shrsi": _integer("dl_sar({0}, {1})"),
    "arith.maxsi": _integer("{0} > {1} ? {0} : {1}"),
    "arith.minsi": _integer("{0} < {1} ? {0} : {1}"),
    "arith.maxui": _unsigned("{0} > {1} ? {0} : {1}"),
    "arith.minui": _unsigned("{0} < {1} ? {0} : {1}"),
    "arith.addf": _floating("{0} + {1}"),
    "arith.subf": _floating("{0} - {1}"),
    "arith.mulf": _floating("{0} * {1}"),
    "arith.divf": _floating("{0} / {1}"),
    "arith.negf": _floating("-{0}"),
    "arith.remf": _function("fmod", 2),
    "arith.maximumf": _floating("dl_maximum({0}, {1})"),
    "arith.minimumf": _floating("dl_minimum({0}, {1})"),
    "arith.maxnumf": _function("fmax", 2),
    "arith.minnumf": _function("fmin", 2),
    "arith.cmpi": _compare_integers,
    "arith.cmpf": _compare_floats,
    "arith.select": lambda op, operands: "{} ? {} : {}".format(*operands),
    "arith.extsi": _sign_extend,
    "arith.extui": _zero_extend,
    "arith.trunci": _truncate,
    "arith.index_cast": _index_cast,
    "arith.index_castui": lambda op, operands: (_truncate if _result(op) is I1 else _zero_extend)(op, operands),
    "arith.sitofp": _signed_to_float,
    "arith.uitofp": _unsigned_to_float,
    "arith.fptosi": _float_to_integer,
    "arith.fptoui": _float_to_integer,
    "arith.extf": _extend_float,
    "arith.truncf": _truncate_float,
    "arith.bitcast": _bitcast,
    "vector.broadcast": lambda op, operands: f"dl_splat<{c_type(_result(op), op)}>({operands[0]})",
    "gpu.subgroup_mma_compute": compute,
    "gpu.subgroup_mma_constant_matrix": constant_matrix,
    "math.absi": _integer("dl_abs({0})"),
    "math.absf": _function("fabs"),
    "math.roundeven": _function("rint"),
    "math.powf": _function("pow", 2),
    "math.copysign": _function("copysign", 2),
    "math.fma": _function("fma", 3),
    **{
        f"math.{name}": _function(name)
        for name in "exp expm1 log log1p sqrt rsqrt tanh erf sin cos floor ceil trunc".split()
    },
}
