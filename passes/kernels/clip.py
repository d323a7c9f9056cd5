"""Sums of products that end where an image ends, so that no zeros around it are read or multiplied.

It takes tiles whose rows all lie at one place of the image: in the gradient of a convolution's kernel these are channels.
Every loop of the sum then runs over the part of its range for which the place is inside.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dlir.ir.affine import AffineExpr, constant, dims
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Primitive
from dlir.ir.dialects.nd.scalars import widen
from dlir.ir.ops import arith
from dlir.ir.types import INDEX
from dlir.passes.kernels.classify import facts
from dlir.passes.kernels.demand import Index
from dlir.passes.kernels.direct_roles import DirectRoles
from dlir.passes.kernels.emit import Emitter
from dlir.passes.kernels.product import may_leave

#: Rows that a tile can have at least.
LEAST_ROWS = 4
#: From how little of use on, of what would be multiplied, tiles of rows that lie apart are worth it.
WASTEFUL = 0.7


@dataclass(frozen=True)
class Clip:
    """How a contraction's operand `left` is read: `reads` over the parts of all dimensions.

    `axes` gives for each part that is summed over, and leads out of the operand, the dimension in which it does; `guards`
    are the rows on which it depends where that happens, `free` the others.
    """

    op: Primitive
    roles: DirectRoles
    reads: Index
    axes: dict[int, int]
    guards: tuple[int, ...]
    free: tuple[int, ...]

    @staticmethod
    def of(op: Primitive, roles: DirectRoles) -> Clip | None:
        """None if nothing leads out of the operand, if it is not to be said so, or if too few rows lie at one place."""
        map = facts(op).space.maps[roles.left]
        if map is None or not may_leave(op, roles.left):
            return None
        reads = map.apply(roles.index(dict(enumerate(dims(roles.extents)))))
        axes: dict[int, int] = {}
        guards: dict[int, None] = {}
        for axis, (expr, extent) in enumerate(zip(reads, op.operands[roles.left].shape, strict=True)):
            low, high = expr.bounds
            if low is not None and high is not None and low >= 0 and high < extent:
                continue
            summed = [part for part in expr.used_dims() if part in roles.reduction]
            if len(summed) != 1 or expr.coefficient(summed[0]) <= 0 or summed[0] in axes:
                return None
            axes[summed[0]] = axis
            guards.update((part, None) for part in expr.used_dims() if part in roles.rows)
        fixed = tuple(part for part in roles.rows if part in guards)
        free = tuple(part for part in roles.rows if part not in guards)
        if not axes or roles.size(free) < LEAST_ROWS:
            return None
        found = Clip(op, roles, reads, axes, fixed, free)
        # What a kernel's gradient would lay out with its zeros is the whole image, of which the sum goes over more places
        # than there are around.
        is_over_image = roles.size(list(axes)) > roles.size(fixed)
        return found if is_over_image or found._useful() < WASTEFUL else None

    def _useful(self) -> float:
        """Which part of what would be multiplied lies inside."""
        total = 1.0
        for part, axis in self.axes.items():
            expr, extents = self.reads[axis], self.roles.extents
            size, step = self.op.operands[self.roles.left].shape[axis], expr.coefficient(part)
            around = [range(extents[n]) if n != part else range(1) for n in expr.used_dims()]
            inside = places = 0
            for values in itertools.product(*around):
                at = expr.constant + sum(expr.coefficient(n) * value for n, value in zip(expr.used_dims(), values))
                first, end = max(0, -(at // step)), min(extents[part], -((at - size) // step))
                inside += max(0, end - first)
                places += extents[part]
            total *= inside / places
        return total

    def range(self, emitter: Emitter, part: int, values: Mapping[int, AffineExpr]) -> tuple[int | Value, int | Value]:
        """From where to where a part that is summed over goes, where the other parts have these values."""
        extent = self.roles.extents[part]
        if part not in self.axes:
            return 0, extent
        axis = self.axes[part]
        step, size = self.reads[axis].coefficient(part), self.op.operands[self.roles.left].shape[axis]
        rest = self._place(axis, {**values, part: constant(0)})
        low, high = rest.bounds
        lower: int | Value = 0
        upper: int | Value = extent
        if low is None or low < 0:
            lower = arith.maxsi(emitter.index(-(rest // step)), emitter.constant(0, INDEX))
        if high is None or high + step * (extent - 1) >= size:
            upper = arith.minsi(emitter.index(-((rest - size) // step)), emitter.constant(extent, INDEX))
        return lower, upper

    def load(self, emitter: Emitter, values: Mapping[int, AffineExpr]) -> Value:
        """The factor at these values of all parts, which are inside."""
        value = self.op.operands[self.roles.left]
        place = [emitter.bounded(self._place(axis, values), extent) for axis, extent in enumerate(value.shape)]
        return widen(emitter.element(value, tuple(place)))

    def _place(self, axis: int, values: Mapping[int, AffineExpr]) -> AffineExpr:
        return self.reads[axis].substitute([values.get(n, constant(0)) for n in range(len(self.roles.extents))])


def tile_rows(op: Primitive, roles: DirectRoles) -> Sequence[int]:
    """The extents of the rows that a tile may span."""
    clip = Clip.of(op, roles)
    return roles.sizes(roles.rows if clip is None else (*clip.free,))
