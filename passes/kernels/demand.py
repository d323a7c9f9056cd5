"""Which elements of which values a kernel needs, found by following index maps from results to operands.

An index is a tuple of affine expressions over the dimensions of a loop nest; a value asked for at two different indices is
computed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from dlir.ir.affine import AffineExpr, constant, dim
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.nd.base import Primitive
from dlir.passes.kernels.classify import facts

Index = tuple[AffineExpr, ...]


class Demand:
    """What `want` asks for, transitively, through the primitive ops for which `inside` holds.

    `elements` holds each (value, index) that is computed or read, users before what they use; `leaves` those that come from
    outside; `reductions` for each reduced op the indices at which its result is needed.  With `through_reductions`, what
    the reductions need is followed too, over fresh dimensions.
    """

    def __init__(
        self, inside: Callable[[Operation], bool], extents: Sequence[int] = (), through_reductions: bool = True
    ) -> None:
        self.inside = inside
        #: Of all loop dimensions, those of reductions included.
        self.extents: list[int] = list(extents)
        self.through_reductions = through_reductions
        self.elements: dict[tuple[Value, Index], None] = {}
        self.leaves: dict[tuple[Value, Index], None] = {}
        self.reductions: dict[Primitive, list[Index]] = {}

    def accesses(self) -> Iterator[tuple[tuple[Value, Index], bool]]:
        """What is read from memory or made from its index, and what is read with a guard: (element, whether the index
        itself is needed and not just a position)."""
        for value, index in self.elements:
            op = value.defining_op
            if (value, index) in self.leaves:
                yield (value, index), False
            elif isinstance(op, Primitive) and (not op.operands or facts(op).is_indirect):
                yield (value, index), True

    def fresh(self, extents: Sequence[int]) -> Index:
        """New dimensions with these extents; one of extent 1 is the constant 0."""
        index = []
        for extent in extents:
            index.append(constant(0) if extent == 1 else dim(len(self.extents), extent))
            self.extents.append(extent)
        return tuple(index)

    def want(self, value: Value, index: Sequence[AffineExpr]) -> None:
        """Ask for the element of `value` at `index`."""
        self._follow([(value, tuple(index))])

    def want_operands(self, op: Primitive, index: Sequence[AffineExpr]) -> None:
        """Ask for what `op` reads at the point `index` of its space."""
        self._follow(facts(op).operand_elements(op, index))

    def _follow(self, waiting: list[tuple[Value, Index]]) -> None:
        while waiting:
            key = waiting.pop()
            if key in self.elements:
                continue
            self.elements[key] = None
            value, point = key
            op = value.defining_op
            if not isinstance(op, Primitive) or not self.inside(op):
                self.leaves[key] = None
                continue
            known = facts(op)
            space = known.space
            if space.monoid is not None:
                self.reductions.setdefault(op, []).append(point)
                if not self.through_reductions:
                    continue
                # A running total takes one element at each point; what it had before is at hand.
                point += self.fresh(space.reduction) if space.scan is None else (point[space.scan],)
            waiting += known.operand_elements(op, point)
