"""Actions for types.  Types are interned by their text: a text that was seen before costs one dictionary look-up."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from dlir.ir.attributes import Attribute
from dlir.ir.errors import Note, did_you_mean
from dlir.ir.types import (
    INDEX,
    NONE,
    ComplexType,
    FloatType,
    FunctionType,
    IntegerType,
    MemRefType,
    NoneType,
    OpaqueType,
    ScalarType,
    Shape,
    TensorType,
    TupleType,
    Type,
    UnrankedType,
    VectorType,
)
from dlir.textir.build.base import UNKNOWN, Actions, Token, remember
from dlir.textir.source import Source

#: What an unknown or malformed type stands as, so that one mistake is reported once.
POISON = OpaqueType(UNKNOWN[1:])

FLOATS = (
    "f16 bf16 f32 f64 f80 f128 tf32 f4E2M1FN f6E2M3FN f6E3M2FN f8E3M4 f8E4M3 f8E4M3B11FNUZ f8E4M3FN f8E4M3FNUZ f8E5M2"
    " f8E5M2FNUZ f8E8M0FNU"
).split()
MAX_WIDTH = (1 << 24) - 1
MAX_EXTENT = (1 << 63) - 1
#: A type whose text is longer than this is refused (aliases can make types that double at each step).
MAX_TYPE_TEXT = 1 << 16

_INTEGER = re.compile(r"([su]?)i(\d+)", re.ASCII)
_SIGNEDNESS = {"": "signless", "s": "signed", "u": "unsigned"}


class TypeActions(Actions):
    """Actions of the rules under ``type``."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.type_aliases: dict[str, Type] = {}
        #: Where each alias, of a type or an attribute, is defined.
        self._alias_places: dict[str, Token] = {}
        self._types: dict[str, Type] = {}
        self._signatures: dict[str, FunctionType] = {}
        self._type_lists: dict[str, tuple[Type, ...]] = {}

    def type_alias(self, name: Token, type: Type) -> None:
        self.alias_defined(name, f"type alias '{name[0]}'")
        self.type_aliases[name[0]] = type

    def alias_defined(self, name: Token, what: str) -> None:
        """Check the name of an alias, and end its definition."""
        first = self._alias_places.setdefault(name[0], name)
        if "." in name[0]:
            self.token_error(name, f"{what} may not have a dot", hint="a name with a dot belongs to a dialect")
        elif first is not name:
            notes = [Note("the first definition is here", self.place(first))]
            self.token_error(name, f"{what} is defined twice", notes=notes)
        self._reported = len(self.diagnostics)

    # ------------------------------------------------------------ short-cuts

    def TYPE(self, text: str, start: int) -> Type:
        found = self._types.get(text)
        if found is None:
            found = self.subparse("full_type", start, start + len(text))
            remember(self._types, text, found)
        return found

    def SIGNATURE(self, text: str, start: int) -> FunctionType:
        found = self._signatures.get(text)
        if found is None:
            found = self.subparse("fn_type", start + 1, start + len(text))
            remember(self._signatures, text, found)
        return found

    def TYPES(self, text: str, start: int) -> tuple[Type, ...]:
        found = self._type_lists.get(text)
        if found is None:
            found = tuple(self.subparse("plain_types", start + 1, start + len(text)))
            remember(self._type_lists, text, found)
        return found

    # ------------------------------------------------------------ scalars and names

    def SCALAR(self, text: str, start: int) -> Type:
        found = self._types.get(text)
        if found is None:
            found = self._types[text] = self._scalar(text, start)
        return found

    def _scalar(self, text: str, start: int) -> Type:
        if text == "index":
            return INDEX
        if text == "none":
            return NONE
        match = _INTEGER.fullmatch(text)
        if match:
            width = int(match[2]) if len(match[2]) < 10 else MAX_WIDTH + 1
            if width > MAX_WIDTH:
                self.token_error((text, start), f"integers have at most {MAX_WIDTH} bits")
                return POISON
            return IntegerType(width, _SIGNEDNESS[match[1]])
        if text in FLOATS:
            return FloatType(text)
        self.token_error((text, start), f"unknown type '{text}'", hint=did_you_mean(text, FLOATS))
        return POISON

    def type_name(self, name: Token) -> Type:
        found = self.type_aliases.get(name[0])
        if found is not None:
            return found
        if "." in name[0]:
            return OpaqueType(name[0][1:])
        if name[0] in self.passed_over:
            self.say_no_more()
            return POISON
        hint = did_you_mean(name[0], self.type_aliases) or "an alias is defined before it is used: !name = type"
        self.token_error(name, f"unknown type alias '{name[0]}'", hint=hint)
        return POISON

    def body(self, items: Any, close: Token) -> int:
        """The offset behind a bracketed text."""
        return close[1] + 1

    # ------------------------------------------------------------ aggregates

    def fn_type(self, paren: Token, inputs: list[Type] | None, results: list[Type]) -> Type:
        inputs = inputs or []
        return FunctionType(inputs, results) if self._fits(paren, inputs + results) else FunctionType((), ())

    def fn_result_list(self, types: list[Type] | None) -> list[Type]:
        return types or []

    def tuple_type(self, keyword: Token, elements: list[Type] | None) -> Type:
        return TupleType(elements or ()) if self._fits(keyword, elements or ()) else POISON

    def complex_type(self, keyword: Token, element: Type) -> Type:
        if not isinstance(element, FloatType | IntegerType):
            self.token_error(keyword, f"a complex number has parts of an integer or float type, not {element}")
            return POISON
        return ComplexType(element)

    def _fits(self, place: Token, types: Iterable[Type]) -> bool:
        if sum(len(str(type)) for type in types) <= MAX_TYPE_TEXT:
            return True
        self.token_error(place, f"the text of this type has more than {MAX_TYPE_TEXT} characters")
        return False

    def scalar_shape(self, element: Type) -> tuple[list[Token], Type]:
        return [], element

    def shape(self, dims: list[Token], element: Type) -> tuple[list[Token], Type]:
        return dims, element

    def unranked(self, star: Token, element: Type) -> tuple[None, Type]:
        return None, element

    def shaped_type(
        self, keyword: Token, shape: tuple[list[Token] | None, Type], params: list[Attribute] | None
    ) -> Type:
        dims, element = shape
        kind = keyword[0]
        params = params or []
        if element is POISON:
            return POISON
        if not _can_be_element(kind, element):
            self.token_error(keyword, f"{element} cannot be the element type of a {kind}")
            return POISON
        if dims is None and kind == "vector":
            self.token_error(keyword, "a vector has a rank")
            return POISON
        if len(params) > _PARAMETERS[kind] - (dims is None):
            self.token_error(keyword, f"too many parameters of a {kind} type")
            return POISON
        if dims is None:
            return UnrankedType(kind, element, *params)
        if kind == "vector":
            return self._vector(keyword, dims, element)
        extents = self._extents(dims)
        if extents is None:
            return POISON
        if kind == "tensor":
            return TensorType(extents, element, *params)
        # The one parameter of a memref may be its layout or its memory space.
        if len(params) == 1 and not str(params[0]).startswith(("affine_map<", "strided<")):
            params = [None, params[0]]  # type: ignore[list-item]
        return MemRefType(extents, element, *params)

    def _extents(self, dims: list[Token]) -> Shape | None:
        extents: list[int | None] = []
        for text, start in dims:
            if text == "?x":
                extents.append(None)
            elif text[0] == "[" or len(text) > 20 or int(text[:-1]) > MAX_EXTENT:
                problem = "only a vector has scalable dimensions" if text[0] == "[" else "a dimension is less than 2^63"
                self.token_error((text[:-1], start), problem)
                return None
            else:
                extents.append(int(text[:-1]))
        return tuple(extents)

    def _vector(self, keyword: Token, dims: list[Token], element: Type) -> Type:
        scalable = tuple(text[0] == "[" for text, _ in dims)
        plain = [(text.replace("[", "").replace("]", ""), start) for text, start in dims]
        extents = self._extents(plain)
        if extents is None:
            return POISON
        if None in extents or 0 in extents:
            self.token_error(keyword, "the dimensions of a vector are positive numbers")
            return POISON
        return VectorType(extents, element, scalable if any(scalable) else ())


_PARAMETERS = {"tensor": 1, "memref": 2, "vector": 0}


def _can_be_element(kind: str, element: Type) -> bool:
    if kind == "vector":
        return isinstance(element, ScalarType | OpaqueType)
    if isinstance(element, FunctionType | NoneType | TupleType):
        return False
    return kind == "memref" or not isinstance(element, TensorType | MemRefType | UnrankedType)
