"""Buffers in LLVM IR: a memref is the pointer to its first element, contiguous and row-major."""

from __future__ import annotations

from collections.abc import Sequence

from dlir.backends.cpu.emit_function import FunctionEmitter, Handler
from dlir.backends.cpu.llvm_types import llvm_type, static_shape, stored_type
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.memref import DYNAMIC, GetGlobal, ReinterpretCast, strides_of
from dlir.ir.errors import DlirError
from dlir.ir.types import I1, MemRefType

ALIGNMENT = 64


def static_memref(op: Operation, value: Value) -> MemRefType:
    """The type of a memref operand or result; DlirError unless its layout is known to the CPU backend."""
    type_ = value.type
    if not isinstance(type_, MemRefType) or not type_.is_static or type_.layout is not None:
        raise DlirError(f"the cpu backend needs contiguous buffers of static shape, not {type_}", op.location)
    return type_


def address(f: FunctionEmitter, op: Operation, buffer: Value, indices: Sequence[Value]) -> str:
    """A pointer to the element of `buffer` at `indices`."""
    type_ = static_memref(op, buffer)
    if not indices:
        return f.name(buffer)
    array = stored_type(type_.dtype)
    for dim in reversed(type_.shape[1:]):
        array = f"[{dim} x {array}]"
    path = ", ".join(f"i64 {f.name(index)}" for index in indices)
    return f.emit(f"getelementptr inbounds {array}, ptr {f.name(buffer)}, {path}")


def access(op: Operation, dtype: object) -> str:
    """The end of a load or store: what is known of the alignment, and whether to pass the caches by."""
    alignment = op.get("alignment")
    text = f", align {alignment}" if alignment else f", align {dtype.bytes}"  # type: ignore[attr-defined]
    return text + (", !nontemporal !{i32 1}" if op.get("nontemporal") else "")


def _load(f: FunctionEmitter, op: Operation) -> None:
    buffer, *indices = op.operands
    dtype = static_memref(op, buffer).dtype
    pointer = address(f, op, buffer, indices)
    if dtype is I1:
        byte = f.emit(f"load i8, ptr {pointer}{access(op, dtype)}")
        f.emit(f"icmp ne i8 {byte}, 0", op.result)
    else:
        f.emit(f"load {llvm_type(dtype)}, ptr {pointer}{access(op, dtype)}", op.result)


def _store(f: FunctionEmitter, op: Operation) -> None:
    value, buffer, *indices = op.operands
    dtype = static_memref(op, buffer).dtype
    pointer = address(f, op, buffer, indices)
    stored = f"i8 {f.emit(f'zext i1 {f.name(value)} to i8')}" if dtype is I1 else f.typed(value)
    f.do(f"store {stored}, ptr {pointer}{access(op, dtype)}")


def _view(f: FunctionEmitter, op: Operation) -> None:
    source, shift, *_ = op.operands
    static_memref(op, op.result)
    f.emit(f"getelementptr inbounds i8, ptr {f.name(source)}, i64 {f.name(shift)}", op.result)


def _same_buffer(f: FunctionEmitter, op: Operation) -> None:
    """Another shape for the same contiguous elements."""
    source, target = static_memref(op, op.operands[0]), static_memref(op, op.result)
    if source.size != target.size:
        raise DlirError(f"the cpu backend cannot see {source} as {target}", op.location)
    f.names[op.result] = f.name(op.operands[0])


def _reinterpret(f: FunctionEmitter, op: ReinterpretCast) -> None:
    target = static_memref(op, op.result)
    if tuple(op["static_strides"]) != strides_of(static_shape(target)) or DYNAMIC in op["static_strides"]:
        raise DlirError("the cpu backend needs contiguous buffers", op.location)
    (offset,) = op["static_offsets"]
    elements = f.name(op.group("offsets")[0]) if offset == DYNAMIC else str(offset)
    f.emit(
        f"getelementptr inbounds {stored_type(target.dtype)}, ptr {f.name(op.operands[0])}, i64 {elements}", op.result
    )


def _copy(f: FunctionEmitter, op: Operation) -> None:
    source, target = op.operands
    size = static_memref(op, source).nbytes
    static_memref(op, target)
    arguments = [("ptr", f.name(target)), ("ptr", f.name(source)), ("i64", str(size)), ("i1", "false")]
    f.call("void", "@llvm.memmove.p0.p0.i64", arguments)


def _alloca(f: FunctionEmitter, op: Operation) -> None:
    type_ = static_memref(op, op.result)
    alignment = op.get("alignment") or ALIGNMENT
    array = f"[{type_.size} x {stored_type(type_.dtype)}]"
    f.names[op.result] = f.local_memory(array, type_.nbytes, alignment)


def _alloc(f: FunctionEmitter, op: Operation) -> None:
    """What `plan-memory` has not placed gets a place of its own in the call's scratch memory."""
    type_ = static_memref(op, op.result)
    offset = f.module.take_scratch(op, type_.nbytes, f)
    f.emit(f"getelementptr inbounds i8, ptr %scratch, i64 {offset}", op.result)


def _dealloc(f: FunctionEmitter, op: Operation) -> None:
    """Scratch memory lasts for the call."""


def _get_global(f: FunctionEmitter, op: GetGlobal) -> None:
    static_memref(op, op.result)
    f.names[op.result] = f.module.global_pointer(f, op)


def _dim(f: FunctionEmitter, op: Operation) -> None:
    type_ = static_memref(op, op.operands[0])
    index = f.name(op.operands[1])
    if not index.isdecimal() or int(index) >= type_.rank:
        raise DlirError("the cpu backend needs a constant dimension number", op.location)
    f.names[op.result] = str(type_.shape[int(index)])


HANDLERS: dict[str, Handler] = {
    "memref.alloc": _alloc,
    "memref.alloca": _alloca,
    "memref.cast": _same_buffer,
    "memref.collapse_shape": _same_buffer,
    "memref.copy": _copy,
    "memref.dealloc": _dealloc,
    "memref.dim": _dim,
    "memref.expand_shape": _same_buffer,
    "memref.get_global": _get_global,
    "memref.load": _load,
    "memref.reinterpret_cast": _reinterpret,
    "memref.store": _store,
    "memref.view": _view,
}
