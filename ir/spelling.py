"""How numbers, elements and names are spelled in text, and the bits of floats."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from dlir.ir.location import quote
from dlir.ir.types import F16, F32, F64, I1, INDEX, FloatType, IntegerType, Type

#: Arrays with more elements than this are spelled as one hex string.
HEX_THRESHOLD = 64


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
    """The bit pattern of a float as ``0x7F800000``; that of f64 for a type without a NumPy dtype."""
    dtype = _bits_dtype(type)
    bits = int(np.asarray(value).astype(dtype).view(f"u{dtype.itemsize}"))
    return f"0x{bits:0{2 * dtype.itemsize}X}"


def float_from_bits(bits: int, type: Type) -> float:
    """The float of `type` whose bit pattern is `bits`; OverflowError if there are too many."""
    dtype = _bits_dtype(type)
    if bits < 0 or bits >> (8 * dtype.itemsize):
        raise OverflowError
    return float(np.asarray(bits, f"u{dtype.itemsize}").view(dtype))


def _bits_dtype(type: Type) -> np.dtype:
    try:
        return type.numpy if isinstance(type, FloatType) else F64.numpy
    except TypeError:
        return F64.numpy


def spell_elements(array: np.ndarray, type: Any) -> str:
    """What stands between the angle brackets of ``dense<...>``."""
    if array.size == 0:
        return ""
    # How wide an i1 is in hexadecimal depends on the version of MLIR: one bit up to LLVM 22, one byte later.
    if array.size > HEX_THRESHOLD and type.dtype is not I1:
        return spell_bytes(array)
    spell = element_speller(type.dtype)
    parts = [spell(item) for item in array.reshape(-1)]
    if isinstance(type.dtype, FloatType) and np.isnan(array).any():
        # The bits themselves: passing through a Python float would change those of a signalling NaN.
        raw = np.ascontiguousarray(array).reshape(-1).view(f"u{array.itemsize}")
        parts = [
            f"0x{int(bits):0{2 * array.itemsize}X}" if math.isnan(item) else part
            for part, item, bits in zip(parts, array.reshape(-1), raw)
        ]
    # Built from the innermost dimension outwards, so that rank cannot exhaust the stack.
    for extent in reversed(array.shape):
        parts = ["[" + ", ".join(parts[i : i + extent]) + "]" for i in range(0, len(parts), extent)]
    return parts[0]


def spell_bytes(array: np.ndarray) -> str:
    """The elements in memory, in hexadecimal; MLIR reads that for any number of them."""
    return '"0x' + np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes().hex().upper() + '"'


def element_speller(dtype: Type) -> Callable[[Any], str]:
    """What spells one element of type `dtype`."""
    if isinstance(dtype, FloatType):
        return lambda item: spell_float(float(item), dtype)
    if dtype is I1:
        return lambda item: "true" if item else "false"
    if isinstance(dtype, IntegerType) or dtype is INDEX:
        return lambda item: str(int(item))
    part = F32 if str(dtype) == "complex<f32>" else F64
    return lambda item: f"({spell_float(float(item.real), part)}, {spell_float(float(item.imag), part)})"


_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_BARE = _LETTERS | frozenset("0123456789$.")


def spell_key(name: str) -> str:
    """The name of an attribute or resource, quoted where it must be."""
    return name if name and name[0] in _LETTERS and _BARE.issuperset(name) else quote(name)


def spell_symbol(name: str) -> str:
    """``@name``, quoted where it must be."""
    if name and name[0] in _LETTERS | {"$"} and _BARE.issuperset(name):
        return f"@{name}"
    return "@" + quote(name)
