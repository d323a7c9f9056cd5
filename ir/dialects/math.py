"""The ``math`` dialect: functions of scalars and vectors, as upstream; `eval` is NumPy's function of the same name."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from dlir.ir.attributes import Attribute
from dlir.ir.dialects.scalars import (
    Element,
    FloatBinary,
    FloatOp,
    FloatUnary,
    ScalarOp,
    narrow,
    same_floats,
    same_integers,
)
from dlir.ir.op import Type


class Exp(FloatUnary, name="math.exp"):
    """e to the power of the operand."""

    compute = staticmethod(np.exp)


class ExpM1(FloatUnary, name="math.expm1"):
    """exp(x) - 1, precise near 0."""

    compute = staticmethod(np.expm1)


class Log(FloatUnary, name="math.log"):
    """Natural logarithm."""

    compute = staticmethod(np.log)


class Log1p(FloatUnary, name="math.log1p"):
    """log(1 + x), precise near 0."""

    compute = staticmethod(np.log1p)


class Sqrt(FloatUnary, name="math.sqrt"):
    """Square root, correctly rounded."""

    compute = staticmethod(np.sqrt)


class Rsqrt(FloatUnary, name="math.rsqrt"):
    """1 / sqrt(x)."""

    @staticmethod
    def compute(operand: Any) -> Any:
        return narrow(1.0 / np.sqrt(operand.astype(np.float64)), operand.dtype)


class Tanh(FloatUnary, name="math.tanh"):
    """Hyperbolic tangent."""

    compute = staticmethod(np.tanh)


class Erf(FloatUnary, name="math.erf"):
    """Error function."""

    @staticmethod
    def compute(operand: Any) -> Any:
        wide = np.asarray(operand, np.float64)
        found = np.fromiter(map(math.erf, wide.reshape(-1).tolist()), np.float64, wide.size)
        return narrow(found.reshape(wide.shape), operand.dtype)[()]


class Sin(FloatUnary, name="math.sin"):
    """Sine."""

    compute = staticmethod(np.sin)


class Cos(FloatUnary, name="math.cos"):
    """Cosine."""

    compute = staticmethod(np.cos)


class AbsF(FloatUnary, name="math.absf"):
    """Absolute value; clears the sign, also of NaN."""

    compute = staticmethod(np.abs)


class Floor(FloatUnary, name="math.floor"):
    """The nearest whole number not above."""

    compute = staticmethod(np.floor)


class Ceil(FloatUnary, name="math.ceil"):
    """The nearest whole number not below."""

    compute = staticmethod(np.ceil)


class RoundEven(FloatUnary, name="math.roundeven"):
    """The nearest whole number, halves to the even one."""

    compute = staticmethod(np.rint)


class Trunc(FloatUnary, name="math.trunc"):
    """The nearest whole number towards zero."""

    compute = staticmethod(np.trunc)


class PowF(FloatBinary, name="math.powf"):
    """lhs to the power of rhs."""

    compute = staticmethod(np.power)


class CopySign(FloatBinary, name="math.copysign"):
    """The magnitude of lhs with the sign of rhs."""

    compute = staticmethod(np.copysign)


class AbsI(ScalarOp, name="math.absi"):
    """Absolute value of a signed integer; the least one is its own."""

    @staticmethod
    def infer(operand: Element) -> Type:
        return same_integers(operand)

    @staticmethod
    def eval(operand: Any) -> Any:
        return operand if operand.dtype == bool else np.abs(operand)


class Fma(FloatOp, name="math.fma"):
    """a * b + c, rounded once."""

    @staticmethod
    def infer(a: Element, b: Element, c: Element, *, fastmath: Attribute | None = None) -> Type:
        return same_floats(a, b, c)

    @staticmethod
    def eval(a: Any, b: Any, c: Any, *, fastmath: Any = None) -> Any:
        return fused_multiply_add(a, b, c)


def fused_multiply_add(a: Any, b: Any, c: Any) -> Any:
    """a * b + c rounded once to the operands' dtype."""
    dtype = a.dtype
    if dtype == np.float64:
        return np.vectorize(_exact_fma, otypes=[np.float64])(a, b, c)[()]
    # Products of two floats of at most 24 bits are exact in float64; two_sum gives what the sum loses.
    product, addend = a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64)
    total = product + addend
    part = total - product
    lost = (product - (total - part)) + (addend - part)
    # Round-to-odd, so that rounding to `dtype` is the only rounding that counts.
    is_even = (np.asarray(total).view(np.uint64) & 1) == 0
    other = np.nextafter(total, np.where(lost > 0, np.inf, -np.inf))
    return narrow(np.where(np.isfinite(total) & (lost != 0) & is_even, other, total)[()], dtype)


def _exact_fma(a: float, b: float, c: float) -> float:
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        return a * b + c
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if not exact:
        return a * b + c  # the sign of zero
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf
