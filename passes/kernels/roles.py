"""What each dimension of a contraction is to a register tile: rows, columns, summed over, or looped over outside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dlir.ir.affine import AffineExpr, Quotient, constant, delinearize, dim, dims, linearize
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Primitive
from dlir.ir.types import Type
from dlir.passes.kernels.buffers import divisions, folds, stride_of
from dlir.passes.kernels.classify import facts
from dlir.passes.kernels.cost import is_product
from dlir.passes.kernels.demand import Demand, Index
from dlir.passes.kernels.plan import Inside, Plan
from dlir.passes.kernels.product import leaf_of, may_leave


@dataclass(frozen=True)
class Roles:
    """The parallel dimensions of a contraction by role.

    A dimension that an operand only has as a number of groups counts as two: the group, and the place in it.  `parts` gives
    the extents of each dimension of the result, of which `shape` is the list.  Dimensions are numbered in `shape`; those of
    extent 1 have no role.

    `rows` are those of the operand `left` only, of which scalars are broadcast.  `columns`, neighbours in memory, and
    `bands`, one dimension around them, are those of the operand `right`, of which vectors are read.  `outer` are the rest.
    """

    parts: tuple[tuple[int, ...], ...]
    reduction: tuple[int, ...]
    left: int
    right: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    bands: tuple[int, ...]
    outer: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(extent for part in self.parts for extent in part)

    def extents(self, dims: Sequence[int]) -> tuple[int, ...]:
        shape = self.shape
        return tuple(shape[n] for n in dims)

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
        return _joined([values.get(n, constant(0)) for n in range(len(self.shape))], self.parts)

    def element(self, outer: Sequence[AffineExpr], row: AffineExpr, column: AffineExpr) -> tuple[AffineExpr, ...]:
        """As `point`, of a column that counts those of all bands."""
        width = self.size(self.columns)
        band, inner = (column // width, column % width) if self.columns else (column, constant(0))
        return self.point(outer, row, band, inner)


def reads_vectors(op: Primitive, roles: Roles, dtype: Type) -> bool:
    """Whether neighbouring columns of the right operand are neighbours in memory, in the type of the sum."""
    if len(roles.columns) != 1:
        return False
    leaf = _right_leaf(op, roles)
    return leaf is not None and leaf[0].dtype is dtype and stride_of(leaf[1], leaf[0].shape, roles.columns[0]) == 1


def is_transposed(op: Primitive, roles: Roles) -> bool:
    """Whether what is summed over are neighbours in the right operand's memory, and its columns are not."""
    leaf = _right_leaf(op, roles)
    if leaf is None or len(roles.reduction) != 1 or roles.depth == 1:
        return False
    strides = [stride_of(leaf[1], leaf[0].shape, number) for number in (len(roles.shape), *roles.columns)]
    return strides[0] == 1 and 1 not in strides[1:]


def _right_leaf(op: Primitive, roles: Roles) -> tuple[Value, Index] | None:
    """What in memory is the right operand's factor, over the result's parts and what is summed over; None if computed."""
    names = dims((*roles.shape, *roles.reduction))
    rank = len(roles.shape)
    return leaf_of(op, roles.right, _joined(names[:rank], roles.parts) + names[rank:])


def split(position: AffineExpr, shape: Sequence[int]) -> tuple[AffineExpr, ...]:
    """A position as indices; itself for one dimension."""
    return (position,) if len(shape) == 1 else delinearize(position, shape)


def _joined(values: Sequence[AffineExpr], parts: Sequence[Sequence[int]]) -> Index:
    """The index whose dimensions have these parts."""
    rest = iter(values)
    return tuple(linearize([next(rest) for _ in part], part) if len(part) > 1 else next(rest) for part in parts)


def roles_of(plan: Plan, inside: Inside) -> Roles | None:
    """The roles of the dimensions of a plan's contraction; None if it is no product of two operands."""
    op = plan.anchor
    assert op is not None
    maps = facts(op).space.maps
    if len(maps) != 2 or not is_product(op) or all(may_leave(op, number) for number in (0, 1)):
        return None
    return _Finder(plan, op, inside).roles()


