"""What an operation may do besides computing its results, its regions included."""

from __future__ import annotations

from dlir.ir.core import Operation
from dlir.ir.op import ALLOC, IO, READ, WRITE, Op

ALL = frozenset({READ, WRITE, ALLOC, IO})
NONE: frozenset[str] = frozenset()


def effects_of(op: Operation) -> frozenset[str]:
    """The effects of `op` and of all inside its regions; everything for an op that is not registered."""
    if not op.regions:
        return op.side_effects() if isinstance(op, Op) else ALL
    found = NONE
    for inner in op.walk():
        found |= inner.side_effects() if isinstance(inner, Op) else ALL
        if found == ALL:
            break
    return found


def is_removable(op: Operation) -> bool:
    """Whether `op` may go when its results are unused: it only computes and reads."""
    return bool(op.results) and not op.is_terminator and effects_of(op) <= {READ}
