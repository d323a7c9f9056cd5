"""Attributes: MLIR's builtin attributes, immutable.

``str(attribute)`` is the attribute's text, ``attribute.value`` its plain Python value, :func:`attribute` makes one from a
plain Python value.  Small ones are interned by type and *bit pattern*, so that ``0.0`` and ``-0.0``, and ``1``, ``true``
and ``1.0`` stay different; blobs are compared by identity first, then by a digest that is computed once.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from dlir.ir.location import Location, quote
from dlir.ir.types import (
    BF16,
    F16,
    F32,
    F64,
    I1,
    I64,
    INDEX,
    FloatType,
    IntegerType,
    ScalarType,
    TensorType,
    Type,
    dtype_from_numpy,
)


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
    _text: str
    _instances: ClassVar[dict[tuple[Any, ...], Any]] = {}

    @classmethod
    def _intern(cls, key: Any, text: str, /, **fields: Any) -> Any:
        found = _Interned._instances.get((cls, key))
        if found is None:
            found = object.__new__(cls)
            found._ident = key
            found._text = text
            for name, value in fields.items():
                setattr(found, name, value)
            found = _Interned._instances.setdefault((cls, key), found)
        return found

    @property
    def _key(self) -> Any:
        return self._ident

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self) >> 4

    def __str__(self) -> str:
        return self._text


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
        text = str(value) if type is I64 else f"{value} : {type}"
        return cls._intern((value, type), text, _value=value, type=type)

    @property
    def value(self) -> int:
        return self._value


class FloatAttr(_Interned):
    """``1.000000e-05 : f32``; the type is left out in text when it is f64."""

    __slots__ = ("_value", "type")
    _value: Any
    type: Type

    def __new__(cls, value: float, type: Type = F64) -> FloatAttr:
        value = round_to(float(value), type)
        text = spell_float(value, type)
        if type is not F64 or text.startswith(("0x", "-0x")):
            text = f"{text} : {type}"
        return cls._intern((struct.pack("<d", value), type), text, _value=value, type=type)

    @property
    def value(self) -> float:
        return self._value


class StringAttr(_Interned):
    """``"text"``."""

    __slots__ = ("_value",)
    _value: Any

    def __new__(cls, value: str) -> StringAttr:
        return cls._intern(value, quote(value), _value=value)

    @property
    def value(self) -> str:
        return self._value


class SymbolRefAttr(_Interned):
    """``@f`` or nested ``@module::@f``; `path` is the tuple of names."""

    __slots__ = ("path",)
    path: tuple[str, ...]

    def __new__(cls, *path: str) -> SymbolRefAttr:
        return cls._intern(path, "::".join(map(spell_symbol, path)), path=path)

    @property
    def value(self) -> str:
        return "::".join(self.path)


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
            texts = [spell_float(item, type) for item in items]
        else:
            items = tuple(bool(item) if type is I1 else int(item) for item in values)
            bits = items
            texts = [("true" if item else "false") if type is I1 else str(item) for item in items]
        text = f"array<{type}: {', '.join(texts)}>" if items else f"array<{type}>"
        return cls._intern((bits, len(items), type), text, _value=items, type=type)

    @property
    def value(self) -> tuple[Any, ...]:
        return self._value


class ArrayAttr(Attribute):
    """``[a, b]``: any attributes."""

    __slots__ = ("items",)

    def __init__(self, items: Iterable[Attribute]) -> None:
        self.items = tuple(items)

    @property
    def _key(self) -> Any:
        return self.items

    @property
    def value(self) -> tuple[Any, ...]:
        return tuple(item.value for item in self.items)

    def __str__(self) -> str:
        return "[" + ", ".join(map(str, self.items)) + "]"


class DictAttr(Attribute):
    """``{a = 1, b}``: attributes by name, in the order given."""

    __slots__ = ("items",)

    def __init__(self, items: Mapping[str, Attribute]) -> None:
        self.items = dict(items)

    @property
    def _key(self) -> Any:
        return frozenset(self.items.items())

    @property
    def value(self) -> dict[str, Any]:
        return {name: item.value for name, item in self.items.items()}

    def __str__(self) -> str:
        return "{" + ", ".join(spell_entry(name, item) for name, item in self.items.items()) + "}"


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
        return cls._intern((name, type), f"dense_resource<{_spell_key(name)}> : {type}", name=name, type=type)

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


# ---------------------------------------------------------------- spelling


_PACK = {F16: ("<e", "<H", 4), F32: ("<f", "<I", 8), F64: ("<d", "<Q", 16)}


def round_to(value: float, type: Type) -> float:
    """`value` rounded to what the float type can hold (infinity when it is out of range)."""
    if type is F64 or math.isnan(value) or math.isinf(value) or not isinstance(type, FloatType):
        return value
    if type is F32 or type is F16:
        code = "<f" if type is F32 else "<e"
        try:
            return struct.unpack(code, struct.pack(code, value))[0]
        except OverflowError:
            return math.copysign(math.inf, value)
    try:
        with np.errstate(over="ignore"):
            return float(np.asarray(value).astype(type.numpy))
    except TypeError:
        return value


def spell_float(value: float, type: Type) -> str:
    """MLIR's spelling: six digits and an exponent, widened until it reads back; the bits in hex for NaN and infinity."""
    if math.isnan(value) or math.isinf(value):
        return float_bits(value, type)
    for digits in (6, 8, 16):
        text = f"{value:.{digits}e}"
        if round_to(float(text), type) == value:
            return text
    return float_bits(value, type)


