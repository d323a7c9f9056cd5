"""New values of variables: which are computed where the variable lies, and which are copied there at the end.

A variable that a function writes has one buffer, which holds the old value from the beginning.  The new value is computed
there if the kernel that makes it is the last to read the old one and can work in place, or if the old one is no longer
needed when it is made.  Nothing else is ever kept in a variable.
"""

from __future__ import annotations

from functools import cmp_to_key

from dlir.ir.core import Operation, Value
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.kernel import KernelRegion
from dlir.ir.dialects.state import Read, Write
from dlir.ir.state import function_writes
from dlir.passes.memory.assignment import Assignment, Buffer
from dlir.passes.memory.inplace import reshaped_operands
from dlir.passes.memory.loops import in_order


def add_states(function: Func, found: Assignment, last_use: dict[Value, int]) -> None:
    """Give each variable that `function` writes one buffer, for all its reads."""
    for write in function_writes(function):
        name, (value,) = write["variable"], write.operands
        found.writes[name] = value
        # It holds the old value from the beginning, and is free when that is not read.
        found.states[name] = Buffer("state", [], -1, -1, variable=name, declared=value.type)
    for op in function.walk() if found.states else ():
        if isinstance(op, Read) and op["variable"] in found.states:
            buffer = found.states[op["variable"]]
            buffer.values.append(op.result)
            buffer.last = max(buffer.last, last_use[op.result])
            found.buffers[op.result] = buffer


def is_new_value(found: Assignment, state: Buffer, value: Value) -> bool:
    """Whether `value`, or what is only a reshape of it, is what the variable gets."""
    assert state.variable is not None
    wanted = found.writes[state.variable]
    while wanted is not value:
        op = wanted.defining_op
        sources = reshaped_operands(op) if isinstance(op, KernelRegion) else None
        if op is None or sources is None:
            return False
        wanted = op.operands[sources[op.results.index(wanted)]]
    return True


def place_writes(function: Func, found: Assignment) -> None:
    """Let new values that are made after the last use of the old one lie in the variable, and copy the rest at the end."""
    moves: list[tuple[Value, Value | Buffer]] = []
    for name, value in found.writes.items():
        state, buffer = found.states[name], found.buffers[value]
        if buffer is state:
            continue
        is_free = buffer.kind == "temporary" and buffer.result is None and not buffer.is_bytes
        if is_free and state.last < buffer.first and buffer.dtype is state.dtype:
            for held in buffer.values:
                found.buffers[held] = state
            state.values += buffer.values
            state.last = buffer.last
        else:
            moves.append((value, state))
    if moves:
        end = max(buffer.last for buffer in found.all_buffers)
        found.moves[function.body.terminator] = in_order(moves, found, end)


# ---------------------------------------------------------------- the order of kernels


def sink_updates(function: Func) -> int:
    """Move kernels that make new values of variables behind those that read the old ones; how many were moved.

    Only there can they work in place.  `function` is over tensors, and its writes stand at its end.
    """
    block = function.body
    reads: dict[Value, str] = {op.result: op["variable"] for op in block.ops if isinstance(op, Read)}
    moved = 0
    for op in reversed(list(block.ops)) if reads else ():
        users = [user for value in op.results for user in value.users]
        names = dict.fromkeys(user["variable"] for user in users if isinstance(user, Write))
        if not names or any(not isinstance(user, Write) and not user.is_terminator for user in users):
            continue
        last = op
        for value in op.operands:
            if reads.get(value) in names:
                readers = [user for user in value.users if user.parent is block and not _is_at_end(user)]
                last = max([last, *readers], key=cmp_to_key(_compare))
        if last is not op:
            op.detach()
            block.insert_after(last, op)
            moved += 1
    return moved


def _is_at_end(op: Operation) -> bool:
    return op.is_terminator or isinstance(op, Write)


def _compare(one: Operation, two: Operation) -> int:
    return 0 if one is two else -1 if one.is_before(two) else 1
