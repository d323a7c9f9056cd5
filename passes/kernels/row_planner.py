"""Plans for kernels over rows: reductions, and what is computed from them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dlir.ir.affine import AffineExpr, dim, dims
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Primitive
from dlir.passes.kernels.buffers import divisions
from dlir.passes.kernels.classify import facts
from dlir.passes.kernels.demand import Demand, Index
from dlir.passes.kernels.plan import Inside, Loop, Plan, Unfit, is_bijection, points, reshaped_index

#: A reduction of at most this many elements may be done again for each row, though it does not depend on all of the row.
REPEATED = 16


def plan_rows(outputs: Sequence[Value], inside: Inside) -> Plan:
    """The plan for outputs that need reductions, all of them over the same rows; Unfit if they are not."""
    return _RowPlanner(outputs, inside).plan()


class _RowPlanner:
    """Finds the rows that all reductions share, and puts reductions and outputs in loops over their columns."""

    def __init__(self, outputs: Sequence[Value], inside: Inside) -> None:
        self.outputs = outputs
        self.inside = inside
        #: For each output that needs reductions: its index over (rows, columns), and the column extents.
        self.placed: dict[int, tuple[Index, tuple[int, ...]]] = {}
        #: The same for the points of what is reduced over the rows too, and the outputs that are computed from that alone.
        self.totals: dict[Primitive, tuple[Index, tuple[int, ...]]] = {}
        self.after: list[int] = []
        self.rows: tuple[int, ...] | None = None
        self.row_index: dict[Primitive, Index] = {}
        #: Reductions in the order in which they must be computed, and how deep they build on others.
        self.level: dict[Primitive, int] = {}

    def plan(self) -> Plan:
        single = [number for number, value in enumerate(self.outputs) if math.prod(value.shape) == 1]
        for number in range(len(self.outputs)):
            if number not in single:
                self._place(number)
        # Those that say what the rows are go first.
        totals = {number: self._totals_of(self.outputs[number]) for number in single}
        for number in sorted(single, key=lambda number: not _has_rows(totals[number])):
            if totals[number] and (self.rows or _has_rows(totals[number])):
                self._place_totals(number, totals[number])
            else:
                self._place(number)
        self._refuse_repeated()
        loops = self._reduction_loops()
        self._align_rest(loops)
        loops += self._output_loops()
        assert self.rows is not None
        return Plan("row", self.rows, loops, self.row_index, after=self._after())

    def _place(self, number: int) -> None:
        """Split the dimensions of an output into those that its reductions depend on, the row, and columns."""
        shape, place, demand = self._shape_for(self.outputs[number])
        if demand.reductions:
            self.placed[number] = self._split(shape, place, demand)

    def _split(self, shape: tuple[int, ...], place: Index, demand: Demand) -> tuple[Index, tuple[int, ...]]:
        """`place`, which is over `shape`, over (rows, columns), and the columns' extents.

        The rows are the dimensions that the reductions of `demand` depend on, and have to be the same as before.
        """
        own = len(shape)
        used: set[int] = set()
        for op, indices in demand.reductions.items():
            for index in indices:
                found = {n for expr in index for n in expr.used_dims()}
                if any(n >= own for n in found):
                    raise Unfit(f"'{op.name}' is needed along an axis that another reduction runs over")
                used |= found
        row_dims = sorted(used)
        self._set_rows(tuple(shape[n] for n in row_dims))
        renamed, columns = _split_dims(shape, row_dims)
        for op, indices in demand.reductions.items():
            for index in indices:
                row = tuple(expr.substitute(renamed) for expr in index)
                if not _is_within(row, op.results[0].shape):
                    raise Unfit(f"'{op.name}' is needed at places that a guard keeps inside of it")
                if self.row_index.setdefault(op, row) != row:
                    raise Unfit(f"'{op.name}' would be computed more than once")
        return tuple(expr.substitute(renamed) for expr in place), columns

    def _set_rows(self, rows: tuple[int, ...]) -> None:
        if self.rows is not None and rows != self.rows:
            raise Unfit(f"reductions have rows of shape {list(self.rows)} and {list(rows)}")
        self.rows = rows

    def _refuse_repeated(self) -> None:
        """Unfit if a reduction of much does not depend on all of the row: each row would do it again."""
        assert self.rows is not None
        wanted = {number for number, extent in enumerate(self.rows) if extent != 1}
        for op, index in self.row_index.items():
            missing = wanted - {n for expr in index for n in expr.used_dims()}
            if op in self.totals or (missing and math.prod(facts(op).space.reduction) > REPEATED):
                raise Unfit(f"'{op.name}' would be computed more than once")

    # ------------------------------------------------------------ totals

    def _totals_of(self, value: Value) -> dict[Primitive, Demand]:
        """The reductions that an output is computed from, all of them to one number, and what each of them needs.

        Nothing if some have more results.
        """
        demand = Demand(self.inside, value.shape, through_reductions=False)
        demand.want(value, points(value.shape))
        if any(math.prod(op.results[0].shape) != 1 for op in demand.reductions):
            return {}
        found = {}
        for op in demand.reductions:
            below = found[op] = Demand(self.inside, facts(op).space.reduction)
            below.want_operands(op, _point_of_total(op))
        return found

    def _place_totals(self, number: int, totals: dict[Primitive, Demand]) -> None:
        """Give each row its part of the totals of an output, which is computed when all rows are done."""
        for op, below in sorted(totals.items(), key=lambda item: not _has_rows(dict([item]))):
            extents = facts(op).space.reduction
            if _has_rows({op: below}):
                if _divides(below):
                    raise Unfit(f"'{op.name}' is over parts of rows")
                self.totals[op] = self._split(extents, _point_of_total(op), below)
                continue
            assert self.rows is not None
            rank = len(self.rows)
            if below.reductions or extents[:rank] != self.rows:
                raise Unfit(f"'{op.name}' is over {list(extents)}, which has no rows of shape {list(self.rows)}")
            self.totals[op] = _point_of_total(op), extents[rank:]
        self.after.append(number)

    def _after(self) -> Loop | None:
        """The outputs that are computed from totals."""
        if not self.after:
            return None
        loop = Loop((), Demand(self.inside, (), through_reductions=False))
        for number in self.after:
            value = self.outputs[number]
            loop.outputs.append((number, points(value.shape)))
            loop.demand.want(value, points(value.shape))
        return loop

    # ------------------------------------------------------------ loops

    def _shape_for(self, value: Value) -> tuple[tuple[int, ...], Index, Demand]:
        """The shape to go over an output in, where in the output a point of it lies, and what is needed for that.

        It is the output's own shape, unless reductions are then needed at quotients (group normalization, whose channels
        are groups and channels in a group to the reductions) and the shape of what they reduce has none.
        """
        own = self._at(value, value.shape)
        assert own is not None
        if _divides(own[2]):
            for op in own[2].reductions:
                other = self._at(value, op.operands[0].shape)
                if other is not None and not _divides(other[2]):
                    return other
        return own

    def _at(self, value: Value, shape: tuple[int, ...]) -> tuple[tuple[int, ...], Index, Demand] | None:
        """What going over `value` in this shape takes; None if that divides."""
        place = reshaped_index(points(shape), shape, value.shape)
        if place is None:
            return None
        demand = Demand(self.inside, shape)
        demand.want(value, place)
        return shape, place, demand

    def _reduction_loops(self) -> list[Loop]:
        """A loop for the reductions of one level over columns of the same extents."""
        assert self.rows is not None
        demands = {op: self._reduction_demand(op) for op in self.row_index}
        for op in demands:
            self._find_level(op, demands)
        loops: dict[tuple[int, tuple[int, ...]], Loop] = {}
        for op in sorted(demands, key=lambda item: self.level[item]):
            extents = facts(op).space.reduction
            key = (self.level[op], extents)
            loop = loops.get(key)
            if loop is None:
                loop = loops[key] = Loop(extents, Demand(self.inside, self.rows + extents, through_reductions=False))
            loop.reductions.append(op)
            self._want_operands(op, loop.demand)
        return list(loops.values())

    def _want_operands(self, op: Primitive, demand: Demand) -> None:
        assert self.rows is not None
        space = facts(op).space
        demand.want_operands(op, self.row_index[op] + points(space.reduction, len(self.rows)))

    def _reduction_demand(self, op: Primitive) -> Demand:
        assert self.rows is not None
        demand = Demand(self.inside, self.rows + facts(op).space.reduction, through_reductions=False)
        self._want_operands(op, demand)
        return demand

    def _find_level(self, op: Primitive, demands: dict[Primitive, Demand]) -> None:
        """One more than the deepest of the reductions that `op` needs, without recursion."""
        waiting = [op]
        while waiting:
            needed = demands[waiting[-1]].reductions
            missing = [other for other in needed if other not in self.level]
            if missing:
                waiting += missing
            else:
                here = waiting.pop()
                self.level[here] = 1 + max((self.level[other] for other in needed), default=-1)

    def _align_rest(self, loops: list[Loop]) -> None:
        """Place the outputs that need no reduction: where a loop already computes them, else by their leading extents."""
        assert self.rows is not None
        for number, value in enumerate(self.outputs):
            if number in self.placed or number in self.after:
                continue
            for loop in loops:
                found = self._index_in(loop, value)
                if found is not None:
                    self.placed[number] = found, loop.extents
                    break
            else:
                rank = len(self.rows)
                if value.shape[:rank] != self.rows:
                    raise Unfit(f"a result of shape {list(value.shape)} has no rows of shape {list(self.rows)}")
                self.placed[number] = points(value.shape), value.shape[rank:]

    def _index_in(self, loop: Loop, value: Value) -> Index | None:
        """The index at which a loop needs `value`, if it needs all of its elements, once."""
        assert self.rows is not None
        extents = self.rows + loop.extents
        for other, index in loop.demand.elements:
            if other is value and is_bijection(index, extents, value.shape):
                return index
        return None

    def _output_loops(self) -> list[Loop]:
        """A loop for the outputs, and the terms of totals, over columns of the same extents."""
        assert self.rows is not None
        loops: dict[tuple[int, ...], Loop] = {}

        def loop_over(columns: tuple[int, ...]) -> Loop:
            if columns not in loops:
                demand = Demand(self.inside, rows + columns, through_reductions=False)
                loops[columns] = Loop(columns, demand)
            return loops[columns]

        rows = self.rows
        for number, (index, columns) in sorted(self.placed.items()):
            loop = loop_over(columns)
            loop.outputs.append((number, index))
            loop.demand.want(self.outputs[number], index)
        for op, (index, columns) in self.totals.items():
            loop = loop_over(columns)
            loop.totals.append((op, index))
            loop.demand.want_operands(op, index)
        return list(loops.values())


def _point_of_total(op: Primitive) -> Index:
    """The points of the space of a reduction to one number, over the dimensions that it reduces."""
    space = facts(op).space
    return points([1] * len(space.parallel)) + points(space.reduction)


def _has_rows(totals: dict[Primitive, Demand]) -> bool:
    """Whether what one of the totals adds up needs reductions that are not the same for all of it."""
    indices = (index for demand in totals.values() for found in demand.reductions.values() for index in found)
    return any(expr.used_dims() for index in indices for expr in index)


def _divides(demand: Demand) -> bool:
    """Whether a reduction is needed at an index that divides."""
    return any(divisions(expr) for indices in demand.reductions.values() for index in indices for expr in index)


def _is_within(index: Index, shape: Sequence[int]) -> bool:
    """Whether `index` stays inside `shape` at every point, as that of a padded or clamped read does not."""
    for expr, extent in zip(index, shape):
        low, high = expr.bounds
        if low is None or high is None or low < 0 or high >= max(extent, 1):
            return False
    return True


def _split_dims(shape: Sequence[int], row_dims: list[int]) -> tuple[list[AffineExpr], tuple[int, ...]]:
    """For each dimension of `shape` its new name, rows first and then columns, and the columns' extents."""
    renamed = list(dims(shape))
    for position, number in enumerate(row_dims):
        renamed[number] = dim(position, shape[number])
    columns = [n for n in range(len(shape)) if n not in row_dims]
    for position, number in enumerate(columns):
        renamed[number] = points([shape[number]], len(row_dims) + position)[0]
    return renamed, tuple(shape[n] for n in columns)
