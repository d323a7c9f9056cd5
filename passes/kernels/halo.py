"""The part of an image that a block of a convolution reads, laid out in scratch with the zeros around the image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dlir.ir.affine import AffineExpr, constant, dims, linearize
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Primitive
from dlir.ir.dialects.nd.scalars import widen
from dlir.ir.ops import arith, memref
from dlir.ir.types import INDEX, MemRefType
from dlir.passes.kernels.classify import FusionClass, facts
from dlir.passes.kernels.demand import Index
from dlir.passes.kernels.direct_roles import DirectRoles
from dlir.passes.kernels.plan import Unfit
from dlir.passes.kernels.roles import split

if TYPE_CHECKING:
    from dlir.passes.kernels.direct import Direct


class Halo:
    """Scratch with what a block reads of the operand `left`: every element once, and zeros outside of the operand.

    Its dimensions are those of the operand, in the order in which they lie in memory.
    """

    def __init__(self, owner: Direct, block: int) -> None:
        self.owner = owner
        self.emitter = owner.emitter
        self.value = owner.op.operands[owner.roles.left]
        self.reads = _reads(owner.op, owner.roles)
        self.extents = _extents(owner, self.reads, block)
        self.order = memory_order(self.value)
        shape = tuple(self.extents[n] for n in self.order)
        self.buffer = memref.alloca((), (), MemRefType(shape, owner.dtype), alignment=64)

    @staticmethod
    def bytes_for(owner: Direct, block: int) -> int:
        """The size of the scratch for blocks of so many rows."""
        extents = _extents(owner, _reads(owner.op, owner.roles), block)
        return math.prod(extents) * owner.dtype.bytes  # type: ignore[attr-defined]

    # ------------------------------------------------------------ writing

    def fill(self, outer: Mapping[int, AffineExpr], top: AffineExpr) -> None:
        """Copy what the block with its first row at `top` reads."""
        roles, lines = self.owner.roles, self.owner.lines
        values = dict(outer)
        if lines.blocked:
            values.update(zip(lines.blocked, split(top, roles.sizes(lines.blocked))))
        point = [values.get(n, constant(0)) for n in range(len(roles.extents))]
        origin = [expr.substitute(point) for expr in self.reads]
        self._dimension(0, origin, {}, None)

    def _dimension(
        self, position: int, origin: Sequence[AffineExpr], index: dict[int, AffineExpr], inside: Value | None
    ) -> None:
        """Loop over dimension number `position` of the scratch; `inside` tells whether those around are in the operand."""
        emitter = self.emitter
        number = self.order[position]
        start, extent, shape = origin[number], self.extents[number], self.value.shape
        low, high = start.bounds
        leaves = low is None or high is None or low < 0 or high + extent > shape[number]
        if position == len(self.order) - 1:
            self._line(origin, index, inside, leaves)
            return

        def body(at: AffineExpr) -> None:
            here = inside
            if leaves:
                # As unsigned numbers, the negative ones are the largest.
                place, end = emitter.index(start + at), emitter.constant(shape[number], INDEX)
                found = arith.cmpi("ult", place, end)
                here = found if inside is None else arith.andi(inside, found)
            self._dimension(position + 1, origin, {**index, number: at}, here)

        if extent == 1:
            body(constant(0))
        else:
            emitter.serial(extent, body)

    def _line(
        self, origin: Sequence[AffineExpr], index: dict[int, AffineExpr], inside: Value | None, leaves: bool
    ) -> None:
        """Copy one run of neighbours."""
        emitter = self.emitter
        number = self.order[-1]
        start, extent = origin[number], self.extents[number]
        nothing, whole = emitter.constant(0, INDEX), emitter.constant(extent, INDEX)
        low, high = nothing, whole
        if leaves:
            low = arith.minsi(arith.maxsi(emitter.index(-start), nothing), whole)
            end = emitter.index(-start + self.value.shape[number])
            high = arith.maxsi(arith.minsi(end, whole), low)
        if inside is not None:
            high = arith.select(inside, high, low)
        zero = emitter.constant(0, self.buffer.dtype)

        def clear(at: AffineExpr) -> None:
            self._store(zero, {**index, number: at})

        def copy(at: AffineExpr) -> None:
            here = {**index, number: at}
            place = tuple(
                emitter.bounded(origin[n] + here.get(n, constant(0)), extent)
                for n, extent in enumerate(self.value.shape)
            )
            self._store(widen(emitter.element(self.value, place)), here)

        if leaves:
            emitter.between(nothing, low, clear)
        if not leaves and inside is None:
            emitter.parallel([extent], copy)
        else:
            emitter.between(low, high, copy)
            emitter.between(high, whole, clear)

    def _store(self, scalar: Value, index: Mapping[int, AffineExpr]) -> None:
        place = [index.get(n, constant(0)) for n in self.order]
        self.emitter.buffers.store(self.emitter, scalar, self.buffer, place)

    # ------------------------------------------------------------ reading

    def load(self, place: tuple[AffineExpr, AffineExpr], values: Mapping[int, AffineExpr]) -> Value:
        """The scalar for a row of the block, with the values of the parts that are summed over."""
        owner = self.owner
        local = {n: values[n] for n in owner.roles.reduction}
        local.update(owner.row_values(*place))
        found = []
        for number in self.order:
            expr = self.reads[number]
            total = constant(0)
            for part, value in local.items():
                total = total + value * expr.coefficient(part)
            found.append(total)
        return self.emitter.buffers.load_memref(self.emitter, self.buffer, found)


def _reads(op: Primitive, roles: DirectRoles) -> Index:
    """Where the operand is read, over the parts of all dimensions."""
    found = facts(op).space.maps[roles.left]
    assert found is not None
    names = dims(roles.extents)
    return found.apply(roles.index(dict(enumerate(names))))


def _extents(owner: Direct, reads: Index, block: int) -> list[int]:
    """How far a block of so many rows reaches in each dimension of the operand."""
    roles, lines = owner.roles, owner.lines
    local = {n: roles.extents[n] for n in (*roles.reduction, *lines.inner, *lines.blocked)}
    if lines.blocked:
        first, *rest = lines.blocked
        local[first] = min(roles.extents[first], -(-block // roles.size(rest)))
    found = []
    for expr in reads:
        steps = {n: expr.coefficient(n) for n in local}
        if any(step < 0 for step in steps.values()):
            raise Unfit("an image is read backwards")
        found.append(1 + sum(step * (local[n] - 1) for n, step in steps.items()))
    return found


def memory_order(value: Value) -> list[int]:
    """The dimensions of a tensor in the order in which they lie in memory, seen through views."""
    index = dims(value.shape)
    leaf, place = value, index
    while (op := leaf.defining_op) is not None:
        if not isinstance(op, Primitive) or facts(op).fusion_class is not FusionClass.VIEW:
            break
        ((leaf, place),) = facts(op).operand_elements(op, place)
    position = linearize(place, leaf.shape)
    return sorted(range(len(index)), key=lambda n: (-position.coefficient(n) if value.shape[n] != 1 else -math.inf, n))
