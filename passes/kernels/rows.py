"""Kernels over rows: the reductions of a row, one loop each, and then its results.

A row is a work item.  What only depends on the row is computed once for it; what is costly and needed by more than one loop
over the row's columns is kept in a scratch buffer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dlir.ir.affine import AffineExpr, delinearize, linearize
from dlir.ir.core import Value
from dlir.ir.ops import memref
from dlir.ir.types import MemRefType
from dlir.passes.kernels.buffers import signless
from dlir.passes.kernels.cost import SCRATCH_LIMIT, staged_elements
from dlir.passes.kernels.demand import Index
from dlir.passes.kernels.emit import Context, accumulated_dtype, monoid_of
from dlir.passes.kernels.grid import Grid, merge_dims
from dlir.passes.kernels.kernel import Kernel
from dlir.passes.kernels.plan import Loop, points


def emit_rows(kernel: Kernel) -> None:
    """One work item for each row; where there are totals, the items of a reduction, and then what is computed from them."""
    rows, emitter, after = kernel.plan.rows, kernel.emitter, kernel.plan.after

    def row(item: AffineExpr) -> Sequence[Value]:
        return Row(kernel, list(delinearize(item, rows))).emit()

    def terms(item: AffineExpr) -> Sequence[Value]:
        emitter.floor = emitter.depth
        found = row(item)
        emitter.floor = 0
        return found

    if after is None:
        emitter.items(math.prod(rows), lambda item: (row(item), None)[1])
        return
    totals = [op for loop in kernel.plan.loops for op, _ in loop.totals]
    reduced = [(monoid_of(op), accumulated_dtype(op)) for op in totals]
    found = emitter.reduce([math.prod(rows)], reduced, terms)
    with emitter.at(emitter.depth):
        for op, accumulated in zip(totals, found):
            index = points(op.results[0].shape)
            emitter.remember(op.results[0], index, op.finish(Context(emitter, op), accumulated, index))
        kernel.store_outputs(after, ())


class Row:
    """Emits one row, whose dimensions have the values `row`."""

    def __init__(self, kernel: Kernel, row: Sequence[AffineExpr]) -> None:
        self.kernel = kernel
        self.emitter = kernel.emitter
        self.row = row
        #: Scratch buffers by the element (over canonical dimensions) that they hold.
        self.scratch: dict[tuple[Value, Index], Value] = {}

    def emit(self) -> Sequence[Value]:
        """Compute and store the results of the row; its parts of the totals."""
        loops = self.kernel.plan.loops
        staged = staged_elements(loops, SCRATCH_LIMIT)
        terms: list[Value] = []
        for loop in loops:
            keep = [key for key in staged.get(loop, ()) if key not in self.scratch]
            if loop.reductions:
                self._reduce(loop, keep)
            else:
                terms += self._store(loop, keep)
        return terms

    def _grid(self, loop: Loop) -> Grid:
        return merge_dims(self.kernel.plan, loop)

    def _at(self, index: Index, columns: Sequence[AffineExpr]) -> Index:
        point = [*self.row, *columns]
        return tuple(expr.substitute(point) for expr in index)

    # ------------------------------------------------------------ reductions

    def _reduce(self, loop: Loop, keep: list[tuple[Value, Index]]) -> None:
        """All reductions of a loop at once; their results are remembered for the row."""
        emitter, plan = self.emitter, self.kernel.plan
        grid = self._grid(loop)
        places = {key: self._allocate(loop, key) for key in keep}

        def body(*index: AffineExpr) -> list[Value]:
            columns = grid.expand(index, loop.extents)
            self._recall(loop, columns)
            found = []
            for op in loop.reductions:
                point = plan.row_index[op] + points(loop.extents, len(self.row))
                found.append(op.element(Context(emitter, op), self._at(point, columns)))
            self._keep(loop, places, columns)
            return found

        reduced = [(monoid_of(op), accumulated_dtype(op)) for op in loop.reductions]
        results = emitter.reduce(grid.extents, reduced, body) if grid.groups else body()
        self.scratch.update(places)
        for op, accumulated in zip(loop.reductions, results):
            index = self._at(plan.row_index[op], ())
            finished = op.finish(Context(emitter, op), accumulated, index)
            emitter.remember(op.results[0], index, finished)

    # ------------------------------------------------------------ results

    def _store(self, loop: Loop, keep: list[tuple[Value, Index]]) -> Sequence[Value]:
        """Compute and store the results of a loop; the row's parts of the totals."""
        emitter = self.emitter
        grid = self._grid(loop)
        places = {key: self._allocate(loop, key) for key in keep}

        def body(*index: AffineExpr) -> Sequence[Value]:
            columns = grid.expand(index, loop.extents)
            self._recall(loop, columns)
            terms = [op.element(Context(emitter, op), self._at(point, columns)) for op, point in loop.totals]
            self.kernel.store_outputs(loop, [*self.row, *columns])
            self._keep(loop, places, columns)
            return terms

        reduced = [(monoid_of(op), accumulated_dtype(op)) for op, _ in loop.totals]
        found = emitter.reduce(grid.extents, reduced, body) if grid.groups else body()
        self.scratch.update(places)
        return found

    # ------------------------------------------------------------ scratch

    def _allocate(self, loop: Loop, key: tuple[Value, Index]) -> Value:
        value, _ = key
        return memref.alloca((), (), MemRefType((math.prod(loop.extents),), signless(value.dtype)), alignment=64)

    def _keep(self, loop: Loop, places: dict[tuple[Value, Index], Value], columns: Sequence[AffineExpr]) -> None:
        """Write what later loops need to scratch."""
        emitter = self.emitter
        for (value, index), place in places.items():
            scalar = emitter.element(value, self._at(index, columns))
            emitter.buffers.store(emitter, scalar, place, [linearize(columns, loop.extents)])

    def _recall(self, loop: Loop, columns: Sequence[AffineExpr]) -> None:
        """Take what an earlier loop has written from scratch, instead of computing it again."""
        emitter = self.emitter
        for (value, index), place in self.scratch.items():
            if (value, index) in loop.demand.elements and place.shape == (math.prod(loop.extents),):
                found = emitter.buffers.load_memref(emitter, place, [linearize(columns, loop.extents)])
                emitter.remember(value, self._at(index, columns), found)
