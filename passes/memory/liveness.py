"""How long the buffers of a bufferised function live.

A buffer lives from the first to the last op that touches it, under whatever name: views are followed, and times are those of
:mod:`dlir.passes.memory.timeline`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dlir.ir.core import Operation, Value
from dlir.ir.dialects.func import Func
from dlir.ir.types import MemRefType
from dlir.passes.memory.timeline import Timeline, is_sequential, timeline


@dataclass(slots=True)
class Span:
    """The first and the last time at which a buffer is touched; `escapes`: a region or the function gives it away."""

    first: int
    last: int
    escapes: bool = False


@dataclass(slots=True)
class Liveness:
    """The spans of a function's buffers: its memref arguments, and what ``memref.alloc`` and the like make in it."""

    times: Timeline
    spans: dict[Value, Span] = field(default_factory=dict)
    _roots: dict[Value, tuple[Value, ...]] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """The time of the last op."""
        return len(self.times.ops) - 1

    def roots(self, value: Value) -> tuple[Value, ...]:
        """The buffers that `value` may be a view of; mostly one."""
        return self._roots.get(value, (value,))


def liveness(function: Func) -> Liveness:
    """The liveness of all buffers in `function`, which has one block."""
    times = timeline(function)
    found = Liveness(times)
    for op in times.starts:
        _name_results(op, found)
        for value in op.operands:
            if isinstance(value.type, MemRefType):
                for root in found.roots(value):
                    first, last = times.first_use(root, op), times.last_use(root, op)
                    span = found.spans.setdefault(root, Span(first, last))
                    span.first, span.last = min(span.first, first), max(span.last, last)
                    span.escapes = span.escapes or op.is_terminator
    return found


def _name_results(op: Operation, found: Liveness) -> None:
    """Say what the memref results and block arguments of `op` are views of: any memref that the op can see."""
    named: list[Value] = [result for result in op.results if isinstance(result.type, MemRefType)]
    named += [arg for r in op.regions for b in r.blocks for arg in b.args if isinstance(arg.type, MemRefType)]
    if not named:
        return
    seen = [value for inner in op.walk() for value in inner.operands if isinstance(value.type, MemRefType)]
    roots = tuple(dict.fromkeys(root for value in seen for root in found.roots(value) if value not in named))
    if roots:
        for value in named:
            found._roots[value] = roots


def planned_ops(function: Func) -> list[Operation]:
    """The ops that make buffers which may be placed in an arena: allocs of static, contiguous shape.

    One in a loop makes a new buffer in each run of the body, and may lie in the same place each time.
    """
    return [op for op in timeline(function).starts if is_planned(op) and is_sequential(op, function)]


def is_planned(op: Operation) -> bool:
    """Whether `op` makes a buffer that may be placed in an arena: an alloc of static, contiguous shape."""
    if op.name != "memref.alloc" or op.operands:
        return False
    type = op.results[0].type
    return isinstance(type, MemRefType) and type.is_static and type.layout is None and type.space is None
