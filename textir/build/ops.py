"""Actions for operations: they go straight into the IR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlir.ir.attributes import Attribute, StringAttr, SymbolRefAttr
from dlir.ir.builder import InsertionPoint
from dlir.ir.core import Block, Region, UnregisteredOp, Value
from dlir.ir.location import Location
from dlir.ir.types import FunctionType
from dlir.textir.build import schema
from dlir.textir.build.base import Token
from dlir.textir.build.beyond import is_beyond, is_foreign, is_foreign_loop
from dlir.textir.build.dictionaries import Dictionary
from dlir.textir.build.making import UNKNOWN_OP, Head
from dlir.textir.build.schema import OpInfo, OpProblem
from dlir.textir.build.skipping import SkippingActions
from dlir.textir.build.types import POISON
from dlir.textir.source import Source, TextLoc


class OpActions(SkippingActions):
    """Actions of the rules under ``op``, other than functions and modules."""

    def __init__(self, source: Source, point: InsertionPoint) -> None:
        super().__init__(source, point)
        self._infos: dict[str, OpInfo] = {}

    # ------------------------------------------------------------ generic form

    def generic_op(
        self,
        results: Token | None,
        name: Token,
        operands: tuple[list[Value], int],
        successors: list[Block] | None,
        props: Dictionary | None,
        entries: Dictionary | None,
        signature: FunctionType,
        location: Location | None,
    ) -> None:
        """``results = "name"(operands) [^successors] <{props}> {attributes} : (types) -> types loc(...)``"""
        info = self._infos.get(name[0]) or self._generic_info(name)
        start = name[1] if results is None else results[1]
        values, values_start = operands
        if props is not None and entries is not None and info.schema is None:
            props, entries = self.beside(props, entries)
        elif props is not None:
            entries = self.joined(props, entries)
        for value, type in zip(values, signature.inputs):
            if value.type is not type:
                self._check_signature(values, values_start, signature)
                break
        else:
            if len(values) != len(signature.inputs):
                self._check_signature(values, values_start, signature)
        if info.schema is None:
            attributes = {} if entries is None else entries[0].attributes.copy()
        else:
            info, attributes = self._check_generic(info, name, values, values_start, entries, signature, ())
        self.add(info, start, results, values, signature.results, attributes, (), successors or (), location)
        if info.schema is None and props is not None:
            self._own(props)

    def _own(self, props: Dictionary) -> None:
        """Note what is in ``<{...}>`` on the op that was made last, of which nothing else is known."""
        op = self.point.block.last
        if isinstance(op, UnregisteredOp):
            op.properties = tuple(name for name, _, _ in props[0].items)

    def generic_head(
        self,
        results: Token | None,
        name: Token,
        operands: tuple[list[Value], int],
        successors: list[Block] | None,
        props: Dictionary | None,
    ) -> None:
        info = self._infos.get(name[0]) or self._generic_info(name)
        start = name[1] if results is None else results[1]
        self.heads.append(Head(info, start, name, results, operands[0], operands[1], None, props, successors or []))

    def generic_region_op(
        self,
        head: None,
        regions: list[Region],
        entries: Dictionary | None,
        signature: FunctionType,
        location: Location | None,
    ) -> None:
        info, start, name, results, values, values_start, _, props, successors = self.heads.pop()
        if props is not None and entries is not None and info.schema is None:
            props, entries = self.beside(props, entries)
        elif props is not None:
            entries = self.joined(props, entries)
        self._check_signature(values, values_start, signature)
        if info.schema is None:
            attributes = {} if entries is None else entries[0].attributes.copy()
        else:
            info, attributes = self._check_generic(info, name, values, values_start, entries, signature, regions)
        self.add(info, start, results, values, signature.results, attributes, regions, successors, location)
        if info.schema is None and props is not None:
            self._own(props)

    def _generic_info(self, name: Token) -> OpInfo:
        try:
            info = schema.look_up(self.unquoted(name), is_generic=True)
        except OpProblem as problem:
            self.token_error(name, problem.message, hint=problem.hint)
            return UNKNOWN_OP
        self._infos[name[0]] = info
        return info

    def _check_signature(self, values: list[Value], start: int, signature: FunctionType) -> None:
        """Compare operands with the types stated for them; a value that is not defined yet takes its type."""
        inputs = signature.inputs
        if len(values) != len(inputs):
            message = f"{len(values)} operand{'s' * (len(values) != 1)}, but the type lists {len(inputs)}"
            self.error(*self.operands_range(start, len(values)), message)
            return
        for index, value in enumerate(values):
            if value.type is inputs[index]:
                continue
            if value.type is None:
                value.type = inputs[index]
            elif value.type is not POISON and inputs[index] is not POISON:
                name = self.operand_name(start, index) or value.name
                message = f"'%{name}' has type {value.type}, not {inputs[index]}"
                self.operand_error(start, index, message, notes=self.definition_notes(value))

    def _check_generic(
        self,
        info: OpInfo,
        name: Token,
        values: list[Value],
        start: int,
        entries: Dictionary | None,
        signature: FunctionType,
        regions: Sequence[Region],
    ) -> tuple[OpInfo, dict[str, Attribute]]:
        """`info` (or what stands for an op that does not fit its schema), and the op's attributes."""
        attributes: dict[str, Attribute] = {}
        given = {} if entries is None else entries[0].attributes
        if info.name == "scf.for" and is_foreign_loop(values, given):
            return OpInfo(info.name, None), given.copy()
        try:
            attributes = schema.checked_attributes(info, entries, (), is_strict=False)
            if signature not in info.accepted:
                if is_foreign(info.name, signature):
                    return OpInfo(info.name, None), given.copy()
                groups = schema.grouped(info, values, attributes, fill=False)
                schema.check_kinds(info, groups)
                if not info.needs_segments:
                    info.accepted.add(signature)
            if len(regions) != info.regions:
                schema.check_regions(info, len(regions))
        except OpProblem as problem:
            if is_beyond(info.name, given, signature):
                return OpInfo(info.name, None), given.copy()
            self.report(problem, name, start, entries, [*signature.inputs, *(value.type for value in values)])
            return UNKNOWN_OP, attributes
        return info, attributes

    # ------------------------------------------------------------ pretty form

    def pretty_op(
        self,
        results: Token | None,
        name: Token,
        symbols: list[Token] | None,
        operands: tuple[list[Value], int] | None,
        entries: Dictionary | None,
        successors: list[Block] | None,
        types: Any,
        location: Location | None,
    ) -> None:
        """``results = name @symbols %operands {attributes} [^successors] : types loc(...)``"""
        info = self._infos.get(name[0]) or self._pretty_info(name)
        start = name[1] if results is None else results[1]
        values, values_start = operands or ([], name[1])
        head = Head(info, start, name, results, values, values_start, symbols, entries, successors or [])
        self._finish_pretty(head, (), types, location)

    def pretty_head(
        self,
        results: Token | None,
        name: Token,
        symbols: list[Token] | None,
        operands: tuple[list[Value], int] | None,
        entries: Dictionary | None,
        successors: list[Block] | None,
    ) -> None:
        info = self._infos.get(name[0]) or self._pretty_info(name)
        start = name[1] if results is None else results[1]
        values, values_start = operands or ([], name[1])
        self.heads.append(Head(info, start, name, results, values, values_start, symbols, entries, successors or []))

    def pretty_region_op(self, head: None, regions: list[Region], types: Any, location: Location | None) -> None:
        self._finish_pretty(self.heads.pop(), regions, types, location)

    def _pretty_info(self, name: Token) -> OpInfo:
        full = "func.return" if name[0] == "return" else name[0]
        try:
            info = schema.look_up(full, is_generic=False)
            if not info.is_registered:
                raise schema.unknown_dialect(full)
        except OpProblem as problem:
            self.token_error(name, problem.message, hint=problem.hint)
            return UNKNOWN_OP
        self._infos[name[0]] = info
        return info

    def _finish_pretty(self, head: Head, regions: Sequence[Region], types: Any, location: Location | None) -> None:
        info, start, name, results, values, values_start, symbols, entries, successors = head
        declared = types.results if isinstance(types, FunctionType) else None if types is None else tuple(types)
        if isinstance(types, FunctionType):
            self._check_signature(values, values_start, types)
        if not info.is_registered or not self._types_known(values):
            self.poison(head, regions, declared, location)
            return
        if declared is not None and info.cls.is_terminator and results is None and not isinstance(types, FunctionType):
            # As in MLIR, `return %x : f32` repeats the operand's type.
            self._check_signature(values, values_start, FunctionType(declared, ()))
            declared = None
        try:
            named = self._named_symbols(info, symbols, entries) if symbols else ()
            attributes = schema.checked_attributes(info, entries, named, is_strict=True)
            self.point.location = TextLoc(self.source, start)
            values, groups = schema.prepared(info, values, attributes)
            if declared is None:
                declared = schema.inferred(info, groups, attributes, self.symbol, is_named=results is not None)
            if len(regions) != info.regions:
                schema.check_regions(info, len(regions))
        except OpProblem as problem:
            self.report(problem, name, values_start, entries, [value.type for value in values])
            self.poison(head, regions, declared, location)
            return
        self.add(info, start, results, values, declared, attributes, regions, successors, location)

    def _named_symbols(
        self, info: OpInfo, symbols: list[Token], entries: Dictionary | None
    ) -> list[tuple[str, Attribute]]:
        """``@name`` after the op's name: the attributes of the schema that are symbols, in order."""
        assert info.schema is not None
        given = {} if entries is None else entries[0].attributes
        specs = [spec for spec in info.schema.symbols if spec.name not in given]
        if len(symbols) > len(specs):
            takes = f"{len(specs)} symbol{'s' * (len(specs) != 1)}" if specs else "no symbol"
            raise OpProblem(f"'{info.name}' takes {takes}, got {len(symbols)}")
        named: list[tuple[str, Attribute]] = []
        for spec, token in zip(specs, symbols, strict=False):
            path = self.symbol_path(token)
            if spec.kind == "symbol" and len(path) > 1:
                raise OpProblem(f"'{info.name}' defines a symbol, which is a single name")
            named.append((spec.name, StringAttr(path[0]) if spec.kind == "symbol" else SymbolRefAttr(*path)))
        return named

    def _types_known(self, values: list[Value]) -> bool:
        """Whether all operands have types; what is wrong with the others is reported elsewhere."""
        for value in values:
            if value.type is None:
                value.wants_type = True  # type: ignore[attr-defined]
        return all(value.type is not None and value.type is not POISON for value in values)
