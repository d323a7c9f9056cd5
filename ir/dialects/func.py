"""The ``func`` dialect: functions, calls and returns, as upstream."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dlir.ir.attributes import ArrayAttr, DictAttr
from dlir.ir.core import Block, Operation, Region
from dlir.ir.errors import DlirError, Note, did_you_mean
from dlir.ir.op import Declared, Op, Symbol, SymbolRef, Type
from dlir.ir.types import FunctionType


class Func(Op, name="func.func"):
    """A function.  One without a body is a declaration."""

    is_isolated = True
    terminated_by = "func.return"

    @staticmethod
    def infer(  # type: ignore[empty-body]
        *,
        sym_name: Symbol,
        function_type: FunctionType,
        sym_visibility: str | None = None,
        arg_attrs: list | None = None,
        res_attrs: list | None = None,
        body: Region,
    ) -> Declared: ...

    @classmethod
    def make(
        cls,
        name: str,
        inputs: Iterable[Type],
        results: Iterable[Type] = (),
        names: Iterable[str | None] = (),
        private: bool = False,
    ) -> Func:
        """A function with an entry block and no ops yet, not inserted anywhere."""
        type = FunctionType(inputs, results)
        block = Block(type.inputs)
        for arg, hint in zip(block.args, names, strict=False):
            arg.name = hint
        visibility = "private" if private else None
        return cls.create(
            result_types=(),
            regions=[Region([block])],
            sym_name=Symbol(name),
            function_type=type,
            sym_visibility=visibility,
        )

    @property
    def symbol(self) -> str:
        return self["sym_name"]

    @property
    def type(self) -> FunctionType:
        return self["function_type"]

    @property
    def is_declaration(self) -> bool:
        return not self.regions or not self.regions[0].blocks

    @property
    def is_public(self) -> bool:
        return self["sym_visibility"] in (None, "public")

    def arg_attributes(self, index: int) -> dict:
        """The attributes of argument `index`; changes go through `set_arg_attributes`."""
        found = self.attributes.get("arg_attrs")
        entry = found.items[index] if isinstance(found, ArrayAttr) else None
        return dict(entry.items) if isinstance(entry, DictAttr) else {}

    def set_arg_attributes(self, attributes: list[dict]) -> None:
        """Set the attributes of all arguments."""
        if any(attributes):
            self.attributes["arg_attrs"] = ArrayAttr(DictAttr(entry) for entry in attributes)
        else:
            self.attributes.pop("arg_attrs", None)

    def update_type(self) -> None:
        """Make `function_type` agree with the entry block's arguments and the return's operands."""
        results = self.body.terminator.operand_types
        self.set("function_type", FunctionType([arg.type for arg in self.body.args], results))

    def verify(self) -> None:
        visibility = self["sym_visibility"]
        if visibility not in (None, "public", "private", "nested"):
            raise DlirError(f"'sym_visibility' must be public, private or nested, not '{visibility}'", self.location)
        if self.is_declaration:
            if self.is_public:
                hint = f"write func.func private @{self.symbol}(...), or give it a body in braces"
                raise DlirError("is declared without a body, so it must be private", self.location, hint=hint)
            return
        args = tuple(arg.type for arg in self.body.args)
        if args != self.type.inputs:
            raise DlirError(f"the entry block's arguments {_list(args)} are not the function's inputs", self.location)
        for name, count in (("arg_attrs", len(args)), ("res_attrs", len(self.type.results))):
            found = self.attributes.get(name)
            if found is not None and (not isinstance(found, ArrayAttr) or len(found.items) != count):
                raise DlirError(f"'{name}' must be a list of {count} dictionaries", self.location)


class Return(Op, name="func.return"):
    """Return the operands to the caller."""

    is_terminator = True
    parent_name = "func.func"

    @staticmethod
    def infer(*operands: Type) -> None: ...

    def verify(self) -> None:
        parent = self.parent_op
        if isinstance(parent, Func) and self.operand_types != parent.type.results:
            raise DlirError(
                f"returns {_list(self.operand_types)}, but '@{parent.symbol}' gives {_list(parent.type.results)}",
                self.location,
            )


class Call(Op, name="func.call"):
    """Call a function of this module by its symbol."""

    effects = frozenset({"read", "write", "io"})

    @staticmethod
    def infer(*operands: Type, callee: SymbolRef) -> Declared: ...  # type: ignore[empty-body]

    @classmethod
    def types_from_symbol(cls, symbol: Operation) -> tuple[Type, ...] | None:
        return symbol.type.results if isinstance(symbol, Func) else None

    def verify_symbols(self, lookup: Callable[[str], Operation | None]) -> None:
        callee = lookup(self["callee"])
        if not isinstance(callee, Func):
            raise DlirError(f"'@{self['callee']}' is not a function", self.location)
        if (self.operand_types, self.result_types) != (callee.type.inputs, callee.type.results):
            called = FunctionType(self.operand_types, self.result_types)
            note = Note(f"'@{callee.symbol}' is defined here", callee.location)
            raise DlirError(
                f"calls '@{callee.symbol}' as {called}, but it is {callee.type}", self.location, notes=[note]
            )


def find_function(module: Operation, name: str) -> Func:
    """The function called `name`, which has a body; DlirError with a suggestion if there is none."""
    functions = {op.symbol: op for op in module.body.ops if isinstance(op, Func) and not op.is_declaration}
    if name not in functions:
        public = [symbol for symbol, function in functions.items() if function.is_public]
        hint = did_you_mean(name, public) or (f"functions: {', '.join(public)}" if public else "it has no functions")
        raise DlirError(f"the module has no function '@{name}'", module.location, hint=hint)
    return functions[name]


def _list(types: Iterable[Type]) -> str:
    return "(" + ", ".join(map(str, types)) + ")"
