"""Conversions between scalar types, as upstream's ``arith``: ``arith.extf(x, F64)`` states its result type."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from dlir.ir.attributes import Attribute
from dlir.ir.dialects.enums import FASTMATH, OVERFLOW, WordOp, Words
from dlir.ir.dialects.scalars import (
    Element,
    as_signed,
    as_unsigned,
    element_type,
    from_integer,
    is_floating,
    is_signless,
    like,
    narrow,
)
from dlir.ir.errors import DlirError
from dlir.ir.op import INDEX, Declared, Op, Type
from dlir.ir.types import FloatType, IntegerType, ScalarType


class Cast(Op):
    """Base of the conversions; `kinds` names what is allowed on either side: i (integer), f (float), x (index)."""

    __slots__ = ()
    kinds: ClassVar[tuple[str, str]]
    #: Whether the result must be wider (1) or narrower (-1).
    widens: ClassVar[int] = 0

    @staticmethod
    def infer(operand: Element) -> Declared: ...  # type: ignore[empty-body]

    @classmethod
    def eval(cls, operand: Any, *, result_types: tuple[Type, ...], **flags: Any) -> Any:
        to = element_type(result_types[0])
        assert isinstance(to, ScalarType)
        return cls.convert(operand, to.numpy)

    @staticmethod
    def convert(value: Any, dtype: np.dtype) -> Any:
        """`value`, a NumPy scalar or array, as `dtype`."""
        raise TypeError

    def verify(self) -> None:
        super().verify()
        source, target = self.operands[0].type, self.result.type
        if like(source, element_type(target)) is not target:
            raise DlirError(f"cannot make {target} of {source}: the shapes differ", self.location)
        ends = element_type(source), element_type(target)
        for dtype, kind in zip(ends, self.kinds, strict=True):
            if not _is_kind(dtype, kind):
                words = {"i": "signless integers", "f": "floats", "x": "index or signless integers"}
                source_word, target_word = (words[kind] for kind in self.kinds)
                raise DlirError(f"converts {source_word} to {target_word}, not {dtype}", self.location)
        if self.widens * (_width(ends[1]) - _width(ends[0])) <= 0 and self.widens:
            raise DlirError(f"needs a {'wider' if self.widens > 0 else 'narrower'} type than {source}", self.location)


def _is_kind(dtype: Type, kind: str) -> bool:
    if kind == "f":
        return is_floating(dtype)
    return is_signless(dtype) and (kind == "x" or dtype is not INDEX)


def _width(dtype: Type) -> int:
    if isinstance(dtype, IntegerType | FloatType):
        return dtype.width
    return 8 * dtype.bytes if isinstance(dtype, ScalarType) else 0


def _saturate(value: Any, low: int, high: int) -> Any:
    """A float towards zero as an integer within [low, high], in an integer type that holds them; NaN gives 0."""
    whole = np.trunc(np.nan_to_num(value.astype(np.float64), nan=0.0, posinf=np.inf, neginf=-np.inf))
    holder = np.uint64 if low == 0 else np.int64
    # 2.0**63 and 2.0**64 are exact, where high itself may not be: compare with high + 1.
    fits = (whole >= float(low)) & (whole < float(high + 1))
    inside = np.where(fits, whole, 0.0).astype(holder)
    return np.where(fits, inside, np.where(whole < 0, holder(low), holder(high)))[()]


class FloatCast(Cast, WordOp):
    """Base of conversions between floats."""

    __slots__ = ()
    kinds = ("f", "f")
    words: ClassVar[dict[str, Words]] = {"fastmath": FASTMATH}

    @staticmethod
    def infer(operand: Element, *, fastmath: Attribute | None = None) -> Declared: ...  # type: ignore[empty-body]


class ExtF(FloatCast, name="arith.extf"):
    """A float as a wider one; exact."""

    widens = 1

    @staticmethod
    def convert(value: Any, dtype: np.dtype) -> Any:
        return value.astype(dtype)


class TruncF(FloatCast, name="arith.truncf"):
    """A float as a narrower one, rounded to nearest even."""

    widens = -1

    @staticmethod
    def convert(value: Any, dtype: np.dtype) -> Any:
        return narrow(value, dtype)


class ExtSI(Cast, name="arith.extsi"):
    """A signed integer as a wider one; true gives -1."""

    kinds = ("i", "i")
    widens = 1

    @staticmethod
    def convert(value: Any, dtype: np.dtype) -> Any:
        return as_signed(value).astype(dtype)


class ExtUI(Cast, name="arith.extui"):
    """An unsigned integer as a wider one; true gives 1."""

    kinds = ("i", "i")
    widens = 1

    @staticmethod
    def convert(value: Any, dtype: np.dtype) -> Any:
        return as_unsigned(value).astype(dtype)


class TruncI(Cast, WordOp, name="arith.trunci"):
    """The low bits of an integer."""

    kinds = ("i", "i")
    widens = -1
    words: ClassVar[dict[str, Words]] = {"overflowFlags": OVERFLOW}

    @staticmethod
    def infer(operand: Element, *, overflowFlags: Attribute | None = None) -> Declared: ...  # type: ignore[empty-body]

    @staticmethod
    def convert(value: Any, dtype: np.dtype) -> Any:
        return from_integer(value, dtype)


class SIToFP(Cast, name="arith.sitofp"):
    """A signed integer as the nearest float; true gives -1.0."""

    kinds = ("i", "f")

    @staticmethod
    def convert(value: Any, dtype: np.dtype) -> Any:
        return _to_float(as_signed(value), dtype)


class UIToFP(Cast, name="arith.uitofp"):
    """An unsigned integer as the nearest float; true gives 1.0."""

    kinds = ("i", "f")

    @staticmethod
    def convert(value: Any, dtype: np.dtype) -> Any:
        return _to_float(as_unsigned(value), dtype)


def _to_float(value: Any, dtype: np.dtype) -> Any:
    """An integer rounded once to a float, also where NumPy and ml_dtypes go by way of float32."""
    if dtype.itemsize >= 4:
        return value.astype(dtype)
    if value.dtype.itemsize == 8:
        # Fit float64 by round-to-odd, which leaves the rounding to `narrow` (see there).
        odd = ((value >> 11) | ((value & 0x7FF) != 0)) << 11
        value = np.where(abs(value.astype(np.float64)) < 2.0**53, value, odd)
    return narrow(value.astype(np.float64), dtype)


class FPToSI(Cast, name="arith.fptosi"):
    """A float towards zero as a signed integer; what does not fit saturates, and NaN gives 0."""

    kinds = ("f", "i")

    @staticmethod
    def convert(value: Any, dtype: np.dtype) -> Any:
        bits = 1 if dtype.kind == "b" else 8 * dtype.itemsize
        return from_integer(_saturate(value, -(1 << (bits - 1)), (1 << (bits - 1)) - 1), dtype)


class FPToUI(Cast, name="arith.fptoui"):
    """A float towards zero as an unsigned integer; what does not fit saturates, and NaN gives 0."""

    kinds = ("f", "i")

    @staticmethod
    def convert(value: Any, dtype: np.dtype) -> Any:
        bits = 1 if dtype.kind == "b" else 8 * dtype.itemsize
        return from_integer(_saturate(value, 0, (1 << bits) - 1), dtype)


class _OfIndex(Cast):
    """Base of the conversions between an index and an integer."""

    __slots__ = ()
    kinds = ("x", "x")

    def verify(self) -> None:
        super().verify()
        source, target = element_type(self.operands[0].type), element_type(self.result.type)
        if (source is INDEX) is (target is INDEX):
            raise DlirError(f"converts between index and an integer, not {source} to {target}", self.location)


class IndexCast(_OfIndex, name="arith.index_cast"):
    """An index as an integer or an integer as an index: signed extension, or the low bits."""

    @staticmethod
    def convert(value: Any, dtype: np.dtype) -> Any:
        return from_integer(as_signed(value), dtype)


class IndexCastUI(_OfIndex, name="arith.index_castui"):
    """An index as an integer or an integer as an index: unsigned extension, or the low bits."""

    @staticmethod
    def convert(value: Any, dtype: np.dtype) -> Any:
        return from_integer(as_unsigned(value), dtype)


class Bitcast(Op, name="arith.bitcast"):
    """The same bits as another type of the same width."""

    @staticmethod
    def infer(operand: Element) -> Declared: ...  # type: ignore[empty-body]

    @staticmethod
    def eval(operand: Any, *, result_types: tuple[Type, ...]) -> Any:
        to = element_type(result_types[0])
        assert isinstance(to, ScalarType)
        return operand.view(to.numpy)

    def verify(self) -> None:
        source, target = self.operands[0].type, self.result.type
        ends = element_type(source), element_type(target)
        fit = all(isinstance(dtype, FloatType | IntegerType) for dtype in ends) and _width(ends[0]) == _width(ends[1])
        if like(source, ends[1]) is not target or not fit:
            raise DlirError(f"cannot see the bits of {source} as {target}", self.location)
