"""A text that is open in an editor, and what is known of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from dlir.frontends.lsp.outline import VALUE, Definition, Occurrence, Outline
from dlir.frontends.lsp.positions import Positions
from dlir.frontends.lsp.reader import read
from dlir.frontends.lsp.values import Values
from dlir.ir.errors import Diagnostic, DlirError
from dlir.ir.location import Location, file_location
from dlir.ir.types import Type
from dlir.ir.verifier import verified
from dlir.passes.patterns import parse_patterns
from dlir.textir import parse_text

#: Offsets from and to (exclusive).
Range = tuple[int, int]

#: How a file of rewrite rules begins.
_RULES = re.compile(r"(?:\s|//[^\n]*(?:\n|$))*pattern\b")
_WORD = re.compile(r"[%@#!^]?[\w$.-]+|\S", re.ASCII)


@dataclass(slots=True)
class Problem:
    """A diagnostic with its place in the text; a note's place is None if it is not in this text."""

    message: str
    range: Range
    severity: str = "error"
    hint: str | None = None
    notes: list[tuple[str, Range | None]] = field(default_factory=list)


class Document:
    """One version of a text; `previous` is the version before, which may know what this one does not tell."""

    def __init__(
        self,
        text: str,
        name: str = "<input>",
        path: Path | None = None,
        previous: Document | None = None,
        encoding: str = "utf-16",
    ) -> None:
        self.original = text
        #: A byte order mark is no part of the text, but it has a column.
        self.has_mark = text.startswith("\ufeff")
        self.text = f" {text[1:]}" if self.has_mark else text
        self.name = name
        self.path = path
        self.positions = Positions(self.text, encoding)
        self._last_good = None if previous is None else previous._good()

    @cached_property
    def outline(self) -> Outline:
        return read(self.text)

    # ------------------------------------------------------------ types

    @cached_property
    def _values(self) -> Values:
        return Values(self.outline)

    @property
    def is_complete(self) -> bool:
        """Whether the text has no syntax error."""
        return self._values.is_complete

    def type_of(self, definition: Definition, number: int | None = None) -> Type | None:
        """The type of a value (of result `number` of it): as the text says, else as the last good version did."""
        found = self._values.type_of(definition, number or 0)
        if found is None and self._last_good is not None:
            return self._last_good._types.get((*_path(definition), str(number or 0)))
        return found

    def type_at(self, occurrence: Occurrence) -> Type | None:
        """The type of the value that a name stands for."""
        return None if occurrence.definition is None else self.type_of(occurrence.definition, occurrence.number)

    @cached_property
    def _types(self) -> dict[tuple[str, ...], Type]:
        """The types of all values, by the symbols around them, their names and result numbers."""
        found = {}
        for occurrence in self.outline.occurrences:
            definition = occurrence.definition
            if occurrence.kind == VALUE and definition is not None and definition.place is occurrence:
                for number in range(min(definition.count, 64)):
                    type = self._values.type_of(definition, number)
                    if type is not None:
                        found[(*_path(definition), str(number))] = type
        return found

    def _good(self) -> Document | None:
        """The last version that is known to be right, this one or an earlier one; nothing is read to find out."""
        if "problems" in self.__dict__ and not self.problems:
            self._last_good = None
            return self
        return self._last_good

    # ------------------------------------------------------------ diagnostics

    @cached_property
    def problems(self) -> list[Problem]:
        """What dlir-opt says of the text; of a file of rewrite rules, what --check-patterns says before it tries them."""
        try:
            if _RULES.match(self.text):
                parse_patterns(self.text, self.name)
                return []
            verified(parse_text(self.text, self.name, self.path).module)
        except DlirError as error:
            return [self._problem(diagnostic) for diagnostic in error.diagnostics]
        return []

    def _problem(self, diagnostic: Diagnostic) -> Problem:
        message = diagnostic.message
        place = self.range_of(diagnostic.location)
        if place is None:
            elsewhere = file_location(diagnostic.location)
            message += f" ({elsewhere})" if elsewhere is not None else ""
        notes = [(note.message, self.range_of(note.location)) for note in diagnostic.notes]
        return Problem(message, place or (0, 0), diagnostic.severity, diagnostic.hint, notes)

    def range_of(self, location: Location) -> Range | None:
        """The place in this text, or None; one without an end covers an op up to its name, or a word."""
        place = file_location(location)
        if place is None or place.file != self.name:
            return None
        start = self._offset(place.line, place.column)
        if place.end is not None:
            return start, max(self._offset(*place.end), start)
        statement = self.outline.statement_at(start)
        if statement is not None and statement.start == start < statement.name_end:
            return start, statement.name_end
        word = _WORD.match(self.text, start)
        return start, word.end() if word else start

    @cached_property
    def _lines(self) -> list[int]:
        """Where lines start as dlir counts them: only a newline ends one."""
        return [0, *(match.end() for match in re.finditer("\n", self.text))]

    def _offset(self, line: int, column: int) -> int:
        if line > len(self._lines):
            return len(self.text)
        return min(self._lines[line - 1] + column - 1, len(self.text))

    def excerpt(self, start: int, end: int, limit: int = 400) -> str:
        """A piece of the text on one line, of at most `limit` characters."""
        text = " ".join(self.text[start:end].split())
        return text if len(text) <= limit else text[: limit - 3] + "..."


def _path(definition: Definition) -> tuple[str, ...]:
    """What a value is called from outside, whatever lines are added around it."""
    names = [definition.name]
    region = definition.place.region
    while region.owner is not None:
        symbol = region.owner.symbol
        names.append(region.owner.name if symbol is None else symbol.name)
        region = region.owner.region
    return tuple(reversed(names))
