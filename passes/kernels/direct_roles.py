"""What each dimension of a contraction is to register tiles that read a packed operand where it lies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dlir.ir.affine import AffineExpr, Dim, Quotient, Remainder, constant, dims, linearize
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Primitive
from dlir.passes.kernels.buffers import divisions
from dlir.passes.kernels.classify import facts
from dlir.passes.kernels.cost import is_product
from dlir.passes.kernels.demand import Index
from dlir.passes.kernels.emit import accumulated_dtype
from dlir.passes.kernels.plan import Plan, Unfit
from dlir.passes.kernels.product import leaf_of, may_leave


@dataclass(frozen=True)
class DirectRoles:
    """The dimensions of a contraction, each counted in parts of which the first is the outermost, by role.

    A part is a number in `extents`.  `column` runs along vectors of the operand `right`; `panels` are the other parts that
    only that operand has.  `rows` are those of the operand `left` only, of which scalars are broadcast, and of neither;
    `outer` are in both.  `reduction` are the parts that are summed over, in the order in which they lie in the operand
    `right`.  Parts of extent 1 have no role.
    """

    parts: tuple[tuple[int, ...], ...]
    rank: int
    left: int
    right: int
    column: int
    panels: tuple[int, ...]
    rows: tuple[int, ...]
    outer: tuple[int, ...]
    reduction: tuple[int, ...]
    #: How many columns lie side by side: the width of a panel.
    width: int

    @property
    def extents(self) -> tuple[int, ...]:
        return tuple(extent for part in self.parts for extent in part)

    def sizes(self, numbers: Sequence[int]) -> tuple[int, ...]:
        extents = self.extents
        return tuple(extents[n] for n in numbers)

    def size(self, numbers: Sequence[int]) -> int:
        return math.prod(self.sizes(numbers))

    def index(self, values: Mapping[int, AffineExpr]) -> Index:
        """The point of the contraction's space at which its parts have these values; 0 where none is given."""
        rest = iter(range(len(self.extents)))
        found = []
        for part in self.parts:
            exprs = [values.get(next(rest), constant(0)) for _ in part]
            found.append(linearize(exprs, part) if len(part) > 1 else exprs[0])
        return tuple(found)


def direct_roles(plan: Plan, columns: int = 0) -> DirectRoles:
    """The roles of the dimensions of a plan's contraction; Unfit if no operand is packed in panels of columns.

    Panels are `columns` wide where they can be cut so from what lies side by side, as the channels of an image do.
    """
    op = plan.anchor
    assert op is not None
    if len(facts(op).space.maps) != 2 or not is_product(op):
        raise Unfit("it is no sum of products of two operands")
    for right in (1, 0):
        found = _roles(op, right, columns)
        if found is not None:
            return found
    raise Unfit("no operand is packed in panels of columns")


def _roles(op: Primitive, right: int, columns: int) -> DirectRoles | None:
    """The roles if operand number `right` is packed; None if it is not."""
    space = facts(op).space
    left = 1 - right
    names = dims(space.extents)
    leaf = leaf_of(op, right, names)
    if leaf is None or leaf[0].dtype is not accumulated_dtype(op):
        return None
    parts = _parts(space.extents, [*_reads(op, left, names), linearize(leaf[1], leaf[0].shape)])
    if parts is None:
        return None
    found = _in_parts(op, right, parts)
    if found is None or not columns or len(space.reduction) == 1 or columns == found.width:
        return found
    return _in_parts(op, right, _cut(parts, found.column, columns)) or found


