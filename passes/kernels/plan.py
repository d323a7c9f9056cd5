"""Whether a group of primitive ops can be one kernel, and how its loops go.

A kernel has one of these forms:

- *flat*: no reductions but windows; every result is computed point by point over one shape;
- *row*: reductions that all belong to the same rows.  A row is a work item: its reductions are computed first, each over its
  own loop, and the results after them, reading the row again;
- *contraction*: one contraction, with pointwise ops on its result.

`plan_kernel` raises :class:`Unfit` with the reason when none applies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dlir.ir.affine import AffineExpr, constant, delinearize, dim, dims, linearize
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.nd.base import Primitive
from dlir.passes.kernels.buffers import folds
from dlir.passes.kernels.classify import FusionClass, facts, fusion_class
from dlir.passes.kernels.demand import Demand, Index

Inside = Callable[[Operation], bool]


class Unfit(Exception):
    """The ops cannot be one kernel; the message says why."""


@dataclass(eq=False)
class Loop:
    """One loop over the columns of a row: dimensions len(rows) .. of its indices.

    It computes either `reductions` or the results number `outputs`, each at its index; `demand` is what it reads.
    """

    extents: tuple[int, ...]
    demand: Demand
    reductions: list[Primitive] = field(default_factory=list)
    outputs: list[tuple[int, Index]] = field(default_factory=list)


@dataclass(eq=False)
class Plan:
    """How the loops of a kernel go.

    `rows`: extents of the dimensions that are shared by all loops, first in every index; () for one row.  `levels`: the
    loops in order, those of one level need nothing of each other.  `row_index`: where each reduction's result is needed.
    """

    form: str
    rows: tuple[int, ...]
    loops: list[Loop]
    row_index: dict[Primitive, Index] = field(default_factory=dict)
    #: The contraction or window op, for those forms.
    anchor: Primitive | None = None
    #: Of the results.
    shapes: list[tuple[int, ...]] = field(default_factory=list)


def plan_kernel(outputs: Sequence[Value], inside: Inside) -> Plan:
    """The plan for computing `outputs` with the ops for which `inside` holds; Unfit if there is none."""
    classes = _classes(outputs, inside)
    anchors = [op for op, found in classes.items() if found is FusionClass.CONTRACTION]
    reductions = [op for op, found in classes.items() if found is FusionClass.REDUCE]
    windows = [op for op, found in classes.items() if found is FusionClass.WINDOW]
    if anchors:
        plan = _plan_contraction(outputs, inside, anchors, reductions + windows)
    elif windows:
        plan = _plan_window(outputs, inside, windows, reductions)
    elif reductions:
        plan = _RowPlanner(outputs, inside).plan()
    else:
        plan = _plan_flat(outputs, inside)
    plan.shapes = [value.shape for value in outputs]
    return plan


def _classes(outputs: Sequence[Value], inside: Inside) -> dict[Primitive, FusionClass]:
    """The class of each op that the outputs need, users first."""
    classes: dict[Primitive, FusionClass] = {}
    waiting = list(outputs)
    while waiting:
        op = waiting.pop().defining_op
        if op is None or not inside(op) or op in classes:
            continue
        found = fusion_class(op)
        if found is FusionClass.OPAQUE or not isinstance(op, Primitive):
            raise Unfit(f"'{op.name}' is not known to fusion")
        classes[op] = found
        waiting += op.operands
    return classes


# ---------------------------------------------------------------- flat


def points(shape: Sequence[int], first: int = 0) -> Index:
    """An index with a dimension for each extent, numbered from `first`; where the extent is 1 it is 0."""
    return tuple(constant(0) if extent == 1 else dim(first + i, extent) for i, extent in enumerate(shape))


def _plan_flat(outputs: Sequence[Value], inside: Inside) -> Plan:
    shape = max((value.shape for value in outputs), key=len)
    demand = Demand(inside, shape)
    loop = Loop(shape, demand)
    for number, value in enumerate(outputs):
        index = reshaped_index(points(shape), shape, value.shape)
        if index is None:
            raise Unfit(f"results have shapes {list(shape)} and {list(value.shape)}")
        loop.outputs.append((number, index))
        demand.want(value, index)
    return Plan("flat", (), [loop])


def reshaped_index(index: Index, shape: Sequence[int], other: Sequence[int]) -> Index | None:
    """The index into an array of shape `other` of the element at `index` of an array of `shape`; None if that takes
    divisions or the sizes differ."""
    if tuple(shape) == tuple(other):
        return index
    if math.prod(shape) != math.prod(other):
        return None
    found = delinearize(linearize(index, shape), other)
    return found if folds(found, other) else None


def _plan_window(
    outputs: Sequence[Value], inside: Inside, windows: list[Primitive], reductions: list[Primitive]
) -> Plan:
    if reductions or len(windows) > 1:
        other = (reductions or windows[1:])[0]
        raise Unfit(f"'{windows[0].name}' and '{other.name}' reduce over different elements")
    plan = _plan_flat(outputs, inside)
    _need_each_once(plan.loops[0], windows[0])
    plan.form, plan.anchor = "window", windows[0]
    return plan


def _need_each_once(loop: Loop, anchor: Primitive) -> None:
    """Unfit unless each element of the anchor's result is needed at one point of the loop."""
    indices = loop.demand.reductions[anchor]
    if len(indices) > 1:
        raise Unfit(f"'{anchor.name}' would be computed more than once")
    if not _is_bijection(indices[0], loop.extents, anchor.results[0].shape):
        raise Unfit(f"'{anchor.name}' would be computed more than once")


