"""The outline that an editor shows: modules, functions, variables, kernels."""

from __future__ import annotations

from dataclasses import dataclass, field

from dlir.frontends.lsp.document import Document, Range
from dlir.frontends.lsp.outline import Region, Statement

#: What is nested deeper than this is not shown so: editors and JSON have their limits.
MAX_DEPTH = 32

_KINDS = {
    "builtin.module": "module",
    "gpu.module": "module",
    "func.func": "function",
    "gpu.func": "kernel",
    "kernel.region": "kernel",
}


@dataclass(slots=True)
class DocumentSymbol:
    """One entry: `kind` is module, function, kernel or variable."""

    name: str
    kind: str
    detail: str
    range: Range
    name_range: Range
    children: list[DocumentSymbol] = field(default_factory=list)


def document_symbols(document: Document) -> list[DocumentSymbol]:
    """The entries of a text, nested as they are in it."""
    top: list[DocumentSymbol] = []
    stack: list[tuple[Region, list[DocumentSymbol], int]] = [(document.outline.root, top, 0)]
    while stack:
        region, into, depth = stack.pop()
        for statement in region.statements:
            entry = _entry(document, statement)
            if entry is not None:
                into.append(entry)
            # What stands in an op without an entry of its own goes with what is around that.
            goes_deeper = entry is not None and depth < MAX_DEPTH
            inside = entry.children if entry is not None and goes_deeper else into
            stack += [(inner, inside, depth + goes_deeper) for inner in statement.regions]
    for entry in _all(top):
        entry.children.sort(key=lambda child: child.range)
    return sorted(top, key=lambda entry: entry.range)


def _all(entries: list[DocumentSymbol]) -> list[DocumentSymbol]:
    found = list(entries)
    for entry in found:
        found += entry.children
    return found


def _entry(document: Document, statement: Statement) -> DocumentSymbol | None:
    symbol = statement.symbol
    kind = _KINDS.get(statement.name, "variable" if symbol is not None else None)
    if kind is None:
        return None
    name_range = (statement.name_start, statement.name_end)
    name = "module" if kind == "module" else statement.name
    if symbol is not None:
        name, name_range = f"@{symbol.name}", (symbol.place.start, symbol.place.end)
    elif statement.results:
        first = statement.results[0].place
        name, name_range = f"%{first.name}", (first.start, first.end)
    if any(key.name == "dlir.kernel" for key in statement.keys):
        kind = "kernel"
    detail = statement.name
    if kind == "function" and symbol is not None:
        head = document.excerpt(symbol.place.end, statement.head_end, 200)
        detail = head.partition(" attributes ")[0].removesuffix("{").rstrip()
    return DocumentSymbol(name, kind, detail, (statement.start, statement.end), name_range)
