"""New values of variables: which are computed where the variable lies, and which are copied there at the end.

A variable that a function writes has one buffer, which holds the old value from the beginning.  The new value is computed
there if the kernel that makes it is the last to read the old one and can work in place, or if the old one is no longer
needed when it is made.  Nothing else is ever kept in a variable: whatever happens to a call, it finds an old value or a new one.
"""

from __future__ import annotations

from dlir.ir.core import Operation, Value
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.kernel import KernelRegion
from dlir.ir.dialects.state import Read
from dlir.ir.state import function_writes
from dlir.passes.memory.assignment import Assignment, Buffer
from dlir.passes.memory.inplace import reshaped_operands


def add_states(function: Func, found: Assignment, last_use: dict[Value, int]) -> None:
    """Give each variable that `function` writes one buffer, for all its reads."""
    for write in function_writes(function):
        name, (value,) = write["variable"], write.operands
        found.writes[name] = value
        # Before its first reader, if there is any, it holds the old value: it is in use from the beginning.
        found.states[name] = Buffer("state", [], -1, -1, variable=name, declared=value.type)
    for op in function.body.ops if found.states else ():
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


def place_writes(found: Assignment) -> None:
    """Let new values that are made after the last use of the old one lie in the variable, and copy the rest."""
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
            found.copied_writes.append(name)


def order_copies(found: Assignment) -> list[tuple[str, bool]]:
    """The copied writes in an order in which each is read before it is overwritten.

    True: its value lies in another variable and must be put aside first, as when two variables are swapped.
    """
    waiting = dict.fromkeys(found.copied_writes)
    # What each waits for: the variables that are to be copied from where it is to be written.
    sources = {name: found.buffers[found.writes[name]].variable for name in waiting}
    order: list[tuple[str, bool]] = []
    aside: dict[str, None] = {}
    while waiting:
        ready = [name for name in waiting if not any(s == name and o not in aside for o, s in sources.items() if o in waiting and o != name)]
        if not ready:
            ready = [next(iter(waiting))]
            # Whoever reads it reads a copy.
            aside.update((other, None) for other, source in sources.items() if source == ready[0] and other in waiting)
        for name in ready:
            del waiting[name]
            order.append((name, False))
    return [(name, name in aside) for name, _ in order]
