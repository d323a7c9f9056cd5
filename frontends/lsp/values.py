"""The types of the values of a text, as far as it can be read."""

from __future__ import annotations

from dlir.frontends.lsp.outline import Definition, Outline, last_before
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
        self.found, self.is_complete = _read(outline.text)
        if not self.is_complete:
            self.found = {**self.found, **_read(_readable_part(outline))[0]}

    def type_of(self, definition: Definition, number: int | None = None) -> Type | None:
        """The type of a value (of result `number` of it), or None if it is not known."""
        name = definition.name if number is None or definition.count == 1 else f"{definition.name}#{number}"
        value = self.found.get((definition.results_start, name))
        return None if value is None or value.type is POISON else value.type


def _read(text: str) -> tuple[dict[Place, Value], bool]:
    """What a text defines up to its first syntax error, and whether there is none."""
    point = InsertionPoint(Block(), None, UNKNOWN)
    recorder = Recorder(Source("", text), point)
    try:
        with insertion_point(point):
            Parser(text, recorder).parse()
            recorder.finish()
    except (SyntaxFailure, TooDeep, RecursionError, DlirError):
        return recorder.found, False
    return recorder.found, True


def _readable_part(outline: Outline) -> str:
    """The text with the statements that do not parse blanked out, so that every offset stays the same."""
    text = outline.text
    lines = [0]
    while (end := text.find("\n", lines[-1])) >= 0:
        lines.append(end + 1)
    for diagnostic in syntax_errors(Source("", text)):
        place = file_location(diagnostic.location)
        if place is None or place.line > len(lines):
            continue
        offset = lines[place.line - 1] + place.column - 1
        statement = last_before(outline.region_at(offset), offset)
        if statement is not None and not statement.regions:
            blank = "".join(char if char == "\n" else " " for char in text[statement.start : statement.end])
            text = text[: statement.start] + blank + text[statement.end :]
    return text
