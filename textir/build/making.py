"""Making operations, and defining the names of their results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from dlir.ir.attributes import Attribute, StringAttr
from dlir.ir.core import Block, Operation, Region, UnregisteredOp, Value
from dlir.ir.location import Location
from dlir.ir.types import Type
from dlir.textir.build.base import Token
from dlir.textir.build.dictionaries import Dictionary
from dlir.textir.build.locations import PendingLoc
from dlir.textir.build.regions import RegionActions
from dlir.textir.build.schema import OpInfo, OpProblem
from dlir.textir.build.types import POISON
from dlir.textir.forms import misread
from dlir.textir.source import TextLoc

_ONE_RESULT = re.compile(r"%([\w$.-]++)\s*+=", re.ASCII).fullmatch
_BLANK = r"(?:\s|//[^\n]*+\n)*+"
_RESULTS = re.compile(rf"//[^\n]*|%([\w$.-]++)(?:{_BLANK}:{_BLANK}(\d++))?", re.ASCII)

#: No op has more results; a larger number of names is as wrong as this one.
_MAX_RESULTS = 100_000

#: What stands for an op that cannot be made as it is written, so that uses of its results are not mistakes too.
UNKNOWN_OP = OpInfo("dlir.error", None)


class Head(NamedTuple):
    """An op up to the "(" before its regions."""

    info: OpInfo
    start: int
    name: Token
    results: Token | None
    operands: list[Value]
    operands_start: int
    symbols: list[Token] | None
    attributes: Dictionary | None
    successors: list[Block]


class MakingActions(RegionActions):
    """What the actions for operations have in common."""

    def add(
        self,
        info: OpInfo,
        start: int,
        results: Token | None,
        operands: list[Value],
        types: Sequence[Type],
        attributes: dict[str, Attribute],
        regions: Sequence[Region],
        successors: Sequence[Block],
        location: Location | None,
    ) -> None:
        """Make the op at the end of the current block and define its results."""
        place = TextLoc(self.source, start) if location is None else location
        op = info.cls(info.name, operands, types, attributes, regions, successors, place)
        if place.__class__ is PendingLoc:
            self.pending_locations.append(op)
        self.point.block.append(op)
        if results is not None:
            self._define_results(op, results)
        symbol = attributes.get("sym_name")
        if symbol.__class__ is StringAttr and self.frame.symbols is not None:
            self.frame.symbols.setdefault(symbol.value, op)
        if self.diagnostics or self._reported:
            self._reported = len(self.diagnostics)

    def _define_results(self, op: Operation, token: Token) -> None:
        match = _ONE_RESULT(token[0])
        if match is not None and len(op.results) == 1:
            self.define(match[1], op.results[0], token[1])
            return
        names = result_names(token)
        total = sum(count for _, count in names)
        nameless = next((name for name, count in names if not count), None)
        if nameless is not None:
            self.token_error(token, f"'%{nameless}:0' names no result", hint=f"one result is written %{nameless} =")
            self._define_missing(names, token)
            return
        if total != len(op.results):
            given = f"{len(op.results)} result{'s' * (len(op.results) != 1)}"
            shown = f"{total} {'is' if total == 1 else 'are'}" if total < _MAX_RESULTS else "more are"
            self.token_error(token, f"'{op.name}' gives {given}, but {shown} named")
            self._define_missing(names, token)
            return
        position = 0
        for name, count in names:
            self.define(name, op.results[position], token[1])
            for index in range(count if count > 1 else 0):
                self.define(f"{name}#{index}", op.results[position + index], token[1], hint=name)
            position += count

    def _define_missing(self, names: list[tuple[str, int]], token: Token) -> None:
        """Give the names of an op with a wrong number of results something to stand for."""
        stand_in = UnregisteredOp("dlir.error", result_types=(POISON,) * sum(count for _, count in names))
        for (name, count), result in zip(names, stand_in.results, strict=False):
            self.define(name, result, token[1])
            for index in range(min(count, 64) if count > 1 else 0):
                self.define(f"{name}#{index}", result, token[1], hint=name)

    def poison(
        self, head: Head, regions: Sequence[Region], declared: tuple[Type, ...] | None, location: Location | None
    ) -> None:
        """Put something in the place of an op that is wrong; its results may be used without further complaints."""
        schema = head.info.schema
        if schema is not None and any(spec.kind == "symbol" for spec in schema.symbols):
            self.passed_over.update(token[0] for token in head.symbols or ())
        if declared is None:
            declared = (POISON,) * sum(count for _, count in result_names(head.results))
        self.add(UNKNOWN_OP, head.start, head.results, head.operands, declared, {}, regions, head.successors, location)

    # ------------------------------------------------------------ diagnostics

    def report(
        self, problem: OpProblem, name: Token, operands_start: int, entries: Dictionary | None, types: Sequence[Type]
    ) -> None:
        """Report a problem at the operand or attribute that it is about, else at the op's name."""
        if POISON in types or (problem.symbol is not None and f"@{problem.symbol}" in self.passed_over):
            return
        if problem.operand is not None:
            self.operand_error(operands_start, problem.operand, problem.message, hint=problem.hint)
            return
        for key, start, _ in entries[0].items if entries is not None else ():
            if key == problem.attribute:
                start += entries[1]  # type: ignore[index]
                self.error(start, start + len(key), problem.message, hint=problem.hint)
                return
        if problem.is_count and self._misread(name, operands_start, len(types)):
            return
        hint = self.symbol_hint(problem.symbol) if problem.symbol is not None else None
        self.token_error(name, problem.message, hint=hint or problem.hint)

    def _misread(self, name: Token, operands_start: int, count: int) -> bool:
        """Report an op with too few operands by what follows it on its line, if that is not an op by itself."""
        end = self.operands_range(operands_start, count)[1] if count else name[1] + len(name[0])
        found = misread(name[0].strip('"'), self.source.text[end : end + 400].partition("\n")[0])
        if found is not None:
            message, hint, (start, stop) = found
            self.error(end + start, end + stop, message, hint=hint)
        return found is not None


def result_names(token: Token | None) -> list[tuple[str, int]]:
    """The names and their numbers of results in ``%a, %b:2 =``."""
    if token is None:
        return []
    counts = [(match[1], match[2] or "1") for match in _RESULTS.finditer(token[0]) if match[1]]
    return [(name, int(count) if len(count) <= 5 else _MAX_RESULTS) for name, count in counts]
