"""Where the threads of a block must wait for each other.

Ops that all threads run, one after the other, are looked at in order.  A barrier goes before one that reads what
another thread may have written since the last barrier, or writes what another may have read or written.  Two loops that
share out the same points in the same way, and address memory by the point in the same way, need none between them: each
thread then meets only what it did itself.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from dlir.ir.builder import before
from dlir.ir.core import Block, Operation, Value
from dlir.ir.dialects.arith import constant_value
from dlir.ir.dialects.gpu import PRIVATE
from dlir.ir.ops import gpu

#: For each op that threads run differently: how its points are shared out, or None if that cannot be told.
Divergent = dict[Operation, Hashable]


@dataclass(frozen=True)
class _Access:
    buffer: Hashable
    writes: bool
    #: Equal owners: the same thread, for the same element.
    owner: Hashable


def insert_barriers(block: Block, divergent: Divergent, buffer_of: Callable[[Value], Hashable]) -> int:
    """Put ``gpu.barrier`` where it is needed in `block` and the blocks that all threads run inside it; how many.

    `buffer_of` gives equal keys for memrefs that may share memory.
    """
    return _Inserter(divergent, buffer_of).run(block)


class _Inserter:
    def __init__(self, divergent: Divergent, buffer_of: Callable[[Value], Hashable]) -> None:
        self.divergent = divergent
        self.buffer_of = buffer_of
        self.count = 0

    def run(self, block: Block) -> int:
        waiting = [block]
        while waiting:
            waiting += self._scan(waiting.pop())
        return self.count

    def _scan(self, block: Block) -> list[Block]:
        """Put the barriers of one block, which begins with none pending; the blocks inside that have yet to be done."""
        inner: list[Block] = []
        pending: list[_Access] = []
        for op in block.ops:
            if op.name == "gpu.barrier":
                pending = []
            elif self._is_shared_control(op):
                if pending and self._accesses(op):
                    self._barrier(op)
                    pending = []
                inner += [body for region in op.regions for body in region.blocks]
            elif op.is_terminator:
                # A loop's next run, or what follows the block, begins with nothing pending.
                if pending and block.parent_op is not None and block.parent_op.name in ("scf.for", "scf.if"):
                    self._barrier(op)
            else:
                accesses = self._accesses(op)
                if any(_conflict(one, two) for one in pending for two in accesses):
                    self._barrier(op)
                    pending = []
                pending += accesses
        return inner

    def _is_shared_control(self, op: Operation) -> bool:
        """Whether all threads run the regions of `op` together, and threads differ in something inside."""
        return bool(op.regions) and op not in self.divergent and any(inner in self.divergent for inner in op.walk())

    def _barrier(self, op: Operation) -> None:
        with before(op):
            gpu.barrier()
        self.count += 1

    def _accesses(self, op: Operation) -> list[_Access]:
        domain = self.divergent.get(op)
        places = _Places(op) if domain is not None else None
        found: dict[_Access, None] = {}
        for inner in op.walk():
            if inner.name == "memref.load":
                memref, indices, writes = inner.operands[0], inner.operands[1:], False
            elif inner.name == "memref.store":
                memref, indices, writes = inner.operands[1], inner.operands[2:], True
            else:
                continue
            if memref.type.space is PRIVATE or _is_private(memref):
                continue
            owner = None if places is None else places.owner(domain, memref, indices)
            found[_Access(self.buffer_of(memref), writes, owner)] = None
        return list(found)


def _conflict(one: _Access, two: _Access) -> bool:
    if one.buffer != two.buffer or not (one.writes or two.writes):
        return False
    return one.owner is None or one.owner != two.owner


def _is_private(memref: Value) -> bool:
    while (op := memref.defining_op) is not None and op.operands:
        memref = op.operands[0]
    return op is not None and op.name == "memref.alloca"


class _Places:
    """What the indices in a loop are, as functions of its counter: equal descriptions are equal functions."""

    def __init__(self, loop: Operation) -> None:
        self.counter = loop.body.args[0]
        self.known: dict[Value, Hashable] = {self.counter: "point"}
        self.moving: set[Value] = {self.counter}
        self.inside = loop
        for op in loop.body.ops:
            if op.name.startswith("arith.") and op.operands:
                parts = [self._describe(value) for value in op.operands]
                if None not in parts:
                    self.known[op.results[0]] = (op.name, *parts)
                    if any(value in self.moving for value in op.operands):
                        self.moving.add(op.results[0])

    def owner(self, domain: Hashable, memref: Value, indices: tuple[Value, ...]) -> Hashable:
        """Who touches this element: None if that may be any thread."""
        parts = tuple(self._describe(value) for value in indices)
        if None in parts or not any(value in self.moving for value in indices):
            return None
        return domain, memref.type, parts

    def _describe(self, value: Value) -> Hashable:
        if value in self.known:
            return self.known[value]
        number = constant_value(value)
        if number is not None:
            return number
        return value if self._is_outside(value) else None

    def _is_outside(self, value: Value) -> bool:
        block = value.parent_block
        while block is not None:
            if block.parent_op is self.inside:
                return False
            block = block.parent_op.parent if block.parent_op is not None else None
        return True
