"""The ``builtin`` dialect: the module, and casts between types that a conversion has not finished."""

from __future__ import annotations

from collections.abc import Callable

from dlir.ir.core import Block, Operation, Region
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

        check_initializers(self)

    def symbol(self, name: str) -> Operation | None:
        """The op that defines symbol `name` directly inside this module, or None."""
        return next((op for op in self.body.ops if op.get("sym_name") == name), None)


class UnrealizedConversionCast(Op, name="builtin.unrealized_conversion_cast"):
    """Values seen as other types until a later conversion makes that true."""

    @staticmethod
    def infer(*inputs: Type) -> Declared: ...  # type: ignore[empty-body]
