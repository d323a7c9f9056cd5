"""Conversions between scalar types in LLVM IR, each rounded once, also to the narrow floats that CPUs convert badly."""

from __future__ import annotations

from dlir.backends.cpu.emit_function import FunctionEmitter, Handler
from dlir.backends.cpu.llvm_types import element_type, lanes, llvm_type, splat
from dlir.ir.core import Operation, Value
from dlir.ir.errors import DlirError
from dlir.ir.types import BF16, F16, F32, F64, I1, I16, I32, IntegerType, Type, VectorType


def like(type_: Type, dtype: Type) -> Type:
    """`type_` with another element type."""
    return VectorType(type_.shape, dtype) if isinstance(type_, VectorType) else dtype


def is_narrow(type_: Type) -> bool:
    """Whether arithmetic on this type is done in float32."""
    return element_type(type_) in (F16, BF16)


def mangled(type_: Type) -> str:
    """The type in an intrinsic's name: `f32`, `v8f32`, `i64`."""
    element = element_type(type_)
    name = {F16: "f16", BF16: "bf16", F32: "f32", F64: "f64"}.get(element) or llvm_type(element)
    return f"v{lanes(type_)}{name}" if isinstance(type_, VectorType) else name


def widen(f: FunctionEmitter, name: str, type_: Type, dtype: Type = F32) -> str:
    """A narrow float as `dtype`; exact."""
    return f.emit(f"fpext {llvm_type(type_)} {name} to {llvm_type(like(type_, dtype))}")


def narrow(f: FunctionEmitter, name: str, source: Type, target: Type) -> str:
    """A float rounded to a narrower type; the value's name."""
    to = element_type(target)
    if element_type(source) is F64 and to in (F16, BF16):
        name, source = _round_to_odd(f, name, source), like(source, F32)
    if to is BF16:
        return _to_bfloat(f, name, source, target)
    return f.emit(f"fptrunc {llvm_type(source)} {name} to {llvm_type(target)}")


def _to_bfloat(f: FunctionEmitter, name: str, source: Type, target: Type) -> str:
    """float32 to bfloat16 by its bits: the CPU's instruction flushes subnormals, and not every CPU has it."""
    wide, half = like(source, I32), like(source, I16)
    type_ = llvm_type(wide)
    bits = f.emit(f"bitcast {llvm_type(source)} {name} to {type_}")
    high = f.emit(f"lshr {type_} {bits}, {splat(16, wide)}")
    odd = f.emit(f"and {type_} {high}, {splat(1, wide)}")
    bias = f.emit(f"add {type_} {odd}, {splat(0x7FFF, wide)}")
    nearest = f.emit(f"lshr {type_} {f.emit(f'add {type_} {bits}, {bias}')}, {splat(16, wide)}")
    quiet = f.emit(f"or {type_} {high}, {splat(0x40, wide)}")
    is_nan = f.emit(f"fcmp uno {llvm_type(source)} {name}, {name}")
    chosen = choose(f, is_nan, like(source, I1), quiet, nearest, wide)
    return f.emit(
        f"bitcast {llvm_type(half)} {f.emit(f'trunc {type_} {chosen} to {llvm_type(half)}')} to {llvm_type(target)}"
    )


def _round_to_odd(f: FunctionEmitter, name: str, source: Type) -> str:
    """float64 to float32 such that a second rounding is the only one that counts.

    Where the value lies between two floats, the one with an odd last bit is taken (Boldo and Melquiond, "When double
    rounding is odd", 2005).
    """
    single, ints, bools = like(source, F32), like(source, I32), like(source, I1)
    wide, type_ = llvm_type(source), llvm_type(ints)
    near = f.emit(f"fptrunc {wide} {name} to {llvm_type(single)}")
    back = f.emit(f"fpext {llvm_type(single)} {near} to {wide}")
    bits = f.emit(f"bitcast {llvm_type(single)} {near} to {type_}")
    inexact = f.emit(f"fcmp one {wide} {back}, {name}")
    is_even = f.emit(f"icmp eq {type_} {f.emit(f'and {type_} {bits}, {splat(1, ints)}')}, {splat(0, ints)}")
    magnitudes = [f.call(wide, f"@llvm.fabs.{mangled(source)}", [(wide, x)]) for x in (back, name)]
    below = f.emit(f"fcmp olt {wide} {magnitudes[0]}, {magnitudes[1]}")
    step = choose(f, below, bools, splat(1, ints), splat(-1, ints), ints)
    wrong = f.emit(f"and {llvm_type(bools)} {inexact}, {is_even}")
    other = f.emit(f"add {type_} {bits}, {step}")
    return f.emit(f"bitcast {type_} {choose(f, wrong, bools, other, bits, ints)} to {llvm_type(single)}")


