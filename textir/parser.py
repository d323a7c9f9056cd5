"""Reading text into IR."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlir.ir.builder import InsertionPoint, insertion_point
from dlir.ir.core import Block
from dlir.ir.errors import DlirError
from dlir.ir.location import UNKNOWN
from dlir.textir.build.base import MAX_DEPTH, TooDeep
from dlir.textir.build.module import ModuleActions
from dlir.textir.driver import Parser, SyntaxFailure
from dlir.textir.source import Source, read_source


@dataclass(slots=True)
class ParsedModule:
    """A module with what belongs to it: the texts (for diagnostics) and the blobs that stand in them."""

    module: Any
    sources: dict[str, str]
    #: Inline blobs of dense_resource by name, as hexadecimal text.
    blobs: dict[str, str] = field(default_factory=dict)
    path: Path | None = None


def parse(text: str, file: str = "<input>") -> Any:
    """The module that `text` holds; `file` is its name in diagnostics.

    A text that holds anything but one module gets a module around it.  DlirError holds all mistakes that were found.
    """
    return parse_source(Source(file, text)).module


def parse_file(path: str | Path) -> ParsedModule:
    """The module that a file holds, and what belongs to it; DlirError if it cannot be read."""
    parsed = parse_source(read_source(path))
    parsed.path = Path(path)
    return parsed


def parse_source(source: Source) -> ParsedModule:
    """The module that a text holds, and what belongs to it."""
    _check_characters(source)
    point = InsertionPoint(Block(), None, UNKNOWN)
    actions = ModuleActions(source, point)
    failure: SyntaxFailure | None = None
    try:
        with _collection_paused(), insertion_point(point):
            Parser(source.text, actions).parse()
    except SyntaxFailure as error:
        failure = error
    except TooDeep as error:
        place = source.location(error.offset, error.offset + 1)
        raise DlirError(f"nested more than {MAX_DEPTH} deep", place) from None
    if failure is not None:
        # What is wrong with the ops before it is true as well, but a value may be defined behind it.
        from dlir.textir.syntax import syntax_errors

        raise DlirError([*actions.diagnostics, *syntax_errors(source)])
    module = actions.finish()
    if actions.diagnostics:
        raise DlirError(sorted(actions.diagnostics, key=_place))
    return ParsedModule(module, {source.name: source.text}, actions.blobs)


def _place(diagnostic: Any) -> tuple[int, int]:
    return diagnostic.location.line, diagnostic.location.column


def _check_characters(source: Source) -> None:
    """Refuse what cannot stand in a text: NUL, and lone surrogates, which are no characters."""
    offset = source.text.find("\0")
    if offset >= 0:
        raise DlirError("a text may not hold the NUL character", source.location(offset, offset + 1))
    if not source.text.isascii():
        try:
            source.text.encode()
        except UnicodeEncodeError as error:
            raise DlirError("a text may not hold half a surrogate pair", source.location(error.start)) from None


@contextmanager
def _collection_paused() -> Iterator[None]:
    """No cyclic garbage collection: nothing that is read becomes garbage, and each run would walk all of it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
