"""Integer arithmetic, as upstream's ``arith``: two's complement, wrapping around unless a flag promises otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlir.ir.dialects.scalars import ExactBinary, IntegerBinary, OverflowBinary


def _divide(lhs: Any, rhs: Any) -> Any:
    """Division rounded towards zero; x / 0 is 0 and the least integer divided by -1 is itself, as in NumPy."""
    return np.floor_divide(lhs - np.fmod(lhs, rhs), rhs)


def _divide_up(lhs: Any, rhs: Any) -> Any:
    return np.floor_divide(lhs, rhs) + (np.remainder(lhs, rhs) != 0)


class AddI(OverflowBinary, name="arith.addi"):
    """Sum."""

    is_commutative = True
    compute = staticmethod(np.add)


class SubI(OverflowBinary, name="arith.subi"):
    """Difference."""

    compute = staticmethod(np.subtract)


class MulI(OverflowBinary, name="arith.muli"):
    """Product: its low bits."""

    is_commutative = True
    compute = staticmethod(np.multiply)


class DivSI(ExactBinary, name="arith.divsi"):
    """Signed quotient, rounded towards zero."""

    compute = staticmethod(_divide)


class DivUI(ExactBinary, name="arith.divui"):
    """Unsigned quotient."""

    is_signed = False
    compute = staticmethod(np.floor_divide)


class RemSI(IntegerBinary, name="arith.remsi"):
    """Signed remainder, with the sign of the dividend."""

    compute = staticmethod(np.fmod)


class RemUI(IntegerBinary, name="arith.remui"):
    """Unsigned remainder."""

    is_signed = False
    compute = staticmethod(np.remainder)


class FloorDivSI(IntegerBinary, name="arith.floordivsi"):
    """Signed quotient, rounded towards minus infinity."""

    compute = staticmethod(np.floor_divide)


class CeilDivSI(IntegerBinary, name="arith.ceildivsi"):
    """Signed quotient, rounded towards plus infinity."""

    compute = staticmethod(_divide_up)


class CeilDivUI(IntegerBinary, name="arith.ceildivui"):
    """Unsigned quotient, rounded up."""

    is_signed = False
    compute = staticmethod(_divide_up)


class AndI(IntegerBinary, name="arith.andi"):
    """Bitwise and."""

    is_commutative = True
    compute = staticmethod(np.bitwise_and)


class OrI(IntegerBinary, name="arith.ori"):
    """Bitwise or."""

    is_commutative = True
    compute = staticmethod(np.bitwise_or)


class XOrI(IntegerBinary, name="arith.xori"):
    """Bitwise exclusive or."""

    is_commutative = True
    compute = staticmethod(np.bitwise_xor)


class ShLI(OverflowBinary, name="arith.shli"):
    """Shift left; the count is unsigned, and gives 0 from the width on."""

    is_signed = False
    compute = staticmethod(np.left_shift)


class ShRSI(ExactBinary, name="arith.shrsi"):
    """Shift right, filling with the sign; the count is unsigned, and gives the sign from the width on."""

    compute = staticmethod(np.right_shift)


class ShRUI(ExactBinary, name="arith.shrui"):
    """Shift right, filling with zeros; the count is unsigned, and gives 0 from the width on."""

    is_signed = False
    compute = staticmethod(np.right_shift)


class MaxSI(IntegerBinary, name="arith.maxsi"):
    """The larger as signed integers."""

    is_commutative = True
    compute = staticmethod(np.maximum)


class MinSI(IntegerBinary, name="arith.minsi"):
    """The smaller as signed integers."""

    is_commutative = True
    compute = staticmethod(np.minimum)


class MaxUI(IntegerBinary, name="arith.maxui"):
    """The larger as unsigned integers."""

    is_commutative = True
    is_signed = False
    compute = staticmethod(np.maximum)


class MinUI(IntegerBinary, name="arith.minui"):
    """The smaller as unsigned integers."""

    is_commutative = True
    is_signed = False
    compute = staticmethod(np.minimum)
