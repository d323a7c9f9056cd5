"""dlir's types and constants in LLVM's spelling.

Signedness is gone (it lives in the ops); `index` is i64.  A bool is an i1 as a value and a byte in memory.  A memref of
static shape and identity layout is the pointer to its first element.  A vector of any rank is flat, row-major.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from typing import Any, cast

import numpy as np

from dlir.ir.errors import DlirError
from dlir.ir.types import BF16, F16, F32, F64, I1, INDEX, IntegerType, MemRefType, ShapedType, Type, VectorType

FLOATS = {F16: "half", BF16: "bfloat", F32: "float", F64: "double"}
FLOAT_NAMES = ("half", "bfloat", "float", "double")


def llvm_type(type_: Type) -> str:
    """The type of a value; DlirError if the CPU backend has no such values."""
    if type_ in FLOATS:
        return FLOATS[type_]
    if type_ is INDEX:
        return "i64"
    if isinstance(type_, IntegerType):
        return f"i{type_.width}"
    if isinstance(type_, VectorType) and not any(type_.scalable):
        return f"<{lanes(type_)} x {llvm_type(type_.dtype)}>"
    if isinstance(type_, MemRefType) and type_.layout is None and type_.is_static:
        return "ptr"
    raise DlirError(f"the cpu backend has no values of type {type_}")


def stored_type(dtype: Type) -> str:
    """The type of one element in memory."""
    return "i8" if dtype is I1 else llvm_type(dtype)


def static_shape(type_: ShapedType) -> tuple[int, ...]:
    """The shape of a type that is known to be static."""
    return cast(tuple[int, ...], type_.shape)


def lanes(vector: VectorType) -> int:
    """The number of elements of a vector."""
    return math.prod(static_shape(vector))


def element_type(type_: Type) -> Type:
    """The element type of a vector, else the type itself."""
    return type_.dtype if isinstance(type_, VectorType) else type_


def literal(value: float, type_: str) -> str:
    """A number as a constant of the scalar LLVM type `type_`; floats are written by their bits."""
    if type_ not in FLOAT_NAMES:
        return str(int(value))
    if type_ == "half":
        return f"0xH{struct.unpack('<H', _packed('<e', value))[0]:04X}"
    if type_ == "bfloat":
        return f"0xR{struct.unpack('<I', _packed('<f', value))[0] >> 16:04X}"
    if type_ == "float":
        # LLVM writes a float as the double of the same value; a NaN keeps its sign and upper payload.
        value = struct.unpack("<f", _packed("<f", value))[0]
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def _packed(code: str, value: float) -> bytes:
    try:
        return struct.pack(code, value)
    except OverflowError:
        return struct.pack(code, math.copysign(math.inf, value))


def splat(value: float, type_: Type) -> str:
    """A number as a constant of a scalar or, in each element, of a vector type."""
    scalar = llvm_type(element_type(type_))
    text = literal(value, scalar)
    return f"splat ({scalar} {text})" if isinstance(type_, VectorType) else text


def elements(values: Iterable[Any], type_: str) -> str:
    """Numbers as the elements of a vector or array constant."""
    return ", ".join(f"{type_} {literal(value, type_)}" for value in values)


def array_constant(array: np.ndarray, dtype: Type) -> str:
    """The elements of `array`, in row-major order, as they lie in memory: `[3 x float] [...]`."""
    stored = stored_type(dtype)
    return f"[{array.size} x {stored}] [{elements(array.reshape(-1).tolist(), stored)}]"
