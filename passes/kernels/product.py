"""What each operand contributes to the products that a contraction sums."""

from __future__ import annotations

from collections.abc import Sequence

from dlir.ir.affine import AffineExpr, dims
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Primitive
from dlir.ir.dialects.nd.scalars import widen
from dlir.passes.kernels.classify import FusionClass, facts
from dlir.passes.kernels.demand import Index
from dlir.passes.kernels.emit import Context, Emitter
from dlir.passes.kernels.plan import Inside


def factor(emitter: Emitter, op: Primitive, operand: int, index: Index) -> Value:
    """The factor of one operand at a point of the contraction's space, in the type of the sum.

    Outside of the operand, where `may_leave` says that it can be read, it is zero.
    """
    found = facts(op).space.maps[operand]
    assert found is not None
    if not may_leave(op, operand):
        return widen(emitter.element(op.operands[operand], found.apply(index)))
    # The op itself tells what is outside.
    return _without_one(op.element(_Factor(emitter, op, operand), index))


def may_leave(op: Primitive, operand: int) -> bool:
    """Whether some point reads an operand outside of its shape, where it counts as zero."""
    space = facts(op).space
    found = space.maps[operand]
    if not space.guarded or found is None:
        return False
    bounds = [expr.bounds for expr in found.apply(dims(space.extents))]
    return any(
        low is None or high is None or low < 0 or high >= extent
        for (low, high), extent in zip(bounds, op.operands[operand].shape)
    )


def leaf_of(op: Primitive, operand: int, index: Index, inside: Inside | None = None) -> tuple[Value, Index] | None:
    """What in memory is the factor of one operand at a point, seen through views; None where it is computed.

    What ops compute for which `inside` does not hold is in memory.
    """
    found = facts(op).space.maps[operand]
    if found is None or may_leave(op, operand):
        return None
    value, index = op.operands[operand], found.apply(index)
    while (definition := value.defining_op) is not None and (inside is None or inside(definition)):
        if not isinstance(definition, Primitive) or facts(definition).fusion_class is not FusionClass.VIEW:
            return None
        ((value, index),) = facts(definition).operand_elements(definition, index)
    return value, index


class _Factor(Context):
    """Sees an op as the factor that one operand contributes: the other operand is 1."""

    __slots__ = ("number",)

    def __init__(self, emitter: Emitter, op: Primitive, number: int) -> None:
        super().__init__(emitter, op)
        self.number = number

    def load(self, operand: int, index: Sequence[AffineExpr]) -> Value:
        if operand != self.number:
            return self.constant(1, self.op.operands[operand].dtype)
        return super().load(operand, index)


def _without_one(product: Value) -> Value:
    """`product` if it is not a factor times 1, and otherwise that factor."""
    op = product.defining_op
    if op is None or op.name not in ("arith.mulf", "arith.muli"):
        return product
    for one, other in (op.operands, op.operands[::-1]):
        if _stands_for_one(one):
            op.erase()
            return other
    return product


def _stands_for_one(value: Value) -> bool:
    """Whether `value` is the constant 1, possibly widened."""
    op = value.defining_op
    while op is not None and op.name == "arith.extf":
        op = op.operands[0].defining_op
    return op is not None and op.name == "arith.constant" and op.get("value") == 1
