"""Kernels that add at places that an operand holds.

The result begins as a copy of the first operand, and then the additions are made one after another: what is done side by
side are places beside the axis, and ranges of places along it, each of which goes over all indices and takes its own.  So
nothing is written by two items, and every sum is made in the order of the indices.  What the operands are computed from is
made on the way, each update once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from dlir.ir.affine import AffineExpr, constant, delinearize
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.nd.scatter import Scatter, ScatterAdd
from dlir.ir.ops import arith
from dlir.ir.types import INDEX
from dlir.passes.kernels.demand import Demand
from dlir.passes.kernels.emit import Context
from dlir.passes.kernels.kernel import Kernel
from dlir.passes.kernels.plan import Inside, Loop, Plan, Unfit, points

#: Elements that are copied, and additions, that are worth an item of their own.
WORTH_AN_ITEM = 4096
#: Ranges of places along the axis, at most, on a CPU: each of them goes over all indices.
MOST_RANGES = 16


def plan_scatter(outputs: Sequence[Value], inside: Inside, anchor: Scatter, others: Sequence[Operation]) -> Plan:
    """The plan of a scatter, whose result is all that the kernel writes; Unfit where there is more to it."""
    if list(outputs) != [anchor.results[0]]:
        raise Unfit(f"'{anchor.name}' has its whole result in memory before anything can use it")
    if others:
        raise Unfit(f"'{others[0].name}' and '{anchor.name}' go through their elements in different orders")
    shape, axis = anchor.results[0].shape, anchor.axis
    copy = Loop(shape, Demand(inside, shape), outputs=[(0, points(shape))])
    x, indices, updates = anchor.operands
    copy.demand.want(x, points(shape))
    beside = (*shape[:axis], *shape[axis + 1 :])
    extents = (*anchor.steps, *beside)
    adds = Loop(extents, Demand(inside, extents))
    point = points(extents)
    step, place = point[: len(anchor.steps)], point[len(anchor.steps) :]
    adds.demand.want(indices, tuple(anchor.index_at(step, place)))
    adds.demand.want(updates, tuple(anchor.update_at(step, place)))
    return Plan("scatter", (), [copy, adds], anchor=anchor)


def tile_on_cpu(plan: Plan) -> tuple[int, int]:
    """Places along the axis and beside it, after it, of an item."""
    anchor: Scatter = plan.anchor
    shape, axis = anchor.results[0].shape, anchor.axis
    outer, extent, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    work = (extent + math.prod(anchor.steps)) * inner
    ranges = min(MOST_RANGES // max(1, outer), work // WORTH_AN_ITEM, inner // 4, extent)
    return -(-extent // max(1, ranges)), max(1, inner)


def tile_on_cuda(plan: Plan, threads: int) -> tuple[int]:
    """Places along the axis of an item that is one thread's: enough ranges for so many threads."""
    anchor: Scatter = plan.anchor
    shape, axis = anchor.results[0].shape, anchor.axis
    others = max(1, math.prod(shape[:axis]) * math.prod(shape[axis + 1 :]))
    ranges = max(1, min(threads // others, shape[axis]))
    return (max(1, -(-shape[axis] // ranges)),)


def emit_scatter(kernel: Kernel) -> None:
    """One work item for each index before the axis, range of ``tile[0]`` places along it, and block of ``tile[1]`` after it.

    Without a tile an item has everything that lies after an index before the axis.
    """
    _Scattering(kernel).emit()


def emit_scatter_elements(kernel: Kernel) -> None:
    """One work item for each place beside the axis and range of ``tile[0]`` places along it; an item does all in order."""
    rows = kernel.tile[0] if kernel.tile else kernel.plan.anchor.results[0].shape[kernel.plan.anchor.axis]
    _Scattering(replace(kernel, tile=(max(1, rows), 1)), is_serial=True).emit()


class _Scattering:
    """The emission of one scatter."""

    def __init__(self, kernel: Kernel, is_serial: bool = False) -> None:
        self.kernel = kernel
        self.emitter = kernel.emitter
        self.is_serial = is_serial
        self.op: Scatter = kernel.plan.anchor
        self.context = Context(kernel.emitter, self.op)
        shape, axis = self.op.results[0].shape, self.op.axis
        self.outer, self.extent, self.inner = shape[:axis], shape[axis], shape[axis + 1 :]
        self.width = math.prod(self.inner)
        rows, columns = kernel.tile or (self.extent, self.width)
        self.rows, self.columns = min(rows, self.extent), min(columns, self.width)

    def emit(self) -> None:
        if 0 in self.op.results[0].shape:
            return
        counts = (*self.outer, -(-self.extent // self.rows), -(-self.width // self.columns))
        self.emitter.items(math.prod(counts), lambda item: self._item(delinearize(item, counts)))

    def _item(self, number: Sequence[AffineExpr]) -> None:
        *before, part, block = number
        first, start = part * self.rows, block * self.columns
        height = self.kernel.at_most(self.rows, self.extent, first)
        width = self.kernel.at_most(self.columns, self.width, start)

        def beside(lane: AffineExpr) -> list[AffineExpr]:
            """The index in the result, without the axis, of a place of the block."""
            return [*before, *delinearize(start + lane, self.inner)]

        def copy(row: AffineExpr, lane: AffineExpr) -> None:
            index = self._index(first + row, beside(lane))
            self._store(self.emitter.element(self.op.operands[0], index), index)

        # What is changed where it lies needs no copy.
        if self.kernel.inplace.get(self.op.operands[0]) is not self.kernel.targets[0]:
            self._each(height, lambda row: self._each(width, lambda lane: copy(row, lane)))
        steps = self.op.steps
        self.emitter.serial(
            math.prod(steps), lambda count: self._step(delinearize(count, steps), first, height, width, beside)
        )

    def _step(
        self,
        step: Sequence[AffineExpr],
        first: AffineExpr,
        height: int | Value,
        width: int | Value,
        beside: Callable[[AffineExpr], list[AffineExpr]],
    ) -> None:
        """The additions of one step to the places of an item."""
        if isinstance(self.op, ScatterAdd):
            # One index for all lanes.
            row = self.op.place(self.context, step, beside(constant(0)))
            self._if_own(row, first, height, lambda: self._each(width, lambda lane: self._add(row, step, beside(lane))))
            return

        def lane_alone(lane: AffineExpr) -> None:
            row = self.op.place(self.context, step, beside(lane))
            self._if_own(row, first, height, lambda: self._add(row, step, beside(lane)))

        self._each(width, lane_alone)

    def _if_own(self, row: AffineExpr, first: AffineExpr, height: int | Value, body: Callable[[], None]) -> None:
        """Emit `body` for a place along the axis in the item's range."""
        emitter = self.emitter
        if self.rows == self.extent:
            body()
            return
        # As an unsigned number, a negative distance is a large one.
        size = height if isinstance(height, Value) else emitter.constant(height, INDEX)
        is_own = arith.cmpi("ult", emitter.index(row - first), size)
        floor = emitter.floor

        def own() -> None:
            # What only this item needs is made for this item only.
            emitter.floor = emitter.depth
            body()

        emitter.when(is_own, own)
        emitter.floor = floor

    def _add(self, row: AffineExpr, step: Sequence[AffineExpr], beside: Sequence[AffineExpr]) -> None:
        index = self._index(row, beside)
        before = self.emitter.buffers.load_memref(self.emitter, self.kernel.targets[0], index)
        self._store(self.op.added(self.context, before, step, beside), index)

    def _each(self, extent: int | Value, body: Callable[[AffineExpr], None]) -> None:
        """Emit a loop over lanes or rows, or just ``body(0)`` where there is one."""
        if extent == 1:
            body(constant(0))
        elif self.is_serial:
            self.emitter.serial(extent, body)
        else:
            self.emitter.parallel([extent], body)

    def _index(self, row: AffineExpr, beside: Sequence[AffineExpr]) -> tuple[AffineExpr, ...]:
        return (*beside[: len(self.outer)], row, *beside[len(self.outer) :])

    def _store(self, scalar: Value, index: Sequence[AffineExpr]) -> None:
        self.emitter.buffers.store(self.emitter, scalar, self.kernel.targets[0], index)
