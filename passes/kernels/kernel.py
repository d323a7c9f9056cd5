"""A kernel while it is being lowered."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dlir.ir.affine import AffineExpr, delinearize, dims
from dlir.ir.core import Value
from dlir.passes.kernels.buffers import divisions, folds
from dlir.passes.kernels.demand import Index
from dlir.passes.kernels.emit import Emitter
from dlir.passes.kernels.plan import Loop, Plan


@dataclass(eq=False)
class Kernel:
    """What the emission of a schedule works on: results number i of the plan are `values[i]`, stored in `targets[i]`."""

    plan: Plan
    values: list[Value]
    targets: list[Value]
    emitter: Emitter
    tile: tuple[int, ...] = ()

    def store(self, output: int, index: Index) -> None:
        """Make the element of a result at `index` and store it."""
        emitter = self.emitter
        found = emitter.element(self.values[output], index)
        emitter.buffers.store(emitter, found, self.targets[output], index)


@dataclass(frozen=True)
class Grid:
    """The dimensions `extents` of a loop, after `fixed` others, merged into fewer with neighbours in memory together.

    ``extents[i]`` is the product of the merged extents ``groups[i]``; a dimension of extent 1 is in no group.
    """

    groups: tuple[tuple[int, ...], ...]

    @property
    def extents(self) -> tuple[int, ...]:
        return tuple(math.prod(group) for group in self.groups)

    def expand(self, index: Sequence[AffineExpr], shape: Sequence[int]) -> list[AffineExpr]:
        """The indices in all dimensions of `shape`, from one for each group."""
        found = [e for expr, group in zip(index, self.groups) for e in delinearize_all(expr, group)]
        kept = iter(found)
        return [AffineExpr({}, 0) if extent == 1 else next(kept) for extent in shape]


def delinearize_all(position: AffineExpr, group: Sequence[int]) -> tuple[AffineExpr, ...]:
    return delinearize(position, group) if len(group) > 1 else (position,)


def merge_dims(loop: Loop, fixed: Sequence[int], shapes: Callable[[int], Sequence[int]]) -> Grid:
    """Merge neighbouring dimensions of a loop where nothing that it reads or writes then needs a division.

    `fixed` are the extents of the dimensions before the loop's own; `shapes` gives the shape of a result by number.
    """
    groups: list[tuple[int, ...]] = [(extent,) for extent in loop.extents if extent != 1]
    position = len(groups) - 1
    while position > 0:
        merged = [*groups[: position - 1], groups[position - 1] + groups[position], *groups[position + 1 :]]
        if _is_smooth(loop, fixed, Grid(tuple(merged)), shapes):
            groups = merged
        position -= 1
    return Grid(tuple(groups))


def _is_smooth(loop: Loop, fixed: Sequence[int], grid: Grid, shapes: Callable[[int], Sequence[int]]) -> bool:
    first, last = len(fixed), len(fixed) + len(loop.extents)
    # The dimensions of reductions inside, which come after the loop's own, stay as they are.
    inner = loop.demand.extents[last:]
    outer = dims((*fixed, *grid.extents, *inner))
    merged = grid.expand(outer[first : first + len(grid.groups)], loop.extents)
    point = [*outer[:first], *merged, *outer[first + len(grid.groups) :]]

    def at(index: Index) -> Index:
        return tuple(expr.substitute(point) for expr in index)

    for (value, index), is_exact in loop.demand.accesses():
        found = at(index)
        if any(map(divisions, found)) and (is_exact or not folds(found, value.shape)):
            return False
    return all(folds(at(index), shapes(number)) for number, index in loop.outputs)
