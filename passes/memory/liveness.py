"""How long the buffers of a bufferised function live.

Time is the number of an op in the function's body; an op inside a region counts as the op of the body that holds it.  A
buffer lives from the first to the last op that touches it, under whatever name: views are followed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dlir.ir.core import Operation, Value
from dlir.ir.dialects.func import Func
from dlir.ir.types import MemRefType


@dataclass(slots=True)
class Span:
    """The first and the last time at which a buffer is touched; `escapes`: a region or the function gives it away."""

    first: int
    last: int
    escapes: bool = False


@dataclass(slots=True)
class Liveness:
    """The spans of a function's buffers: its memref arguments, and what ``memref.alloc`` and the like make in it."""

    end: int = 0
    spans: dict[Value, Span] = field(default_factory=dict)
    _roots: dict[Value, tuple[Value, ...]] = field(default_factory=dict)

    def roots(self, value: Value) -> tuple[Value, ...]:
        """The buffers that `value` may be a view of; mostly one."""
        return self._roots.get(value, (value,))


def liveness(function: Func) -> Liveness:
    """The liveness of all buffers in `function`, which has one block."""
    found = Liveness()
    for time, op in enumerate(function.body.ops):
        found.end = time
        for inner in op.walk():
            _name_results(inner, found)
            for value in inner.operands:
                if isinstance(value.type, MemRefType):
                    for root in found.roots(value):
                        span = found.spans.setdefault(root, Span(time, time))
                        span.last = time
                        span.escapes = span.escapes or inner.is_terminator
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


def is_planned(op: Operation) -> bool:
    """Whether `op` makes a buffer that may be placed in an arena: an alloc of static, contiguous shape."""
    if op.name != "memref.alloc" or op.operands:
        return False
    type = op.results[0].type
    return isinstance(type, MemRefType) and type.is_static and type.layout is None and type.space is None
