"""Actions for attributes.  Those that stand alone are interned by their text for the time of one parse."""

from __future__ import annotations

import re
import sys
from typing import Any

from dlir.ir.attributes import (
    UNIT,
    ArrayAttr,
    Attribute,
    BoolAttr,
    DenseArrayAttr,
    DenseElementsAttr,
    DenseResourceAttr,
    DictAttr,
    FloatAttr,
    IntegerAttr,
    LocationAttr,
    OpaqueAttr,
    StringAttr,
    SymbolRefAttr,
    TypeAttr,
)
from dlir.ir.errors import did_you_mean
from dlir.ir.spelling import float_from_bits
from dlir.ir.types import I1, I64, FloatType, IndexType, IntegerType, ShapedType, Type
from dlir.textir.build.base import Token
from dlir.textir.build.dense import dense_attribute, fits_integer
from dlir.textir.build.locations import LocationActions
from dlir.textir.build.types import POISON
from dlir.textir.source import Source

#: One entry of an attribute dictionary: name, offset of the name, attribute.
Entry = tuple[str, int, Attribute]

#: Aliases may stand for this many characters altogether: aliases of aliases can double at each step.
MAX_EXPANSION = 1 << 28

#: So many dictionaries are remembered by their text.
_MAX_REMEMBERED = 4096


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

_SYMBOL = re.compile(r'@(?:([A-Za-z_$][\w$.]*+)|("[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"))(?:::)?', re.ASCII)

#: What an unusable attribute stands as, so that one mistake is reported once.
POISON_ATTRIBUTE = TypeAttr(POISON)