def float_bits(value: float, type: Type) -> str:
    """The bit pattern of a float as ``0x7F800000``."""
    if type is BF16:
        return f"0x{struct.unpack('<I', struct.pack('<f', value))[0] >> 16:04X}"
    float_code, int_code, width = _PACK.get(type, _PACK[F64])
    bits = struct.unpack(int_code, struct.pack(float_code, value))[0]
    return f"0x{bits:0{width}X}"


def float_from_bits(bits: int, type: Type) -> float:
    """The float of `type` whose bit pattern is `bits`; OverflowError if there are too many."""
    if type is BF16:
        if bits >> 16:
            raise OverflowError
        return struct.unpack("<f", struct.pack("<I", bits << 16))[0]
    float_code, int_code, _ = _PACK.get(type, _PACK[F64])
    try:
        return struct.unpack(float_code, struct.pack(int_code, bits))[0]
    except struct.error as error:
        raise OverflowError from error


#: Arrays with more elements than this are spelled as one hex string.
HEX_THRESHOLD = 64


def spell_elements(array: np.ndarray, type: Any) -> str:
    """What stands between the angle brackets of ``dense<...>``."""
    if array.size == 0:
        return ""
    if array.size > HEX_THRESHOLD:
        return '"0x' + np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes().hex().upper() + '"'
    spell = _element_speller(type.dtype)
    if array.shape == ():
        return spell(array[()])
    # Built from the innermost dimension outwards, so that rank cannot exhaust the stack.
    parts = [spell(item) for item in array.reshape(-1)]
    for extent in reversed(array.shape):
        parts = ["[" + ", ".join(parts[i : i + extent]) + "]" for i in range(0, len(parts), extent)]
    return parts[0]


def _element_speller(dtype: Type) -> Any:
    if isinstance(dtype, FloatType):
        return lambda item: spell_float(float(item), dtype)
    if dtype is I1:
        return lambda item: "true" if item else "false"
    if isinstance(dtype, IntegerType) or dtype is INDEX:
        return lambda item: str(int(item))
    part = F32 if str(dtype) == "complex<f32>" else F64
    return lambda item: f"({spell_float(float(item.real), part)}, {spell_float(float(item.imag), part)})"


def spell_entry(name: str, item: Attribute) -> str:
    """One entry of an attribute dictionary: ``name = value``, or just the name of a unit attribute."""
    key = _spell_key(name)
    return key if isinstance(item, UnitAttr) else f"{key} = {item}"


_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_BARE = _LETTERS | frozenset("0123456789$.")


def _spell_key(name: str) -> str:
    return name if name and name[0] in _LETTERS and _BARE.issuperset(name) else quote(name)


def spell_symbol(name: str) -> str:
    """``@name``, quoted where it must be."""
    if name and name[0] in _LETTERS | {"$"} and _BARE.issuperset(name):
        return f"@{name}"
    return "@" + quote(name)


def is_scalar(type: Any) -> bool:
    """Whether `type` is a scalar type."""
    return isinstance(type, ScalarType)
