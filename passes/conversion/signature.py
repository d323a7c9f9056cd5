"""How the arguments of a block change with their types."""

from __future__ import annotations

from collections.abc import Iterable

from dlir.ir.core import Value
from dlir.ir.types import Type


class SignatureConversion:
    """The new arguments of a block or function with `count` arguments.

    ``add_inputs(types, number)`` says what takes the place of argument `number`: one value, several, or none.  Without a
    number the new arguments stand for no old one.  They come in the order in which they were added.
    """

    def __init__(self, count: int) -> None:
        self.converted_types: list[Type] = []
        #: For each old argument the numbers of the new ones, once it has been said.
        self._inputs: list[range | None] = [None] * count
        #: Values that take the place of old arguments, by number.
        self.replacements: dict[int, Value] = {}

    def add_inputs(self, types: Iterable[Type], number: int | None = None) -> None:
        """Add arguments, in the place of the old argument `number` if one is given."""
        first = len(self.converted_types)
        self.converted_types += types
        if number is not None:
            if self._inputs[number] is not None:
                raise ValueError(f"argument {number} has been converted already")
            self._inputs[number] = range(first, len(self.converted_types))

    def remap_input(self, number: int, value: Value) -> None:
        """Drop the old argument `number`: `value`, which is there already, takes its place."""
        self.add_inputs((), number)
        self.replacements[number] = value

    def get_input_mapping(self, number: int) -> range:
        """The numbers of the new arguments for the old argument `number`."""
        return self._inputs[number] or range(0)

    def __len__(self) -> int:
        """How many old arguments there are."""
        return len(self._inputs)
