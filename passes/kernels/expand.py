"""Composite ops written out as primitives."""

from __future__ import annotations

from dlir.ir.builder import before
from dlir.ir.core import Block, Operation
from dlir.ir.dialects.decompose import Decomposed, decompose_op


def expand(op: Decomposed) -> list[Operation]:
    """Replace `op` by its decomposition, one level deep; the new ops in order."""
    previous = op.previous
    with before(op):
        values = decompose_op(op)
    made: list[Operation] = []
    new = op.previous
    while new is not None and new is not previous:
        made.append(new)
        new = new.previous
    op.replace_by(values)
    return made[::-1]


def expand_all(block: Block) -> None:
    """Replace every composite of `block`, however deep its decomposition goes."""
    waiting = [op for op in block.ops if isinstance(op, Decomposed)]
    while waiting:
        waiting += [op for op in expand(waiting.pop()) if isinstance(op, Decomposed)]
