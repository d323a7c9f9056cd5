"""What the ops on scalars and vectors share: type checks, Python numbers as operands, signless integers in NumPy.

In ``eval`` a scalar is a NumPy scalar of its type's dtype and a vector an array.  An i1 is a NumPy bool; read as a
signed integer, true is -1.  Where MLIR leaves a result undefined, it is NumPy's: x / 0 is 0, a shift by the width or
more gives 0 (or the sign), and a float too large for the integer saturates (NaN gives 0).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from dlir.ir.attributes import Attribute
from dlir.ir.core import Value
from dlir.ir.dialects.enums import FASTMATH, OVERFLOW, WordOp, Words
from dlir.ir.errors import InferError
from dlir.ir.op import INDEX, Op, Scalar, Type, Unit, Vector
from dlir.ir.types import FloatType, IntegerType, ShapedType, VectorType

Element = Scalar | Vector


def element_type(type: Type) -> Type:
    """The element type of a vector, else the type itself."""
    return type.dtype if isinstance(type, ShapedType) else type


def like(type: Type, dtype: Type) -> Type:
    """`type` with another element type: a vector of the same shape, or just the scalar."""
    return type.with_dtype(dtype) if isinstance(type, VectorType) else dtype


def is_signless(type: Type) -> bool:
    """Whether `type` is index, a signless integer, or a vector of them."""
    found = element_type(type)
    return found is INDEX or (isinstance(found, IntegerType) and found.signedness == "signless")


def is_floating(type: Type) -> bool:
    """Whether `type` is a float or a vector of them."""
    return isinstance(element_type(type), FloatType)


def same_types(*types: Type) -> Type:
    """The one type of all operands; InferError if they differ."""
    if any(type is not types[0] for type in types):
        raise InferError(f"needs operands of one type, got {', '.join(map(str, types))}")
    return types[0]


def same_integers(*types: Type) -> Type:
    """The one signless integer type of all operands; InferError if there is none."""
    if not is_signless(types[0]):
        raise InferError(f"needs signless integers or index, got {types[0]}")
    return same_types(*types)


def same_floats(*types: Type) -> Type:
    """The one float type of all operands; InferError if there is none."""
    if not is_floating(types[0]):
        raise InferError(f"needs floats, got {types[0]}")
    return same_types(*types)


def numbers_to_constants(groups: list[Any], type: Type | None = None) -> list[Any]:
    """Operand groups with each Python number made an ``arith.constant`` of `type`, or of the first operand's type."""
    from dlir.ir.ops import arith

    def convert(item: Any) -> Any:
        if isinstance(item, tuple):
            return tuple(map(convert, item))
        return arith.constant(item, type) if isinstance(item, bool | int | float) else item

    if type is None:
        type = next((group.type for group in groups if isinstance(group, Value)), None)
    return groups if type is None else [convert(group) for group in groups]


class ScalarOp(Op):
    """Base of ops whose operands may be given as Python numbers, of the type of those that are values."""

    __slots__ = ()

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        return numbers_to_constants(groups)


# ---------------------------------------------------------------- integers


def as_signed(value: Any) -> Any:
    """An integer value as NumPy's signed integer: true is -1."""
    return -value.astype(np.int8) if value.dtype == bool else value


def as_unsigned(value: Any) -> Any:
    """An integer value as NumPy's unsigned integer of the same bits: true is 1."""
    return value.astype(np.uint8) if value.dtype == bool else value.view(f"u{value.dtype.itemsize}")


def from_integer(value: Any, dtype: np.dtype) -> Any:
    """The low bits of an integer result as a value of `dtype`."""
    return (value & 1).astype(bool) if dtype.kind == "b" else value.astype(dtype)


class IntegerBinary(ScalarOp):
    """Base of ops on two integers of one type; `compute` works on them as signed or unsigned NumPy integers."""

    __slots__ = ()
    is_signed: ClassVar[bool] = True
    compute: ClassVar[Any]

    @staticmethod
    def infer(lhs: Element, rhs: Element) -> Type:
        return same_integers(lhs, rhs)

    @classmethod
    def eval(cls, lhs: Any, rhs: Any, **flags: Any) -> Any:
        view = as_signed if cls.is_signed else as_unsigned
        return from_integer(cls.compute(view(lhs), view(rhs)), lhs.dtype)


class OverflowBinary(IntegerBinary, WordOp):
    """Base of integer ops that may promise not to overflow; without a promise they wrap around."""

    __slots__ = ()
    words: ClassVar[dict[str, Words]] = {"overflowFlags": OVERFLOW}

    @staticmethod
    def infer(lhs: Element, rhs: Element, *, overflowFlags: Attribute | None = None) -> Type:
        return same_integers(lhs, rhs)


class ExactBinary(IntegerBinary):
    """Base of integer ops that may promise to lose nothing."""

    __slots__ = ()

    @staticmethod
    def infer(lhs: Element, rhs: Element, *, isExact: Unit | None = None) -> Type:
        return same_integers(lhs, rhs)


# ---------------------------------------------------------------- floats


def narrow(value: Any, dtype: np.dtype) -> Any:
    """A float64 value rounded once to `dtype`.

    ml_dtypes goes through float32, which rounds twice; going there by round-to-odd makes the second rounding the only
    one that counts (Boldo and Melquiond, "When double rounding is odd", 2005).
    """
    if value.dtype == np.float64 and dtype.itemsize < 4 and dtype != np.float16:
        value = round_to_odd(value.astype(np.float32), value)
    return value.astype(dtype)


def round_to_odd(near: Any, exact: Any) -> Any:
    """float32 `near`, the nearest to float64 `exact`, moved to its neighbour on the other side of `exact` where it is
    inexact and even."""
    inexact = np.isfinite(near) & (near.astype(np.float64) != exact)
    is_even = (np.asarray(near).view(np.uint32) & 1) == 0
    other = np.nextafter(near, np.where(exact > near, np.inf, -np.inf).astype(np.float32))
    return np.where(inexact & is_even, other, near)[()]


class FloatOp(ScalarOp, WordOp):
    """Base of ops on floats of one type, with fast-math flags."""

    __slots__ = ()
    words: ClassVar[dict[str, Words]] = {"fastmath": FASTMATH}


class FloatUnary(FloatOp):
    """Base of ops on one float; `compute` is their NumPy function."""

    __slots__ = ()
    compute: ClassVar[Any]

    @staticmethod
    def infer(operand: Element, *, fastmath: Attribute | None = None) -> Type:
        return same_floats(operand)

    @classmethod
    def eval(cls, operand: Any, *, fastmath: Any = None) -> Any:
        return cls.compute(operand)


class FloatBinary(FloatOp):
    """Base of ops on two floats of one type; `compute` is their NumPy function."""

    __slots__ = ()
    compute: ClassVar[Any]

    @staticmethod
    def infer(lhs: Element, rhs: Element, *, fastmath: Attribute | None = None) -> Type:
        return same_floats(lhs, rhs)

    @classmethod
    def eval(cls, lhs: Any, rhs: Any, *, fastmath: Any = None) -> Any:
        return cls.compute(lhs, rhs)
