"""Elementwise arithmetic on two operands: add, sub, mul, div, floor_divide, mod, pow, maximum, minimum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Elementwise
from dlir.ir.dialects.nd.checks import kind_of, need_kind, same_dtype, same_shape
from dlir.ir.dialects.nd.gradients import of_each
from dlir.ir.dialects.nd.operands import common_dtype
from dlir.ir.dialects.nd.samples import random_array, random_dtype, random_shape
from dlir.ir.dialects.nd.scalars import number
from dlir.ir.op import Tensor
from dlir.ir.ops import arith, math, nd
from dlir.ir.types import F64, I1, ScalarType, is_float


class Binary(Elementwise):
    """Base of ops on two tensors of one shape and dtype, which the result has too."""

    #: The kinds of dtype that the op takes: b, i, u, f.
    kinds: ClassVar[str] = "iuf"

    @classmethod
    def infer(cls, a: Tensor, b: Tensor) -> Tensor:
        need_kind(same_dtype(a, b), cls.kinds)
        same_shape(a, b)
        return a

    @property
    def is_unsigned(self) -> bool:
        """Whether the operands are unsigned integers."""
        return kind_of(self.operands[0].dtype) == "u"

    @classmethod
    def sample(cls, rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        shape, dtype = random_shape(rng), random_dtype(rng, cls.kinds)
        return [random_array(rng, shape, dtype, special=True) for _ in range(2)], {}


class Add(Binary, name="nd.add"):
    """a + b.  Integers wrap around; on bools it is `logical_or`, as in NumPy."""

    is_commutative = True
    kinds = "biuf"

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.add(a, b)

    def scalar(self, a: Value, b: Value) -> Value:
        if a.type is I1:
            return arith.ori(a, b)
        return arith.addf(a, b) if is_float(a.type) else arith.addi(a, b)

    @of_each
    def vjp(self, g: Value, needs: Sequence[bool]) -> list[Value | None]:
        return [g, g]


class Sub(Binary, name="nd.sub"):
    """a - b.  Integers wrap around; not for bools, as in NumPy."""

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.subtract(a, b)

    def scalar(self, a: Value, b: Value) -> Value:
        return arith.subf(a, b) if is_float(a.type) else arith.subi(a, b)

    @of_each
    def vjp(self, g: Value, needs: Sequence[bool]) -> list[Value | None]:
        return [g, nd.neg(g) if needs[1] else None]


class Mul(Binary, name="nd.mul"):
    """a * b.  Integers wrap around; on bools it is `logical_and`, as in NumPy."""

    is_commutative = True
    kinds = "biuf"

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.multiply(a, b)

    def scalar(self, a: Value, b: Value) -> Value:
        if a.type is I1:
            return arith.andi(a, b)
        return arith.mulf(a, b) if is_float(a.type) else arith.muli(a, b)

    @of_each
    def vjp(self, g: Value, needs: Sequence[bool]) -> list[Value | None]:
        a, b = self.operands
        return [nd.mul(g, b) if needs[0] else None, nd.mul(g, a) if needs[1] else None]


class Div(Binary, name="nd.div"):
    """a / b of floats: x/0 is ±inf, 0/0 NaN.  Builders turn integers into f64, as NumPy's true division does."""

    kinds = "f"

    @classmethod
    def operand_dtypes(cls, items: list[Any]) -> Sequence[ScalarType]:
        dtype = common_dtype(items)
        return [dtype if is_float(dtype) else F64] * 2

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.divide(a, b)

    def scalar(self, a: Value, b: Value) -> Value:
        return arith.divf(a, b)

    @of_each
    def vjp(self, g: Value, needs: Sequence[bool]) -> list[Value | None]:
        part = nd.div(g, self.operands[1])
        return [part, nd.neg(nd.mul(part, self.result)) if needs[1] else None]


