"""The step that shrinks shapes: one extent becomes smaller wherever it occurs, and all types follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlir.frontends.reduce.step import Step, settle
from dlir.ir.attributes import (
    ArrayAttr,
    Attribute,
    DenseArrayAttr,
    DenseElementsAttr,
    DenseResourceAttr,
    DictAttr,
    IntegerAttr,
    TypeAttr,
)
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.types import FunctionType, ShapedType, Type

#: The extent (None: ``?``), what it becomes, and whether numbers in attributes that are equal to it become that, too.
Site = tuple[int | None, int, bool]


def extents(module: Module) -> list[Site]:
    """The extents in the module, the largest first, each with what it could become."""
    found: dict[int | None, None] = {}
    for op in module.walk():
        for value in _values(op):
            found.update(dict.fromkeys(value.type.shape if isinstance(value.type, ShapedType) else ()))
        for attribute in op.attributes.values():
            type = attribute.value if isinstance(attribute, TypeAttr) else None
            found.update(dict.fromkeys(type.shape if isinstance(type, ShapedType) else ()))
    known = sorted((extent for extent in found if extent is not None), reverse=True)
    smaller = {extent: dict.fromkeys(n for n in (1, 2, 3, extent // 2) if 0 < n < extent) for extent in known}
    sites: list[Site] = [(None, new, False) for new in (1, 2) if None in found]
    return sites + [(old, new, numbers) for old in known for new in smaller[old] for numbers in (True, False)]


def _values(op: Operation) -> list[Value]:
    return [*op.results, *(arg for region in op.regions for block in region.blocks for arg in block.args)]


def shrink(module: Module, sites: Sequence[Site]) -> None:
    """Make the extent smaller everywhere."""
    for site in sites:
        shrinking = _Shrinking(*site)
        for op in module.walk():
            for value in _values(op):
                value.type = shrinking.type(value.type)
            op.attributes = {name: shrinking.attribute(a) for name, a in op.attributes.items()}
        settle(module)


class _Shrinking:
    """Types and attributes with one extent replaced."""

    def __init__(self, old: int | None, new: int, numbers: bool) -> None:
        self.old = old
        self.new = new
        self.numbers = numbers

    def type(self, type: Type) -> Any:
        if isinstance(type, FunctionType):
            return FunctionType(map(self.type, type.inputs), map(self.type, type.results))
        if not isinstance(type, ShapedType) or self.old not in type.shape:
            return type
        return type.with_shape(tuple(self.new if extent == self.old else extent for extent in type.shape))

    def attribute(self, attribute: Attribute) -> Attribute:
        match attribute:
            case TypeAttr():
                return TypeAttr(self.type(attribute.value))
            case DenseElementsAttr():
                return self._elements(attribute)
            case DenseResourceAttr():
                return DenseResourceAttr(attribute.name, self.type(attribute.type))
            case ArrayAttr():
                return ArrayAttr(map(self.attribute, attribute.items))
            case DictAttr():
                return DictAttr({name: self.attribute(item) for name, item in attribute.items.items()})
            case DenseArrayAttr() if self.numbers:
                return DenseArrayAttr(
                    [self.new if item == self.old else item for item in attribute.value], attribute.type
                )
            case IntegerAttr() if self.numbers and attribute.value == self.old:
                return IntegerAttr(self.new, attribute.type)
        return attribute

    def _elements(self, attribute: DenseElementsAttr) -> Attribute:
        """The corner of the array that is left."""
        type = self.type(attribute.type)
        if attribute.is_splat or type is attribute.type:
            return DenseElementsAttr(attribute.array, type)
        return DenseElementsAttr(attribute.array[tuple(slice(extent) for extent in type.shape)].copy(), type)


STEPS = (Step("shapes", extents, shrink, one_by_one=True),)
