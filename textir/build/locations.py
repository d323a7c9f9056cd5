"""Actions for ``loc(...)``.

MLIR prints the definitions of location aliases behind the module, so an op or block argument may name one that is not
defined yet.  Such a location is a `PendingLoc` until the end of the text.
"""

from __future__ import annotations

from typing import Any

from dlir.ir.attributes import Attribute, LocationAttr
from dlir.ir.errors import did_you_mean
from dlir.ir.location import UNKNOWN, CallSiteLoc, FileLoc, FusedLoc, Location, NameLoc
from dlir.textir.build.base import Token, unquote
from dlir.textir.build.types import TypeActions
from dlir.textir.source import Source

#: Limits of one location, counting what aliases stand for each time.
MAX_PARTS = 10_000
MAX_NESTING = 200


class PendingLoc(Location):
    """A location that names an alias which is not defined yet: the alias itself, or a kind with its parts."""

    __slots__ = ("kind", "metadata", "parts", "token")

    def __init__(
        self, kind: str, token: Token, parts: tuple[Location, ...] = (), metadata: Attribute | None = None
    ) -> None:
        self.kind = kind
        self.token = token
        self.parts = parts
        self.metadata = metadata


class LocationActions(TypeActions):
    """Actions of the rules under ``loc``."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.location_aliases: dict[str, Location] = {}
        #: Ops and block arguments whose location is pending.
        self.pending_locations: list[Any] = []
        #: Depth and number of parts of locations that have parts, by identity (and the location, to keep it alive).
        self._sizes: dict[int, tuple[int, int, Location]] = {}

    def loc(self, keyword: Token, location: Location) -> Location:
        return location

    def loc_unknown(self, token: Token) -> Location:
        return UNKNOWN

    def loc_file(
        self, name: Token, line: Token, column: Token, to: Token | None, last_line: Token | None, last: Token | None
    ) -> Location:
        texts = [token[0] for token in (line, column, last_line or line, last or column)]
        if not all(text.isdigit() and len(text) < 10 for text in texts):
            self.token_error(name, "the line and column of a location are numbers such as 12")
            return UNKNOWN
        first, start, end_line, end = map(int, texts)
        return FileLoc(self.unquoted(name), first, start, (end_line, end) if last else None)

    def loc_name(self, name: Token, child: Location | None) -> Location:
        if child is None:
            return NameLoc(self.unquoted(name))
        return self._compound("name", name, (child,))

    def loc_callsite(self, keyword: Token, callee: Location, at: Token, caller: Location) -> Location:
        return self._compound("callsite", keyword, (callee, caller))

    def loc_fused(self, keyword: Token, metadata: Attribute | None, parts: list[Location]) -> Location:
        return self._compound("fused", keyword, tuple(parts), metadata)

    def loc_alias(self, name: Token) -> Location:
        return self.location_aliases.get(name[0]) or PendingLoc("alias", name)

    def _compound(
        self, kind: str, token: Token, parts: tuple[Location, ...], metadata: Attribute | None = None
    ) -> Location:
        known = [self._sizes.get(id(part), (0, 1, part)) for part in parts]
        depth = 1 + max(depth for depth, _, _ in known)
        count = 1 + sum(count for _, count, _ in known)
        if depth > MAX_NESTING or count > MAX_PARTS:
            self.token_error(
                token, f"a location has more than {MAX_PARTS} parts or is nested more than {MAX_NESTING} deep"
            )
            return UNKNOWN
        made: Location
        if any(part.__class__ is PendingLoc for part in parts):
            made = PendingLoc(kind, token, parts, metadata)
        elif kind == "name":
            made = NameLoc(self.unquoted(token), parts[0])
        else:
            made = CallSiteLoc(*parts) if kind == "callsite" else FusedLoc(parts, metadata)
        self._sizes[id(made)] = (depth, count, made)
        return made

    def unquoted(self, token: Token) -> str:
        """The value of a string."""
        try:
            return unquote(token[0])
        except ValueError as error:
            self.token_error(token, str(error))
            return token[0][1:-1]

    # ------------------------------------------------------------ aliases

    def location_attr(self, location: Location) -> Attribute:
        return LocationAttr(self._complete(location))

    def finish_locations(self) -> None:
        """Complete the locations of ops and block arguments, now that all aliases are known."""
        for holder in self.pending_locations:
            holder.location = self._complete(holder.location)

    def _complete(self, location: Location) -> Location:
        """`location` with its aliases resolved; not deeper than MAX_NESTING."""
        if not isinstance(location, PendingLoc):
            return location
        if location.kind != "alias":
            parts = tuple(map(self._complete, location.parts))
            return self._compound(location.kind, location.token, parts, location.metadata)
        found = self.location_aliases.get(location.token[0])
        if found is None:
            hint = did_you_mean(location.token[0], self.location_aliases)
            self.token_error(location.token, f"unknown location alias '{location.token[0]}'", hint=hint)
        return found or UNKNOWN
