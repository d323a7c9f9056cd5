"""What each dimension of a contraction is to a register tile: rows, columns, summed over, or looped over outside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dlir.ir.affine import AffineExpr, delinearize, dims, linearize
from dlir.ir.dialects.nd.base import Primitive
from dlir.ir.types import Type
from dlir.passes.kernels.buffers import folds, stride_of
from dlir.passes.kernels.classify import facts
from dlir.passes.kernels.cost import is_product
from dlir.passes.kernels.demand import Demand, Index
from dlir.passes.kernels.plan import Inside, Plan
from dlir.passes.kernels.product import leaf_of, may_leave


@dataclass(frozen=True)
class Roles:
    """The parallel dimensions of a contraction by role; their extents are never 1.

    `rows` are those of the operand `left` only, of which scalars are broadcast.  `columns`, neighbours in memory, and
    `bands`, one dimension around them, are those of the operand `right`, of which vectors are read.  `outer` are the rest.
    """

    shape: tuple[int, ...]
    reduction: tuple[int, ...]
    left: int
    right: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    bands: tuple[int, ...]
    outer: tuple[int, ...]

    def extents(self, dims: Sequence[int]) -> tuple[int, ...]:
        return tuple(self.shape[n] for n in dims)

    def size(self, dims: Sequence[int]) -> int:
        return math.prod(self.extents(dims))

    @property
    def depth(self) -> int:
        """How many products are summed."""
        return math.prod(self.reduction)

    def point(
        self, outer: Sequence[AffineExpr], row: AffineExpr, band: AffineExpr, column: AffineExpr
    ) -> tuple[AffineExpr, ...]:
        """The index of an element of the result."""
        values = dict(zip(self.outer, outer))
        values.update(zip(self.rows, split(row, self.extents(self.rows))))
        values.update(zip(self.bands, split(band, self.extents(self.bands))))
        values.update(zip(self.columns, split(column, self.extents(self.columns))))
        return tuple(values.get(n, AffineExpr({}, 0)) for n in range(len(self.shape)))


def reads_vectors(op: Primitive, roles: Roles, dtype: Type) -> bool:
    """Whether neighbouring columns of the right operand are neighbours in memory, in the type of the sum."""
    if len(roles.columns) != 1:
        return False
    leaf = leaf_of(op, roles.right, dims(facts(op).space.extents))
    return leaf is not None and leaf[0].dtype is dtype and stride_of(leaf[1], leaf[0].shape, roles.columns[0]) == 1


def split(position: AffineExpr, shape: Sequence[int]) -> tuple[AffineExpr, ...]:
    """A position as indices; itself for one dimension."""
    return (position,) if len(shape) == 1 else delinearize(position, shape)


def roles_of(plan: Plan, inside: Inside) -> Roles | None:
    """The roles of the dimensions of a plan's contraction; None if it is no product of two operands."""
    op = plan.anchor
    assert op is not None
    space = facts(op).space
    if len(space.maps) != 2 or not is_product(op) or all(may_leave(op, number) for number in (0, 1)):
        return None
    uses = [set(found.used_dims()) for found in space.maps if found is not None]
    shape = space.parallel
    real = [n for n, extent in enumerate(shape) if extent != 1]
    # Vectors run along the last dimension that only one operand has.
    only = [n for n in real if (n in uses[0]) != (n in uses[1])]
    right = next((i for n in reversed(only) for i in (0, 1) if n in uses[i]), 1)
    left = 1 - right
    rows = tuple(n for n in only if n in uses[left])
    mine = [n for n in only if n in uses[right]]
    columns = _neighbours(plan, op, right, mine, inside)
    rest = [n for n in mine if n not in columns]
    bands = (rest[-1],) if rest and columns and rest[-1] == columns[0] - 1 else ()
    outer = tuple(n for n in real if n not in (*rows, *columns, *bands))
    return Roles(shape, space.reduction, left, right, rows, columns, bands, outer)


def _neighbours(plan: Plan, op: Primitive, right: int, mine: list[int], inside: Inside) -> tuple[int, ...]:
    """The last of the dimensions `mine` that can be counted as one without dividing, in the operand and the results."""
    columns: tuple[int, ...] = tuple(mine[-1:])
    for number in reversed(mine[:-1]):
        wider = (number, *columns)
        if number != columns[0] - 1 or not _is_smooth(plan, op, right, wider, inside):
            break
        columns = wider
    return columns


def _is_smooth(plan: Plan, op: Primitive, right: int, merged: tuple[int, ...], inside: Inside) -> bool:
    """Whether nothing that is read or written divides when the dimensions `merged` are one."""
    space = facts(op).space
    shape = space.parallel
    names = dims((*space.extents, math.prod(shape[n] for n in merged)))
    point = list(names[: len(space.extents)])
    for number, expr in zip(merged, delinearize(names[-1], [shape[n] for n in merged])):
        point[number] = expr
    demand = Demand(inside, (*space.extents, 1))
    operand, found = op.operands[right], space.maps[right]
    assert found is not None
    index = found.apply(point)
    demand.want(operand, index)
    if space.guarded and not all(folds([expr], [2]) for expr in index):
        return False
    (loop,) = plan.loops
    place = inverse(plan, point[: len(shape)])
    for value, where in loop.demand.leaves:
        if not _feeds(where, loop.extents):
            demand.leaves[value, tuple(expr.substitute([*place, *point[len(shape) :]]) for expr in where)] = None
    reads = all(folds(where, value.shape) for value, where in demand.leaves)
    return reads and all(folds([e.substitute(place) for e in where], plan.shapes[n]) for n, where in loop.outputs)


def _feeds(index: Index, extents: Sequence[int]) -> bool:
    """Whether an index goes over dimensions that are summed over: it belongs to an operand."""
    return any(n >= len(extents) for expr in index for n in expr.used_dims())


def inverse(plan: Plan, point: Sequence[AffineExpr]) -> list[AffineExpr]:
    """The point of the plan's loop at which the contraction's result at `point` is needed."""
    op = plan.anchor
    assert op is not None
    (loop,) = plan.loops
    shape = op.results[0].shape
    ((*index,),) = loop.demand.reductions[op]
    position = linearize(index, shape)
    here = linearize(point, shape)
    strides = sorted((position.coefficient(n), n) for n, extent in enumerate(loop.extents) if extent != 1)
    found = [AffineExpr({}, 0)] * len(loop.extents)
    for stride, number in strides:
        extent = loop.extents[number]
        found[number] = here // stride if stride * extent == math.prod(shape) else here // stride % extent
    return found
