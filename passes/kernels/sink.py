"""Views and constants for loops and branches: each block makes those that it uses, as each kernel does."""

from __future__ import annotations

from collections.abc import Iterable

from dlir.ir.builder import at_start, insert
from dlir.ir.core import Block, Operation
from dlir.ir.traversal import Mapping, clone
from dlir.passes.kernels.classify import is_free
from dlir.passes.kernels.legality import is_fusible


def sink_free(blocks: Iterable[Block]) -> int:
    """Copy views and constants into the blocks, nested in others, whose array ops use them; how many copies were made."""
    return sum(map(_sink_into, blocks))


def _sink_into(block: Block) -> int:
    users = [op for op in block.ops if is_fusible(op)]
    needed = _from_outside(users, block)
    mapping = Mapping()
    with at_start(block):
        for source in needed:
            insert(clone(source, mapping))
    for op in users if needed else ():
        for number, value in enumerate(op.operands):
            if value in mapping.values:
                op.set_operand(number, mapping.value(value))
    return len(needed)


def _from_outside(users: Iterable[Operation], block: Block) -> list[Operation]:
    """The free ops of other blocks that `users` depend on through free ops, each after what it depends on."""
    found: dict[Operation, None] = {}
    stack = [(op, False) for op in users]
    while stack:
        op, is_done = stack.pop()
        if is_done:
            found[op] = None
            continue
        if op.parent is not block:
            stack.append((op, True))
        for value in op.operands:
            source = value.defining_op
            if source is not None and source.parent is not block and source not in found and is_free(source):
                stack.append((source, False))
    return list(found)
