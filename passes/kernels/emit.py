"""Scalars on demand: the element of a value at an index, made where the index first allows it.

The scalar for (value, index) is made in the outermost loop that defines all counters of the index, and is remembered there:
what depends on the row only is computed once per row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from dlir.ir.affine import AffineExpr, delinearize
from dlir.ir.attributes import Attribute
from dlir.ir.core import Block, Value
from dlir.ir.dialects.nd.base import Primitive
from dlir.ir.dialects.nd.scalars import accumulator
from dlir.ir.dialects.scf import parallel_loop
from dlir.ir.location import Location
from dlir.ir.types import Type
from dlir.passes.kernels.buffers import Buffers, signless
from dlir.passes.kernels.classify import facts
from dlir.passes.kernels.demand import Index
from dlir.passes.kernels.monoids import combine, neutral
from dlir.passes.kernels.nest import LoopNest

#: Reductions of at most this many elements are written out instead of looped over.
UNROLLED = 16
#: From this nesting on, what an element needs is made before it, in a loop instead of by recursion.
DEEPEST = 50


class Emitter(LoopNest):
    """Makes the code of one kernel in the entry block of its function."""

    def __init__(self, block: Block, buffers: Buffers, location: Location) -> None:
        super().__init__(block, location)
        self.buffers = buffers
        #: How many elements are being made, each for the one before.
        self._nesting = 0
        #: Whether reductions met inside a point are done in order, by the one who computes the point.
        self.is_serial = False

    def neutral(self, monoid: str, dtype: Type) -> Value:
        """The neutral element of a monoid on `dtype`."""
        return self.constant(neutral(monoid, dtype), signless(dtype))

    def element(self, value: Value, index: Index) -> Value:
        """The scalar of `value` at `index`."""
        key = (value, index)
        depth = self.depth_of_index(index)
        for scope in self.scopes[depth:]:
            if key in scope.memo:
                return scope.memo[key]
        if self._nesting == DEEPEST:
            for needed in self._needed(key):
                self._make(*needed)
        return self._make(value, index)

    def _make(self, value: Value, index: Index) -> Value:
        depth = self.depth_of_index(index)
        self._nesting += 1
        with self.at(depth):
            found = self._element(value, index)
        self._nesting -= 1
        self.scopes[depth].memo[value, index] = found
        return found

    def _needed(self, key: tuple[Value, Index]) -> list[tuple[Value, Index]]:
        """What the element `key` needs that is not there yet, operands first and itself left out, without recursion."""
        found: dict[tuple[Value, Index], None] = {}
        waiting = [(key, False)]
        while waiting:
            here, is_ready = waiting.pop()
            value, index = here
            op = value.defining_op
            if is_ready:
                found[here] = None
            elif here not in found and not any(here in scope.memo for scope in self.scopes):
                waiting.append((here, True))
                if isinstance(op, Primitive) and value not in self.buffers and not _is_indirect(op):
                    waiting += [(operand, False) for operand in facts(op).operand_elements(op, index)]
        del found[key]
        return list(found)

    def remember(self, value: Value, index: Index, scalar: Value) -> None:
        """Let `scalar`, made in the innermost scope, be the element of `value` at `index`."""
        self.scopes[-1].memo[(value, index)] = scalar

    def _element(self, value: Value, index: Index) -> Value:
        if 0 in value.shape:
            # The loop around this never runs, but scalars may be hoisted out of it.
            return self.constant(0, signless(value.dtype))
        if value in self.buffers:
            return self.buffers.load(self, value, index)
        op = value.defining_op
        assert isinstance(op, Primitive)
        if facts(op).space.monoid is not None:
            return self.reduction(op, index)
        return op.element(Context(self, op), index)

    def reduce(
        self, extents: Sequence[int], reduced: Sequence[tuple[str, Type]], body: Callable[..., Sequence[Value]]
    ) -> tuple[Value, ...]:
        """Combine what ``body(*index)`` gives at all points of a box: one value for each (monoid, element type)."""

        def filled(*counters: Value) -> Sequence[Value]:
            with self.inside(counters[0].owner):
                return body(*self._symbols_for(counters, extents))

        with self.at(self.depth):
            reductions = [
                (self.neutral(monoid, dtype), lambda a, b, m=monoid, d=dtype: combine(m, d, a, b))
                for monoid, dtype in reduced
            ]
            lowers, uppers, steps = self._bounds(extents)
            return parallel_loop(lowers, uppers, steps, filled, reductions)

    def reduction(self, op: Primitive, index: Index) -> Value:
        """The result of a reduction at `index`, which has an expression for each parallel dimension."""
        space = facts(op).space
        assert space.monoid is not None
        context = Context(self, op)
        size = math.prod(space.reduction)
        dtype = accumulated_dtype(op)
        if 0 < size <= UNROLLED:
            points = [delinearize(AffineExpr({}, number), space.reduction) for number in range(size)]
            found = op.element(context, index + points[0])
            for point in points[1:]:
                found = combine(space.monoid, dtype, found, op.element(context, index + point))
        elif self.is_serial:
            found = self._reduce_in_order(op, index)
        else:
            reduced = [(space.monoid, dtype)]
            (found,) = self.reduce(space.reduction, reduced, lambda *point: [op.element(context, index + point)])
        return op.finish(context, found, index)

    def _reduce_in_order(self, op: Primitive, index: Index) -> Value:
        """What `op` accumulates at `index`, in nested serial loops."""
        space, dtype, context = op.space(), accumulated_dtype(op), Context(self, op)
        assert space.monoid is not None
        monoid = space.monoid

        def nest(point: Index, carried: Value) -> Value:
            if len(point) == len(space.reduction):
                return combine(monoid, dtype, carried, op.element(context, index + point))
            extent = space.reduction[len(point)]
            return self.serial(extent, lambda i, inner: nest((*point, i), inner), [carried])[0]

        return nest((), self.neutral(monoid, dtype))


class Context:
    """What an op's ``element`` and ``finish`` see of an emitter."""

    __slots__ = ("emitter", "op")

    def __init__(self, emitter: Emitter, op: Primitive) -> None:
        self.emitter = emitter
        self.op = op

    def load(self, operand: int, index: Sequence[AffineExpr]) -> Value:
        return self.emitter.element(self.op.operands[operand], tuple(index))

    def index(self, expr: AffineExpr) -> Value:
        return self.emitter.index(expr)

    def constant(self, number: float | int | bool, dtype: Type) -> Value:
        return self.emitter.constant(number, signless(dtype))

    def table(self, elements: Attribute, index: Sequence[AffineExpr]) -> Value:
        return self.emitter.buffers.table(self.emitter, elements, tuple(index))


def accumulated_dtype(op: Primitive) -> Type:
    """The element type in which a reduction accumulates, with its signedness."""
    return accumulator(op.results[0].dtype)


def monoid_of(op: Primitive) -> str:
    """The monoid of a reduction."""
    monoid = facts(op).space.monoid
    assert monoid is not None
    return monoid


def _is_indirect(op: Primitive) -> bool:
    """Whether what `op` reads for an element does not follow from its maps alone."""
    known = facts(op)
    return known.is_indirect or known.space.monoid is not None