def _cut(parts: tuple[tuple[int, ...], ...], number: int, size: int) -> tuple[tuple[int, ...], ...]:
    """`parts`, of which part `number` is cut in pieces of `size` if that goes."""
    found = []
    for part in parts:
        if 0 <= number < len(part) and part[number] % size == 0:
            part = (*part[:number], part[number] // size, size, *part[number + 1 :])
        number -= len(part)
        found.append(part)
    return tuple(found)


def _in_parts(op: Primitive, right: int, parts: tuple[tuple[int, ...], ...]) -> DirectRoles | None:
    """The roles of these parts of the dimensions if operand number `right` is packed; None if it is not."""
    space = facts(op).space
    left = 1 - right
    rank = sum(len(part) for part in parts[: len(space.parallel)])
    extents = [extent for part in parts for extent in part]
    point = _joined(dims(extents), parts)
    found = leaf_of(op, right, point)
    assert found is not None
    place = linearize(found[1], found[0].shape)
    reads = _reads(op, left, point)
    if divisions(place) or any(map(divisions, reads)):
        return None
    in_left = {n for expr in reads for n in expr.used_dims()}
    in_right = place.used_dims()
    real = [n for n, extent in enumerate(extents) if extent != 1]
    columns = [n for n in real if n < rank and n not in in_left and place.coefficient(n) == 1]
    reduction = sorted((n for n in real if n >= rank), key=lambda n: (-place.coefficient(n), n))
    if len(columns) != 1 or not reduction:
        return None
    (column,) = columns
    panels = tuple(n for n in real if n < rank and n in in_right and n not in in_left and n != column)
    width = min(place.coefficient(n) for n in (*panels, reduction[-1]))
    if width < extents[column] or not _covers(place, extents, column, found[0], width):
        return None
    if any(
        math.prod(part) != extent for part, extent in zip(parts, space.extents) if not _ends_in(parts, part, column)
    ):
        return None
    return DirectRoles(
        parts,
        rank,
        left,
        right,
        column,
        panels,
        tuple(n for n in real if n < rank and n not in in_right),
        tuple(n for n in real if n < rank and n in in_left and n in in_right),
        tuple(reduction),
        width,
    )


def _covers(place: AffineExpr, extents: Sequence[int], column: int, leaf: Value, width: int) -> bool:
    """Whether `width` columns can be read at every point: they lie in the operand, whatever they hold."""
    last = place.constant + sum(
        max(0, place.coefficient(n)) * (extent - 1) for n, extent in enumerate(extents) if n != column
    )
    forward = all(place.coefficient(n) >= 0 for n in range(len(extents)))
    return forward and place.constant >= 0 and last + width <= math.prod(leaf.shape)


def _reads(op: Primitive, left: int, point: Index) -> Index:
    """The index expressions of the operand of scalars: a position in memory, or its indices where some lie outside."""
    found = facts(op).space.maps[left]
    assert found is not None
    if not may_leave(op, left):
        leaf = leaf_of(op, left, point)
        if leaf is not None:
            return (linearize(leaf[1], leaf[0].shape),)
    return found.apply(point)


def _ends_in(parts: Sequence[tuple[int, ...]], part: tuple[int, ...], column: int) -> bool:
    """Whether `part` is the one whose last extent is that of number `column`."""
    end = 0
    for item in parts:
        end += len(item)
        if item is part:
            return end - 1 == column
    return False


def _joined(values: Sequence[AffineExpr], parts: Sequence[Sequence[int]]) -> Index:
    rest = iter(values)
    return tuple(linearize([next(rest) for _ in part], part) if len(part) > 1 else next(rest) for part in parts)


def _parts(extents: Sequence[int], exprs: Sequence[AffineExpr]) -> tuple[tuple[int, ...], ...] | None:
    """The parts in which to count each dimension so that `exprs` need no division; None where there are none."""
    steps: list[dict[int, None]] = [{} for _ in extents]
    waiting = list(exprs)
    while waiting:
        for atom, _ in waiting.pop().terms:
            if isinstance(atom, Dim):
                continue
            if not isinstance(atom, Quotient | Remainder):
                return None
            inner, factor = atom.expr, 1
            only = inner.only_atom
            if isinstance(only, Quotient):
                inner, factor = only.expr, only.divisor
            if inner.dim is None:
                return None
            steps[inner.dim].update({factor: None, factor * atom.divisor: None})
    found = []
    for extent, divisors in zip(extents, steps):
        sizes = sorted(n for n in divisors if 1 < n < extent)
        part, reach = [], 1
        for size in sizes:
            if size % reach:
                return None
            part.append(size // reach)
            reach = size
        found.append(tuple([-(-extent // reach), *part[::-1]]))
    return tuple(found)
