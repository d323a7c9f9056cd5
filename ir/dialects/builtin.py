"""The ``builtin`` dialect: the module, and casts between types that a conversion has not finished."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dlir.ir.core import Block, Operation, Region
from dlir.ir.errors import DlirError
from dlir.ir.op import Declared, Op, Symbol, Type


class Module(Op, name="builtin.module"):
    """A list of functions, variables and other symbols.

    Discardable attributes that dlir reads: ``dlir.weights`` and ``dlir.data``, paths of safetensors files relative to the
    module's own file.
    """

    is_isolated = True
    is_symbol_table = True
    is_graph = True

    @staticmethod
    def infer(*, sym_name: Symbol | None = None, body: Region) -> Declared: ...  # type: ignore[empty-body]

    @classmethod
    def empty(cls, name: str | None = None) -> Module:
        """A module with nothing in it."""
        return cls.create(result_types=(), regions=[Region([Block()])], sym_name=name)

    def verify_symbols(self, lookup: Callable[[str], Operation | None]) -> None:
        from dlir.ir.initializers import check_initializers
        from dlir.ir.state import check_writes

        check_initializers(self)
        check_writes(self)

    def symbol(self, name: str) -> Operation | None:
        """The op that defines symbol `name` directly inside this module, or None."""
        return next((op for op in self.body.ops if op.get("sym_name") == name), None)


class UnrealizedConversionCast(Op, name="builtin.unrealized_conversion_cast"):
    """Values seen as other types until a later conversion makes that true.

    One that sees an integer as signless, or as unsigned, is left at the lowest level: the bits stay.
    """

    @staticmethod
    def infer(*inputs: Type) -> Declared: ...  # type: ignore[empty-body]

    @staticmethod
    def eval(*inputs: Any, result_types: tuple[Type, ...]) -> tuple[Any, ...]:
        found = []
        for array, type in zip(inputs, result_types):
            dtype = getattr(type, "numpy", None)
            if dtype is None or dtype.kind not in "iu" or dtype.itemsize != array.dtype.itemsize:
                raise DlirError(f"a value cannot be seen as {type} while a program runs")
            found.append(array.view(dtype))
        return tuple(found)
