"""Steps that take away attributes and make constants simple."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from dlir.frontends.reduce.step import Step, numbered, settle
from dlir.ir.attributes import (
    ArrayAttr,
    Attribute,
    DenseElementsAttr,
    DenseResourceAttr,
    DictAttr,
    FloatAttr,
    IntegerAttr,
)
from dlir.ir.core import Operation
from dlir.ir.dialects.builtin import Module
from dlir.ir.op import Op
from dlir.ir.types import ScalarType, ShapedType

#: An op's number and an attribute's name; for an entry of a list of dictionaries, its place and its key as well.
Site = tuple[Any, ...]


def optional_attributes(module: Module) -> list[Site]:
    """The attributes that may be missing, those of functions' arguments and results among them."""
    return [(number, *path) for number, op in numbered(module) for path in _optional(op)]


def _optional(op: Operation) -> Iterator[Site]:
    specs = op.schema().attributes if isinstance(op, Op) else {}
    for name, attribute in op.attributes.items():
        if name == "operandSegmentSizes" or (name in specs and specs[name].required):
            continue
        yield (name,)
        if isinstance(attribute, ArrayAttr):
            for index, item in enumerate(attribute.items):
                if isinstance(item, DictAttr):
                    yield from ((name, index, key) for key in item.items)


def drop_attributes(module: Module, sites: Sequence[Site]) -> None:
    """Leave them out; types follow."""
    ops = list(module.walk())
    for number, name, *entry in sites:
        attributes = ops[number].attributes
        found = attributes.get(name)
        if not entry:
            attributes.pop(name, None)
        elif isinstance(found, ArrayAttr):
            index, key = entry
            items = list(found.items)
            item = items[index]
            assert isinstance(item, DictAttr)
            items[index] = DictAttr({other: value for other, value in item.items.items() if other != key})
            attributes[name] = ArrayAttr(items)
    settle(module)


# ---------------------------------------------------------------- constants


def constants(module: Module) -> list[Site]:
    """Constant arrays that are not zero everywhere, or not known here."""
    return [(number, name) for number, op in numbered(module) for name, a in op.attributes.items() if _is_rough(a)]


def _is_rough(attribute: Attribute) -> bool:
    if isinstance(attribute, DenseElementsAttr):
        return bool(attribute.array.size) and not (attribute.is_splat and attribute.array[()] == 0)
    return isinstance(attribute, DenseResourceAttr)


def set_constants(fill: Callable[[Any], Any]) -> Callable[[Module, Sequence[Site]], None]:
    """A change that gives all elements of an array the value that `fill` finds for the attribute."""

    def apply(module: Module, sites: Sequence[Site]) -> None:
        ops = list(module.walk())
        for number, name in sites:
            attribute = ops[number].attributes[name]
            type = attribute.type  # type: ignore[attr-defined]
            is_known = isinstance(type, ShapedType) and type.is_static and isinstance(type.dtype, ScalarType)
            if is_known and type.size:
                element = np.asarray(fill(attribute)).astype(type.dtype.numpy)
                ops[number].attributes[name] = DenseElementsAttr(element, type)

    return apply


def _first(attribute: Any) -> Any:
    return attribute.array.reshape(-1)[0] if isinstance(attribute, DenseElementsAttr) else 1


def numbers(beyond: int) -> Callable[[Module], list[Site]]:
    """Numbers that are neither zero nor, if `beyond` is 1, one."""

    def sites(module: Module) -> list[Site]:
        return [
            (number, name)
            for number, op in numbered(module)
            for name, attribute in op.attributes.items()
            if isinstance(attribute, IntegerAttr | FloatAttr) and attribute.value not in range(beyond + 1)
        ]

    return sites


def set_numbers(value: int) -> Callable[[Module, Sequence[Site]], None]:
    """A change that makes numbers this one."""

    def apply(module: Module, sites: Sequence[Site]) -> None:
        ops = list(module.walk())
        for number, name in sites:
            old = ops[number].attributes[name]
            assert isinstance(old, IntegerAttr | FloatAttr)
            ops[number].attributes[name] = type(old)(value, old.type)
        settle(module)

    return apply


STEPS = (
    Step("attributes", optional_attributes, drop_attributes),
    Step("constants, for zeros", constants, set_constants(lambda attribute: 0)),
    Step("constants, for their first element", constants, set_constants(_first)),
    Step("numbers, for zero", numbers(0), set_numbers(0)),
    Step("numbers, for one", numbers(1), set_numbers(1)),
)
