"""Which types take the place of which, and what stands between the two meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from dlir.ir.builder import insert
from dlir.ir.core import Block, Operation, Value
from dlir.ir.dialects.builtin import UnrealizedConversionCast
from dlir.ir.errors import DlirError
from dlir.ir.types import FunctionType, Type
from dlir.passes.conversion.signature import SignatureConversion

#: The type that takes another's place, or those that do; None: not mine.
Conversion = Callable[[Type], Type | Sequence[Type] | None]
#: Makes, at the insertion point, one value of an old type from the values that were made of it; None: not mine.
SourceMaterialization = Callable[[Type, Sequence[Value]], Value | None]
#: Makes values of the new types, at the insertion point, from values of other types; None: not mine.
TargetMaterialization = Callable[[Sequence[Type], Sequence[Value]], Value | Sequence[Value] | None]


class TypeConverter:
    """Conversions of types.  Of several that know a type, the one that was added last decides.

    A type becomes one type, or several (a complex number its two parts), or none (a token that nobody needs).  A type that
    is legal must convert to itself: ``add_conversion(lambda type: type)`` first lets every type stand for which nothing else
    is said.

    Where an op was converted and its neighbour was not, a *materialization* makes the one's type of the other's.  Without
    one that knows the types it is a ``builtin.unrealized_conversion_cast``.
    """

    def __init__(self) -> None:
        self._conversions: list[Conversion] = []
        self._source: list[SourceMaterialization] = []
        self._argument: list[SourceMaterialization] = []
        self._target: list[TargetMaterialization] = []
        self._known: dict[Type, tuple[Type, ...] | None] = {}

    # ------------------------------------------------------------ what it knows

    def add_conversion(self, conversion: Conversion) -> None:
        """Add a conversion: a function that returns the new type, a sequence of them, or None for a type it does not know."""
        self._conversions.insert(0, conversion)
        self._known.clear()

    def add_source_materialization(self, make: SourceMaterialization) -> None:
        """Add ``make(type, values)``: a value of an *old* type from converted ones, for ops that were not converted."""
        self._source.insert(0, make)

    def add_argument_materialization(self, make: SourceMaterialization) -> None:
        """Add ``make(type, values)``: as a source materialization, and before those, for old arguments of blocks."""
        self._argument.insert(0, make)

    def add_target_materialization(self, make: TargetMaterialization) -> None:
        """Add ``make(types, values)``: values of *new* types from others, for operands of new ops."""
        self._target.insert(0, make)

    # ------------------------------------------------------------ types

    def types_for(self, type: Type) -> tuple[Type, ...] | None:
        """The types that take the place of `type`; None if it cannot be converted."""
        try:
            return self._known[type]
        except KeyError:
            found = (conversion(type) for conversion in self._conversions)
            new = next((new for new in found if new is not None), None)
            types = self._known[type] = None if new is None else (new,) if isinstance(new, Type) else tuple(new)
            return types

    def convert_type(self, type: Type) -> Type | None:
        """The one type that takes the place of `type`: itself if it is legal; None if there is none, or several."""
        found = self.types_for(type)
        return found[0] if found is not None and len(found) == 1 else None

    def convert_types(self, types: Iterable[Type]) -> list[Type] | None:
        """The types that take the place of `types`, in a row; None if one has none."""
        row: list[Type] = []
        for type in types:
            found = self.types_for(type)
            if found is None:
                return None
            row += found
        return row

    def is_legal(self, *types: Type) -> bool:
        """Whether all these types stay as they are."""
        for type in types:
            found = self.types_for(type)
            if found is None or len(found) != 1 or found[0] is not type:
                return False
        return True

    def is_legal_op(self, op: Operation) -> bool:
        """Whether the types of all operands and results of `op` stay as they are."""
        return self.is_legal(*op.operand_types, *op.result_types)

    def is_signature_legal(self, type: FunctionType) -> bool:
        """Whether all inputs and results of a function of this type stay as they are."""
        return self.is_legal(*type.inputs, *type.results)

    def convert_signature_args(self, types: Sequence[Type]) -> SignatureConversion | None:
        """What becomes of arguments with these types; None if one cannot be converted."""
        signature = SignatureConversion(len(types))
        for number, type in enumerate(types):
            found = self.types_for(type)
            if found is None:
                return None
            signature.add_inputs(found, number)
        return signature

    def convert_block_signature(self, block: Block) -> SignatureConversion | None:
        """What becomes of the arguments of `block`; None if one cannot be converted."""
        return self.convert_signature_args([arg.type for arg in block.args])

    # ------------------------------------------------------------ values

    def materialize_source(self, type: Type, values: Sequence[Value]) -> Value:
        """`values`, which were converted, as one value of the old type `type`; made at the insertion point."""
        return _materialize(self._source, "source", [type], type, values)[0]

    def materialize_argument(self, type: Type, values: Sequence[Value]) -> Value:
        """As `materialize_source`, for an old argument of a block."""
        return _materialize([*self._argument, *self._source], "argument", [type], type, values)[0]

    def materialize_target(self, types: Sequence[Type], values: Sequence[Value]) -> tuple[Value, ...]:
        """`values` as values of the new types `types`; made at the insertion point."""
        return _materialize(self._target, "target", types, types, values) if types else ()


def _materialize(
    makers: Iterable[Callable[[Any, Sequence[Value]], Value | Sequence[Value] | None]],
    kind: str,
    types: Sequence[Type],
    wanted: Type | Sequence[Type],
    values: Sequence[Value],
) -> tuple[Value, ...]:
    for make in makers:
        found = make(wanted, values)
        if found is not None:
            made = (found,) if isinstance(found, Value) else tuple(found)
            if [value.type for value in made] != list(types):
                raise DlirError(f"a {kind} materialization gives {_spell(v.type for v in made)} for {_spell(types)}")
            return made
    return cast(values, types)


def cast(values: Sequence[Value], types: Sequence[Type]) -> tuple[Value, ...]:
    """`values` seen as `types`, by a ``builtin.unrealized_conversion_cast`` at the insertion point."""
    return insert(UnrealizedConversionCast.create(*values, result_types=types)).results


def _spell(types: Iterable[Type]) -> str:
    return "(" + ", ".join(map(str, types)) + ")"
