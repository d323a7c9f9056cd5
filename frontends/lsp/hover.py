"""What an editor shows of the thing under the mouse: types, docs, declarations.  All texts are Markdown."""

from __future__ import annotations

from dlir.frontends.cli.listings import attribute_words, op_section
from dlir.frontends.lsp.document import Document, Range
from dlir.frontends.lsp.outline import BLOCK, VALUE, Definition, Occurrence, Statement, op_class


def hover(document: Document, offset: int) -> tuple[str, Range] | None:
    """The text for the place `offset`, and the range that it is about; None if there is nothing to say."""
    if document.outline.in_comment(offset):
        return None
    occurrence = document.outline.occurrence_at(offset)
    if occurrence is not None:
        text = _name(document, occurrence)
        return None if text is None else (text, (occurrence.start, occurrence.end))
    statement = document.outline.statement_at(offset)
    if statement is None:
        return None
    if statement.name_start <= offset <= statement.name_end:
        return op_text(document, statement), (statement.name_start, statement.name_end)
    for key in statement.keys:
        if key.start <= offset <= key.value_end:
            text = attribute_text(statement, key.name)
            return None if text is None else (text, (key.start, key.end))
    return None


def _name(document: Document, occurrence: Occurrence) -> str | None:
    definition = occurrence.definition
    if occurrence.kind == VALUE:
        shown = document.text[occurrence.start : occurrence.end]
        type = document.type_at(occurrence)
        if definition is not None and definition.count > 1 and occurrence.number is None:
            types = [document.type_of(definition, number) for number in range(min(definition.count, 8))]
            listed = ", ".join("?" if found is None else str(found) for found in types)
            return _code(f"{shown}:{definition.count} : {listed}") + _declared(document, definition)
        return _code(f"{shown} : {'?' if type is None else type}") + _declared(document, definition)
    return None if definition is None else _declared(document, definition).lstrip()


def _declared(document: Document, definition: Definition | None) -> str:
    """What defines a name, as it is written, with the comment above it."""
    if definition is None:
        return "\n\nnot defined"
    place = definition.place
    statement = place.statement
    if statement is None or place.kind == BLOCK:
        end = document.text.find("\n", place.start)
        start = document.text.rfind("\n", 0, place.start) + 1
        return "\n\n" + _code(document.excerpt(start, len(document.text) if end < 0 else end))
    text = document.excerpt(statement.start, statement.head_end).removesuffix("({").removesuffix("{").rstrip()
    above = comment_above(document, statement) if place.kind != VALUE else ""
    return "\n\n" + _code(text) + (f"\n\n{above}" if above else "")


def comment_above(document: Document, statement: Statement) -> str:
    """The comment on the lines just above a statement."""
    lines: list[str] = []
    start = document.text.rfind("\n", 0, statement.start) + 1
    while start > 0:
        previous = document.text.rfind("\n", 0, start - 1) + 1
        line = document.text[previous : start - 1].strip()
        if not line.startswith("//"):
            break
        lines.insert(0, line.removeprefix("//").strip())
        start = previous
    return "\n".join(lines)


def op_text(document: Document, statement: Statement) -> str:
    """The reference of an op, with the types that it has here."""
    cls = op_class(statement.name)
    if cls is None:
        return f"`{statement.name}`: not an op of a known dialect" + _types_here(document, statement)
    return op_section(cls).rstrip() + _types_here(document, statement)


def _types_here(document: Document, statement: Statement) -> str:
    operands = [document.type_at(operand) for operand in statement.operands]
    results = [document.type_of(d, number) for d in statement.results for number in range(min(d.count, 64))]
    if not operands and not results:
        return ""
    inputs, outputs = (", ".join("?" if type is None else str(type) for type in types) for types in (operands, results))
    return "\n\nHere:\n" + _code(f"({inputs}) -> {outputs if len(results) == 1 else f'({outputs})'}")


def attribute_text(statement: Statement, name: str) -> str | None:
    """What an attribute of an op is."""
    cls = op_class(statement.name)
    spec = None if cls is None else cls.schema().attributes.get(name)
    return None if spec is None else f"attribute `{name}` of `{statement.name}`: {attribute_words(spec)}"


def _code(text: str) -> str:
    return f"```dlir\n{text}\n```"
