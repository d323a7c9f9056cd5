"""Reading text into IR."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from dlir.ir.builder import InsertionPoint, insertion_point
from dlir.ir.collection import collection_paused
from dlir.ir.core import Block
from dlir.ir.errors import Diagnostic, DlirError
from dlir.ir.location import UNKNOWN, FileLoc, file_location
from dlir.textir.build.base import MAX_DEPTH, TooDeep
from dlir.textir.build.module import ModuleActions
from dlir.textir.driver import Parser, SyntaxFailure
from dlir.textir.gap import Gap
from dlir.textir.safetensors_file import HEAD_BYTES, first_bytes, is_safetensors
from dlir.textir.source import Source, decode, read_bytes
from dlir.textir.syntax import OPENING, syntax_errors
from dlir.textir.weights import WEIGHTS, WeightStore, sidecar


@dataclass(slots=True)
class ParsedModule:
    """A module with what belongs to it."""

    module: Any
    #: Texts by file name, for `dlir.textir.diagnostics.render`.
    sources: dict[str, str]
    weights: WeightStore
    path: Path | None = None
    #: Inline blobs of dense_resource by name, as hexadecimal text.
    blobs: dict[str, str] = field(default_factory=dict)

    def sidecar(self, attribute: str) -> Path | None:
        """The file that a module attribute such as ``dlir.data`` names, or None."""
        return sidecar(self.module, attribute, self.path)

    def copy_sidecars(self, target: str | Path, attributes: tuple[str, ...] = (WEIGHTS, "dlir.data")) -> None:
        """Copy the files that the module names to where a module at `target` would look for them."""
        from dlir.textir.atomic import atomic_write

        for attribute in attributes:
            source = self.sidecar(attribute)
            copy = sidecar(self.module, attribute, target)
            if source is None or copy is None or not source.exists() or (copy.exists() and copy.samefile(source)):
                continue
            copy.parent.mkdir(parents=True, exist_ok=True)
            with open(source, "rb") as stream:
                atomic_write(copy, iter(lambda: stream.read(1 << 20), b""))


def parse(text: str, file: str = "<input>") -> Any:
    """The module that `text` holds; `file` is its name in diagnostics.

    A text that holds anything but one module gets a module around it.  DlirError holds all mistakes that were found.
    """
    return parse_source(Source(file, text.removeprefix("\ufeff")))[0]


def parse_file(
    path: str | Path, weights: str | Path | None = None, sources: dict[str, str] | None = None
) -> ParsedModule:
    """The module in a file, with its weights (from the file `weights` if that is given).

    The file may be a checkpoint, too.  `sources` receives the text, also when it has mistakes.  DlirError if the file cannot
    be read.
    """
    head = first_bytes(path)
    if head is not None and is_safetensors(head, path):
        from dlir.textir.checkpoint import load_checkpoint

        return load_checkpoint(path, weights, sources)
    return _parse_bytes(read_bytes(path), str(path), Path(path), weights, sources)


def parse_stream(
    stream: BinaryIO, weights: str | Path | None = None, sources: dict[str, str] | None = None
) -> ParsedModule:
    """As `parse_file`, for standard input; what the module names is looked for in the current folder."""
    data = stream.read()
    if is_safetensors(data[:HEAD_BYTES]):
        from dlir.textir.checkpoint import load_checkpoint

        return load_checkpoint("<stdin>", weights, sources, data)
    return _parse_bytes(data, "<stdin>", None, weights, sources)


def _parse_bytes(
    data: bytes, name: str, path: Path | None, weights: str | Path | None, sources: dict[str, str] | None
) -> ParsedModule:
    return parse_text(decode(data, name), name, path, weights, sources)


def parse_text(
    text: str,
    name: str,
    path: Path | None = None,
    weights: str | Path | None = None,
    sources: dict[str, str] | None = None,
) -> ParsedModule:
    """As `parse_file`, for a text at hand; `name` is its name in diagnostics, `path` the file it belongs to."""
    source = Source(name, text)
    sources = {} if sources is None else sources
    sources[name] = source.text
    module, blobs = parse_source(source)
    store = WeightStore.for_module(module, path, weights, blobs)
    return ParsedModule(module, sources, store, path, blobs)


def parse_source(source: Source) -> tuple[Any, dict[str, str]]:
    """The module that a text holds, and the blobs in it."""
    _check_characters(source)
    point = InsertionPoint(Block(), None, UNKNOWN)
    actions = ModuleActions(source, point)
    parser = Parser(source.text, actions)
    try:
        with collection_paused(), insertion_point(point):
            try:
                parser.parse()
            except SyntaxFailure as failure:
                raise _failed(_all_mistakes(source, parser, actions, failure.offset)) from None
            module = actions.finish()
    except TooDeep as error:
        raise DlirError(f"nested more than {MAX_DEPTH} deep", source.location(error.offset)) from None
    except RecursionError:
        raise DlirError("an attribute is nested too deeply", source.location(0)) from None
    if actions.diagnostics:
        raise _failed(actions.diagnostics)
    return module, actions.blobs


def _all_mistakes(source: Source, parser: Parser, actions: ModuleActions, failed: int) -> list[Diagnostic]:
    """The syntax errors of a text, and what is wrong with the ops in front of them, between them and behind them."""
    is_reading = True

    def go_on(gap: Gap, states: list[int]) -> None:
        nonlocal is_reading
        is_reading = is_reading and parser.cut(states)
        if not is_reading:
            return
        actions.pass_over(gap)
        for terminal, text in OPENING * gap.opens:
            parser.feed(terminal, text, gap.end)
        try:
            parser.go_on(gap.end)
        except SyntaxFailure:
            return
        is_reading = False
        actions.finish()

    syntax = syntax_errors(source, failed, go_on)
    # What is wrong with an op says enough of its line.
    lines = {_line(diagnostic) for diagnostic in actions.diagnostics}
    return actions.diagnostics + [diagnostic for diagnostic in syntax if _line(diagnostic) not in lines]


def _line(diagnostic: Diagnostic) -> int:
    place = file_location(diagnostic.location)
    return place.line if place is not None else 0


def _failed(diagnostics: list[Diagnostic]) -> DlirError:
    def place(diagnostic: Diagnostic) -> tuple[int, int]:
        location = diagnostic.location
        return (location.line, location.column) if isinstance(location, FileLoc) else (0, 0)

    return DlirError(sorted(diagnostics, key=place))


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
