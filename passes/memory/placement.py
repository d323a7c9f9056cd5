"""Where a function's values lie in memory and how long, read from a function over buffers at any stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dlir.ir.core import Operation, Value
from dlir.ir.dialects.func import Func
from dlir.ir.types import MemRefType
from dlir.passes.memory.liveness import is_planned
from dlir.passes.memory.timeline import Timeline, timeline

#: Ops whose result is their first operand under another type.
_SAME = ("memref.reinterpret_cast", "memref.cast", "memref.collapse_shape", "memref.expand_shape")
#: These touch no element: they take no time.
_NAMING = (*_SAME, "memref.view")


@dataclass(frozen=True, slots=True)
class Placement:
    """A value: `size` bytes, needed from the `first` to the `last` step; a step is an op that touches memory.

    `offset` is in bytes: in the arena for kind "arena", else in memory of its own.
    """

    name: str
    kind: Literal["input", "result", "arena", "alloc"]
    offset: int
    size: int
    first: int
    last: int


def placements(function: Func) -> list[Placement]:
    """The inputs, the results and the temporaries of a function over buffers, in the order in which they are made."""
    owners: dict[Value, Value] = {}
    spans: dict[Value, tuple[int, int]] = {}
    times = timeline(function)
    step = _steps(times)
    end = step[-1]
    arena = next((a for a in function.body.args if "dlir.arena" in function.arg_attributes(a.index)), None)
    for op in times.starts:
        if op.name in _SAME or (op.name == "memref.view" and op.operands[0] is not arena):
            owners[op.results[0]] = owners.get(op.operands[0], op.operands[0])
        if op.name in _NAMING:
            continue
        for value in op.operands:
            owner = owners.get(value, value)
            if isinstance(owner.type, MemRefType) and owner is not arena:
                first, last = step[times.first_use(owner, op)], step[times.last_use(owner, op)]
                known = spans.get(owner, (first, last))
                spans[owner] = (min(first, known[0]), max(last, known[1]))
    found = [placed for arg in function.body.args if (placed := _argument(function, arg, spans, end))]
    for op, time in times.starts.items():
        if (op.name == "memref.view" and op.operands[0] is arena) or is_planned(op):
            value = op.results[0]
            first, last = spans.get(value, (step[time], step[time]))
            offset = _number(op.operands[1]) if op.name == "memref.view" else 0
            kind: Literal["arena", "alloc"] = "arena" if op.name == "memref.view" else "alloc"
            found.append(Placement(_name(value, len(found)), kind, offset, value.type.nbytes, first, last))
    return found


def _steps(times: Timeline) -> list[int]:
    """For each time the number of the step that happens then, or happened last if none does."""
    found: list[int] = []
    steps = 0
    for time, op in enumerate(times.ops):
        touches = any(isinstance(value.type, MemRefType) for value in op.operands)
        # A loop begins with the first step in it, and ends with the last one.
        is_end = time != times.starts[op]
        found.append(steps - 1 if is_end and steps else steps)
        steps += op.name not in _NAMING and touches and not is_end
    return [min(step, max(steps - 1, 0)) for step in found]


def largest(function: Func, count: int = 3) -> str:
    """The largest values of a function, for an error message: ``%x 4,096 bytes, %y 64 bytes``."""
    # A value that takes over another one's place is no further one.
    found = sorted(placements(function), key=lambda placed: -placed.size)
    return ", ".join(f"%{placed.name} {placed.size:,} bytes" for placed in found[:count])


def _argument(function: Func, arg: Value, spans: dict[Value, tuple[int, int]], end: int) -> Placement | None:
    roles = function.arg_attributes(arg.index)
    if not isinstance(arg.type, MemRefType) or "dlir.arena" in roles:
        return None
    first, last = spans.get(arg, (0, end))
    name = roles["dlir.name"].value if "dlir.name" in roles else _name(arg, arg.index)
    if "dlir.input" in roles:
        return Placement(name, "input", 0, arg.type.nbytes, 0, end if "dlir.result" in roles else last)
    return Placement(name, "result", 0, arg.type.nbytes, first, end)


def _name(value: Value, number: int) -> str:
    return value.name or str(number)


def _number(value: Value) -> int:
    op: Operation | None = value.defining_op
    return op.get("value") if op is not None and op.name == "arith.constant" else 0
