"""Which type takes the place of which, and what stands between the two meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dlir.ir.core import Operation, Value
from dlir.ir.dialects.builtin import UnrealizedConversionCast
from dlir.ir.types import Type

#: The type that takes another's place; None: not mine.
Conversion = Callable[[Type], Type | None]
#: Makes, at the insertion point, a value of the given type from a value of another; None: not mine.
Materialization = Callable[[Value, Type], Value | None]


class TypeConverter:
    """Conversions of types, one for one.  Of several that know a type, the one that was added last decides.

    A type that is legal must convert to itself: ``add_conversion(lambda type: type)`` first lets every type stand for which
    nothing else is said.
    """

    def __init__(self) -> None:
        self._conversions: list[Conversion] = []
        self._source: list[Materialization] = []
        self._target: list[Materialization] = []
        self._known: dict[Type, Type | None] = {}

    def add_conversion(self, conversion: Conversion) -> None:
        """Add a conversion: a function that returns the new type, or None for a type that it does not know."""
        self._conversions.insert(0, conversion)
        self._known.clear()

    def add_source_materialization(self, make: Materialization) -> None:
        """Add a way to make a value of an *old* type from a converted one, for ops that were not converted."""
        self._source.insert(0, make)

    def add_target_materialization(self, make: Materialization) -> None:
        """Add a way to make a value of a *new* type from one that was not converted, for operands of new ops."""
        self._target.insert(0, make)

    def convert(self, type: Type) -> Type | None:
        """The type that takes the place of `type`: itself if it is legal; None if there is none."""
        if type not in self._known:
            found = (conversion(type) for conversion in self._conversions)
            self._known[type] = next((new for new in found if new is not None), None)
        return self._known[type]

    def convert_all(self, types: Iterable[Type]) -> list[Type] | None:
        """The types that take the place of `types`; None if one has none."""
        found = [self.convert(type) for type in types]
        return None if None in found else [type for type in found if type is not None]

    def is_legal(self, *types: Type) -> bool:
        """Whether all these types stay as they are."""
        return all(self.convert(type) is type for type in types)

    def is_legal_op(self, op: Operation) -> bool:
        """Whether the types of all operands and results of `op` stay as they are."""
        return self.is_legal(*op.operand_types, *op.result_types)

    @property
    def has_source(self) -> bool:
        """Whether there is more than a cast to go back to an old type."""
        return bool(self._source)

    def to_source(self, value: Value, type: Type) -> Value:
        """`value`, which was converted, as the old type `type`; made at the insertion point."""
        return _materialize(self._source, value, type)

    def to_target(self, value: Value, type: Type) -> Value:
        """`value` as the new type `type`; made at the insertion point."""
        return _materialize(self._target, value, type)


def _materialize(makers: Iterable[Materialization], value: Value, type: Type) -> Value:
    for make in makers:
        made = make(value, type)
        if made is not None:
            return made
    return cast(value, type)


def cast(value: Value, type: Type) -> Value:
    """`value` seen as `type`, by a ``builtin.unrealized_conversion_cast`` at the insertion point."""
    return UnrealizedConversionCast.build(value, result_types=[type])