def _is_bijection(index: Index, extents: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether `index` takes each value of `shape` once: sizes agree and each point has a position of its own."""
    if math.prod(extents) != math.prod(shape):
        return False
    if 0 in shape:
        return True
    position = linearize(index, shape)
    strides = sorted((abs(position.coefficient(i)), extent) for i, extent in enumerate(extents) if extent != 1)
    reach = 1
    for stride, extent in strides:
        if stride != reach:
            return False
        reach *= extent
    return True


# ---------------------------------------------------------------- contraction


def _plan_contraction(
    outputs: Sequence[Value],
    inside: Inside,
    anchors: list[Primitive],
    reductions: list[Primitive],
) -> Plan:
    if len(anchors) > 1:
        raise Unfit(f"'{anchors[1].name}' and '{anchors[0].name}' are both contractions")
    (anchor,) = anchors
    if reductions:
        raise Unfit(f"'{reductions[0].name}' needs the whole result of '{anchor.name}' or is needed for it")
    feeding = _classes(anchor.operands, inside)
    for op, found in feeding.items():
        if found is not FusionClass.VIEW and op.operands:
            raise Unfit(f"'{op.name}' would be computed again for each tile of '{anchor.name}'")
    plan = _plan_flat(outputs, inside)
    _need_each_once(plan.loops[0], anchor)
    plan.form, plan.anchor = "contraction", anchor
    return plan


# ---------------------------------------------------------------- rows


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
        demand = Demand(self.inside, value.shape)
        demand.want(value, points(value.shape))
        if not demand.reductions:
            return
        own = value.rank
        used: set[int] = set()
        for op, indices in demand.reductions.items():
            for index in indices:
                found = {n for expr in index for n in expr.used_dims()}
                if any(n >= own for n in found):
                    raise Unfit(f"'{op.name}' is needed along an axis that another reduction runs over")
                used |= found
        row_dims = sorted(used)
        rows = tuple(value.shape[n] for n in row_dims)
        if self.rows is not None and rows != self.rows:
            raise Unfit(f"reductions have rows of shape {list(self.rows)} and {list(rows)}")
        self.rows = rows
        renamed, columns = _split_dims(value.shape, row_dims)
        for op, indices in demand.reductions.items():
            for index in indices:
                row = tuple(expr.substitute(renamed) for expr in index)
                if not _is_within(row, op.results[0].shape):
                    raise Unfit(f"'{op.name}' is needed at places that a guard keeps inside of it")
                if self.row_index.setdefault(op, row) != row:
                    raise Unfit(f"'{op.name}' would be computed more than once")
        self.placed[number] = tuple(renamed), columns

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
            if other is value and _is_bijection(index, extents, value.shape):
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
