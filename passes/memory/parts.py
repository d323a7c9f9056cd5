"""Values that are a part of another one's memory: slices that are contiguous, and the operands of a ``concat``.

A slice need not be copied out if what it was cut from is not written before the slice is used for the last time.  What
is joined can be written where it belongs, if each of the operands is a temporary that nobody needs afterwards.  Either
way a kernel is gone, and either way memory lives longer than it would: the plan with parts is taken if it is no larger.

A buffer with parts is bytes, and its values are views of it (``memref.view``); parts begin at multiples of the alignment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from dlir.ir.core import Operation
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.kernel import KernelRegion
from dlir.ir.types import ScalarType, TensorType
from dlir.passes.memory.assignment import Assignment, Buffer
from dlir.passes.memory.packing import ALIGNMENT, aligned
from dlir.passes.memory.timeline import Timeline


def use_parts(function: Func, found: Assignment, times: Timeline, needed: Callable[[], int]) -> None:
    """Merge the buffers of slices and of what is joined, one after the other, where `needed()` does not grow."""
    for op in function.body.ops:
        time = times.starts[op]
        if isinstance(op, KernelRegion) and len(op.results) == 1 and op not in found.reshapes:
            parts = _joined(op, time, found) or _sliced(op, time, found, times.starts)
            if parts:
                before = needed()
                _merge(op, parts, found)
                if needed() > before:
                    _take_back(op, parts, found)


#: A buffer and where it begins in the merged one, in bytes; the one that is as large as the merged one is first.
_Parts = list[tuple[Buffer, int]]


def _joined(op: KernelRegion, time: int, found: Assignment) -> _Parts | None:
    """The parts if `op` does nothing but join temporaries that die there."""
    concat = _only_op(op, "nd.concat")
    if concat is None or tuple(concat.operands) != tuple(op.body.args) or len(set(map(id, op.operands))) < 2:
        return None
    result = op.results[0]
    axis = concat.get("axis") % len(result.type.shape)
    if math.prod(result.type.shape[:axis]) != 1 or len(set(map(id, op.operands))) != len(op.operands):
        return None
    parts = [(found.buffers[result], 0)]
    offset = 0
    for value in op.operands:
        buffer = found.buffers[value]
        if not _is_free(buffer) or buffer.is_bytes or buffer.last != time or offset % ALIGNMENT:
            return None
        parts.append((buffer, offset))
        offset += value.type.nbytes
    distinct = len({id(buffer) for buffer, _ in parts}) == len(parts)
    return parts if distinct and _is_free(parts[0][0]) and not parts[0][0].is_bytes else None


def _sliced(op: KernelRegion, time: int, found: Assignment, times: dict[Operation, int]) -> _Parts | None:
    """The parts if `op` does nothing but cut a contiguous piece out of a temporary, and both stay as they are."""
    cut = _only_op(op, "nd.slice")
    if cut is None:
        return None
    source = op.operands[0]
    whole, piece = found.buffers[source], found.buffers[op.results[0]]
    begin = _begin(cut)
    if begin is None or whole is piece or not _is_free(whole) or not _is_free(piece) or piece.is_bytes:
        return None
    if any(written >= time for written in _writes(whole, found, times)):
        return None
    if whole.last > time and any(True for _ in _writes(piece, found, times)):
        return None
    offset = found.parts.get(source, 0) + begin
    return None if offset % ALIGNMENT else [(whole, 0), (piece, offset)]


def _only_op(op: KernelRegion, name: str) -> Operation | None:
    """The op of a region that holds this one and gives its result."""
    first, *rest = op.body.ops
    is_only = first.name == name and len(rest) == 1 and tuple(rest[0].operands) == tuple(first.results)
    return first if is_only else None


def _is_free(buffer: Buffer) -> bool:
    """Whether it is the planner's alone: no argument, no variable, no loop's, not returned, and not empty."""
    returned = any(user.name in ("func.return", "state.write") for value in buffer.values for user in value.users)
    return buffer.kind == "temporary" and not buffer.is_slot and not returned and buffer.nbytes > 0


def _begin(cut: Operation) -> int | None:
    """The byte of its operand at which a slice begins, if it is contiguous."""
    type = cut.operands[0].type
    assert isinstance(type, TensorType) and isinstance(type.dtype, ScalarType)
    shape = tuple(extent or 0 for extent in type.shape)  # all are known here
    strides = [math.prod(shape[axis + 1 :]) * type.dtype.bytes for axis in range(len(shape))]
    # An array of this shape without any memory: only its strides are looked at.
    x = np.lib.stride_tricks.as_strided(np.empty(1, type.dtype.numpy), shape, strides)
    piece = x[tuple(_slices(cut))]
    return piece.ctypes.data - x.ctypes.data if piece.size and piece.flags.c_contiguous else None


def _slices(cut: Operation) -> Iterator[slice]:
    step = cut.get("step") or (1,) * len(cut.get("start"))
    for first, last, stride in zip(cut.get("start"), cut.get("stop"), step, strict=True):
        yield slice(first, last, stride)


def _writes(buffer: Buffer, found: Assignment, times: dict[Operation, int]) -> Iterator[int]:
    """When kernels write over what the buffer held: the times of values that were computed in place."""
    for value in buffer.values:
        op = value.defining_op
        if op is not None and any(op.results[result] is value for _, result in found.inplace.get(op, ())):
            yield times[op]


def _merge(op: Operation, parts: _Parts, found: Assignment) -> None:
    whole = parts[0][0]
    values = [value for buffer, _ in parts for value in buffer.values]
    first, last = min(buffer.first for buffer, _ in parts), max(buffer.last for buffer, _ in parts)
    merged = Buffer("temporary", values, first, last, bytes=aligned(whole.nbytes))
    for buffer, offset in parts:
        for value in buffer.values:
            found.buffers[value] = merged
            found.parts[value] = found.parts.get(value, 0) + offset
    found.merged.append(op)


def _take_back(op: Operation, parts: _Parts, found: Assignment) -> None:
    for buffer, offset in parts:
        for value in buffer.values:
            found.buffers[value] = buffer
            found.parts[value] -= offset
            if not buffer.is_bytes:
                del found.parts[value]
    found.merged.remove(op)
