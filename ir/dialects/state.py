"""The ``state`` dialect: variables that outlive a call, such as weights."""

from __future__ import annotations

from collections.abc import Callable

from dlir.ir.attributes import DenseElementsAttr, DenseResourceAttr
from dlir.ir.core import Operation
from dlir.ir.errors import DlirError, Note
from dlir.ir.op import READ, Declared, Elements, Op, Symbol, SymbolRef
from dlir.ir.types import TensorType, Type


class Variable(Op, name="state.variable"):
    """A named tensor with its first value, which may live in a file beside the text (``dense_resource<name>``).

    Without `init`, a function of the module computes the first value when the program is loaded: one with the attribute
    ``dlir.initializes``, a list of variables, one for each of its results.
    """

    @staticmethod
    def infer(*, sym_name: Symbol, init: Elements | None = None, type: TensorType) -> None: ...

    def verify(self) -> None:
        init = self["init"]
        if isinstance(init, DenseElementsAttr | DenseResourceAttr) and init.type is not self["type"]:
            raise DlirError(f"'init' has type {init.type}, but the variable is {self['type']}", self.location)


class Read(Op, name="state.read"):
    """The value of a variable now."""

    effects = frozenset({READ})

    @staticmethod
    def infer(*, variable: SymbolRef) -> Declared: ...  # type: ignore[empty-body]

    @classmethod
    def types_from_symbol(cls, symbol: Operation) -> tuple[Type, ...] | None:
        return (symbol["type"],) if isinstance(symbol, Variable) else None

    def verify_symbols(self, lookup: Callable[[str], Operation | None]) -> None:
        variable = lookup(self["variable"])
        if not isinstance(variable, Variable):
            raise DlirError(f"'@{self['variable']}' is not a variable", self.location)
        if self.result_types != (variable["type"],):
            note = Note("the variable is defined here", variable.location)
            raise DlirError(
                f"reads {self.result_types[0]}, but '@{self['variable']}' is {variable['type']}",
                self.location,
                notes=[note],
            )