class AttributeActions(LocationActions):
    """Actions of the rules under ``attr``."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.attribute_aliases: dict[str, Attribute] = {}
        self._alias_sizes: dict[Attribute, int] = {}
        self._expansion = 0
        self._keys: dict[str, str] = {}
        self._numbers: dict[str, Attribute] = {}
        self._dictionaries: dict[str, Entries] = {}
        #: Inline blobs for dense_resource: name -> "0x", four bytes of alignment, the data, in hexadecimal.
        self.blobs: dict[str, str] = {}

    def attr_alias(self, name: Token, attribute: Attribute) -> None:
        if name[0] in self.attribute_aliases or "." in name[0]:
            problem = "may not have a dot" if "." in name[0] else "is defined twice"
            self.token_error(name, f"attribute alias '{name[0]}' {problem}")
        self.attribute_aliases[name[0]] = attribute
        self._alias_sizes[attribute] = self._size(attribute)
        if isinstance(attribute, LocationAttr):
            self.location_aliases[name[0]] = attribute.value

    def attr_name(self, name: Token) -> Attribute:
        found = self.attribute_aliases.get(name[0])
        if found is not None:
            self._expansion += self._alias_sizes[found]
            if self._expansion > MAX_EXPANSION:
                self.token_error(name, f"aliases stand for more than {MAX_EXPANSION} characters")
                return POISON_ATTRIBUTE
            return found
        if "." in name[0]:
            return OpaqueAttr(name[0])
        hint = did_you_mean(name[0], self.attribute_aliases)
        self.token_error(name, f"unknown attribute alias '{name[0]}'", hint=hint)
        return POISON_ATTRIBUTE

    def _size(self, attribute: Attribute) -> int:
        """About how many characters an attribute is printed in."""
        size = 0
        work = [attribute]
        while work:
            item = work.pop()
            size += 8
            if item in self._alias_sizes:
                size += self._alias_sizes[item]
            elif isinstance(item, ArrayAttr):
                work.extend(item.items)
            elif isinstance(item, DictAttr):
                work.extend(item.items.values())
            elif isinstance(item, DenseElementsAttr):
                size += 2 * item.array.nbytes
            else:
                size += len(str(item))
        return size

    # ------------------------------------------------------------ dictionaries

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
            if len(found.attributes) != len(items) or len(self._dictionaries) >= _MAX_REMEMBERED:
                return found, 0
            found.items = [(name, offset - start, attribute) for name, offset, attribute in items]
            self._dictionaries[text] = found
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

    def joined(self, first: Dictionary | None, second: Dictionary | None) -> Dictionary | None:
        """Two dictionaries as one."""
        if first is None or second is None:
            return first or second
        items = [(name, start + base, found) for entries, base in (first, second) for name, start, found in entries.items]
        return self._entries(items), 0

    # ------------------------------------------------------------ numbers

    def TYPED_NUMBER(self, text: str, start: int) -> Attribute:
        found = self._numbers.get(text)
        if found is None:
            number, _, type = text.partition(":")
            type_start = start + len(text) - len(type.lstrip())
            found = self.typed_number((number.rstrip(), start), self.SCALAR(type.lstrip(), type_start))
            self._numbers[text] = found
        return found

    def number(self, token: Token) -> Attribute:
        text = token[0]
        found = self._numbers.get(text)
        if found is None:
            is_float = "." in text
            found = FloatAttr(float(text)) if is_float else self.typed_number(token, I64)
            self._numbers[text] = found
        return found

    def typed_number(self, token: Token, type: Type) -> Attribute:
        text = token[0]
        if isinstance(type, IntegerType | IndexType):
            return self._integer(token, type)
        if not isinstance(type, FloatType):
            return OpaqueAttr(f"{text} : {type}")
        if "x" not in text:
            return FloatAttr(float(text), type)
        try:
            return FloatAttr(float_from_bits(int(text, 16), type), type)
        except OverflowError:
            self.token_error(token, f"{text} has too many bits for {type}")
            return POISON_ATTRIBUTE

    def _integer(self, token: Token, type: IntegerType | IndexType) -> Attribute:
        text = token[0]
        if "." in text:
            self.token_error(token, f"a number of type {type} is an integer, not {text}")
            return POISON_ATTRIBUTE
        # Python refuses to convert thousands of digits; no integer type that is in use has them.
        value = (int(text, 16) if "x" in text else int(text)) if len(text) < 4000 else None
        if value is None or not fits_integer(value, type):
            self.token_error(token, f"{text[:40]} does not fit {type}")
            return POISON_ATTRIBUTE
        if type is I1:
            return BoolAttr(bool(value))
        if value > 0 and isinstance(type, IntegerType) and type.signedness == "signless" and value >> (type.width - 1):
            value -= 1 << type.width
        return IntegerAttr(value, type)

    def INTEGERS(self, text: str, start: int) -> Attribute:
        found = self._numbers.get(text)
        if found is None:
            offset = start + 1
            items = []
            for part in text[1:-1].split(","):
                items.append(self.number((part.strip(), offset + len(part) - len(part.lstrip()))))
                offset += len(part) + 1
            found = self._numbers[text] = ArrayAttr(items)
        return found

    # ------------------------------------------------------------ words, strings, symbols

    def true(self, token: Token) -> Attribute:
        return BoolAttr(True)

    def false(self, token: Token) -> Attribute:
        return BoolAttr(False)

    def unit(self, token: Token) -> Attribute:
        return UNIT

    def string(self, token: Token) -> Attribute:
        return StringAttr(self.unquoted(token))

    def typed_string(self, token: Token, type: Type) -> Attribute:
        return OpaqueAttr(f"{token[0]} : {type}")

    def symbol_path(self, token: Token) -> list[str]:
        """The names in ``@a::@b``."""
        path, offset = [], token[1]
        for match in _SYMBOL.finditer(token[0]):
            path.append(match[1] or self.unquoted((match[2], offset + match.start(2))))
        return path

    def symbol_ref(self, token: Token) -> Attribute:
        return SymbolRefAttr(*self.symbol_path(token))

    # ------------------------------------------------------------ arrays

    def array(self, bracket: Token, items: list[Attribute] | None) -> Attribute:
        return ArrayAttr(items or ())

    def dense_array(self, keyword: Token, type: Type, elements: list[Any] | None) -> Attribute:
        if not isinstance(type, IntegerType | FloatType):
            self.token_error(keyword, f"array<> holds integers or floats, not {type}")
            return POISON_ATTRIBUTE
        values = []
        for token in elements or ():
            attribute = self._element(token, type)
            if not isinstance(attribute, BoolAttr | IntegerAttr | FloatAttr):
                return POISON_ATTRIBUTE
            values.append(attribute.value)
        return DenseArrayAttr(values, type)

    def _element(self, token: Token, type: Type) -> Attribute:
        if token[0] not in ("true", "false"):
            return self.typed_number(token, type)
        if type is I1:
            return BoolAttr(token[0] == "true")
        self.token_error(token, f"expected a number of type {type}")
        return POISON_ATTRIBUTE

    def plain(self, token: Token) -> Token:
        return token

    def DENSE_LIST(self, text: str, start: int) -> Token:
        return text[text.index("<") + 1 : -1], start

    def dense(self, keyword: Token, literal: None, close: Token, type: Type) -> Attribute:
        body = self.source.text[self.source.text.index("<", keyword[1]) + 1 : close[1]]
        return self.dense_list((body, keyword[1]), type)

    def dense_list(self, body: Token, type: Type) -> Attribute:
        try:
            return dense_attribute(body[0], type)
        except ValueError as error:
            self.error(body[1], body[1] + len("dense"), str(error))
            return POISON_ATTRIBUTE

    def dense_resource(self, keyword: Token, name: str, type: Type | None) -> Attribute:
        """Without a type it takes the op's ``type`` attribute, when the op is made."""
        if type is not None and not isinstance(type, ShapedType):
            self.token_error(keyword, f"dense_resource needs a tensor or vector type, not {type}")
            return POISON_ATTRIBUTE
        return DenseResourceAttr(name, type)

    def plain_name(self, token: Token) -> str:
        return token[0]

    def quoted_name(self, token: Token) -> str:
        return self.unquoted(token)

    # ------------------------------------------------------------ kept as text

    def OPAQUE(self, text: str, start: int) -> Attribute:
        found = self._numbers.get(text)
        if found is None:
            found = self._numbers[text] = OpaqueAttr(text)
        return found

    def opaque_attr(self, name: Token, end: int) -> Attribute:
        return OpaqueAttr(self.source.text[name[1] : end])

    def raw_attr(self, keyword: Token, end: int) -> Attribute:
        return OpaqueAttr(self.source.text[keyword[1] : end])

    def type_attr(self, type: Type) -> Attribute:
        return TypeAttr(type)

    # ------------------------------------------------------------ blobs

    def resources(self, entries: list[tuple[str, Any]] | None) -> None:
        """``{-# dialect_resources: {builtin: {name: "0x..."}} #-}``; what is not a blob is not kept."""
        dialects = dict(entries or ()).get("dialect_resources")
        for blobs in dialects.values() if isinstance(dialects, dict) else ():
            if isinstance(blobs, dict):
                self.blobs.update((name, text) for name, text in blobs.items() if isinstance(text, str))

    def meta_string(self, token: Token) -> str:
        return self.unquoted(token)

    def meta_entry(self, name: str, value: Any) -> tuple[str, Any]:
        return name, value

    def meta_dict(self, brace: Token, entries: list[tuple[str, Any]] | None) -> dict[str, Any]:
        return dict(entries or ())
