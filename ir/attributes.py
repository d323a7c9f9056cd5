"""Attributes: MLIR's builtin attributes, immutable.

``str(attribute)`` is the attribute's text, ``attribute.value`` its plain Python value, :func:`attribute` makes one from a
plain Python value.  Small ones are interned by type and *bit pattern*, so that ``0.0`` and ``-0.0``, and ``1``, ``true``
and ``1.0`` stay different; blobs are compared by identity first, then by a digest that is computed once.  Hashing,
comparing and spelling do not recurse, however deep arrays are nested.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from dlir.ir.location import Location, quote
from dlir.ir.spelling import element_speller, round_to, spell_elements, spell_float, spell_key, spell_symbol
from dlir.ir.types import F64, I1, I64, FloatType, TensorType, Type, dtype_from_numpy


class Attribute:
    """Base class; equality and hash are by `_key`, which is unique within a class."""

    __slots__ = ()

    @property
    def _key(self) -> Any:
        raise TypeError(f"{type(self).__name__} has no key")

    @property
    def value(self) -> Any:
        """The plain Python value."""
        return self

    def __eq__(self, other: object) -> bool:
        return self is other or (type(self) is type(other) and self._key == other._key)

    def __hash__(self) -> int:
        return hash((type(self), self._key))

    def __repr__(self) -> str:
        return str(self)


class _Interned(Attribute):
    """An attribute that exists once per key, so that equality is identity."""

    __slots__ = ("_ident", "_text")
    _ident: Any
    _text: str | None
    _instances: ClassVar[dict[Any, Any]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._instances = {}

    @classmethod
    def _intern(cls, key: Any, text: str | None, /, **fields: Any) -> Any:
        """The attribute with this key; without a `text` it is spelled when that is asked for."""
        found = cls._instances.get(key)
        if found is None:
            found = object.__new__(cls)
            found._ident = key
            found._text = text
            for name, value in fields.items():
                setattr(found, name, value)
            found = cls._instances.setdefault(key, found)
        return found

    @property
    def _key(self) -> Any:
        return self._ident

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self) >> 4

    def _spell(self) -> str:
        raise TypeError(f"{type(self).__name__} has no spelling")

    def __str__(self) -> str:
        text = self._text
        if text is None:
            text = self._text = self._spell()
        return text


class UnitAttr(_Interned):
    """Presence alone carries the meaning: ``unit``."""

    __slots__ = ()

    def __new__(cls) -> UnitAttr:
        return cls._intern((), "unit")

    @property
    def value(self) -> bool:
        return True


class BoolAttr(_Interned):
    """``true`` / ``false``."""

    __slots__ = ("_value",)
    _value: Any

    def __new__(cls, value: bool) -> BoolAttr:
        return cls._intern(bool(value), "true" if value else "false", _value=bool(value))

    @property
    def value(self) -> bool:
        return self._value


class IntegerAttr(_Interned):
    """``3 : i64``; the type is left out in text when it is i64."""

    __slots__ = ("_value", "type")
    _value: Any
    type: Type

    def __new__(cls, value: int, type: Type = I64) -> Any:
        if type is I1:
            return BoolAttr(bool(value))
        value = int(value)
        return cls._intern((value, type), None, _value=value, type=type)

    @property
    def value(self) -> int:
        return self._value

    def _spell(self) -> str:
        return str(self._value) if self.type is I64 else f"{self._value} : {self.type}"


class FloatAttr(_Interned):
    """``1.000000e-05 : f32``; the type is left out in text when it is f64."""

    __slots__ = ("_value", "type")
    _value: Any
    type: Type

    def __new__(cls, value: float, type: Type = F64) -> FloatAttr:
        value = round_to(float(value), type)
        return cls._intern((struct.pack("<d", value), type), None, _value=value, type=type)

    @property
    def value(self) -> float:
        return self._value

    def _spell(self) -> str:
        text = spell_float(self._value, self.type)
        return text if self.type is F64 and not text.startswith("0x") else f"{text} : {self.type}"


class StringAttr(_Interned):
    """``"text"``."""

    __slots__ = ("_value",)
    _value: Any

    def __new__(cls, value: str) -> StringAttr:
        return cls._intern(value, None, _value=value)

    @property
    def value(self) -> str:
        return self._value

    def _spell(self) -> str:
        return quote(self._value)


class SymbolRefAttr(_Interned):
    """``@f`` or nested ``@module::@f``; `path` is the tuple of names."""

    __slots__ = ("path",)
    path: tuple[str, ...]

    def __new__(cls, *path: str) -> SymbolRefAttr:
        return cls._intern(path, None, path=path)

    @property
    def value(self) -> str:
        return "::".join(self.path)

    def _spell(self) -> str:
        return "::".join(map(spell_symbol, self.path))


class TypeAttr(_Interned):
    """A type as an attribute."""

    __slots__ = ("_value",)
    _value: Any

    def __new__(cls, value: Type) -> TypeAttr:
        return cls._intern(value, str(value), _value=value)

    @property
    def value(self) -> Type:
        return self._value


class OpaqueAttr(_Interned):
    """An attribute kept as its text: of an unregistered dialect (``#d.x<...>``), affine_map, strided, distinct, ..."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> OpaqueAttr:
        return cls._intern(text, text, text=text)

    @property
    def value(self) -> str:
        return self.text


class LocationAttr(_Interned):
    """``loc(...)`` as an attribute."""

    __slots__ = ("_value",)
    _value: Any

    def __new__(cls, value: Location) -> LocationAttr:
        return cls._intern(value, f"loc({value})", _value=value)

    @property
    def value(self) -> Location:
        return self._value


class DenseArrayAttr(_Interned):
    """``array<i64: 1, 2>``: a flat list of numbers of one type; `value` is a tuple."""

    __slots__ = ("_value", "type")
    _value: Any
    type: Type

    def __new__(cls, values: Iterable[Any], type: Type = I64) -> DenseArrayAttr:
        if isinstance(type, FloatType):
            items: tuple[Any, ...] = tuple(round_to(float(item), type) for item in values)
            bits: Any = struct.pack(f"<{len(items)}d", *items)
        else:
            items = tuple(bool(item) if type is I1 else int(item) for item in values)
            bits = items
        return cls._intern((bits, len(items), type), None, _value=items, type=type)

    @property
    def value(self) -> tuple[Any, ...]:
        return self._value

    def _spell(self) -> str:
        spell = element_speller(self.type)
        return f"array<{self.type}: {', '.join(map(spell, self._value))}>" if self._value else f"array<{self.type}>"


class ArrayAttr(_Interned):
    """``[a, b]``: any attributes."""

    __slots__ = ("items",)
    items: tuple[Attribute, ...]

    def __new__(cls, items: Iterable[Attribute]) -> ArrayAttr:
        items = tuple(items)
        return cls._intern(items, None, items=items)

    @property
    def value(self) -> tuple[Any, ...]:
        return tuple(item.value for item in self.items)

    def _spell(self) -> str:
        return _spell_nested(self)


class DictAttr(_Interned):
    """``{a = 1, b}``: attributes by name, in the order of the names."""

    __slots__ = ("items",)
    items: dict[str, Attribute]

    def __new__(cls, items: Mapping[str, Attribute]) -> DictAttr:
        pairs = tuple(sorted(items.items()))
        return cls._intern(pairs, None, items=dict(pairs))

    @property
    def value(self) -> dict[str, Any]:
        return {name: item.value for name, item in self.items.items()}

    def _spell(self) -> str:
        return _spell_nested(self)


def _spell_nested(attribute: Attribute) -> str:
    """The text of an array or dictionary, without recursion."""
    out: list[str] = []
    work: list[Any] = [attribute]
    while work:
        item = work.pop()
        if isinstance(item, ArrayAttr) and item._text is None:
            work.append("]")
            for inner in reversed(item.items):
                work += [inner, ", "]
            work[len(work) - bool(item.items) :] = ["["]
        elif isinstance(item, DictAttr) and item._text is None:
            work.append("}")
            for name, inner in reversed(item.items.items()):
                work += [spell_key(name)] if isinstance(inner, UnitAttr) else [inner, f"{spell_key(name)} = "]
                work.append(", ")
            work[len(work) - bool(item.items) :] = ["{"]
        else:
            out.append(str(item))
    return "".join(out)


class DenseElementsAttr(Attribute):
    """``dense<...> : tensor<2x2xf32>``: a constant array.

    `array` has the type's shape, or shape () with a splat: one element that stands for all of them.
    It must not be written to.
    """

    __slots__ = ("_digest", "array", "type")
    type: Any

    def __init__(self, array: np.ndarray, type: Any = None) -> None:
        if type is None:
            type = TensorType(array.shape, dtype_from_numpy(array.dtype))
        if array.shape != () and array.size == 1:
            array = array.reshape(())
        if array.shape != () and array.shape != type.shape:
            raise ValueError(f"{array.size} elements of shape {array.shape} do not fit {type}")
        array = np.asarray(array)
        array.setflags(write=False)
        self.array = array
        self.type = type
        self._digest: bytes | None = None

    @property
    def is_splat(self) -> bool:
        return self.array.shape == ()

    @property
    def value(self) -> np.ndarray:
        """The array in the type's full shape (a read-only view if it is a splat)."""
        return np.broadcast_to(self.array, self.type.shape)

    @property
    def _key(self) -> Any:
        if self._digest is None:
            contiguous = np.ascontiguousarray(self.array)
            self._digest = hashlib.blake2b(contiguous.view(np.uint8).data, digest_size=16).digest()
        return self.type, self.array.shape, self._digest

    def __str__(self) -> str:
        return f"dense<{spell_elements(self.array, self.type)}> : {self.type}"


class DenseResourceAttr(_Interned):
    """``dense_resource<name> : tensor<...>``: elements that live outside the text, found by `name` when needed."""

    __slots__ = ("name", "type")
    name: str
    type: Any

    def __new__(cls, name: str, type: Any) -> DenseResourceAttr:
        return cls._intern((name, type), f"dense_resource<{spell_key(name)}> : {type}", name=name, type=type)

    @property
    def value(self) -> str:
        return self.name


UNIT = UnitAttr()


def attribute(value: Any) -> Attribute:
    """The attribute for a plain Python value: bool, int (i64), float (f64), str, Type, tuple of ints (``array<i64>``),
    list, dict, NumPy array.  TypeError for anything else."""
    match value:
        case Attribute():
            return value
        case bool() | np.bool_():
            return BoolAttr(bool(value))
        case int() | np.integer():
            return IntegerAttr(int(value))
        case float() | np.floating():
            return FloatAttr(float(value))
        case str():
            return StringAttr(value)
        case Type():
            return TypeAttr(value)
        case tuple() if all(isinstance(item, int | np.integer) for item in value):
            return DenseArrayAttr(value)
        case tuple() | list():
            return ArrayAttr(attribute(item) for item in value)
        case dict():
            return DictAttr({name: attribute(item) for name, item in value.items()})
        case np.ndarray():
            return DenseElementsAttr(value)
        case Location():
            return LocationAttr(value)
    raise TypeError(f"no attribute for a {type(value).__name__}")


def spell_entry(name: str, item: Attribute) -> str:
    """One entry of an attribute dictionary: ``name = value``, or just the name of a unit attribute."""
    key = spell_key(name)
    return key if isinstance(item, UnitAttr) else f"{key} = {item}"
