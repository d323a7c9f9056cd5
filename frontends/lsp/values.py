"""The types of the values of a text, as far as it can be read."""

from __future__ import annotations

from dlir.frontends.lsp.outline import Definition, Outline, Statement, last_before
from dlir.ir.builder import InsertionPoint, insertion_point
from dlir.ir.core import Block, Value
from dlir.ir.errors import DlirError
from dlir.ir.location import UNKNOWN, file_location
from dlir.ir.types import Type
from dlir.textir.build.base import TooDeep
from dlir.textir.build.module import ModuleActions
from dlir.textir.build.types import POISON
from dlir.textir.driver import Parser, SyntaxFailure
from dlir.textir.source import Source
from dlir.textir.syntax import syntax_errors

#: A value by the offset of its result list (or of itself, for an argument) and its name.
Place = tuple[int, str]


class Recorder(ModuleActions):
    """The parser's actions, which also note what each name was defined as."""

    def __init__(self, source: Source, point: InsertionPoint) -> None:
        super().__init__(source, point)
        self.found: dict[Place, Value] = {}

    def define(self, name: str, value: Value, start: int, hint: str | None = None) -> None:
        self.found[start, name] = value
        super().define(name, value, start, hint)


class Values:
    """The values of a text.  Statements that do not parse are passed over."""

    def __init__(self, outline: Outline) -> None:
        self.found, failure = _read(outline.text)
        #: Whether the text has no syntax error.
        self.is_complete = failure is None
        if isinstance(failure, SyntaxFailure):
            # An op without a name is being typed.
            text = _blanked(outline.text, [s for s in outline.statement_starts.values() if s.name_start < 0])
            found, failure = _read(text)
            if isinstance(failure, SyntaxFailure):
                found = _read(_blanked(text, _wrong(outline, text, failure.offset)))[0]
            self.found = {**self.found, **found}

    def type_of(self, definition: Definition, number: int | None = None) -> Type | None:
        """The type of a value (of result `number` of it), or None if it is not known."""
        name = definition.name if number is None or definition.count == 1 else f"{definition.name}#{number}"
        value = self.found.get((definition.results_start, name))
        return None if value is None or value.type is POISON else value.type


def _read(text: str) -> tuple[dict[Place, Value], Exception | None]:
    """What a text defines, and why it could not be read to its end."""
    point = InsertionPoint(Block(), None, UNKNOWN)
    recorder = Recorder(Source("", text), point)
    try:
        with insertion_point(point):
            Parser(text, recorder).parse()
            recorder.finish()
    except (SyntaxFailure, TooDeep, RecursionError, DlirError) as error:
        return recorder.found, error
    return recorder.found, None


def _wrong(outline: Outline, text: str, failed: int) -> list[Statement]:
    """The statements that do not parse; the first mistake was noticed at offset `failed`."""
    lines = [0]
    while (end := text.find("\n", lines[-1])) >= 0:
        lines.append(end + 1)
    found = []
    for diagnostic in syntax_errors(Source("", text), failed):
        place = file_location(diagnostic.location)
        if place is not None and place.line <= len(lines):
            offset = lines[place.line - 1] + place.column - 1
            statement = last_before(outline.region_at(offset), offset)
            found += [statement] if statement is not None and not statement.regions else []
    return found


def _blanked(text: str, statements: list[Statement]) -> str:
    """The text with blanks for some of its statements, so that every offset stays the same."""
    for statement in statements:
        blank = "".join(char if char == "\n" else " " for char in text[statement.start : statement.end])
        text = text[: statement.start] + blank + text[statement.end :]
    return text
