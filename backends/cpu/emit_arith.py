"""`arith` and `math` in LLVM IR, as tables from op to instruction.

What LLVM leaves undefined is defined here as in the ops' `eval`: x / 0 is 0, a shift by the width or more gives 0 or
the sign, a float out of range saturates.  The guards fold away where the operand is constant.

float16 and bfloat16 are computed in a wider type and rounded after each op, so that each is rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dlir.backends.cpu import emit_casts
from dlir.backends.cpu.emit_casts import is_narrow, like, mangled, narrow, widen
from dlir.backends.cpu.emit_function import FunctionEmitter, Handler
from dlir.backends.cpu.llvm_types import element_type, elements, lanes, llvm_type, splat
from dlir.ir.attributes import Attribute, DenseElementsAttr
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.arith import constant_value
from dlir.ir.dialects.arith.compare import Compare
from dlir.ir.dialects.enums import FASTMATH, OVERFLOW
from dlir.ir.types import F32, F64, I1, Type, VectorType

FLOAT_INSTRUCTIONS = {
    "arith.addf": "fadd",
    "arith.subf": "fsub",
    "arith.mulf": "fmul",
    "arith.divf": "fdiv",
    "arith.remf": "frem",
}
FLOAT_INTRINSICS = {
    "arith.maximumf": "maximum",
    "arith.minimumf": "minimum",
    "arith.maxnumf": "maxnum",
    "arith.minnumf": "minnum",
    "math.absf": "fabs",
    "math.ceil": "ceil",
    "math.copysign": "copysign",
    "math.floor": "floor",
    "math.roundeven": "roundeven",
    "math.sqrt": "sqrt",
    "math.trunc": "trunc",
}
#: Functions of :mod:`vector_math`.
MATH_FUNCTIONS = {
    "math.cos": "cos",
    "math.erf": "erf",
    "math.exp": "exp",
    "math.expm1": "expm1",
    "math.log": "log",
    "math.log1p": "log1p",
    "math.powf": "pow",
    "math.sin": "sin",
    "math.tanh": "tanh",
}
INTEGER_INSTRUCTIONS = {
    "arith.addi": "add",
    "arith.subi": "sub",
    "arith.muli": "mul",
    "arith.andi": "and",
    "arith.ori": "or",
    "arith.xori": "xor",
}
INTEGER_INTRINSICS = {
    "arith.maxsi": "smax",
    "arith.maxui": "umax",
    "arith.minsi": "smin",
    "arith.minui": "umin",
}


# ---------------------------------------------------------------- floats


def fastmath_flags(attribute: Attribute | None) -> str:
    """Fast-math flags as LLVM writes them, with a space behind."""
    words = FASTMATH.decode(attribute) if attribute is not None else None
    return "".join(f"{word} " for word in words or () if word != "none")


def float_operands(f: FunctionEmitter, op: Operation, dtype: Type = F32) -> tuple[list[str], Type]:
    """The operands and the type in which they are computed: narrow floats are widened to `dtype`."""
    type_ = op.operands[0].type
    names = [f.name(operand) for operand in op.operands]
    if not is_narrow(type_):
        return names, type_
    return [widen(f, name, type_, dtype) for name in names], like(type_, dtype)


def set_float_result(f: FunctionEmitter, op: Operation, name: str, type_: Type) -> None:
    """`name`, of the type computed in, becomes the result."""
    target = op.result.type
    f.names[op.result] = name if type_ is target else narrow(f, name, type_, target)


def _float_instruction(opcode: str) -> Handler:
    def emit(f: FunctionEmitter, op: Operation) -> None:
        names, type_ = float_operands(f, op)
        flags = fastmath_flags(op.attributes.get("fastmath"))
        set_float_result(f, op, f.emit(f"{opcode} {flags}{llvm_type(type_)} {', '.join(names)}"), type_)

    return emit


def intrinsic(f: FunctionEmitter, name: str, operands: Sequence[str], type_: Type, flags: str = "") -> str:
    """A call of `@llvm.<name>`, whose operands and result are of one type."""
    text = llvm_type(type_)
    symbol = f"@llvm.{name}.{mangled(type_)}"
    f.module.declare(f"declare {text} {symbol}({', '.join(text for _ in operands)})")
    return f.emit(f"call {flags}{text} {symbol}({', '.join(f'{text} {operand}' for operand in operands)})")


def _float_intrinsic(name: str) -> Handler:
    def emit(f: FunctionEmitter, op: Operation) -> None:
        names, type_ = float_operands(f, op)
        found = intrinsic(f, name, names, type_, fastmath_flags(op.attributes.get("fastmath")))
        set_float_result(f, op, found, type_)

    return emit


def fma(f: FunctionEmitter, op: Operation) -> None:
    """Products of narrow floats are exact in float64, whose sum is then rounded to them."""
    names, type_ = float_operands(f, op, F64)
    set_float_result(f, op, intrinsic(f, "fma", names, type_), type_)


def _rsqrt(f: FunctionEmitter, op: Operation) -> None:
    names, type_ = float_operands(f, op)
    root = intrinsic(f, "sqrt", names, type_)
    set_float_result(f, op, f.emit(f"fdiv {llvm_type(type_)} {splat(1.0, type_)}, {root}"), type_)


def _negf(f: FunctionEmitter, op: Operation) -> None:
    f.emit(f"fneg {f.typed(op.operands[0])}", op.result)


def _math_function(name: str) -> Handler:
    def emit(f: FunctionEmitter, op: Operation) -> None:
        names, type_ = float_operands(f, op)
        dtype = element_type(type_)
        symbol = f.module.math_function(name, "f64" if dtype is F64 else "f32")
        scalar = llvm_type(dtype)
        if not isinstance(type_, VectorType):
            arguments = ", ".join(f"{scalar} {x}" for x in names)
            set_float_result(f, op, f.emit(f"call {scalar} {symbol}({arguments})"), type_)
            return
        # By element: the optimiser puts the lanes together again.
        vector, result = llvm_type(type_), "poison"
        for lane in range(lanes(type_)):
            parts = [f.emit(f"extractelement {vector} {x}, i64 {lane}") for x in names]
            found = f.emit(f"call {scalar} {symbol}({', '.join(f'{scalar} {part}' for part in parts)})")
            result = f.emit(f"insertelement {vector} {result}, {scalar} {found}, i64 {lane}")
        set_float_result(f, op, result, type_)

    return emit


# ---------------------------------------------------------------- integers


def _integer_instruction(opcode: str) -> Handler:
    def emit(f: FunctionEmitter, op: Operation) -> None:
        left, right = op.operands
        promised = op.attributes.get("overflowFlags")
        words = OVERFLOW.decode(promised) if promised is not None else None
        flags = "".join(f"{word} " for word in words or () if word != "none")
        f.emit(f"{opcode} {flags}{f.typed(left)}, {f.name(right)}", op.result)

    return emit


def _integer_intrinsic(name: str) -> Handler:
    def emit(f: FunctionEmitter, op: Operation) -> None:
        names = [f.name(operand) for operand in op.operands]
        f.names[op.result] = intrinsic(f, name, names, op.operands[0].type)

    return emit


def _absi(f: FunctionEmitter, op: Operation) -> None:
    type_ = op.result.type
    arguments = [(llvm_type(type_), f.name(op.operands[0])), ("i1", "false")]
    f.call(llvm_type(type_), f"@llvm.abs.{mangled(type_)}", arguments, op.result)


class _Integers:
    """Writes integer instructions on one type, by name."""

    def __init__(self, f: FunctionEmitter, type_: Type) -> None:
        self.f, self.type, self.text = f, type_, llvm_type(type_)

    def constant(self, value: int) -> str:
        return splat(value, self.type)

    def op(self, opcode: str, left: str, right: str) -> str:
        return self.f.emit(f"{opcode} {self.text} {left}, {right}")

    def is_(self, predicate: str, left: str, right: str) -> str:
        return self.f.emit(f"icmp {predicate} {self.text} {left}, {right}")

    def select(self, condition: str, yes: str, no: str) -> str:
        bools = llvm_type(like(self.type, I1))
        return self.f.emit(f"select {bools} {condition}, {self.text} {yes}, {self.text} {no}")

    def bit(self, condition: str) -> str:
        return self.f.emit(f"zext {llvm_type(like(self.type, I1))} {condition} to {self.text}")

    def both(self, one: str, two: str) -> str:
        return self.f.emit(f"and {llvm_type(like(self.type, I1))} {one}, {two}")


class _Division:
    """Quotient towards zero and remainder; by 0 both are 0, and the least integer by -1 wraps around."""

    def __init__(self, i: _Integers, signed: bool, left: str, right: str) -> None:
        self._i, self._signed, self._left, self._right = i, signed, left, right
        self._divisor = right
        self._by_zero = self._by_minus_one = ""
        if right.isdecimal() and right != "0":
            return
        # A divisor that LLVM leaves undefined is replaced by 1, and the result put right.
        self._by_zero = i.is_("eq", right, i.constant(0))
        self._divisor = i.select(self._by_zero, i.constant(1), right)
        if signed:
            self._by_minus_one = i.is_("eq", right, i.constant(-1))
            self._divisor = i.select(self._by_minus_one, i.constant(1), self._divisor)

    def remainder(self) -> str:
        return self._i.op("srem" if self._signed else "urem", self._left, self._divisor)

    def quotient(self) -> str:
        i = self._i
        quotient = i.op("sdiv" if self._signed else "udiv", self._left, self._divisor)
        if self._by_minus_one:
            quotient = i.select(self._by_minus_one, i.op("sub", i.constant(0), self._left), quotient)
        return i.select(self._by_zero, i.constant(0), quotient) if self._by_zero else quotient


def _division(name: str) -> Handler:
    signed = name.endswith("si")

    def emit(f: FunctionEmitter, op: Operation) -> None:
        i = _Integers(f, op.operands[0].type)
        left, right = (f.name(operand) for operand in op.operands)
        division = _Division(i, signed, left, right)
        if name.startswith("rem"):
            f.names[op.result] = division.remainder()
            return
        quotient = division.quotient()
        if name.startswith(("floordiv", "ceildiv")):
            rest = division.remainder()
            uneven = i.is_("ne", rest, i.constant(0))
            if signed:
                # The quotient towards zero is the upper one where remainder and divisor differ in sign.
                predicate = "slt" if name.startswith("floor") else "sge"
                uneven = i.both(uneven, i.is_(predicate, i.op("xor", rest, right), i.constant(0)))
            quotient = i.op("sub" if name.startswith("floor") else "add", quotient, i.bit(uneven))
        f.names[op.result] = quotient

    return emit


def _shift(opcode: str) -> Handler:
    def emit(f: FunctionEmitter, op: Operation) -> None:
        type_ = op.operands[0].type
        i = _Integers(f, type_)
        left, count = (f.name(operand) for operand in op.operands)
        element = llvm_type(element_type(type_))
        width = int(element[1:])
        if count.isdecimal() and int(count) < width:
            f.names[op.result] = i.op(opcode, left, count)
        elif opcode == "ashr":
            f.names[op.result] = i.op(opcode, left, intrinsic(f, "umin", [count, i.constant(width - 1)], type_))
        else:
            inside = i.is_("ult", count, i.constant(width))
            shifted = i.op(opcode, left, i.select(inside, count, i.constant(0)))
            f.names[op.result] = i.select(inside, shifted, i.constant(0))

    return emit


# ---------------------------------------------------------------- comparison, choice, constants


def _cmpi(f: FunctionEmitter, op: Compare) -> None:
    left, right = op.operands
    f.emit(f"icmp {op.predicate} {f.typed(left)}, {f.name(right)}", op.result)


def _cmpf(f: FunctionEmitter, op: Compare) -> None:
    (left, right), type_ = float_operands(f, op)
    flags = fastmath_flags(op.attributes.get("fastmath"))
    f.emit(f"fcmp {flags}{op.predicate} {llvm_type(type_)} {left}, {right}", op.result)


_FLOAT_CASTS = ("arith.extf", "arith.truncf")


def _select(f: FunctionEmitter, op: Operation) -> None:
    condition, *choices = op.operands
    texts = [f.typed(choice) for choice in choices]
    if any(user.name in ("arith.maximumf", "arith.minimumf") for user in _users_of_number(op.result)):
        # LLVM would see that a choice of infinity changes nothing and take the maximum under the condition, in a loop that it
        # then does not widen.
        texts = [_hidden_infinity(f, choice) or text for choice, text in zip(choices, texts)]
    f.emit(f"select {f.typed(condition)}, {', '.join(texts)}", op.result)


def _users_of_number(value: Value) -> list[Operation]:
    """What uses a float, also in another type."""
    found = list(value.users)
    for user in found:  # grows
        if user.name in _FLOAT_CASTS:
            found += user.results[0].users
    return found


def _hidden_infinity(f: FunctionEmitter, value: Value) -> str | None:
    """An infinite constant as a value that LLVM knows nothing of, with its type; None for any other value."""
    source = value
    while (op := source.defining_op) is not None and op.name in _FLOAT_CASTS:
        (source,) = op.operands
    number = constant_value(source)
    if not isinstance(number, float) or not math.isinf(number):
        return None
    return f.opaque(llvm_type(value.type), splat(number, value.type))


def _constant(f: FunctionEmitter, op: Operation) -> None:
    value, type_ = op.attributes["value"], op.result.type
    if not isinstance(value, DenseElementsAttr):
        f.names[op.result] = splat(value.value, type_)
    elif value.is_splat:
        f.names[op.result] = splat(value.array.item(), type_)
    else:
        f.names[op.result] = f"<{elements(value.array.reshape(-1).tolist(), llvm_type(element_type(type_)))}>"


HANDLERS: dict[str, Handler] = {
    **emit_casts.HANDLERS,
    **{name: _float_instruction(opcode) for name, opcode in FLOAT_INSTRUCTIONS.items()},
    **{name: _float_intrinsic(found) for name, found in FLOAT_INTRINSICS.items()},
    **{name: _math_function(found) for name, found in MATH_FUNCTIONS.items()},
    **{name: _integer_instruction(opcode) for name, opcode in INTEGER_INSTRUCTIONS.items()},
    **{name: _integer_intrinsic(found) for name, found in INTEGER_INTRINSICS.items()},
    **{
        f"arith.{name}": _division(name)
        for name in ("divsi", "divui", "remsi", "remui", "floordivsi", "ceildivsi", "ceildivui")
    },
    "arith.cmpf": _cmpf,
    "arith.cmpi": _cmpi,
    "arith.constant": _constant,
    "arith.negf": _negf,
    "arith.select": _select,
    "arith.shli": _shift("shl"),
    "arith.shrsi": _shift("ashr"),
    "arith.shrui": _shift("lshr"),
    "math.absi": _absi,
    "math.fma": fma,
    "math.rsqrt": _rsqrt,
}
