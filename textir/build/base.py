"""What all actions share: the text, the diagnostics found so far, and parsing a piece of the text again.

The actions are called by name: an upper-case method turns the text of a terminal into a value, a lower-case one gets the
values of a rule's parts.  A terminal without a method is the pair (text, offset).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from dlir.ir.errors import Diagnostic, Note
from dlir.ir.location import FileLoc
from dlir.textir.source import Source

#: A terminal as it was read: its text and its offset.
Token = tuple[str, int]

#: How the type that stands for a wrong one is printed.
UNKNOWN = "!dlir.error"

#: Regions, attributes and types may be nested this deep.
MAX_DEPTH = 4096


#: So many pieces of text are remembered with what they mean, of each kind.
_MAX_REMEMBERED = 2048


def remember(found: dict[str, Any], text: str, value: Any) -> None:
    """Keep what `text` means in `found`, which starts anew when it is full: memory stays bounded, whatever is read."""
    if len(found) >= _MAX_REMEMBERED:
        found.clear()
    found[text] = value


class TooDeep(Exception):
    """The text is nested more than MAX_DEPTH deep at `offset`."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


class Actions:
    """Base of the action classes."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.diagnostics: list[Diagnostic] = []
        #: How many diagnostics there were when the last op was finished: an op gets one at most.
        self._reported = 0
        #: The names in the pieces of the text that could not be read.
        self.passed_over: set[str] = set()
        #: Parses text[start:end] by another rule of the grammar; set by the parser that drives the actions.
        self.subparse: Callable[[str, int, int], Any]

    def error(self, start: int, end: int, message: str, *, notes: Iterable[Note] = (), hint: str | None = None) -> None:
        """Report a mistake at text[start:end], unless the op in hand has one already, or it follows from one."""
        if len(self.diagnostics) == self._reported and UNKNOWN not in message:
            place = self.source.location(start, max(end, start + 1))
            self.diagnostics.append(Diagnostic(message, place, notes=list(notes), hint=hint))

    def say_no_more(self) -> None:
        """Report nothing else about the op in hand: what is wrong with it follows from an earlier mistake."""
        self._reported = -1

    def place(self, token: Token) -> FileLoc:
        """The place of a token."""
        return self.source.location(token[1], token[1] + len(token[0]))

    def token_error(self, token: Token, message: str, *, notes: Iterable[Note] = (), hint: str | None = None) -> None:
        """Report a mistake at a token."""
        self.error(token[1], token[1] + len(token[0]), message, notes=notes, hint=hint)

    # ------------------------------------------------------------ lists

    def nothing(self, *parts: Any) -> None:
        """A rule whose parts have done their work."""

    def first(self, item: Any) -> list[Any]:
        return [item]

    def more(self, items: list[Any], item: Any) -> list[Any]:
        items.append(item)
        return items


def unquote(text: str) -> str:
    """The value of a string literal; ValueError names an escape that MLIR does not have.

    Bytes that are not UTF-8 become lone surrogates, which `dlir.ir.location.quote` turns back.
    """
    if "\\" not in text:
        return text[1:-1]
    out = bytearray()
    data = text[1:-1].encode("utf-8", "surrogateescape")
    position = 0
    while (found := data.find(b"\\", position)) >= 0:
        out += data[position:found]
        code = data[found + 1 : found + 2]
        position = found + 2
        if code in _ESCAPES:
            out += _ESCAPES[code]
            continue
        digits = data[found + 1 : found + 3]
        if len(digits) < 2 or not _HEX.issuperset(digits):
            shown = data[found:].decode("utf-8", "replace")[:2]
            raise ValueError(f"unknown escape '{shown}' in a string: use \\n, \\t, \\\\, \\\" or two hex digits")
        out.append(int(digits, 16))
        position = found + 3
    return (out + data[position:]).decode("utf-8", "surrogateescape")


_ESCAPES = {b"n": b"\n", b"t": b"\t", b"\\": b"\\", b'"': b'"'}
_HEX = frozenset(b"0123456789abcdefABCDEF")
