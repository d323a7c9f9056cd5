"""Where an operation comes from: MLIR's location attributes, immutable and hashable.

``str(location)`` is MLIR's spelling, as it stands inside ``loc(...)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: A fused location keeps at most this many parts, so that repeated merging cannot grow without bound.
FUSED_LIMIT = 8


class Location:
    """Base class of all locations."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class UnknownLoc(Location):
    """Nothing is known: ``loc(unknown)``."""

    def __str__(self) -> str:
        return "unknown"


@dataclass(frozen=True, slots=True)
class FileLoc(Location):
    """A place or range in a file; lines and columns count from 1, ``end`` is (line, column), exclusive."""

    file: str
    line: int
    column: int
    end: tuple[int, int] | None = None

    def __str__(self) -> str:
        text = f"{quote(self.file)}:{self.line}:{self.column}"
        if self.end is None:
            return text
        line, column = self.end
        return f"{text} to :{column}" if line == self.line else f"{text} to {line}:{column}"


@dataclass(frozen=True, slots=True)
class NameLoc(Location):
    """A name given by a frontend, around an optional place: ``loc("conv1"("net.py":3:4))``."""

    name: str
    child: Location | None = None

    def __str__(self) -> str:
        return quote(self.name) + (f"({self.child})" if self.child is not None else "")


@dataclass(frozen=True, slots=True)
class CallSiteLoc(Location):
    """A callee's place as seen from its caller: ``loc(callsite(a at b))``."""

    callee: Location
    caller: Location

    def __str__(self) -> str:
        return f"callsite({self.callee} at {self.caller})"


@dataclass(frozen=True, slots=True)
class FusedLoc(Location):
    """Several places merged into one operation: ``loc(fused[a, b])``, or ``loc(fused<"CSE">[a, b])`` with an attribute
    that says more about it."""

    parts: tuple[Location, ...]
    metadata: Any = None

    def __str__(self) -> str:
        said = "" if self.metadata is None else f"<{self.metadata}>"
        return f"fused{said}[" + ", ".join(map(str, self.parts)) + "]"


UNKNOWN = UnknownLoc()


def fuse_locations(locations: list[Location] | tuple[Location, ...]) -> Location:
    """The location of an operation made from several: flattened, without repeats, at most FUSED_LIMIT parts."""
    first = locations[0] if locations else UNKNOWN
    if isinstance(first, FusedLoc) and len(first.parts) >= FUSED_LIMIT:
        return first
    parts: dict[Location, None] = {}
    for location in locations:
        for part in location.parts if isinstance(location, FusedLoc) else (location,):
            if not isinstance(part, UnknownLoc):
                parts[part] = None
    if not parts:
        return UNKNOWN
    kept = tuple(parts)[:FUSED_LIMIT]
    return kept[0] if len(kept) == 1 else FusedLoc(kept)


def file_location(location: Location) -> FileLoc | None:
    """The first file place inside `location`, or None."""
    stack: list[Location | None] = [location]
    while stack:
        match stack.pop():
            case FileLoc() as found:
                return found
            case NameLoc(child=child):
                stack.append(child)
            case CallSiteLoc(callee=callee, caller=caller):
                stack += [caller, callee]
            case FusedLoc(parts=parts):
                stack += reversed(parts)
    return None


def quote(text: str) -> str:
    """`text` as an MLIR string literal: only ``\\n``, ``\\t``, ``\\\\``, ``\\"`` and two-digit hex escapes."""
    plain = text.isprintable() and '"' not in text and "\\" not in text
    if plain:
        return f'"{text}"'
    out = []
    for char in text:
        if char in _ESCAPES:
            out.append(_ESCAPES[char])
        elif char.isprintable():
            out.append(char)
        else:
            out.append("".join(f"\\{byte:02X}" for byte in char.encode("utf-8", "surrogateescape")))
    return '"' + "".join(out) + '"'


_ESCAPES = {"\n": "\\n", "\t": "\\t", "\\": "\\\\", '"': '\\"'}
