"""`vector` in LLVM IR: vectors of any rank are flat, so parts are runs of lanes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from dlir.backends.cpu.emit_arith import (
    FLOAT_INSTRUCTIONS,
    FLOAT_INTRINSICS,
    INTEGER_INSTRUCTIONS,
    INTEGER_INTRINSICS,
    fastmath_flags,
    fma,
    intrinsic,
)
from dlir.backends.cpu.emit_casts import is_narrow, mangled, narrow, widen
from dlir.backends.cpu.emit_function import FunctionEmitter, Handler
from dlir.backends.cpu.emit_memref import access, address
from dlir.backends.cpu.llvm_types import element_type, lanes, literal, llvm_type, static_shape
from dlir.ir.core import Operation
from dlir.ir.dialects.memref import DYNAMIC, strides_of
from dlir.ir.dialects.vector import COMBINE, Extract, Insert, Reduction
from dlir.ir.errors import DlirError
from dlir.ir.types import F32, I1, I8, Type, VectorType, is_float

#: What `@llvm.vector.reduce.<name>` calls a kind of reduction, where it is not the intrinsic of two operands.
REDUCTIONS = {"maximumf": "fmaximum", "minimumf": "fminimum", "maxnumf": "fmax", "minnumf": "fmin"}
REDUCTIONS |= {"maxsi": "smax", "minsi": "smin", "maxui": "umax", "minui": "umin"}


def _load(f: FunctionEmitter, op: Operation) -> None:
    base, *indices = op.operands
    type_ = op.result.type
    pointer = address(f, op, base, indices)
    if type_.dtype is I1:
        bytes_ = llvm_type(VectorType(type_.shape, I8))
        found = f.emit(f"load {bytes_}, ptr {pointer}{access(op, I1)}")
        f.emit(f"icmp ne {bytes_} {found}, zeroinitializer", op.result)
    else:
        f.emit(f"load {llvm_type(type_)}, ptr {pointer}{access(op, type_.dtype)}", op.result)


def _store(f: FunctionEmitter, op: Operation) -> None:
    value, base, *indices = op.operands
    type_ = value.type
    pointer = address(f, op, base, indices)
    stored = f.typed(value)
    if type_.dtype is I1:
        bytes_ = llvm_type(VectorType(type_.shape, I8))
        stored = f"{bytes_} {f.emit(f'zext {f.typed(value)} to {bytes_}')}"
    f.do(f"store {stored}, ptr {pointer}{access(op, type_.dtype)}")


# ---------------------------------------------------------------- lanes


def _shuffle(f: FunctionEmitter, type_: str, one: str, two: str, chosen: Iterable[int]) -> str:
    """The chosen lanes of `one` followed by `two`, both of the vector type `type_`."""
    picks = list(chosen)
    mask = ", ".join(f"i32 {lane}" for lane in picks)
    return f.emit(f"shufflevector {type_} {one}, {type_} {two}, <{len(picks)} x i32> <{mask}>")


def _broadcast(f: FunctionEmitter, op: Operation) -> None:
    (source,) = op.operands
    target = op.result.type
    if isinstance(source.type, VectorType):
        numbers = np.arange(lanes(source.type)).reshape(static_shape(source.type))
        chosen = np.broadcast_to(numbers, target.shape).reshape(-1).tolist()
        f.names[op.result] = _shuffle(f, llvm_type(source.type), f.name(source), "poison", chosen)
        return
    text = llvm_type(target)
    first = f.emit(f"insertelement {text} poison, {f.typed(source)}, i64 0")
    f.names[op.result] = _shuffle(f, text, first, "poison", [0] * lanes(target))


def _run_of(vector: VectorType, position: Sequence[int]) -> range:
    """The lanes of the part of `vector` at a static position."""
    numbers = np.arange(lanes(vector)).reshape(static_shape(vector))[tuple(position)].reshape(-1)
    return range(int(numbers[0]), int(numbers[-1]) + 1)


def _lane(f: FunctionEmitter, op: Extract | Insert, vector: VectorType) -> str:
    """The lane number of the element at the op's position, as an i64."""
    dynamic = iter(op.operands[op.leading :])
    static, terms = 0, []
    for at, stride in zip(op["static_position"], strides_of(static_shape(vector))):
        if at == DYNAMIC:
            terms.append(f.emit(f"mul i64 {f.name(next(dynamic))}, {stride}"))
        else:
            static += at * stride
    lane = str(static)
    for term in terms:
        lane = f.emit(f"add i64 {lane}, {term}")
    return lane


