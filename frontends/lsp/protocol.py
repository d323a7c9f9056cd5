"""The messages of the language server protocol, turned into questions to the other modules of this package.

The only file that imports pygls.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path

from dlir import __version__
from dlir.frontends.lsp import completion, formatting, hover, rename, symbols
from dlir.frontends.lsp.document import Document, Problem, Range
from dlir.frontends.lsp.outline import Definition
from dlir.ir.errors import DlirError

#: Seconds without a change after which a text is checked.
PAUSE = 0.2

TRIGGERS = [".", "%", "@", "^", "#", "!", '"', "{", ":", "<"]

_SYMBOL_KINDS = {
    "module": lsp.SymbolKind.Module,
    "function": lsp.SymbolKind.Function,
    "kernel": lsp.SymbolKind.Method,
    "variable": lsp.SymbolKind.Variable,
}
_ITEM_KINDS = {
    "op": lsp.CompletionItemKind.Function,
    "dialect": lsp.CompletionItemKind.Module,
    "attribute": lsp.CompletionItemKind.Property,
    "value": lsp.CompletionItemKind.Variable,
    "symbol": lsp.CompletionItemKind.Reference,
    "block": lsp.CompletionItemKind.Reference,
    "type": lsp.CompletionItemKind.TypeParameter,
    "alias": lsp.CompletionItemKind.Constant,
    "choice": lsp.CompletionItemKind.EnumMember,
}


class DlirServer(LanguageServer):
    """The server, with the texts that are open."""

    def __init__(self) -> None:
        # Whole texts are sent at each change: pygls and the protocol do not agree on which characters end a line.
        super().__init__("dlir-lsp", __version__, text_document_sync_kind=lsp.TextDocumentSyncKind.Full)
        self.documents: dict[str, Document] = {}
        self.was_shut_down = False

    def document(self, uri: str) -> Document:
        """The text in its current version."""
        text = self.workspace.get_text_document(uri).source
        known = self.documents.get(uri)
        if known is None or known.original != text:
            path = to_fs_path(uri) if uri.startswith("file:") else None
            encoding = self.workspace.position_encoding
            encoding = str(getattr(encoding, "value", encoding))
            known = Document(text, path or uri, Path(path) if path else None, known, encoding)
            self.documents[uri] = known
        return known

    def at(self, params: Any) -> tuple[Document, int]:
        """The text that a request is about, and the offset in it."""
        document = self.document(params.text_document.uri)
        return document, document.positions.offset((params.position.line, params.position.character))

    def publish(self, uri: str) -> None:
        """Send the diagnostics of a text."""
        document = self.document(uri)
        found = [_diagnostic(uri, document, problem) for problem in document.problems]
        self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, found))


class Refusal(JsonRpcException):
    """What was asked for cannot be done; the message says why."""

    CODE = lsp.LSPErrorCodes.RequestFailed


@contextmanager
def _refusals() -> Iterator[None]:
    """Answer with the message of a DlirError."""
    try:
        yield
    except DlirError as error:
        raise Refusal(error.message) from None


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a message of pygls is worth showing: a refusal is an answer like any other."""
    return not (record.exc_info and isinstance(record.exc_info[1], Refusal))


logging.getLogger("pygls.protocol.json_rpc").addFilter(_is_news)
server = DlirServer()


# ---------------------------------------------------------------- conversions


def _range(document: Document, place: Range) -> lsp.Range:
    start, end = (lsp.Position(*document.positions.position(offset)) for offset in place)
    return lsp.Range(start, end)


def _markdown(text: str) -> lsp.MarkupContent:
    return lsp.MarkupContent(lsp.MarkupKind.Markdown, text)


def _diagnostic(uri: str, document: Document, problem: Problem) -> lsp.Diagnostic:
    message = problem.message
    related = []
    for note, place in problem.notes:
        if place is None:
            message += f"\nnote: {note}"
        else:
            related.append(lsp.DiagnosticRelatedInformation(lsp.Location(uri, _range(document, place)), note))
    if problem.hint:
        message += f"\nhint: {problem.hint}"
    is_warning = problem.severity == "warning"
    severity = lsp.DiagnosticSeverity.Warning if is_warning else lsp.DiagnosticSeverity.Error
    place_range = _range(document, problem.range)
    return lsp.Diagnostic(place_range, message, severity, source="dlir", related_information=related or None)


def _symbol(document: Document, symbol: symbols.DocumentSymbol) -> lsp.DocumentSymbol:
    return lsp.DocumentSymbol(
        name=symbol.name,
        kind=_SYMBOL_KINDS[symbol.kind],
        range=_range(document, symbol.range),
        selection_range=_range(document, symbol.name_range),
        detail=symbol.detail,
        children=[_symbol(document, child) for child in symbol.children],
    )


