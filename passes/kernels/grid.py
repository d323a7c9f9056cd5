"""The dimensions of a loop, merged where neighbours in one are neighbours in memory together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dlir.ir.affine import AffineExpr, constant, delinearize, dims
from dlir.passes.kernels.buffers import divisions, folds, stride_of
from dlir.passes.kernels.demand import Index
from dlir.passes.kernels.plan import Loop, Plan


@dataclass(frozen=True)
class Grid:
    """The merged dimensions of a loop: ``groups[i]`` are the extents that are counted as one.

    A dimension of extent 1 is in no group.
    """

    groups: tuple[tuple[int, ...], ...]

    @property
    def extents(self) -> tuple[int, ...]:
        return tuple(math.prod(group) for group in self.groups)

    def expand(self, index: Sequence[AffineExpr], extents: Sequence[int]) -> list[AffineExpr]:
        """The indices in all dimensions of a loop of these extents, from one for each group."""
        found: list[AffineExpr] = []
        for expr, group in zip(index, self.groups):
            found += delinearize(expr, group) if len(group) > 1 else (expr,)
        kept = iter(found)
        return [constant(0) if extent == 1 else next(kept) for extent in extents]

    def point(self, plan: Plan, loop: Loop) -> list[AffineExpr]:
        """The dimensions of all indices of `loop` over new ones: the rows, the groups, those of reductions inside."""
        first = len(plan.rows)
        inner = loop.demand.extents[first + len(loop.extents) :]
        names = dims((*plan.rows, *self.extents, *inner))
        last = first + len(self.groups)
        return [*names[:first], *self.expand(names[first:last], loop.extents), *names[last:]]


def merge_dims(plan: Plan, loop: Loop) -> Grid:
    """Merge neighbouring dimensions of a loop where nothing that it reads or writes then needs a division."""
    groups: list[tuple[int, ...]] = [(extent,) for extent in loop.extents if extent != 1]
    position = len(groups) - 1
    while position > 0:
        merged = [*groups[: position - 1], groups[position - 1] + groups[position], *groups[position + 1 :]]
        if _is_smooth(plan, loop, Grid(tuple(merged))):
            groups = merged
        position -= 1
    return Grid(tuple(groups))


def _is_smooth(plan: Plan, loop: Loop, grid: Grid) -> bool:
    point = grid.point(plan, loop)
    for (value, index), is_exact in loop.demand.accesses():
        found = _at(index, point)
        if any(map(divisions, found)) and (is_exact or not folds(found, value.shape)):
            return False
    return all(folds(_at(index, point), plan.shapes[number]) for number, index in loop.outputs)


def crossing(plan: Plan, loop: Loop, grid: Grid) -> int | None:
    """The group along which an operand lies in memory where the results lie along the last one; None if there is none."""
    point = grid.point(plan, loop)
    last = len(plan.rows) + len(grid.groups) - 1
    for value, index in loop.demand.leaves:
        found = _at(index, point)
        if stride_of(found, value.shape, last) in (0, 1):
            continue
        for number in range(len(grid.groups) - 1):
            if stride_of(found, value.shape, len(plan.rows) + number) == 1:
                return number
    return None


def _at(index: Index, point: Sequence[AffineExpr]) -> Index:
    return tuple(expr.substitute(point) for expr in index)
