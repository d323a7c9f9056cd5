"""Long reductions of few items, in two steps: blocks reduce parts, and what is left combines the parts.

A kernel whose items are few keeps few multiprocessors busy.  Each of its long reductions becomes a kernel of its own, whose
items are the item's parts, and leaves a partial result for each in a temporary; the rest of the kernel reduces these instead.
The order is the same in every run, so results are.  If all that the rest writes is in one long loop, that is spread over more
blocks too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from dlir.ir.builder import at_start, before
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.scf import Parallel, as_index, parallel_loop
from dlir.ir.effects import effects_of, is_removable
from dlir.ir.op import READ
from dlir.ir.ops import arith, memref
from dlir.ir.traversal import clone
from dlir.ir.types import MemRefType
from dlir.passes.kernels.choose_cuda import MULTIPROCESSORS, POINTWISE_BLOCK, THREADS, neighbours
from dlir.passes.kernels.loops_cuda import Box, combine
from dlir.passes.kernels.reduce_cuda import neutral

#: Blocks that a kernel should have, at least.
BLOCKS = 2 * MULTIPROCESSORS
#: A block's part of a row has so many elements at least, and a thread's part of a column.
ROW_PART, COLUMN_PART = 4096, 64

_READS = ("memref.load", "vector.load")


@dataclass(eq=False)
class Temporary:
    """Memory that the launches of one call share."""

    type: MemRefType


@dataclass
class Stage:
    """A kernel, launched after those before it; its last arguments are `temporaries`."""

    function: Func
    temporaries: list[Temporary] = field(default_factory=list)


def split_reductions(stage: Func, shared: dict[int, int]) -> list[Stage]:
    """`stage` as kernels with enough work items, if it is one that can be split; the last is `stage` itself, changed.

    `shared` says which argument an argument may share memory with.
    """
    return _Splitter(stage, shared).run()


class _Splitter:
    def __init__(self, stage: Func, shared: dict[int, int]) -> None:
        self.stage = stage
        self.shared = shared
        self.temporaries: list[Temporary] = []
        self.made: list[Stage] = []
        #: The loops that combine partial results.
        self.combining: set[Operation] = set()

    def run(self) -> list[Stage]:
        if self._can_be_split():
            while (found := self._next_reduction()) is not None:
                self._split(*found)
            if self.made:
                self._spread_last_loop()
        return [*self.made, Stage(self.stage, self.temporaries)]

    def _can_be_split(self) -> bool:
        loop = items_of(self.stage)
        if loop is not None:
            box = Box(loop)
            plain = all(low == 0 and step == 1 for low, step in zip(box.lowers, box.steps))
            if not plain or not box.size or THREADS in loop.attributes:
                return False
        return not any(op.name == "memref.alloca" for op in self.stage.walk())

    def _item(self, stage: Func) -> list[Operation]:
        """What is done for one item."""
        loop = items_of(stage)
        return list((stage if loop is None else loop).body.ops)

    def _extents(self) -> tuple[int, ...]:
        loop = items_of(self.stage)
        return () if loop is None else tuple(int(extent) for extent in Box(loop).extents)  # type: ignore[arg-type]

    # ------------------------------------------------------------ reductions

    def _next_reduction(self) -> tuple[int, int, int] | None:
        """The place in an item of the next reduction to split, the dimension to cut, and in how many parts."""
        for number, op in enumerate(self._item(self.stage)):
            if _writes(op):
                return None
            if isinstance(op, Parallel) and op.results and op not in self.combining:
                if any(neutral(region) is None for region in op.body.terminator.regions):
                    continue
                found = self._cut(op)
                if found is not None:
                    return number, *found
        return None

    def _cut(self, loop: Parallel) -> tuple[int, int] | None:
        """The dimension of `loop` to cut and in how many parts; None if it is not worth it, or cannot be told."""
        box = Box(loop)
        if not box.size or any(low != 0 or step != 1 for low, step in zip(box.lowers, box.steps)):
            return None
        extents = [int(extent) for extent in box.extents]  # type: ignore[arg-type]
        dimension = max(range(len(extents)), key=lambda n: extents[n])
        items, wanted = math.prod(self._extents()), 0
        outer = items_of(self.stage)
        if outer is not None:
            by_item, by_point = neighbours(self.stage, outer, [loop])
            if by_item > by_point:
                wanted = min(MULTIPROCESSORS * POINTWISE_BLOCK // items, box.size // COLUMN_PART)
        if not wanted:
            wanted = min(BLOCKS // items, box.size // ROW_PART)
        parts = -(-extents[dimension] // -(-extents[dimension] // max(1, min(wanted, extents[dimension]))))
        return (dimension, parts) if parts > 1 else None

    def _split(self, number: int, dimension: int, parts: int) -> None:
        """Move reduction `number` of an item to a kernel of its own."""
        loop = self._item(self.stage)[number]
        assert isinstance(loop, Parallel)
        extents = self._extents()
        added = [Temporary(MemRefType((parts, *extents), result.type)) for result in loop.results]
        places = [self.stage.body.add_arg(one.type, location=loop.location) for one in added]
        self.temporaries += added
        self.stage.update_type()
        self.made.append(Stage(self._partial(number, dimension, parts, len(added)), list(self.temporaries)))
        outer = items_of(self.stage)
        item = outer.counters if outer is not None else []
        regions = list(loop.body.terminator.regions)
        with before(loop):
            totals = parallel_loop(
                [0],
                [parts],
                [1],
                lambda part: [memref.load(place, [part, *item]) for place in places],
                [
                    (init, lambda one, two, region=region: combine(region, one, two))  # type: ignore[misc]
                    for init, region in zip(loop.group("initVals"), regions)
                ],
            )
        self.combining.add(totals[0].owner)
        loop.replace_by(totals)

    def _partial(self, number: int, dimension: int, parts: int, count: int) -> Func:
        """The kernel that reduces parts."""
        stage = clone(self.stage)
        item = self._item(stage)
        loop = item[number]
        assert isinstance(loop, Parallel)
        for op in reversed(item[number + 1 :]):
            if not op.is_terminator:
                op.erase()
        outer = _add_parts(stage, parts)
        _cut_loop(loop, dimension, parts, outer.counters[0])
        with before(loop):
            regions = loop.body.terminator.regions
            starts = [arith.constant(neutral(region), region.block.args[0].type) for region in regions]
        loop.set_operands((*loop.operands[: 3 * loop.dims], *starts))
        targets = stage.body.args[len(stage.body.args) - count :]
        with before(outer.body.terminator):
            for result, target in zip(loop.results, targets):
                memref.store(result, target, outer.counters)
        return stage

    # ------------------------------------------------------------ the last loop

    def _spread_last_loop(self) -> None:
        """Share out the only loop that writes among several blocks."""
        item = self._item(self.stage)
        writing = [op for op in item if _writes(op)]
        if len(writing) != 1 or not isinstance(writing[0], Parallel) or writing[0].results:
            return
        loop = writing[0]
        found = self._cut(loop)
        # What all blocks read before, none may write.
        written = {self._root(op.operands[1]) for op in loop.walk() if op.name == "memref.store"}
        others = [op for op in item if op is not loop]
        reads = {self._root(op.operands[0]) for other in others for op in other.walk() if op.name in _READS}
        if found is None or written & reads:
            return
        dimension, parts = found
        outer = _add_parts(self.stage, parts)
        _cut_loop(loop, dimension, parts, outer.counters[0])

    def _root(self, buffer: Value) -> int | Value:
        """What tells memrefs apart that share no memory."""
        while (op := buffer.defining_op) is not None and op.operands:
            buffer = op.operands[0]
        if buffer.defining_op is not None:
            return buffer
        number = buffer.index
        while number in self.shared:
            number = self.shared[number]
        return number


def items_of(stage: Func) -> Parallel | None:
    """The loop over work items; None if the whole body is one item."""
    acting = [op for op in stage.body.ops if not is_removable(op) and not op.is_terminator]
    if len(acting) == 1 and isinstance(acting[0], Parallel) and not acting[0].results:
        return acting[0]
    return None


def _writes(op: Operation) -> bool:
    """Whether `op` does more than read and compute."""
    return not effects_of(op) <= {READ} and not op.is_terminator


def _add_parts(stage: Func, parts: int) -> Parallel:
    """Make each item of `stage` `parts` items: the new loop over items counts parts first."""
    old = items_of(stage)
    extents = [] if old is None else [int(extent) for extent in Box(old).extents]  # type: ignore[arg-type]
    first = stage.body.first if old is None else old
    assert first is not None
    with before(first):
        count = len(extents) + 1
        parallel_loop([0] * count, [parts, *extents], [1] * count, lambda *counters: None)
    new = first.previous
    assert isinstance(new, Parallel)
    for one, two in zip([] if old is None else old.counters, new.counters[1:]):
        one.replace_by(two)
    ops = list((stage if old is None else old).body.ops)
    for op in ops[ops.index(first) :] if old is None else ops:
        if not op.is_terminator:
            op.move_before(new.body.terminator)
    if old is not None:
        old.erase()
    return new


def _cut_loop(loop: Parallel, dimension: int, parts: int, part: Value) -> None:
    """Let `loop` go over one part of a dimension that begins at 0."""
    extent, counter = Box(loop).extents[dimension], loop.counters[dimension]
    assert isinstance(extent, int)
    size = -(-extent // parts)
    with before(loop):
        first = arith.muli(part, size)
        count = as_index(size) if extent % size == 0 else arith.minsi(arith.subi(extent, first), size)
    # The loop still begins at 0, and its counter counts from `first` on.
    with at_start(loop.body, loop.location):
        shifted = arith.addi(counter, first)
    counter.replace_by(shifted)
    shifted.owner.set_operand(0, counter)
    loop.set_operand(loop.dims + dimension, count)
