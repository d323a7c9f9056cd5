"""Plans for kernels over rows: reductions, and what is computed from them."""

from __future__ import annotations

from collections.abc import Sequence

from dlir.ir.affine import AffineExpr, dim, dims
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Primitive
from dlir.passes.kernels.buffers import divisions
from dlir.passes.kernels.classify import facts
from dlir.passes.kernels.demand import Demand, Index
from dlir.passes.kernels.plan import Inside, Loop, Plan, Unfit, is_bijection, points, reshaped_index


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
        self.rows: tuple[int, ...] | None = None
        self.row_index: dict[Primitive, Index] = {}
        #: Reductions in the order in which they must be computed, and how deep they build on others.
        self.level: dict[Primitive, int] = {}

    def plan(self) -> Plan:
        for number in range(len(self.outputs)):
            self._place(number)
        loops = self._reduction_loops()
        self._align_rest(loops)
        loops += self._output_loops()
        assert self.rows is not None
        return Plan("row", self.rows, loops, self.row_index)

    def _place(self, number: int) -> None:
        """Split the dimensions of an output into those that its reductions depend on, the row, and columns."""
        value = self.outputs[number]
        shape, place, demand = self._shape_for(value)
        if not demand.reductions:
            return
        own = len(shape)
        used: set[int] = set()
        for op, indices in demand.reductions.items():
            for index in indices:
                found = {n for expr in index for n in expr.used_dims()}
                if any(n >= own for n in found):
                    raise Unfit(f"'{op.name}' is needed along an axis that another reduction runs over")
                used |= found
        row_dims = sorted(used)
        rows = tuple(shape[n] for n in row_dims)
        if self.rows is not None and rows != self.rows:
            raise Unfit(f"reductions have rows of shape {list(self.rows)} and {list(rows)}")
        self.rows = rows
        renamed, columns = _split_dims(shape, row_dims)
        for op, indices in demand.reductions.items():
            for index in indices:
                row = tuple(expr.substitute(renamed) for expr in index)
                if not _is_within(row, op.results[0].shape):
                    raise Unfit(f"'{op.name}' is needed at places that a guard keeps inside of it")
                if self.row_index.setdefault(op, row) != row:
                    raise Unfit(f"'{op.name}' would be computed more than once")
        self.placed[number] = tuple(expr.substitute(renamed) for expr in place), columns

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
            if number in self.placed:
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
        assert self.rows is not None
        loops: dict[tuple[int, ...], Loop] = {}
        for number, value in enumerate(self.outputs):
            index, columns = self.placed[number]
            loop = loops.get(columns)
            if loop is None:
                demand = Demand(self.inside, self.rows + columns, through_reductions=False)
                loop = loops[columns] = Loop(columns, demand)
            loop.outputs.append((number, index))
            loop.demand.want(value, index)
        return list(loops.values())


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
