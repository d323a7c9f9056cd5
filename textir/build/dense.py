"""Elements of ``dense<...>``: the text between the angle brackets to an array.

The grammar has checked the syntax; here are shapes, counts and ranges.  Sizes are compared before anything is allocated, and
nothing recurses.  Everything raises ValueError with a message for the reader of the text, `ElementsError` with the place.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from dlir.ir.attributes import Attribute, DenseElementsAttr, OpaqueAttr
from dlir.ir.spelling import float_from_bits
from dlir.ir.types import I1, ComplexType, FloatType, IntegerType, ScalarType, ShapedType, Type
from dlir.textir.build.misfit import ElementsError, leaf_span, misfit

_COMMENT = re.compile(r"//[^\n]*")
_COMPLEX = re.compile(r"\(([^,()]*),([^,()]*)\)")
_LEAF = re.compile(r"[^\[\],\s]+")
_EMPTY_PLACE = re.compile(r"[\[,]\s*[,\]]")
_NOT_SKELETON = re.compile(r"[^\[\],]+")


def dense_attribute(body: str, type: Any) -> Attribute:
    """The attribute of ``dense<body> : type``; one whose elements have no NumPy dtype is kept as its text."""
    if not isinstance(type, ShapedType) or not type.is_static:
        raise ValueError(f"dense needs a tensor or vector type of static shape, not {type}")
    whole, body = body, body.strip()
    is_hex = body.startswith('"0x')
    if not _has_dtype(type.dtype) or ('"' in body and not is_hex):
        return OpaqueAttr(f"dense<{body}> : {type}")
    if is_hex:
        return DenseElementsAttr(_from_hex(body[3:-1], type), type)
    if "//" in body:
        body = _COMMENT.sub("", body)
    pairs = _COMPLEX.findall(body) if "(" in body else None
    if pairs is not None:
        body = _COMPLEX.sub("c", body)
    skeleton = _NOT_SKELETON.sub("", body)
    leaves: list[Any] = pairs if pairs is not None else _LEAF.findall(body)
    is_splat = not skeleton and len(leaves) == 1
    # With as many places as elements, an empty one means that two elements are in another.
    is_malformed = bool(leaves) and _EMPTY_PLACE.search(body) is not None
    if not is_splat and (is_malformed or not _has_shape(skeleton, type.shape, len(leaves))):
        raise misfit(whole, [extent or 0 for extent in type.shape], type)
    try:
        array = _convert(leaves, type.dtype)
    except ValueError:
        raise _wrong_element(whole, leaves, type.dtype) from None
    shape: Any = () if is_splat else type.shape
    return DenseElementsAttr(array.reshape(shape), type)


def _has_dtype(dtype: Type) -> bool:
    try:
        return isinstance(dtype, ScalarType) and dtype.numpy is not None
    except TypeError:
        return False


def _has_shape(skeleton: str, shape: Any, count: int) -> bool:
    """Whether lists with these brackets and commas, and `count` leaves, have `shape`."""
    length, size = 0, 1
    for extent in reversed(shape):
        length = 2 + extent * length + max(extent - 1, 0)
        size *= extent
    if not shape or length != len(skeleton) or size != count:
        # `dense<>` is the empty list of any shape.
        return not skeleton and not count and size == 0
    expected = ""
    for extent in reversed(shape):
        expected = "[" + ",".join([expected] * extent) + "]"
    return skeleton == expected


def _wrong_element(body: str, leaves: list[Any], dtype: Any) -> ElementsError:
    """The error for the first element that is none of type `dtype`; there is one."""
    first, end = 0, len(leaves)
    message = ""
    while first < end:
        middle = (first + end + 1) // 2
        try:
            _convert(leaves[first:middle], dtype)
        except ValueError as error:
            message = str(error)
            if middle - first == 1:
                break
            end = middle
        else:
            first = middle
    return ElementsError(message, leaf_span(body, first))


def _from_hex(digits: str, type: Any) -> np.ndarray:
    dtype = type.dtype.numpy
    given = len(digits) // 2
    packed = -(-type.size // 8) if type.dtype is I1 else type.nbytes
    if given not in (type.nbytes, dtype.itemsize, packed) or len(digits) % 2:
        raise ValueError(f"{type} takes {type.nbytes} bytes, and the string holds {len(digits)} hexadecimal digits")
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        raise ValueError("only hexadecimal digits may follow 0x") from None
    array = np.frombuffer(data, np.uint8)
    if type.dtype is I1:
        return _bools(array, type)
    return array.view(dtype).reshape(type.shape if given == type.nbytes else ())


def _bools(data: np.ndarray, type: Any) -> np.ndarray:
    """Elements of type i1: one a bit, as LLVM up to 22 prints them, or one a byte, 00 or 01 (or FF, as xDSL has it)."""
    one_byte_each = {0, 1, 0xFF}.issuperset(data.tobytes())
    if data.size not in (1, type.nbytes) or (data.size == 1 < type.size <= 8 and not one_byte_each):
        return np.unpackbits(data, count=type.size, bitorder="little").view(np.bool_).reshape(type.shape)
    if not one_byte_each:
        raise ValueError("a byte of an i1 element is 00, 01 or FF")
    return (data != 0).reshape(type.shape if data.size == type.nbytes else ())


def _convert(leaves: list[Any], dtype: Any) -> np.ndarray:
    if isinstance(dtype, ComplexType):
        if not all(isinstance(leaf, tuple) for leaf in leaves):
            raise ValueError(f"an element of {dtype} is written (real, imaginary)")
        numbers = [complex(_float(real, dtype.element), _float(imaginary, dtype.element)) for real, imaginary in leaves]
        return np.array(numbers, dtype.numpy)
    if any(isinstance(leaf, tuple) for leaf in leaves):
        raise ValueError(f"an element of {dtype} is not a pair")
    if isinstance(dtype, FloatType):
        try:
            values = np.array(leaves, np.float64) if leaves else np.zeros(0)
        except ValueError:
            return _floats_with_bits(leaves, dtype)
        with np.errstate(over="ignore"):
            return values.astype(dtype.numpy)
    if dtype is I1:
        return np.array([_bool(leaf) for leaf in leaves], bool)
    return _integers(leaves, dtype)


def _floats_with_bits(leaves: list[str], dtype: FloatType) -> np.ndarray:
    """Floats some of which are given by their bits, which are stored as they are."""
    width = dtype.bytes
    raw = np.zeros(len(leaves), f"u{width}")
    with np.errstate(over="ignore"):
        for index, leaf in enumerate(leaves):
            if leaf.lower().startswith("0x"):
                bits = int(leaf, 16)
                if bits >> (8 * width):
                    raise ValueError(f"{leaf} has more than the {8 * width} bits of {dtype}")
            else:
                bits = int(np.asarray(_float(leaf, dtype)).astype(dtype.numpy).view(raw.dtype))
            raw[index] = bits
    return raw.view(dtype.numpy)


def _float(text: str, dtype: Any) -> float:
    text = text.strip()
    if text.lower().startswith("0x"):
        try:
            return float_from_bits(int(text, 16), dtype)
        except OverflowError:
            raise ValueError(f"{text} has too many bits for {dtype}") from None
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"expected a number of type {dtype}, not '{text}'") from None


def _bool(text: str) -> bool:
    try:
        return {"true": True, "false": False, "1": True, "0": False}[text]
    except KeyError:
        raise ValueError(f"an i1 element is true or false, not '{text}'") from None


def _integers(leaves: list[str], dtype: Any) -> np.ndarray:
    try:
        numbers = [int(leaf, 16) if "x" in leaf else int(leaf) for leaf in leaves]
    except ValueError:
        wrong = next((leaf for leaf in leaves if not leaf.lstrip("-").isdigit()), max(leaves, key=len))
        raise ValueError(f"an element of type {dtype} is an integer, not '{wrong[:40]}'") from None
    for extreme in (min(numbers, default=0), max(numbers, default=0)):
        if not fits_integer(extreme, dtype):
            raise ValueError(f"{extreme} does not fit {dtype}")
    info = np.iinfo(dtype.numpy)
    if numbers and max(numbers) > info.max:
        # As in MLIR, a signless number may be written unsigned.
        numbers = [number - (1 << info.bits) if number > info.max else number for number in numbers]
    return np.array(numbers, dtype.numpy)


def fits_integer(number: int, dtype: Type) -> bool:
    """Whether an integer literal may have type `dtype`; signless types take signed and unsigned numbers."""
    width, signedness = (dtype.width, dtype.signedness) if isinstance(dtype, IntegerType) else (64, "signed")
    low = 0 if signedness == "unsigned" else -(1 << width >> 1)
    high = 1 << (width - 1 if signedness == "signed" and width else width)
    return low <= number < high
