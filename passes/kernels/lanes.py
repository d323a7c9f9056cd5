"""Kernels over rows that lie side by side in memory: a work item is a run of neighbouring rows.

Where the elements of a row are far apart, but those of neighbouring rows are not (a sum over the first axis of a matrix),
rows are computed together: every loop over the columns has an inner one over the rows of the item, its *lanes*, which LLVM
widens.  What belongs to a row is in scratch, one element a lane.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from dlir.ir.affine import AffineExpr, delinearize, linearize
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Primitive
from dlir.ir.ops import memref
from dlir.ir.types import MemRefType, Type
from dlir.passes.kernels.buffers import signless
from dlir.passes.kernels.cost import SCRATCH_LIMIT, row_elements, staged_elements
from dlir.passes.kernels.demand import Index
from dlir.passes.kernels.emit import Context, accumulated_dtype, monoid_of
from dlir.passes.kernels.grid import Grid, merge_dims
from dlir.passes.kernels.kernel import Kernel
from dlir.passes.kernels.monoids import combine
from dlir.passes.kernels.plan import Loop, points
from dlir.passes.kernels.rows import emit_rows

Key = tuple[Value, Index]


def emit_lanes(kernel: Kernel) -> None:
    """One work item for each run of ``tile[0]`` rows."""
    if not kernel.plan.rows or kernel.plan.after is not None:
        emit_rows(kernel)
        return
    *outer, last = kernel.plan.rows
    lanes = min(kernel.tile[0], last)
    counts = (*outer, -(-last // lanes))

    def item(number: AffineExpr) -> None:
        *index, run = delinearize(number, counts)
        _Run(kernel, index, run * lanes, lanes).emit()

    kernel.emitter.items(math.prod(counts), item)


class _Run:
    """Emits one work item: the rows from `start` on, at `outer` in all dimensions of the rows but the last."""

    def __init__(self, kernel: Kernel, outer: Sequence[AffineExpr], start: AffineExpr, lanes: int) -> None:
        self.kernel = kernel
        self.emitter = kernel.emitter
        self.outer = outer
        self.start = start
        self.lanes = lanes
        #: Scratch by what it holds: elements that belong to the row, and those at each of its columns.
        self.of_row: dict[Key, Value] = {}
        self.of_columns: dict[Key, Value] = {}
        last = kernel.plan.rows[-1]
        self.count = kernel.at_most(lanes, last, start)

    def emit(self) -> None:
        loops = self.kernel.plan.loops
        staged = staged_elements(loops, SCRATCH_LIMIT // self.lanes)
        for loop in loops:
            self._keep_row_elements(loop)
            keep = [key for key in staged.get(loop, ()) if key not in self.of_columns]
            places = {key: self._scratch(key[0].dtype, math.prod(loop.extents)) for key in keep}
            if loop.reductions:
                self._reduce(loop, places)
            else:
                self._over_points(loop, partial(self._store, loop, places))
            self.of_columns.update(places)

    # ------------------------------------------------------------ loops

    def _each_lane(self, body: Callable[[AffineExpr], None]) -> None:
        """``body(lane)`` with what belongs to the row at hand."""

        def filled(lane: AffineExpr) -> None:
            for (value, index), place in self.of_row.items():
                found = self.emitter.buffers.load_memref(self.emitter, place, [lane])
                self.emitter.remember(value, self._at(index, lane, ()), found)
            body(lane)

        self.emitter.parallel([self.count], filled)

    def _over_points(self, loop: Loop, body: Callable[[AffineExpr, Sequence[AffineExpr]], None]) -> None:
        """``body(lane, columns)`` for all columns in order, and in each for all lanes."""
        grid = self._grid(loop)

        def nest(index: tuple[AffineExpr, ...]) -> None:
            if len(index) == len(grid.groups):
                columns = grid.expand(index, loop.extents)
                self._each_lane(lambda lane: self._point(loop, lane, columns, body))
            else:
                self.emitter.serial(grid.extents[len(index)], lambda i: nest((*index, i)))

        nest(())

    def _point(
        self,
        loop: Loop,
        lane: AffineExpr,
        columns: Sequence[AffineExpr],
        body: Callable[[AffineExpr, Sequence[AffineExpr]], None],
    ) -> None:
        emitter = self.emitter
        for (value, index), place in self.of_columns.items():
            if (value, index) in loop.demand.elements and place.shape[0] == math.prod(loop.extents):
                found = emitter.buffers.load_memref(emitter, place, [linearize(columns, loop.extents), lane])
                emitter.remember(value, self._at(index, lane, columns), found)
        body(lane, columns)

    def _grid(self, loop: Loop) -> Grid:
        return merge_dims(self.kernel.plan, loop)

    def _at(self, index: Index, lane: AffineExpr, columns: Sequence[AffineExpr]) -> Index:
        point = [*self.outer, self.start + lane, *columns]
        return tuple(expr.substitute(point) for expr in index)

    # ------------------------------------------------------------ what the loops do

    def _reduce(self, loop: Loop, places: dict[Key, Value]) -> None:
        """The reductions of a loop, accumulated in scratch."""
        emitter, plan = self.emitter, self.kernel.plan
        sums = {op: self._scratch(accumulated_dtype(op)) for op in loop.reductions}

        def clear(lane: AffineExpr) -> None:
            for op, place in sums.items():
                emitter.buffers.store(emitter, emitter.neutral(monoid_of(op), accumulated_dtype(op)), place, [lane])

        def add(lane: AffineExpr, columns: Sequence[AffineExpr]) -> None:
            for op, place in sums.items():
                point = plan.row_index[op] + points(loop.extents, len(plan.rows))
                found = op.element(Context(emitter, op), self._at(point, lane, columns))
                total = emitter.buffers.load_memref(emitter, place, [lane])
                total = combine(monoid_of(op), accumulated_dtype(op), total, found)
                emitter.buffers.store(emitter, total, place, [lane])
            self._keep(loop, lane, columns, places)

        emitter.parallel([self.count], clear)
        self._over_points(loop, add)
        self._finish(sums)

    def _finish(self, sums: dict[Primitive, Value]) -> None:
        """Turn what was accumulated into results, and keep them for the row."""
        emitter, plan = self.emitter, self.kernel.plan
        results = {op: self._scratch(op.results[0].dtype) for op in sums}

        def finish(lane: AffineExpr) -> None:
            for op, place in sums.items():
                found = emitter.buffers.load_memref(emitter, place, [lane])
                index = self._at(plan.row_index[op], lane, ())
                emitter.buffers.store(emitter, op.finish(Context(emitter, op), found, index), results[op], [lane])

        emitter.parallel([self.count], finish)
        self.of_row.update({(op.results[0], plan.row_index[op]): place for op, place in results.items()})

    def _store(self, loop: Loop, places: dict[Key, Value], lane: AffineExpr, columns: Sequence[AffineExpr]) -> None:
        """Compute and store the results of a loop at one point."""
        self.kernel.store_outputs(loop, [*self.outer, self.start + lane, *columns])
        self._keep(loop, lane, columns, places)

    # ------------------------------------------------------------ scratch

    def _scratch(self, dtype: Type, columns: int | None = None) -> Value:
        """A buffer with an element for each lane, and for each of so many columns."""
        shape = (self.lanes,) if columns is None else (columns, self.lanes)
        return memref.alloca((), (), MemRefType(shape, signless(dtype)), alignment=64)

    def _keep(self, loop: Loop, lane: AffineExpr, columns: Sequence[AffineExpr], places: dict[Key, Value]) -> None:
        """Write what later loops need to scratch."""
        emitter = self.emitter
        for (value, index), place in places.items():
            scalar = emitter.element(value, self._at(index, lane, columns))
            emitter.buffers.store(emitter, scalar, place, [linearize(columns, loop.extents), lane])

    def _keep_row_elements(self, loop: Loop) -> None:
        """Compute what is costly and belongs to the row once, before a loop over columns."""
        wanted = [key for key in row_elements(loop, len(self.kernel.plan.rows)) if key not in self.of_row]
        if not wanted:
            return
        places = {key: self._scratch(key[0].dtype) for key in wanted}

        def keep(lane: AffineExpr) -> None:
            for (value, index), place in places.items():
                scalar = self.emitter.element(value, self._at(index, lane, ()))
                self.emitter.buffers.store(self.emitter, scalar, place, [lane])

        self._each_lane(keep)
        self.of_row.update(places)
