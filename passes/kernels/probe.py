"""The scalar code of an op by itself, to see what it does."""

from __future__ import annotations

from collections.abc import Sequence

from dlir.ir.affine import AffineExpr, dims
from dlir.ir.attributes import Attribute
from dlir.ir.builder import at_end
from dlir.ir.core import Block, Value
from dlir.ir.dialects.nd.base import Primitive
from dlir.ir.ops import arith
from dlir.ir.types import INDEX, IntegerType, Type


class Probe:
    """The scalar code for one element of `op`: the ops are in `block`, the element is `result`.

    It stands in for an emitter.  What is loaded are arguments of the block, those in `loaded`.
    """

    def __init__(self, op: Primitive) -> None:
        self.op = op
        self.block = Block([INDEX])
        self.loaded: list[Value] = []
        with at_end(self.block):
            self.result = op.element(self, dims(op.space().extents))

    def load(self, operand: int, index: Sequence[AffineExpr]) -> Value:
        self.loaded.append(self.block.add_arg(signless(self.op.operands[operand].dtype)))
        return self.loaded[-1]

    def index(self, expr: AffineExpr) -> Value:
        return self.block.args[0]

    def constant(self, number: float | int | bool, dtype: Type) -> Value:
        return arith.constant(number, signless(dtype))

    def table(self, elements: Attribute, index: Sequence[AffineExpr]) -> Value:
        return self.block.add_arg(signless(elements.type.dtype))  # type: ignore[attr-defined]


def signless(dtype: Type) -> Type:
    """The type that scalars of `dtype` have in loops."""
    return IntegerType(dtype.width) if isinstance(dtype, IntegerType) else dtype