class _Finder:
    """Finds the roles of the dimensions of one contraction."""

    def __init__(self, plan: Plan, op: Primitive, inside: Inside) -> None:
        self.plan = plan
        self.op = op
        self.inside = inside
        self.space = facts(op).space
        self.parts = tuple(_parts(op, number) for number in range(len(self.space.parallel)))
        self.shape = tuple(extent for part in self.parts for extent in part)
        self.names = dims((*self.shape, *self.space.reduction))

    def roles(self) -> Roles:
        uses = [{n for expr in self._read(number, self.names) for n in expr.used_dims()} for number in (0, 1)]
        real = [n for n, extent in enumerate(self.shape) if extent != 1]
        # Vectors run along the last dimension that only one operand has.
        only = [n for n in real if (n in uses[0]) != (n in uses[1])]
        right = next((i for n in reversed(only) for i in (0, 1) if n in uses[i]), 1)
        left = 1 - right
        rows = tuple(n for n in only if n in uses[left])
        mine = [n for n in only if n in uses[right]]
        columns = self._neighbours(right, mine)
        rest = [n for n in mine if n not in columns]
        bands = (rest[-1],) if rest and columns and rest[-1] == columns[0] - 1 else ()
        outer = tuple(n for n in real if n not in (*rows, *columns, *bands))
        return Roles(self.parts, self.space.reduction, left, right, rows, columns, bands, outer)

    def _read(self, operand: int, names: Sequence[AffineExpr]) -> Index:
        """Where an operand is read, with these values for the parts of the dimensions and those summed over."""
        found = self.space.maps[operand]
        assert found is not None
        rank = len(self.shape)
        return found.apply((*_joined(names[:rank], self.parts), *names[rank : len(self.names)]))

    def _neighbours(self, right: int, mine: list[int]) -> tuple[int, ...]:
        """The last of the dimensions `mine` that can be counted as one without dividing, in operand and results."""
        columns: tuple[int, ...] = tuple(mine[-1:])
        for number in reversed(mine[:-1]):
            wider = (number, *columns)
            if number != columns[0] - 1 or not self._is_smooth(right, wider):
                break
            columns = wider
        return columns

    def _is_smooth(self, right: int, merged: tuple[int, ...]) -> bool:
        """Whether nothing that is read or written divides when the dimensions `merged` are one."""
        extents = [self.shape[n] for n in merged]
        names = list(self.names)
        for number, expr in zip(merged, delinearize(dim(len(names), math.prod(extents)), extents)):
            names[number] = expr
        index = self._read(right, names)
        if self.space.guarded and any(map(divisions, index)):
            return False
        demand = Demand(self.inside, (*self.shape, *self.space.reduction, 1))
        demand.want(self.op.operands[right], index)
        (loop,) = self.plan.loops
        place = inverse(self.plan, _joined(names[: len(self.shape)], self.parts))
        reads = [
            *demand.leaves,
            *(
                (value, tuple(expr.substitute(place) for expr in where))
                for value, where in loop.demand.leaves
                if not feeds(where, loop.extents)
            ),
        ]
        writes = [(tuple(e.substitute(place) for e in where), self.plan.shapes[n]) for n, where in loop.outputs]
        return all(folds(where, value.shape) for value, where in reads) and all(folds(*found) for found in writes)


def _parts(op: Primitive, number: int) -> tuple[int, ...]:
    """The extents that dimension `number` of the result is counted in: groups and places, or just its own."""
    space = facts(op).space
    extent = space.parallel[number]
    for found in space.maps:
        for expr in found.exprs if found is not None else ():
            for atom, _ in expr.terms:
                if isinstance(atom, Quotient) and atom.expr.dim == number and extent % atom.divisor == 0:
                    return extent // atom.divisor, atom.divisor
    return (extent,)


def feeds(index: Index, extents: Sequence[int]) -> bool:
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
