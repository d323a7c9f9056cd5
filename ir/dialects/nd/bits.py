"""Elementwise operations on the bits of integers: and, or, xor, not, shifts, under NumPy's names."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd.arithmetic import Binary
from dlir.ir.dialects.nd.checks import kind_of
from dlir.ir.dialects.nd.scalars import number
from dlir.ir.dialects.nd.unary import Unary
from dlir.ir.ops import arith


class Bitwise(Binary):
    """Base of operations bit by bit; on bools they are those of logic."""

    differentiable = False
    is_commutative = True
    kinds = "biu"


class BitwiseAnd(Bitwise, name="nd.bitwise_and"):
    """The bits that both have."""

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.bitwise_and(a, b)

    def scalar(self, a: Value, b: Value) -> Value:
        return arith.andi(a, b)


class BitwiseOr(Bitwise, name="nd.bitwise_or"):
    """The bits that either has."""

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.bitwise_or(a, b)

    def scalar(self, a: Value, b: Value) -> Value:
        return arith.ori(a, b)


class BitwiseXor(Bitwise, name="nd.bitwise_xor"):
    """The bits that exactly one has."""

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.bitwise_xor(a, b)

    def scalar(self, a: Value, b: Value) -> Value:
        return arith.xori(a, b)


class BitwiseNot(Unary, name="nd.bitwise_not"):
    """The bits that x does not have; on bools `logical_not`."""

    differentiable = False
    kinds = "biu"

    @staticmethod
    def eval(x: Any) -> Any:
        return np.bitwise_not(x)

    def scalar(self, x: Value) -> Value:
        return arith.xori(x, number(True if kind_of(x.type) == "b" else -1, x.type))


class Shift(Binary):
    """Base of shifts: by `b` bits, where a negative `b` counts as a very large one, as in NumPy."""

    differentiable = False
    kinds = "iu"


class LeftShift(Shift, name="nd.left_shift"):
    """a * 2**b: its low bits; 0 from the width of the dtype on."""

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.left_shift(a, b)

    def scalar(self, a: Value, b: Value) -> Value:
        return arith.shli(a, b)


class RightShift(Shift, name="nd.right_shift"):
    """a / 2**b rounded towards minus infinity; from the width of the dtype on 0, or -1 for negative a."""

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.right_shift(a, b)

    def scalar(self, a: Value, b: Value) -> Value:
        return arith.shrui(a, b) if self.is_unsigned else arith.shrsi(a, b)