def _item(document: Document, item: completion.Item, number: int) -> lsp.CompletionItem:
    text = item.label if item.insert is None else item.insert
    return lsp.CompletionItem(
        label=item.label,
        kind=_ITEM_KINDS[item.kind],
        detail=item.detail or None,
        documentation=_markdown(item.documentation) if item.documentation else None,
        sort_text=f"{number:05}",
        filter_text=text,
        text_edit=lsp.TextEdit(_range(document, (item.start, item.end)), text),
    )


# ---------------------------------------------------------------- messages


@server.feature(lsp.SHUTDOWN)
def on_shutdown(ls: DlirServer, *_: Any) -> None:
    ls.was_shut_down = True


@server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
def did_open(ls: DlirServer, params: lsp.DidOpenTextDocumentParams) -> None:
    ls.publish(params.text_document.uri)


@server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
async def did_change(ls: DlirServer, params: lsp.DidChangeTextDocumentParams) -> None:
    uri, version = params.text_document.uri, params.text_document.version
    await asyncio.sleep(PAUSE)
    current = ls.workspace.text_documents.get(uri)
    if current is not None and current.version == version:
        ls.publish(uri)


@server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
def did_close(ls: DlirServer, params: lsp.DidCloseTextDocumentParams) -> None:
    ls.documents.pop(params.text_document.uri, None)
    ls.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(params.text_document.uri, []))


@server.feature(lsp.TEXT_DOCUMENT_HOVER)
def on_hover(ls: DlirServer, params: lsp.HoverParams) -> lsp.Hover | None:
    document, offset = ls.at(params)
    found = hover.hover(document, offset)
    return None if found is None else lsp.Hover(_markdown(found[0]), _range(document, found[1]))


def _definition_at(document: Document, offset: int) -> Definition | None:
    found = document.outline.occurrence_at(offset)
    return None if found is None else found.definition


@server.feature(lsp.TEXT_DOCUMENT_DEFINITION)
def on_definition(ls: DlirServer, params: lsp.DefinitionParams) -> lsp.Location | None:
    document, offset = ls.at(params)
    found = _definition_at(document, offset)
    if found is None:
        return None
    return lsp.Location(params.text_document.uri, _range(document, (found.place.start, found.place.end)))


@server.feature(lsp.TEXT_DOCUMENT_REFERENCES)
def on_references(ls: DlirServer, params: lsp.ReferenceParams) -> list[lsp.Location]:
    document, offset = ls.at(params)
    found = _definition_at(document, offset)
    if found is None:
        return []
    places = found.occurrences if params.context.include_declaration else found.occurrences[1:]
    return [lsp.Location(params.text_document.uri, _range(document, (p.start, p.end))) for p in places]


@server.feature(lsp.TEXT_DOCUMENT_PREPARE_RENAME)
def on_prepare_rename(ls: DlirServer, params: lsp.PrepareRenameParams) -> lsp.PrepareRenamePlaceholder | None:
    document, offset = ls.at(params)
    found = rename.renamable(document, offset)
    if found is None:
        return None
    return lsp.PrepareRenamePlaceholder(_range(document, rename.name_range(document, found)), found.name)


@server.feature(lsp.TEXT_DOCUMENT_RENAME, lsp.RenameOptions(prepare_provider=True))
def on_rename(ls: DlirServer, params: lsp.RenameParams) -> lsp.WorkspaceEdit:
    document, offset = ls.at(params)
    with _refusals():
        edits = rename.rename(document, offset, params.new_name)
    changes = [lsp.TextEdit(_range(document, place), text) for place, text in edits]
    return lsp.WorkspaceEdit(changes={params.text_document.uri: changes})


@server.feature(lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(trigger_characters=TRIGGERS))
def on_completion(ls: DlirServer, params: lsp.CompletionParams) -> list[lsp.CompletionItem]:
    document, offset = ls.at(params)
    return [_item(document, item, number) for number, item in enumerate(completion.complete(document, offset))]


@server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
def on_document_symbol(ls: DlirServer, params: lsp.DocumentSymbolParams) -> list[lsp.DocumentSymbol]:
    document = ls.document(params.text_document.uri)
    return [_symbol(document, symbol) for symbol in symbols.document_symbols(document)]


@server.feature(lsp.TEXT_DOCUMENT_FORMATTING)
def on_formatting(ls: DlirServer, params: lsp.DocumentFormattingParams) -> list[lsp.TextEdit]:
    document = ls.document(params.text_document.uri)
    with _refusals():
        edit = formatting.format_edit(document)
    return [] if edit is None else [lsp.TextEdit(_range(document, edit[0]), edit[1])]
