"""Actions for attribute dictionaries.  One that was seen before is found by its text."""

from __future__ import annotations

import sys
from typing import Any

from dlir.ir.attributes import UNIT, Attribute, DictAttr
from dlir.textir.build.base import Token, remember
from dlir.textir.build.numbers import NumberActions
from dlir.textir.source import Source

#: One entry of an attribute dictionary: name, offset of the name, attribute.
Entry = tuple[str, int, Attribute]


class Entries:
    """The entries of an attribute dictionary as they stand in the text."""

    __slots__ = ("attributes", "checked", "items")

    def __init__(self, items: list[Entry]) -> None:
        self.items = items
        self.attributes = {name: attribute for name, _, attribute in items}
        #: The attributes as the schema of an op wants them, by what is known of the op.
        self.checked: dict[Any, dict[str, Attribute]] = {}


#: A dictionary: its entries, and what to add to their offsets.
Dictionary = tuple[Entries, int]


class DictionaryActions(NumberActions):
    """Actions of the rules under ``attr_dict``."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._keys: dict[str, str] = {}
        self._dictionaries: dict[str, Entries] = {}

    def KEYEQ(self, text: str, start: int) -> Token:
        key = self._keys.get(text)
        if key is None:
            key = self._keys[text] = sys.intern(text[:-1].rstrip())
        return key, start

    def entry(self, key: Token, attribute: Attribute) -> Entry:
        return key[0], key[1], attribute

    def unit_entry(self, key: Token) -> Entry:
        return key[0], key[1], UNIT

    def quoted_entry(self, key: Token, attribute: Attribute) -> Entry:
        return self.unquoted(key), key[1], attribute

    def quoted_unit(self, key: Token) -> Entry:
        return self.unquoted(key), key[1], UNIT

    def attr_dict(self, brace: Token, entries: list[Entry] | None) -> Dictionary:
        return self._entries(entries or []), 0

    def props(self, entries: list[Entry] | None) -> Dictionary:
        return self._entries(entries or []), 0

    def DICT(self, text: str, start: int) -> Dictionary:
        found = self._dictionaries.get(text)
        if found is None:
            items = self.subparse("entries", start + 1, start + len(text) - 1) if text[1:-1].strip() else []
            found = self._entries(items)
            if len(found.attributes) != len(items):
                return found, 0
            found.items = [(name, offset - start, attribute) for name, offset, attribute in items]
            remember(self._dictionaries, text, found)
        return found, start

    def PROPS(self, text: str, start: int) -> Dictionary:
        return self.DICT(text[1:-1], start + 1)

    def dictionary(self, entries: Dictionary) -> DictAttr:
        return DictAttr(entries[0].attributes)

    def _entries(self, items: list[Entry]) -> Entries:
        entries = Entries(items)
        if len(entries.attributes) != len(items):
            seen: set[str] = set()
            for name, start, _ in items:
                if name in seen:
                    self.error(start, start + len(name), f"attribute '{name}' is given twice")
                seen.add(name)
        return entries

    def beside(self, own: Dictionary, others: Dictionary) -> tuple[Dictionary, Dictionary]:
        """What stands in ``<{...}>`` of an op of which nothing is known, and that and its dictionary as one.

        MLIR keeps a name that is in both twice; here the one that is the op's own is called ``<{name}>`` then.
        """
        twice = own[0].attributes.keys() & others[0].attributes.keys()
        if twice:
            items = [(f"<{{{name}}}>" if name in twice else name, start, found) for name, start, found in own[0].items]
            own = Entries(items), own[1]
        return own, self.joined(own, others)  # type: ignore[return-value]

    def joined(self, first: Dictionary | None, second: Dictionary | None) -> Dictionary | None:
        """Two dictionaries as one."""
        if first is None or second is None:
            return first or second
        items = [
            (name, start + base, found) for entries, base in (first, second) for name, start, found in entries.items
        ]
        return self._entries(items), 0