class FloorDivide(Binary, name="nd.floor_divide"):
    """The quotient rounded towards minus infinity, so that a == a // b * b + a % b.

    Integers: x // 0 is 0 and the smallest integer // -1 is itself (it wraps).  Floats: x // 0 is x / 0; the quotient is
    computed from the exact remainder, as in NumPy, and is not always floor(a / b).
    """

    differentiable = False

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.floor_divide(a, b)

    def scalar(self, a: Value, b: Value) -> Value:
        if not is_float(a.type):
            return _unsigned_divmod(a, b)[0] if self.is_unsigned else _integer_divmod(a, b)[0]
        remainder = arith.remf(a, b)
        quotient = arith.divf(arith.subf(a, remainder), b)
        quotient = arith.select(_signs_differ(remainder, b), arith.subf(quotient, 1.0), quotient)
        whole = math.floor(quotient)
        whole = arith.select(arith.cmpf("ogt", arith.subf(quotient, whole), 0.5), arith.addf(whole, 1.0), whole)
        ratio = arith.divf(a, b)
        # A quotient of zero takes the sign of a / b.
        is_zero = arith.cmpf("oeq", quotient, 0.0)
        whole = arith.select(is_zero, math.copysign(number(0.0, a.type), ratio), whole)
        return arith.select(arith.cmpf("oeq", b, 0.0), ratio, whole)


class Mod(Binary, name="nd.mod"):
    """The remainder with the sign of the divisor, as ``%`` in Python and ``numpy.remainder``.

    Integers: x % 0 is 0.  Floats: exact; x % 0 and inf % x are NaN; a zero result has the divisor's sign.
    """

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.remainder(a, b)

    def scalar(self, a: Value, b: Value) -> Value:
        if not is_float(a.type):
            return _unsigned_divmod(a, b)[1] if self.is_unsigned else _integer_divmod(a, b)[1]
        remainder = arith.remf(a, b)
        shifted = arith.select(_signs_differ(remainder, b), arith.addf(remainder, b), remainder)
        signed_zero = math.copysign(number(0.0, a.type), b)
        # Dividing by zero leaves NaN, which is not equal to zero.
        return arith.select(arith.cmpf("oeq", remainder, 0.0), signed_zero, shifted)

    @of_each
    def vjp(self, g: Value, needs: Sequence[bool]) -> list[Value | None]:
        return [g, nd.neg(nd.mul(g, nd.floor_divide(*self.operands))) if needs[1] else None]


class Pow(Binary, name="nd.pow"):
    """a ** b.  Floats as in C (0 ** 0 is 1, a negative base with a fraction gives NaN).

    Integers wrap around.  Where NumPy refuses a negative exponent, the result is the true quotient 1 / a ** -b rounded
    towards zero, and 0 for base 0.
    """

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        if a.dtype.kind != "i":
            return np.power(a, b)
        # A base of 1 or -1 is its own inverse; any other has an inverse that rounds to zero.
        powers = np.power(a, np.maximum(b, 0))
        inverse = np.where(a == 1, 1, np.where(a == -1, np.where(b % 2 == 0, 1, -1), 0))
        return np.where(b < 0, inverse, powers).astype(a.dtype)

    def scalar(self, a: Value, b: Value) -> Value:
        if is_float(a.type):
            return math.powf(a, b)
        return _power(a, b, a.type.width) if self.is_unsigned else _signed_power(a, b)

    @of_each
    def vjp(self, g: Value, needs: Sequence[bool]) -> list[Value | None]:
        """For exponent 0 the base, and for base 0 and an exponent of at least 0 the exponent, has gradient 0."""
        a, b = self.operands
        base = exponent = None
        if needs[0]:
            lowered = nd.select(nd.equal(b, 0.0), 0.0, nd.sub(b, 1.0))
            base = nd.mul(g, nd.mul(b, nd.pow(a, lowered)))
        if needs[1]:
            is_flat = nd.logical_and(nd.equal(a, 0.0), nd.greater_equal(b, 0.0))
            exponent = nd.mul(g, nd.mul(self.result, nd.log(nd.select(is_flat, 1.0, a))))
        return [base, exponent]


class Maximum(Binary, name="nd.maximum"):
    """The larger of a and b; NaN if either is.  Which zero maximum(-0, +0) gives is not specified."""

    is_commutative = True
    kinds = "biuf"

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.maximum(a, b)

    def scalar(self, a: Value, b: Value) -> Value:
        if a.type is I1:
            return arith.ori(a, b)
        if is_float(a.type):
            return arith.maximumf(a, b)
        return arith.maxui(a, b) if self.is_unsigned else arith.maxsi(a, b)

    @of_each
    def vjp(self, g: Value, needs: Sequence[bool]) -> list[Value | None]:
        """Of equals, each gets half, as in JAX and PyTorch."""
        a, b = self.operands
        shared = nd.select(nd.equal(a, b), nd.mul(g, 0.5), g)
        return [
            nd.select(nd.less(a, b), 0.0, shared) if needs[0] else None,
            nd.select(nd.less(b, a), 0.0, shared) if needs[1] else None,
        ]


