"""Kernels over rows: the reductions of a row, one loop each, and then its results.

A row is a work item.  What only depends on the row is computed once for it; what is costly and needed by more than one loop
over the row's columns is kept in a scratch buffer, or where a result of that row goes at the end: a CPU then fetches that
memory while it computes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

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
from dlir.passes.kernels.plan import Loop, Plan, is_bijection, points

#: An element over the dimensions of the row and its columns.
Key = tuple[Value, Index]


def emit_rows_in_results(kernel: Kernel) -> None:
    """As `emit_rows`, but what is kept for later loops is kept where results go, as far as that can be."""
    emit_rows(kernel, True)


def emit_rows(kernel: Kernel, in_results: bool = False) -> None:
    """One work item for each row; where there are totals, the items of a reduction, and then what is computed from them."""
    kept = kept_in_results(kernel.plan) if in_results else {}
    rows, emitter, after = kernel.plan.rows, kernel.emitter, kernel.plan.after

    def row(item: AffineExpr) -> Sequence[Value]:
        return Row(kernel, list(delinearize(item, rows)), kept).emit()

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


def kept_in_results(plan: Plan) -> dict[Key, tuple[int, Index]]:
    """What may be kept where a result goes: the number of the result, and its index at the same point.

    The last loop that needs the element is the one that writes the result there.
    """
    found: dict[Key, tuple[int, Index]] = {}
    taken: dict[int, None] = {}
    for earlier, keys in staged_elements(plan.loops, SCRATCH_LIMIT).items():
        for key in keys:
            *_, last = [loop for loop in plan.loops if loop is not earlier and key in loop.demand.elements]
            for number, index in last.outputs if last.extents == earlier.extents else ():
                shape = plan.shapes[number]
                if number not in taken and is_bijection(index, (*plan.rows, *last.extents), shape):
                    taken[number] = None
                    found[key] = number, index
                    break
    return found


class Row:
    """Emits one row, whose dimensions have the values `row`; `kept` says what is kept where results go."""

    def __init__(self, kernel: Kernel, row: Sequence[AffineExpr], kept: Mapping[Key, tuple[int, Index]]) -> None:
        self.kernel = kernel
        self.emitter = kernel.emitter
        self.row = row
        self.kept = kept
        #: Where elements (over canonical dimensions) are kept, and how many columns there are.
        self.scratch: dict[Key, tuple[Value, int]] = {}

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

    def _reduce(self, loop: Loop, keep: list[Key]) -> None:
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

    def _store(self, loop: Loop, keep: list[Key]) -> Sequence[Value]:
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

    def _allocate(self, loop: Loop, key: Key) -> tuple[Value, int]:
        dtype, size = signless(key[0].dtype), math.prod(loop.extents)
        if key in self.kept:
            target = self.kernel.targets[self.kept[key][0]]
            if target.dtype is dtype and target not in self.kernel.inplace.values():
                return target, size
        return memref.alloca((), (), MemRefType((size,), dtype), alignment=64), size

    def _place(self, loop: Loop, key: Key, buffer: Value, columns: Sequence[AffineExpr]) -> Sequence[AffineExpr]:
        """Where an element is kept in a buffer: that of a result, or of this row only."""
        if buffer in self.kernel.targets:
            return self._at(self.kept[key][1], columns)
        return [linearize(columns, loop.extents)]

    def _keep(self, loop: Loop, places: dict[Key, tuple[Value, int]], columns: Sequence[AffineExpr]) -> None:
        """Write what later loops need to scratch."""
        emitter = self.emitter
        for (value, index), (buffer, _) in places.items():
            scalar = emitter.element(value, self._at(index, columns))
            emitter.buffers.store(emitter, scalar, buffer, self._place(loop, (value, index), buffer, columns))

    def _recall(self, loop: Loop, columns: Sequence[AffineExpr]) -> None:
        """Take what an earlier loop has written from scratch, instead of computing it again."""
        emitter = self.emitter
        for (value, index), (buffer, size) in self.scratch.items():
            if (value, index) in loop.demand.elements and size == math.prod(loop.extents):
                place = self._place(loop, (value, index), buffer, columns)
                found = emitter.buffers.load_memref(emitter, buffer, place)
                emitter.remember(value, self._at(index, columns), found)
