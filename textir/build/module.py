"""Actions for functions, modules and the whole text."""

from __future__ import annotations

from typing import Any

from dlir.ir.attributes import ArrayAttr, Attribute, DictAttr, StringAttr, TypeAttr
from dlir.ir.core import Block, Operation, Region
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.location import Location
from dlir.ir.types import FunctionType, Type
from dlir.textir.build.base import Token
from dlir.textir.build.dictionaries import Dictionary, Entries
from dlir.textir.build.making import Head
from dlir.textir.build.ops import OpActions
from dlir.textir.build.regions import Argument
from dlir.textir.build.schema import OpInfo, OpProblem, checked_attributes
from dlir.textir.source import TextLoc

#: A function's argument as it is read; a declaration's may have no name.
FunctionArgument = tuple[Token | None, Type, Dictionary | None, Location | None]


class ModuleActions(OpActions):
    """All actions of the grammar."""

    def start(self, items: Any) -> None:
        """The whole text."""

    def finish(self) -> Operation:
        """The op that the text holds, or a module around all that it holds."""
        self._reported = len(self.diagnostics)
        for name, forward in (self.frame.forward or {}).items():
            self._undefined(name, forward, self.frame)
        self.finish_locations()
        block = self.frame.entry
        only = block.first
        if isinstance(only, Module) and only.next is None:
            only.detach()
            return only
        module = Module.empty()
        module.location = TextLoc(self.source, 0)
        for op in list(block.ops):
            op.detach()
            module.body.append(op)
        return module

    # ------------------------------------------------------------ modules

    def module_head(self, keyword: Token, symbol: Token | None, word: Token | None, entries: Dictionary | None) -> None:
        self.heads.append(Head(_MODULE, keyword[1], keyword, None, [], 0, symbol and [symbol], entries, []))

    def module(self, head: None, region: Region, location: Location | None) -> None:
        if not region.blocks:
            region.append(Block())
        self._finish_own(_MODULE, region, location)

    def _finish_own(self, info: OpInfo, region: Region, location: Location | None) -> None:
        """Make a module or function."""
        _, start, name, _, _, _, symbols, entries, _ = self.heads.pop()
        attributes: dict[str, Attribute] = {}
        try:
            named = self._named_symbols(info, symbols, entries) if symbols else ()
            attributes = checked_attributes(info, entries, named, is_strict=True)
        except OpProblem as problem:
            self.report(problem, name, 0, entries, ())
        self.add(info, start, None, [], (), attributes, [region], (), location)

    # ------------------------------------------------------------ functions

    def func_arg(self, name: Token, type: Type, entries: Dictionary | None, location: Location | None) -> Any:
        return name, type, entries, location

    def func_input(self, type: Type, entries: Dictionary | None, location: Location | None) -> Any:
        return None, type, entries, location

    def func_result(self, type: Type, entries: Dictionary | None) -> Any:
        return type, entries

    def bare_result(self, type: Type) -> Any:
        return [(type, None)]

    def listed_results(self, results: Any) -> Any:
        return results or []

    def func_head(
        self,
        keyword: Token,
        visibility: Token | None,
        symbol: Token,
        arguments: list[FunctionArgument] | None,
        results: list[tuple[Type, Dictionary | None]] | None,
        word: Token | None,
        entries: Dictionary | None,
    ) -> None:
        arguments, results = arguments or [], results or []
        attributes: dict[str, Attribute] = {}
        path = self.symbol_path(symbol)
        if len(path) > 1:
            self.token_error(symbol, "a function's name is a single symbol")
        attributes["sym_name"] = StringAttr(path[0])
        function_type = FunctionType([argument[1] for argument in arguments], [result[0] for result in results])
        attributes["function_type"] = TypeAttr(function_type)
        if visibility is not None:
            attributes["sym_visibility"] = StringAttr(visibility[0])
        for name, parts in (
            ("arg_attrs", [argument[2] for argument in arguments]),
            ("res_attrs", [result[1] for result in results]),
        ):
            if any(part is not None for part in parts):
                attributes[name] = ArrayAttr(DictAttr(part[0].attributes if part else {}) for part in parts)
        own = Entries([(name, symbol[1], attribute) for name, attribute in attributes.items()])
        entries = self.joined((own, 0), entries)
        self.heads.append(Head(_FUNC, keyword[1], keyword, None, [], 0, None, entries, []))
        self.entry_arguments = [self._entry_argument(argument) for argument in arguments]

    def _entry_argument(self, argument: FunctionArgument) -> Argument:
        name, type, _, location = argument
        return name or ("", 0), type, location

    def func(self, head: None, region: Region, location: Location | None) -> None:
        if not region.blocks:
            region.append(Block())
        self._finish_own(_FUNC, region, location)

    def func_declaration(self, head: None, location: Location | None) -> None:
        self.entry_arguments = []
        self._finish_own(_FUNC, Region(), location)


_MODULE = OpInfo("builtin.module", Module)
_FUNC = OpInfo("func.func", Func)