def choose(f: FunctionEmitter, condition: str, condition_type: Type, yes: str, no: str, type_: Type) -> str:
    """A select of two values of one type; returns its name."""
    text = llvm_type(type_)
    return f.emit(f"select {llvm_type(condition_type)} {condition}, {text} {yes}, {text} {no}")


# ---------------------------------------------------------------- handlers


def _same_name(f: FunctionEmitter, op: Operation) -> None:
    """The result is the operand, seen as another type."""
    f.names[op.result] = f.name(op.operands[0])


def _instruction(name: str) -> Handler:
    """One instruction from the operand's type to the result's."""

    def emit(f: FunctionEmitter, op: Operation) -> None:
        f.emit(f"{name} {f.typed(op.operands[0])} to {llvm_type(op.result.type)}", op.result)

    return emit


def _truncf(f: FunctionEmitter, op: Operation) -> None:
    (operand,) = op.operands
    f.names[op.result] = narrow(f, f.name(operand), operand.type, op.result.type)


def _from_integer(name: str) -> Handler:
    def emit(f: FunctionEmitter, op: Operation) -> None:
        (operand,) = op.operands
        target = op.result.type
        if not is_narrow(target):
            f.emit(f"{name} {f.typed(operand)} to {llvm_type(target)}", op.result)
            return
        wide = like(target, F64)
        found = f.emit(f"{name} {f.typed(operand)} to {llvm_type(wide)}")
        f.names[op.result] = narrow(f, found, wide, target)

    return emit


def _to_integer(name: str) -> Handler:
    """Towards zero, saturating, NaN to 0."""

    def emit(f: FunctionEmitter, op: Operation) -> None:
        (operand,) = op.operands
        found, source, target = f.name(operand), operand.type, op.result.type
        if is_narrow(source):
            found, source = widen(f, found, source), like(source, F32)
        symbol = f"@llvm.{name}.sat.{mangled(target)}.{mangled(source)}"
        f.call(llvm_type(target), symbol, [(llvm_type(source), found)], op.result)

    return emit


def _width(type_: Type) -> int:
    element = element_type(type_)
    return element.width if isinstance(element, IntegerType) else 64


def _resize(extension: str) -> Handler:
    """An integer of another width, or an index, which has 64 bits."""

    def emit(f: FunctionEmitter, op: Operation) -> None:
        (operand,) = op.operands
        target = op.result.type
        if _width(operand.type) == _width(target):
            _same_name(f, op)
            return
        name = extension if _width(operand.type) < _width(target) else "trunc"
        f.emit(f"{name} {f.typed(operand)} to {llvm_type(target)}", op.result)

    return emit


def _same_bits(f: FunctionEmitter, op: Operation) -> None:
    source, target = op.operands[0].type, op.result.type
    if llvm_type(source) == llvm_type(target):
        _same_name(f, op)
    else:
        f.emit(f"bitcast {f.typed(op.operands[0])} to {llvm_type(target)}", op.result)


def _unrealized(f: FunctionEmitter, op: Operation) -> None:
    """A change of signedness, which LLVM does not see."""
    pairs: list[tuple[Value, Value]] = list(zip(op.results, op.operands))
    if len(op.results) != len(op.operands) or any(llvm_type(a.type) != llvm_type(b.type) for a, b in pairs):
        raise DlirError("the cpu backend cannot make this conversion real", op.location)
    for result, operand in pairs:
        f.names[result] = f.name(operand)


HANDLERS: dict[str, Handler] = {
    "arith.bitcast": _same_bits,
    "arith.extf": _instruction("fpext"),
    "arith.extsi": _instruction("sext"),
    "arith.extui": _instruction("zext"),
    "arith.fptosi": _to_integer("fptosi"),
    "arith.fptoui": _to_integer("fptoui"),
    "arith.index_cast": _resize("sext"),
    "arith.index_castui": _resize("zext"),
    "arith.sitofp": _from_integer("sitofp"),
    "arith.truncf": _truncf,
    "arith.trunci": _instruction("trunc"),
    "arith.uitofp": _from_integer("uitofp"),
    "builtin.unrealized_conversion_cast": _unrealized,
}
