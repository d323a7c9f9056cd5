"""Diagnostics as text: place, message, the source line with a caret, hints and notes."""

from __future__ import annotations

from collections.abc import Mapping

from dlir.ir.errors import Diagnostic, DlirError, Note
from dlir.ir.location import FileLoc, Location, file_location

_RED, _CYAN, _GREEN, _BOLD, _PLAIN = "\033[1;31m", "\033[1;36m", "\033[1;32m", "\033[1m", "\033[0m"
_COLORS = {"error": _RED, "warning": "\033[1;35m", "note": _CYAN}

#: A source line is cut to this many characters around the place in question.
MAX_LINE = 160


def render(error: DlirError, sources: Mapping[str, str], color: bool = False) -> str:
    """All diagnostics of `error`, with the lines they are about.

    `sources` maps file names to their texts.  Control characters of a text are shown escaped.  Ends without a newline.
    """
    return "\n".join(line for diagnostic in error.diagnostics for line in _lines(diagnostic, sources, color))


def _lines(diagnostic: Diagnostic, sources: Mapping[str, str], color: bool) -> list[str]:
    lines = _placed(diagnostic.severity, diagnostic.message, diagnostic.location, sources, color)
    if diagnostic.hint:
        lines.append(f"  {_painted('hint:', _CYAN, color)} {visible(diagnostic.hint)}")
    for note in diagnostic.notes:
        lines += _note(note, sources, color)
    return lines


def _note(note: Note, sources: Mapping[str, str], color: bool) -> list[str]:
    return _placed("note", note.message, note.location, sources, color)


def _placed(word: str, message: str, location: Location, sources: Mapping[str, str], color: bool) -> list[str]:
    place = file_location(location)
    label = _painted(f"{word}:", _COLORS.get(word, ""), color)
    text = visible(message)
    if place is None:
        return [f"{label} {text}"]
    where = _painted(f"{visible(place.file)}:{place.line}:{place.column}:", _BOLD, color)
    return [f"{where} {label} {text}", *_quoted(place, sources.get(place.file), color)]


def _quoted(place: FileLoc, text: str | None, color: bool) -> list[str]:
    """The source line and the line with the caret under it; nothing if the text is not at hand."""
    if text is None:
        return []
    start = _line_start(text, place.line)
    if start < 0:
        return []
    end = text.find("\n", start)
    line = text[start : len(text) if end < 0 else end].rstrip("\r")
    column = min(place.column - 1, len(line))
    last = place.end[1] - 1 if place.end and place.end[0] == place.line else len(line) if place.end else column + 1
    left = max(0, column - MAX_LINE // 2) if len(line) > MAX_LINE else 0
    shown = line[left : left + MAX_LINE]
    before, marked = visible(line[left:column]), visible(line[column : min(last, left + MAX_LINE)])
    margin = f"{place.line:5d} | "
    caret = "^" + "~" * (max(_width(marked), 1) - 1)
    return [margin + visible(shown), " " * (len(margin) - 2) + "| " + " " * _width(before) + _painted(caret, _GREEN, color)]


def _line_start(text: str, line: int) -> int:
    start = 0
    for _ in range(line - 1):
        start = text.find("\n", start) + 1
        if start == 0:
            return -1
    return start


def visible(text: str) -> str:
    """`text` with tabs as blanks, and control and other unprintable characters escaped."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else " " if char == "\t" else char if char == "\n" else _escape(char) for char in text
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


def _painted(text: str, code: str, color: bool) -> str:
    return f"{code}{text}{_PLAIN}" if color else text
