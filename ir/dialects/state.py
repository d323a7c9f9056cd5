"""The ``state`` dialect: variables that outlive a call, such as weights.

A call sees each variable as it was before the call, and gives the written ones their new values when it returns, all at
once.  So it does not matter in which order reads and writes stand, and right-hand sides are made of old values:

    %a = state.read @a
    %b = state.read @b
    state.write @a, %b
    state.write @b, %a
"""

from __future__ import annotations

from collections.abc import Callable

from dlir.ir.attributes import DenseElementsAttr, DenseResourceAttr
from dlir.ir.core import Operation
from dlir.ir.errors import DlirError, Note
from dlir.ir.op import WRITE, Declared, Elements, Op, Symbol, SymbolRef, Tensor, Unit
from dlir.ir.types import TensorType, Type


class Variable(Op, name="state.variable"):
    """A named tensor with its first value, which may live in a file beside the text (``dense_resource<name>``).

    Without `init`, a function of the module computes the first value when the program is loaded: one with the attribute
    ``dlir.initializes``, a list of variables, one for each of its results.  What no ``state.write`` of the module names is
    a constant, unless it is `mutable`: then somebody else may write it, such as another program or Python.
    """

    @staticmethod
    def infer(
        *, sym_name: Symbol, init: Elements | None = None, mutable: Unit | None = None, type: TensorType
    ) -> None: ...

    def verify(self) -> None:
        init = self["init"]
        if isinstance(init, DenseElementsAttr | DenseResourceAttr) and init.type is not self["type"]:
            raise DlirError(f"'init' has type {init.type}, but the variable is {self['type']}", self.location)


class Read(Op, name="state.read"):
    """The value of a variable before the call."""

    # No effects: during a call it is the same value everywhere.

    @staticmethod
    def infer(*, variable: SymbolRef) -> Declared: ...  # type: ignore[empty-body]

    @classmethod
    def types_from_symbol(cls, symbol: Operation) -> tuple[Type, ...] | None:
        return (symbol["type"],) if isinstance(symbol, Variable) else None

    def verify_symbols(self, lookup: Callable[[str], Operation | None]) -> None:
        variable = _variable(self, lookup)
        if self.result_types != (variable["type"],):
            note = Note("the variable is defined here", variable.location)
            raise DlirError(
                f"reads {self.result_types[0]}, but '@{self['variable']}' is {variable['type']}",
                self.location,
                notes=[note],
            )


class Write(Op, name="state.write"):
    """Give a variable a new value: when the function that was called returns, and not before.

    It stands directly in a function, which writes each variable once at most.
    """

    effects = frozenset({WRITE})

    @staticmethod
    def infer(value: Tensor, *, variable: SymbolRef) -> None: ...

    def verify(self) -> None:
        parent = self.parent_op
        if parent is not None and parent.name != "func.func":
            message = f"stands in '{parent.name}', but a variable is written directly in a function, in every call"
            hint = "compute the value there, the old one where nothing changes, and write it behind"
            raise DlirError(message, self.location, hint=hint)

    def verify_symbols(self, lookup: Callable[[str], Operation | None]) -> None:
        variable = _variable(self, lookup)
        wanted, (found,) = variable["type"], self.operand_types
        if not _fits(found, wanted):
            note = Note("the variable is defined here", variable.location)
            message = f"writes {found}, but '@{self['variable']}' is {wanted}: a variable keeps its type"
            raise DlirError(message, self.location, notes=[note])


def _variable(op: Op, lookup: Callable[[str], Operation | None]) -> Variable:
    found = lookup(op["variable"])
    if not isinstance(found, Variable):
        notes = [] if found is None else [Note(f"it is this {found.name}", found.location)]
        raise DlirError(f"'@{op['variable']}' is not a variable", op.location, notes=notes)
    return found


def _fits(type: Type, wanted: TensorType) -> bool:
    """Whether a value is of the variable's type, or may be once its unknown extents are bound."""
    if not isinstance(type, TensorType) or type.dtype is not wanted.dtype or type.rank != wanted.rank:
        return False
    return all(extent in (None, known) for extent, known in zip(type.shape, wanted.shape))
