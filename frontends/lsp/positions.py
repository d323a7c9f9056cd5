"""Offsets of characters as the positions of the language server protocol, and back.

A position is a line and a column, from 0.  Columns count the code units of the encoding that client and server agreed on:
UTF-16 unless they said otherwise.
"""

from __future__ import annotations

import re
from bisect import bisect_right

#: A line and a column.
Position = tuple[int, int]

_LINE_END = re.compile(r"\r\n|\n|\r")


class Positions:
    """The lines of a text."""

    def __init__(self, text: str, encoding: str = "utf-16") -> None:
        self.text = text
        self.encoding = encoding
        self.starts = [0, *(match.end() for match in _LINE_END.finditer(text))]

    def position(self, offset: int) -> Position:
        """The position of the character at `offset`."""
        line = bisect_right(self.starts, offset) - 1
        return line, self._units(self.text[self.starts[line] : offset])

    def offset(self, position: Position) -> int:
        """The offset of the character at `position`; one behind the end of its line is taken as that end."""
        line, column = position
        if line >= len(self.starts):
            return len(self.text)
        start = self.starts[line]
        end = self.starts[line + 1] if line + 1 < len(self.starts) else len(self.text)
        content = self.text[start:end].rstrip("\r\n")
        if content.isascii() or self.encoding == "utf-32":
            return start + min(column, len(content))
        for index, char in enumerate(content):
            if column <= 0:
                return start + index
            column -= self._units(char)
        return start + len(content)

    def _units(self, text: str) -> int:
        if text.isascii() or self.encoding == "utf-32":
            return len(text)
        # Half a surrogate pair is no character, but an editor may send it.
        data = text.encode("utf-8" if self.encoding == "utf-8" else "utf-16-le", "surrogatepass")
        return len(data) if self.encoding == "utf-8" else len(data) // 2