def _extract(f: FunctionEmitter, op: Extract) -> None:
    source = op.operands[0]
    vector = source.type
    if not isinstance(op.result.type, VectorType):
        f.emit(f"extractelement {f.typed(source)}, i64 {_lane(f, op, vector)}", op.result)
        return
    run = _run_of(vector, _static_position(op))
    f.names[op.result] = _shuffle(f, llvm_type(vector), f.name(source), "poison", run)


def _insert(f: FunctionEmitter, op: Insert) -> None:
    part, dest = op.operands[:2]
    vector = dest.type
    if not isinstance(part.type, VectorType):
        f.emit(f"insertelement {f.typed(dest)}, {f.typed(part)}, i64 {_lane(f, op, vector)}", op.result)
        return
    run, width, size = _run_of(vector, _static_position(op)), lanes(vector), lanes(part.type)
    padding = [lane if lane < size else 0 for lane in range(width)]
    padded = _shuffle(f, llvm_type(part.type), f.name(part), "poison", padding)
    chosen = [width + lane - run.start if lane in run else lane for lane in range(width)]
    f.names[op.result] = _shuffle(f, llvm_type(vector), f.name(dest), padded, chosen)


def _static_position(op: Extract | Insert) -> tuple[int, ...]:
    position = op["static_position"]
    if DYNAMIC in position:
        raise DlirError("the cpu backend needs a constant position of a part", op.location)
    return position


# ---------------------------------------------------------------- reductions


def _reduction(f: FunctionEmitter, op: Reduction) -> None:
    vector = op.operands[0]
    type_, kind = vector.type, op.word("kind") or "add"
    accumulator = f.name(op.operands[1]) if len(op.operands) > 1 else None
    if is_narrow(type_):
        f.names[op.result] = _in_order(f, op, kind, accumulator)
        return
    scalar, flags = llvm_type(type_.dtype), fastmath_flags(op.attributes.get("fastmath"))
    if is_float(type_.dtype) and kind in ("add", "mul"):
        # The neutral element of a sum is -0.0: 0.0 would lose the sign of a sum of negative zeros.
        start = accumulator or literal(-0.0 if kind == "add" else 1.0, scalar)
        symbol = f"@llvm.vector.reduce.f{kind}.{mangled(type_)}"
        f.module.declare(f"declare {scalar} {symbol}({scalar}, {llvm_type(type_)})")
        f.emit(f"call {flags}{scalar} {symbol}({scalar} {start}, {f.typed(vector)})", op.result)
        return
    symbol = f"@llvm.vector.reduce.{REDUCTIONS.get(kind, kind)}.{mangled(type_)}"
    f.module.declare(f"declare {scalar} {symbol}({llvm_type(type_)})")
    found = f.emit(f"call {flags}{scalar} {symbol}({f.typed(vector)})")
    f.names[op.result] = found if accumulator is None else _combine(f, kind, accumulator, found, type_.dtype)


def _combine(f: FunctionEmitter, kind: str, left: str, right: str, dtype: Type) -> str:
    """Two scalars as one, by the `arith` op that `kind` stands for."""
    name = COMBINE[kind] + (("f" if is_float(dtype) else "i") if kind in ("add", "mul") else "")
    instruction = FLOAT_INSTRUCTIONS.get(name) or INTEGER_INSTRUCTIONS.get(name)
    if instruction:
        return f.emit(f"{instruction} {llvm_type(dtype)} {left}, {right}")
    return intrinsic(f, FLOAT_INTRINSICS.get(name) or INTEGER_INTRINSICS[name], [left, right], dtype)


def _in_order(f: FunctionEmitter, op: Reduction, kind: str, accumulator: str | None) -> str:
    """Lane by lane, rounding each time to the narrow type."""
    vector = op.operands[0]
    dtype = element_type(vector.type)
    total = accumulator
    for lane in range(lanes(vector.type)):
        item = f.emit(f"extractelement {f.typed(vector)}, i64 {lane}")
        if total is None:
            total = item
        else:
            wide = _combine(f, kind, widen(f, total, dtype), widen(f, item, dtype), F32)
            total = narrow(f, wide, F32, dtype)
    assert total is not None
    return total


HANDLERS: dict[str, Handler] = {
    "vector.broadcast": _broadcast,
    "vector.extract": _extract,
    "vector.fma": fma,
    "vector.insert": _insert,
    "vector.load": _load,
    "vector.reduction": _reduction,
    "vector.store": _store,
}
