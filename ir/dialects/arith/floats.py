"""Floats, as upstream's ``arith``: IEEE 754, rounded to nearest even, unless `fastmath` relaxes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlir.ir.dialects.scalars import FloatBinary, FloatUnary


def _maximum(lhs: Any, rhs: Any) -> Any:
    # Which of two zeros NumPy gives depends on the machine.
    return np.where(lhs == rhs, np.where(np.signbit(lhs), rhs, lhs), np.maximum(lhs, rhs))[()]


def _minimum(lhs: Any, rhs: Any) -> Any:
    return np.where(lhs == rhs, np.where(np.signbit(lhs), lhs, rhs), np.minimum(lhs, rhs))[()]


class AddF(FloatBinary, name="arith.addf"):
    """Sum."""

    is_commutative = True
    compute = staticmethod(np.add)


class SubF(FloatBinary, name="arith.subf"):
    """Difference."""

    compute = staticmethod(np.subtract)


class MulF(FloatBinary, name="arith.mulf"):
    """Product."""

    is_commutative = True
    compute = staticmethod(np.multiply)


class DivF(FloatBinary, name="arith.divf"):
    """Quotient."""

    compute = staticmethod(np.divide)


class RemF(FloatBinary, name="arith.remf"):
    """Remainder with the sign of the dividend, C's fmod."""

    compute = staticmethod(np.fmod)


class MaximumF(FloatBinary, name="arith.maximumf"):
    """The larger; NaN if either is, and -0.0 is less than 0.0."""

    is_commutative = True
    compute = staticmethod(_maximum)


class MinimumF(FloatBinary, name="arith.minimumf"):
    """The smaller; NaN if either is, and -0.0 is less than 0.0."""

    is_commutative = True
    compute = staticmethod(_minimum)


class MaxNumF(FloatBinary, name="arith.maxnumf"):
    """The larger; the other one if one is NaN."""

    is_commutative = True
    compute = staticmethod(np.fmax)


class MinNumF(FloatBinary, name="arith.minnumf"):
    """The smaller; the other one if one is NaN."""

    is_commutative = True
    compute = staticmethod(np.fmin)


class NegF(FloatUnary, name="arith.negf"):
    """The number with its sign changed."""

    compute = staticmethod(np.negative)
