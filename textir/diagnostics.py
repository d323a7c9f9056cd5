"""Diagnostics as text: place, message, the source line with a caret, hints and notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dlir.ir.errors import Diagnostic, DlirError, count
from dlir.ir.location import FileLoc, Location, file_location
from dlir.textir.source import Source

_RED, _CYAN, _GREEN, _BOLD, _PLAIN = "\033[1;31m", "\033[1;36m", "\033[1;32m", "\033[1m", "\033[0m"
_COLORS = {"error": _RED, "warning": "\033[1;35m", "note": _CYAN}

#: A source line is cut to this many characters around the place in question.
MAX_LINE = 160
#: More diagnostics than this are only counted, if nobody asks for another number.
MAX_SHOWN = 20


def render(
    error: DlirError, sources: Mapping[str, str], color: bool = False, max_errors: int = MAX_SHOWN, hint: str = ""
) -> str:
    """The diagnostics of `error`, with the lines they are about; at most `max_errors` (0: all) and how many more there are.

    `hint` says how to see these.  `sources` maps file names to their texts.  Control characters of a text are shown escaped.
    Ends without a newline.
    """
    renderer = _Renderer({name: Source(name, text) for name, text in sources.items()}, color)
    shown = error.diagnostics[: max_errors or None]
    lines = [line for diagnostic in shown for line in renderer.lines(diagnostic)]
    left = len(error.diagnostics) - len(shown)
    if left > 0:
        lines.append(f"... and {count(left, 'more error')}{hint and f' ({hint})'}")
    return "\n".join(lines)


class _Renderer:
    def __init__(self, sources: Mapping[str, Source], color: bool) -> None:
        self.sources = sources
        self.color = color

    def lines(self, diagnostic: Diagnostic) -> Iterator[str]:
        yield from self._placed(diagnostic.severity, diagnostic.message, diagnostic.location)
        if diagnostic.hint:
            yield f"  {self._painted('hint:', _CYAN)} {visible(diagnostic.hint)}"
        for note in diagnostic.notes:
            yield from self._placed("note", note.message, note.location)

    def _placed(self, word: str, message: str, location: Location) -> Iterator[str]:
        place = file_location(location)
        label = self._painted(f"{word}:", _COLORS.get(word, ""))
        if place is None:
            yield f"{label} {visible(message)}"
            return
        where = self._painted(f"{visible(place.file)}:{place.line}:{place.column}:", _BOLD)
        yield f"{where} {label} {visible(message)}"
        source = self.sources.get(place.file)
        line = None if source is None else source.line(place.line)
        if line is not None:
            yield from self._quoted(place, line)

    def _quoted(self, place: FileLoc, line: str) -> Iterator[str]:
        """The source line, and the line with the caret under it."""
        column = min(place.column - 1, len(line))
        last = place.end[1] - 1 if place.end and place.end[0] == place.line else len(line) if place.end else column + 1
        left = max(0, column - MAX_LINE // 2) if len(line) > MAX_LINE else 0
        before, marked = visible(line[left:column]), visible(line[column : min(last, left + MAX_LINE)])
        margin = f"{place.line:5d} | "
        yield margin + visible(line[left : left + MAX_LINE])
        caret = "^" + "~" * (max(_width(marked), 1) - 1)
        yield " " * (len(margin) - 2) + "| " + " " * _width(before) + self._painted(caret, _GREEN)

    def _painted(self, text: str, code: str) -> str:
        return f"{code}{text}{_PLAIN}" if self.color else text


def visible(text: str) -> str:
    """`text` with tabs as blanks, and control and other unprintable characters escaped."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else " " if char == "\t" else char if char == "\n" else _escape(char)
        for char in text
    )


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _width(text: str) -> int:
    """Columns that `text` takes in a terminal."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )
