"""Actions for attributes made of numbers: integers, floats and arrays of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dlir.ir.attributes import (
    ArrayAttr,
    Attribute,
    BoolAttr,
    DenseArrayAttr,
    DenseResourceAttr,
    FloatAttr,
    IntegerAttr,
    OpaqueAttr,
    TypeAttr,
)
from dlir.ir.spelling import float_from_bits
from dlir.ir.types import I1, I64, FloatType, IndexType, IntegerType, ShapedType, Type
from dlir.textir.build.base import Token, remember
from dlir.textir.build.dense import dense_attribute, fits_integer
from dlir.textir.build.locations import LocationActions
from dlir.textir.build.misfit import ElementsError
from dlir.textir.build.sparse import sparse_attribute
from dlir.textir.build.types import POISON
from dlir.textir.source import Source

#: What an unusable attribute stands as, so that one mistake is reported once.
POISON_ATTRIBUTE = TypeAttr(POISON)


class NumberActions(LocationActions):
    """Actions for numbers, ``array<...>`` and ``dense<...>``."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        #: Attributes that stand alone, by their text.
        self.by_text: dict[str, Attribute] = {}

    def TYPED_NUMBER(self, text: str, start: int) -> Attribute:
        found = self.by_text.get(text)
        if found is None:
            number, _, type = text.partition(":")
            type_start = start + len(text) - len(type.lstrip())
            found = self.typed_number((number.rstrip(), start), self.SCALAR(type.lstrip(), type_start))
            remember(self.by_text, text, found)
        return found

    def number(self, token: Token) -> Attribute:
        text = token[0]
        found = self.by_text.get(text)
        if found is None:
            is_float = "." in text
            found = FloatAttr(float(text)) if is_float else self.typed_number(token, I64)
            remember(self.by_text, text, found)
        return found

    def typed_number(self, token: Token, type: Type) -> Attribute:
        text = token[0]
        if isinstance(type, IntegerType | IndexType):
            return self._integer(token, type)
        if not isinstance(type, FloatType) or str(type) in ("f80", "f128", "tf32"):
            # NumPy could not hold the value.
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
        found = self.by_text.get(text)
        if found is None:
            offset = start + 1
            items = []
            for part in text[1:-1].split(","):
                items.append(self.number((part.strip(), offset + len(part) - len(part.lstrip()))))
                offset += len(part) + 1
            found = ArrayAttr(items)
            remember(self.by_text, text, found)
        return found

    # ------------------------------------------------------------ arrays

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
        opened = text.index("<") + 1
        return text[opened:-1], start + opened

    def dense(self, keyword: Token, literal: None, close: Token, type: Type) -> Attribute:
        opened = self.source.text.index("<", keyword[1]) + 1
        return self.dense_list((self.source.text[opened : close[1]], opened), type)

    def sparse(self, keyword: Token, parts: None, close: Token, type: Type) -> Attribute:
        opened = self.source.text.index("<", keyword[1]) + 1
        return self._elements(sparse_attribute, (self.source.text[opened : close[1]], opened), type)

    def dense_list(self, body: Token, type: Type) -> Attribute:
        return self._elements(dense_attribute, body, type)

    def _elements(self, make: Callable[[str, Type], Attribute], body: Token, type: Type) -> Attribute:
        try:
            return make(body[0], type)
        except ValueError as error:
            span = error.span if isinstance(error, ElementsError) else None
            start, end = span or (0, len(body[0]))
            self.error(body[1] + start, body[1] + end, str(error))
            return POISON_ATTRIBUTE

    def dense_resource(self, keyword: Token, name: str, type: Type | None) -> Attribute:
        """Without a type it takes the op's ``type`` attribute, when the op is made."""
        if type is not None and not isinstance(type, ShapedType):
            self.token_error(keyword, f"dense_resource needs a tensor or vector type, not {type}")
            return POISON_ATTRIBUTE
        return DenseResourceAttr(name, type)
