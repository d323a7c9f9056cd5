"""How large a module is: what every accepted step makes smaller, so that reduction ends."""

from __future__ import annotations

from collections.abc import Iterator

from dlir.frontends.reduce.step import CONSTANTS
from dlir.ir.attributes import (
    ArrayAttr,
    Attribute,
    DenseElementsAttr,
    DenseResourceAttr,
    DictAttr,
    FloatAttr,
    IntegerAttr,
    TypeAttr,
)
from dlir.ir.core import Operation
from dlir.ir.dialects.builtin import Module
from dlir.ir.types import ShapedType

#: What an extent that is only known at run time counts as.
_DYNAMIC = 1 << 20


def cost_of(module: Module) -> tuple[int, ...]:
    """Ops, constants, values, attributes, extents, and how far from zero the numbers are; compared in this order."""
    ops = constants = values = attributes = extents = numbers = 0
    for op in module.walk():
        is_constant = op.name in CONSTANTS
        constants += is_constant
        ops += not is_constant
        arguments = [arg for region in op.regions for block in region.blocks for arg in block.args]
        values += len(op.operands) + len(op.results) + len(arguments)
        extents += sum(_extents(value.type) for value in (*op.results, *arguments))
        for item in _flat(op):
            attributes += 1
            numbers += _distance(item)
            if isinstance(item, TypeAttr):
                extents += _extents(item.value)
    return ops, constants, values, attributes, extents, numbers


def _extents(type: object) -> int:
    if not isinstance(type, ShapedType):
        return 0
    return sum(_DYNAMIC if extent is None else extent for extent in type.shape)


def _flat(op: Operation) -> Iterator[Attribute]:
    """The attributes of an op and, in place of lists and dictionaries, what is in them."""
    waiting = list(op.attributes.values())
    while waiting:
        item = waiting.pop()
        if isinstance(item, ArrayAttr):
            waiting.extend(item.items)
        elif isinstance(item, DictAttr):
            waiting.extend(item.items.values())
        else:
            yield item


def _distance(item: Attribute) -> int:
    """0 for zero, and more for what is harder to read."""
    if isinstance(item, DenseResourceAttr):
        return 4
    if isinstance(item, DenseElementsAttr):
        if not item.is_splat:
            return 3
        return 0 if item.array[()] == 0 else 1
    if isinstance(item, IntegerAttr | FloatAttr):
        return 0 if item.value == 0 else 1 if item.value == 1 else 2
    return 0