class Minimum(Binary, name="nd.minimum"):
    """The smaller of a and b; NaN if either is.  Which zero minimum(-0, +0) gives is not specified."""

    is_commutative = True
    kinds = "biuf"

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.minimum(a, b)

    def scalar(self, a: Value, b: Value) -> Value:
        if a.type is I1:
            return arith.andi(a, b)
        if is_float(a.type):
            return arith.minimumf(a, b)
        return arith.minui(a, b) if self.is_unsigned else arith.minsi(a, b)

    @of_each
    def vjp(self, g: Value, needs: Sequence[bool]) -> list[Value | None]:
        """Of equals, each gets half, as in JAX and PyTorch."""
        a, b = self.operands
        shared = nd.select(nd.equal(a, b), nd.mul(g, 0.5), g)
        return [
            nd.select(nd.greater(a, b), 0.0, shared) if needs[0] else None,
            nd.select(nd.greater(b, a), 0.0, shared) if needs[1] else None,
        ]


def _signs_differ(remainder: Value, divisor: Value) -> Value:
    """Whether a float remainder is not zero and on the other side of zero than the divisor."""
    negative = [arith.cmpf("olt", value, 0.0) for value in (remainder, divisor)]
    return arith.andi(arith.cmpf("une", remainder, 0.0), arith.xori(*negative))


def _integer_divmod(a: Value, b: Value) -> tuple[Value, Value]:
    """Floor division and remainder of integers, defined for every divisor.

    Division by 0 and by -1 (of the smallest integer) would trap: both are done without dividing.
    """
    is_zero, is_minus_one = arith.cmpi("eq", b, 0), arith.cmpi("eq", b, -1)
    safe = arith.select(arith.ori(is_zero, is_minus_one), number(1, b.type), b)
    quotient = arith.divsi(a, safe)
    remainder = arith.subi(a, arith.muli(quotient, safe))
    off = arith.andi(arith.cmpi("ne", remainder, 0), arith.cmpi("slt", arith.xori(remainder, b), 0))
    quotient = arith.select(off, arith.subi(quotient, 1), quotient)
    quotient = arith.select(is_minus_one, arith.subi(number(0, a.type), a), quotient)
    quotient = arith.select(is_zero, number(0, a.type), quotient)
    return quotient, arith.select(off, arith.addi(remainder, b), remainder)


def _unsigned_divmod(a: Value, b: Value) -> tuple[Value, Value]:
    """Quotient and remainder of unsigned integers, both 0 for divisor 0."""
    is_zero, zero = arith.cmpi("eq", b, 0), number(0, a.type)
    safe = arith.select(is_zero, number(1, b.type), b)
    quotient, remainder = (arith.select(is_zero, zero, divide(a, safe)) for divide in (arith.divui, arith.remui))
    return quotient, remainder


def _power(base: Value, exponent: Value, bits: int) -> Value:
    """Square and multiply, one step for each of the low `bits` of the exponent."""
    result, square = number(1, base.type), base
    for bit in range(bits):
        is_set = arith.cmpi("ne", arith.andi(arith.shrui(exponent, bit), 1), 0)
        result = arith.select(is_set, arith.muli(result, square), result)
        square = arith.muli(square, square)
    return result


def _signed_power(base: Value, exponent: Value) -> Value:
    """A power of integers whose exponent may be negative."""
    one, zero = number(1, base.type), number(0, base.type)
    result = _power(base, exponent, base.type.width - 1)
    is_odd = arith.cmpi("ne", arith.andi(exponent, 1), 0)
    minus_one = arith.select(is_odd, number(-1, base.type), one)
    inverse = arith.select(arith.cmpi("eq", base, -1), minus_one, zero)
    inverse = arith.select(arith.cmpi("eq", base, 1), one, inverse)
    return arith.select(arith.cmpi("slt", exponent, 0), inverse, result)
