"""Actions for attributes: aliases, words, symbols, what is kept as its text, and blobs."""

from __future__ import annotations

import re
from typing import Any

from dlir.ir.attributes import (
    UNIT,
    ArrayAttr,
    Attribute,
    BoolAttr,
    DenseElementsAttr,
    DictAttr,
    LocationAttr,
    OpaqueAttr,
    StringAttr,
    SymbolRefAttr,
    TypeAttr,
)
from dlir.ir.errors import did_you_mean
from dlir.ir.types import OpaqueType, Type
from dlir.textir.build.base import Token, remember
from dlir.textir.build.dictionaries import DictionaryActions
from dlir.textir.build.numbers import POISON_ATTRIBUTE
from dlir.textir.source import Source

#: Aliases may stand for this many characters altogether: aliases of aliases can double at each step.
MAX_EXPANSION = 1 << 28

#: A name that may be an alias, in a body of any text; strings and comments hold none.
_ALIAS = re.compile(r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"|//[^\n]*+|([#!][A-Za-z_][\w$-]*+(?![\w$.<]))', re.ASCII)
_SYMBOL = re.compile(r'@(?:([A-Za-z_$][\w$.]*+)|("[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"))(?:::)?', re.ASCII)


class AttributeActions(DictionaryActions):
    """Actions of the rules under ``attr``."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.attribute_aliases: dict[str, Attribute] = {}
        self._alias_sizes: dict[Attribute, int] = {}
        self._expansion = 0
        self._is_expanded = False
        #: Inline blobs for dense_resource: name -> "0x", four bytes of alignment, the data, in hexadecimal.
        self.blobs: dict[str, str] = {}

    def attr_alias(self, name: Token, attribute: Attribute) -> None:
        self.alias_defined(name, f"attribute alias '{name[0]}'")
        self.attribute_aliases[name[0]] = attribute
        self._alias_sizes[attribute] = self._size(attribute)
        if isinstance(attribute, LocationAttr):
            self.location_aliases[name[0]] = attribute.value

    def attr_name(self, name: Token, type: Type | None) -> Attribute:
        if type is not None:
            if "." not in name[0]:
                self.token_error(name, "an alias stands without a type")
            return OpaqueAttr(f"{name[0]} : {type}")
        found = self.attribute_aliases.get(name[0])
        if found is not None:
            self._expansion += self._alias_sizes[found]
            if self._expansion > MAX_EXPANSION:
                if not self._is_expanded:
                    self.token_error(name, f"aliases stand for more than {MAX_EXPANSION} characters")
                self._is_expanded = True
                self.say_no_more()
                return POISON_ATTRIBUTE
            if found is POISON_ATTRIBUTE:
                self.say_no_more()
            return found
        if "." in name[0]:
            return OpaqueAttr(name[0])
        if name[0] in self.passed_over:
            self.say_no_more()
            return POISON_ATTRIBUTE
        hint = did_you_mean(name[0], self.attribute_aliases) or "an alias is defined before it is used: #name = value"
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

    def array(self, bracket: Token, items: list[Attribute] | None) -> Attribute:
        return ArrayAttr(items or ())

    # ------------------------------------------------------------ kept as text

    def OPAQUE(self, text: str, start: int) -> Attribute:
        found = self.by_text.get(text)
        if found is None:
            found = OpaqueAttr(text)
            remember(self.by_text, text, found)
        return found

    def typed_opaque(self, attribute: Attribute, type: Type) -> Attribute:
        return OpaqueAttr(f"{attribute} : {type}")

    def opaque_attr(self, name: Token, end: int, type: Type | None) -> Attribute:
        text = name[0] + self.without_aliases(name[1] + len(name[0]), end)
        return OpaqueAttr(text if type is None else f"{text} : {type}")

    def raw_attr(self, keyword: Token, end: int, type: Type | None) -> Attribute:
        text = keyword[0] + self.without_aliases(keyword[1] + len(keyword[0]), end)
        return OpaqueAttr(text if type is None else f"{text} : {type}")

    def opaque_type(self, name: Token, end: int) -> Type:
        return OpaqueType(name[0][1:] + self.without_aliases(name[1] + len(name[0]), end))

    def without_aliases(self, start: int, end: int) -> str:
        """A body that is kept as its text, with what the aliases in it stand for: they are not printed."""
        text = self.source.text[start:end]
        if "#" not in text and "!" not in text:
            return text
        return _ALIAS.sub(lambda match: self._expanded(match, start), text)

    def _expanded(self, match: re.Match[str], start: int) -> str:
        if not match[1]:
            return match[0]
        found = self.type_aliases.get(match[0]) or self.attribute_aliases.get(match[0])
        if found is None:
            return match[0]
        text = str(found)
        self._expansion += len(text)
        if self._expansion > MAX_EXPANSION:
            self.token_error(
                (match[0], start + match.start()), f"aliases stand for more than {MAX_EXPANSION} characters"
            )
            return match[0]
        return text

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

    def plain_name(self, token: Token) -> str:
        return token[0]

    def quoted_name(self, token: Token) -> str:
        return self.unquoted(token)
