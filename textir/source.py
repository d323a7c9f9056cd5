"""Input texts: decoding a file, and places in a text that are turned into lines and columns only when asked for."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import Any

from dlir.ir.errors import DlirError, did_you_mean
from dlir.ir.location import FileLoc


class Source:
    """A text and the name that diagnostics give it.  Offsets count characters from 0, lines and columns from 1."""

    __slots__ = ("_starts", "name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self._starts: list[int] | None = None

    @property
    def starts(self) -> list[int]:
        """The offsets of the first character of each line."""
        if self._starts is None:
            starts, place = [0], self.text.find("\n")
            while place >= 0:
                starts.append(place + 1)
                place = self.text.find("\n", place + 1)
            self._starts = starts
        return self._starts

    def position(self, offset: int) -> tuple[int, int]:
        """The line and column of the character at `offset`."""
        starts = self.starts
        line = bisect_right(starts, offset)
        return line, offset - starts[line - 1] + 1

    def line(self, number: int) -> str | None:
        """The text of a line without its end; None if there is no such line."""
        if not 1 <= number <= len(self.starts):
            return None
        start = self.starts[number - 1]
        end = self.text.find("\n", start)
        return self.text[start : len(self.text) if end < 0 else end].rstrip("\r")

    def location(self, start: int, end: int | None = None) -> FileLoc:
        """The place from `start` to `end` (exclusive)."""
        line, column = self.position(start)
        return FileLoc(self.name, line, column, None if end is None else self.position(end))


class TextLoc(FileLoc):
    """The place of an operation in the text it was read from; equal to the `FileLoc` with the same line and column."""

    __slots__ = ("offset", "source")
    source: Source
    offset: int

    def __init__(self, source: Source, offset: int) -> None:
        self.source = source
        self.offset = offset

    # Not the check of a frozen dataclass, which would double the price of every operation that is read.
    __setattr__ = object.__setattr__

    @property
    def file(self) -> str:
        return self.source.name

    @property
    def line(self) -> int:
        return self.source.position(self.offset)[0]

    @property
    def column(self) -> int:
        return self.source.position(self.offset)[1]

    @property
    def end(self) -> None:
        return None

    def _fields(self) -> tuple[Any, ...]:
        return (self.source.name, *self.source.position(self.offset), None)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FileLoc):
            return NotImplemented
        return self._fields() == (other.file, other.line, other.column, other.end)

    def __hash__(self) -> int:
        return hash(self._fields())

    def __repr__(self) -> str:
        return f"loc({self})"


#: A text larger than this is refused: positions and memory stay within reason.
MAX_BYTES = 4 << 30


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a file; DlirError if it cannot be read."""
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise DlirError(f"'{path}' is larger than {MAX_BYTES >> 30} GiB")
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        message = f"cannot read '{path}': {getattr(error, 'strerror', None) or error}"
        hint = _similar_file(Path(path)) if isinstance(error, FileNotFoundError) else None
        raise DlirError(message, hint=hint) from None


def _similar_file(path: Path) -> str | None:
    """A file beside the one that is not there."""
    try:
        beside = sorted(
            entry for entry in path.parent.iterdir() if entry.suffix == path.suffix or entry.stem == path.stem
        )
    except OSError:
        return None
    # A name's end is too much alike to say anything.
    meant = did_you_mean(path.stem, [entry.stem for entry in beside])
    hint = meant and next(f"did you mean '{entry.name}'?" for entry in beside if f"'{entry.stem}'" in meant)
    return hint and hint.replace("'", f"'{path.parent / '_'}".removesuffix("_"), 1)


def decode(data: bytes, name: str = "<input>") -> str:
    """`data` as text, without a byte order mark; DlirError that gives the place if it is not UTF-8."""
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = len(data[data.rfind(b"\n", 0, error.start) + 1 : error.start].decode("utf-8", "replace")) + 1
        message = f"not UTF-8 text: byte 0x{data[error.start]:02X} at offset {error.start}"
        is_utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        hint = "the file seems to be UTF-16: save it as UTF-8" if is_utf16 else None
        raise DlirError(message, FileLoc(name, line, column), hint=hint) from None
