"""What may be typed at a place, for the editor to offer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from dlir.frontends.cli.listings import attribute_words, first_sentence, op_section, signature
from dlir.frontends.lsp import context, tokens
from dlir.frontends.lsp.context import Context, context_at
from dlir.frontends.lsp.document import Document
from dlir.frontends.lsp.names import symbol_region
from dlir.frontends.lsp.outline import ATTR_ALIAS, Statement, op_class
from dlir.ir.errors import DlirError
from dlir.ir.op import Op
from dlir.ir.registry import DIALECTS, dialect_ops
from dlir.ir.schema import AttributeSpec
from dlir.textir.build.types import FLOATS

_KEYWORDS = {"module": "builtin.module", "func.func": "func.func", "return": "func.return"}
_INTEGERS = ("i1", "i8", "i16", "i32", "i64", "ui8", "ui16", "ui32", "ui64", "index")
_SHAPED = ("tensor", "memref", "vector")
_TYPE_KINDS = ("a type", "a tensor type", "a scalar type", "a function type")
_ELEMENTS = ("dense<", "dense_resource<")


@dataclass(slots=True)
class Item:
    """One choice; `kind` is op, dialect, attribute, value, symbol, block, type, alias or choice."""

    label: str
    kind: str
    detail: str = ""
    #: Markdown.
    documentation: str = ""
    #: What is inserted, if not the label.
    insert: str | None = None
    #: Replaces the text from here to there.
    start: int = 0
    end: int = 0


def complete(document: Document, offset: int) -> list[Item]:
    """The choices at `offset`, best first."""
    place = context_at(document, offset)
    items = list(_items(document, place))
    for item in items:
        item.start, item.end = place.start, place.end
    return items


def _items(document: Document, place: Context) -> Iterator[Item]:
    match place.kind:
        case context.OP | context.GENERIC_OP:
            yield from _ops(place)
        case context.OPERAND:
            yield from _operands(document, place)
        case context.KEY:
            yield from _keys(place)
        case context.ATTRIBUTE:
            yield from _attribute_values(document, place)
        case context.TYPE | tokens.TYPE_ALIAS:
            yield from _types(document)
        case context.ELEMENT_TYPE:
            yield from (Item(name, "type") for name in (*FLOATS[:4], *_INTEGERS, *FLOATS[4:]))
        case tokens.VALUE:
            yield from _values(document, place)
        case tokens.SYMBOL:
            yield from _symbols(document, place)
        case tokens.BLOCK:
            yield from (Item(f"^{name}", "block") for name in place.region.blocks)
        case tokens.ATTR_ALIAS:
            yield from _aliases(document)


# ---------------------------------------------------------------- ops


def _ops(place: Context) -> Iterator[Item]:
    """The ops of a dialect behind its name and dot; else dialects, and ops whose own name starts like that."""
    is_string = place.kind == context.GENERIC_OP
    typed = place.prefix.strip('"')
    dialect, dot, _ = typed.partition(".")
    if dot:
        yield from (_op_item(name, cls, is_string) for name, cls in _ops_of(dialect).items())
        return
    if not is_string:
        yield from (_op_item(word, op_class(name), False) for word, name in _KEYWORDS.items())
        yield from (Item(name, "dialect", "dialect", insert=f"{name}.") for name in DIALECTS.discover())
    for dialect in DIALECTS.discover() if typed else ():
        for name, cls in _ops_of(dialect).items():
            if name.partition(".")[2].startswith(typed):
                yield _op_item(name, cls, is_string)


def _ops_of(dialect: str) -> dict[str, type[Op]]:
    try:
        return dialect_ops(dialect)
    except DlirError:  # a plugin that cannot be imported; using it is reported
        return {}


def _op_item(name: str, cls: type[Op] | None, is_string: bool) -> Item:
    if cls is None:
        return Item(name, "op")
    detail = f"{signature(cls)}  {first_sentence(cls.__doc__)}"
    return Item(name, "op", detail, op_section(cls), f'"{name}"' if is_string else None)


# ---------------------------------------------------------------- names


def _operands(document: Document, place: Context) -> Iterator[Item]:
    statement = place.statement
    cls = None if statement is None else op_class(statement.name)
    schema = None if cls is None or statement is None or statement.is_generic else cls.schema()
    if schema is not None and statement is not None and len(statement.symbols) < len(schema.symbols):
        if schema.symbols[len(statement.symbols)].kind == "symbol reference":
            yield from _symbols(document, place)
    if schema is None or schema.operands:
        yield from _values(document, place)


def _values(document: Document, place: Context) -> Iterator[Item]:
    """The values that can be used, the nearest first."""
    for region in place.region.visible():
        for definition in reversed(region.values.values()):
            if definition.place.start >= place.start or definition.place.statement is place.statement is not None:
                continue
            for number in range(min(definition.count, 64)):
                name = definition.name if definition.count == 1 else f"{definition.name}#{number}"
                type = document.type_of(definition, number)
                yield Item(f"%{name}", "value", "" if type is None else str(type))


def _symbols(document: Document, place: Context) -> Iterator[Item]:
    """The symbols that can be named; behind ``@a::`` those inside ``@a``."""
    outer = place.prefix.rpartition("::")[0]
    if outer:
        last = next((o for o in document.outline.occurrences if o.end == place.start + len(outer)), None)
        table = symbol_region(None if last is None else last.definition)
        tables = [] if table is None else [table]
    else:
        tables = list(place.region.tables())
    for region in tables:
        for name, definition in region.symbols.items():
            statement = definition.place.statement
            if statement is None or definition.place.start == place.start:
                continue
            detail = document.excerpt(statement.start, statement.head_end, 120).removesuffix("({").removesuffix("{")
            yield Item(f"{outer}::@{name}" if outer else f"@{name}", "symbol", detail.rstrip())


def _aliases(document: Document) -> Iterator[Item]:
    for name, definition in document.outline.aliases.items():
        if definition.kind == ATTR_ALIAS:
            yield Item(name, "alias")


# ---------------------------------------------------------------- types


def _types(document: Document) -> Iterator[Item]:
    """The aliases and the shaped types of this text, then the others."""
    seen: dict[str, None] = {}
    for name, definition in document.outline.aliases.items():
        if definition.kind != ATTR_ALIAS:
            seen[name] = None
    for word, body in pairwise(document.outline.tokens):
        if body.kind == tokens.BODY and word.text in _SHAPED and word.end == body.start:
            seen[word.text + body.text] = None
    yield from (Item(name, "type") for name in list(seen)[:40])
    yield from (Item(f"{name}<", "type") for name in _SHAPED)
    yield from (Item(name, "type") for name in (*FLOATS[:4], *_INTEGERS, "none"))


# ---------------------------------------------------------------- attributes


def _specs(statement: Statement | None) -> dict[str, AttributeSpec]:
    cls = None if statement is None else op_class(statement.name)
    return {} if cls is None else cls.schema().attributes


def _keys(place: Context) -> Iterator[Item]:
    """The attributes of the op that are not there yet."""
    statement = place.statement
    given = {key.name for key in statement.keys if key.start != place.start} if statement is not None else set()
    is_generic = statement is not None and statement.is_generic
    for name, spec in _specs(statement).items():
        if name in given or (spec.is_symbol and not is_generic):
            continue
        kind = " | ".join(map(repr, spec.choices)) if spec.choices else spec.kind
        needed = "required" if spec.required else "" if spec.default is None else f"default {spec.default!r}"
        insert = name if spec.kind == "unit" else f"{name} = "
        yield Item(name, "attribute", f"{kind}{', ' * bool(needed)}{needed}", attribute_words(spec), insert)


def _attribute_values(document: Document, place: Context) -> Iterator[Item]:
    spec = _specs(place.statement).get(place.key or "")
    if spec is None:
        return
    if spec.choices:
        for choice in spec.choices:
            label = f'"{choice}"' if isinstance(choice, str) else str(choice)
            yield Item(label, "choice", "default" if choice == spec.default else "")
    elif place.prefix.startswith('"'):
        return
    elif spec.kind == "a bool":
        yield from (
            Item(word, "choice", "default" if (word == "true") is spec.default else "") for word in ("true", "false")
        )
    elif spec.kind in _TYPE_KINDS:
        yield from _types(document)
    elif spec.kind == "symbol reference":
        yield from _symbols(document, place)
    elif spec.kind == "dense elements":
        yield from (Item(word, "choice") for word in _ELEMENTS)
