"""Giving something another name: all places change, or there is a reason why not."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dlir.frontends.lsp.document import Document, Range
from dlir.frontends.lsp.outline import (
    ATTR_ALIAS,
    BLOCK,
    SIGILS,
    SYMBOL,
    TYPE_ALIAS,
    VALUE,
    Definition,
    Occurrence,
    Region,
)
from dlir.ir.errors import DlirError

_VALID = {
    VALUE: re.compile(r"\d+|[A-Za-z_$.-][\w$.-]*", re.ASCII),
    BLOCK: re.compile(r"\d+|[A-Za-z_$.-][\w$.-]*", re.ASCII),
    SYMBOL: re.compile(r"[A-Za-z_$][\w$.]*", re.ASCII),
    ATTR_ALIAS: re.compile(r"[A-Za-z_][\w$]*", re.ASCII),
    TYPE_ALIAS: re.compile(r"[A-Za-z_][\w$]*", re.ASCII),
}


def name_range(document: Document, occurrence: Occurrence) -> Range:
    """Where the name stands that a rename replaces: without its sigil, result number or quotes."""
    definition = occurrence.definition
    if definition is not None and definition.is_string and definition.place is occurrence:
        return occurrence.start, occurrence.end
    start = occurrence.start + 1
    if document.text.startswith('"', start):
        return start, occurrence.end
    return start, start + len(occurrence.name)


def renamable(document: Document, offset: int) -> Occurrence | None:
    """The name at `offset`, if it is defined in this text."""
    occurrence = document.outline.occurrence_at(offset)
    return occurrence if occurrence is not None and occurrence.definition is not None else None


def rename(document: Document, offset: int, new_name: str) -> list[tuple[Range, str]]:
    """The replacements that give the thing at `offset` another name; DlirError says why there are none."""
    occurrence = renamable(document, offset)
    if occurrence is None or occurrence.definition is None:
        raise DlirError("there is no name here that this text defines")
    definition = occurrence.definition
    sigil = SIGILS[definition.kind]
    name = new_name.strip().removeprefix(sigil)
    if _VALID[definition.kind].fullmatch(name) is None:
        raise DlirError(f"'{new_name}' is not a valid name for a {definition.kind}")
    if name == definition.name:
        return []
    for other in _definitions_in_reach(document, definition):
        if other.name == name:
            line = document.positions.position(other.place.start)[0] + 1
            raise DlirError(f"'{sigil}{name}' is already defined in line {line}")
        if other.name == definition.name and other is not definition and _clash(other, definition):
            raise DlirError(f"'{sigil}{definition.name}' is defined twice: mend that first")
    return [(name_range(document, place), name) for place in definition.occurrences]


def _clash(one: Definition, other: Definition) -> bool:
    """Whether two definitions of the same name are in each other's way."""
    return one.kind == other.kind and one.place.region is other.place.region


def _definitions_in_reach(document: Document, definition: Definition) -> Iterator[Definition]:
    """The definitions whose names a use of `definition` could mean, and those that could come to mean it."""
    regions = _regions_in_reach(definition)
    for occurrence in document.outline.occurrences:
        other = occurrence.definition
        if other is not None and other.place is occurrence and occurrence.kind == definition.kind:
            if regions is None or _home(other) in regions:
                yield other


def _regions_in_reach(definition: Definition) -> dict[Region, None] | None:
    """The regions where a definition of the same name would clash; None: everywhere."""
    home = definition.place.region
    if definition.kind == VALUE:
        return dict.fromkeys([*home.visible(), *_open_inside(home)])
    if definition.kind == BLOCK:
        return {home: None}
    if definition.kind == SYMBOL:
        table = _home(definition)
        return dict.fromkeys([*home.tables(), *(region for region in table.nested() if region.is_symbol_table)])
    return None


def _home(definition: Definition) -> Region:
    """The region that a name belongs to."""
    region = definition.place.region
    return next(region.tables()) if definition.kind == SYMBOL else region


def _open_inside(region: Region) -> Iterator[Region]:
    """The regions inside `region` that can use its values."""
    stack = [region]
    while stack:
        inner = [r for statement in stack.pop().statements for r in statement.regions if not r.is_isolated]
        yield from inner
        stack += inner
