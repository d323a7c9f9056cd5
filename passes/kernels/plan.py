"""How the loops of a kernel go: what fusion finds out and kernel lowering emits.

A kernel has one of these forms:

- *flat*: no reductions; every result is computed point by point over one shape;
- *window*: the same, and each point reduces over a window of its own;
- *row*: reductions that all belong to the same rows.  A row is a work item: its reductions are computed first, each over its
  own loop, and the results after them, reading the row again.  What is reduced over everything, the rows included, is a
  *total*: each row has its term, and what is computed from the totals comes after all rows;
- *scan*: running totals along one dimension of the results, which runs in order, with pointwise ops before and after;
- *scatter*: additions at places that an operand holds, with pointwise ops before them;
- *contraction*: one contraction, with pointwise ops on its result;
- *pooled*: one contraction, whose result a window op reduces, with pointwise ops on the results of both;
- *attention*: one attention, with pointwise ops on its result;
- *parts*: several of these that have nothing to do with one another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dlir.ir.affine import AffineExpr, constant, delinearize, dim, linearize
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.nd.base import Primitive
from dlir.passes.kernels.buffers import folds
from dlir.passes.kernels.demand import Demand, Index

Inside = Callable[[Operation], bool]


class Unfit(Exception):
    """The ops cannot be one kernel; the message says why."""


@dataclass(eq=False)
class Loop:
    """One loop over the columns of a row: dimensions len(rows) .. of its indices.

    It computes either `reductions`, or the results number `outputs`, each at its index, and what the row adds to `totals`,
    each with the point of its space; `demand` is what it reads.
    """

    extents: tuple[int, ...]
    demand: Demand
    reductions: list[Primitive] = field(default_factory=list)
    outputs: list[tuple[int, Index]] = field(default_factory=list)
    totals: list[tuple[Primitive, Index]] = field(default_factory=list)


@dataclass(eq=False)
class Plan:
    """How the loops of a kernel go.

    `rows`: extents of the dimensions that are shared by all loops, first in every index; () for one row.  `loops` are in
    the order in which they must run.  `row_index`: where each reduction's result is needed.
    """

    form: str
    rows: tuple[int, ...]
    loops: list[Loop]
    row_index: dict[Primitive, Index] = field(default_factory=dict)
    #: The contraction, window op, scan or attention, for those forms.
    anchor: Any = None
    #: What pools the anchor's result, for the form "pooled".
    window: Any = None
    #: For the form "parts": the numbers of a part's results, and its plan.
    parts: list[tuple[list[int], Plan]] = field(default_factory=list)
    #: The results.
    values: list[Value] = field(default_factory=list)
    #: The results that are computed from totals, after all rows; None if there are no totals.
    after: Loop | None = None

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the results."""
        return [value.shape for value in self.values]


def points(shape: Sequence[int], first: int = 0) -> Index:
    """An index with a dimension for each extent, numbered from `first`; where the extent is 1 it is 0."""
    return tuple(constant(0) if extent == 1 else dim(first + i, extent) for i, extent in enumerate(shape))


def reshaped_index(index: Index, shape: Sequence[int], other: Sequence[int]) -> Index | None:
    """The index into an array of shape `other` of the element at `index` of an array of `shape`; None if that takes
    divisions or the sizes differ."""
    if tuple(shape) == tuple(other):
        return index
    if math.prod(shape) != math.prod(other):
        return None
    found = delinearize(linearize(index, shape), other)
    return found if folds(found, other) else None


def is_bijection(index: Index, extents: Sequence[int], shape: Sequence[int]) -> bool:
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


def inverse_point(
    index: Index, extents: Sequence[int], shape: Sequence[int], point: Sequence[AffineExpr]
) -> list[AffineExpr]:
    """The point of a loop with these extents whose `index`, a bijection, into an array of `shape` is `point`."""
    position, here = linearize(index, shape), linearize(point, shape)
    found = [constant(0)] * len(extents)
    for number, extent in enumerate(extents):
        if extent != 1:
            stride = position.coefficient(number)
            found[number] = here // stride if stride * extent == math.prod(shape) else here // stride % extent
    return found
