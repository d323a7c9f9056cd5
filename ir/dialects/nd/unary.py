"""Elementwise functions of one operand."""

from __future__ import annotations

import math as libm
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Elementwise
from dlir.ir.dialects.nd.checks import kind_of, need_kind
from dlir.ir.dialects.nd.gradients import of_first
from dlir.ir.dialects.nd.operands import common_dtype
from dlir.ir.dialects.nd.samples import random_array, random_dtype, random_shape
from dlir.ir.dialects.nd.scalars import number
from dlir.ir.errors import InferError
from dlir.ir.op import Tensor
from dlir.ir.ops import arith, math, nd
from dlir.ir.types import F16, F32, F64, ScalarType, is_float


class Unary(Elementwise):
    """Base of functions whose result has the operand's shape and dtype."""

    #: The kinds of dtype that the op takes: b, i, u, f.
    kinds: ClassVar[str] = "iuf"

    @classmethod
    def infer(cls, x: Tensor) -> Tensor:
        need_kind(x.dtype, cls.kinds)
        return x

    @classmethod
    def sample(cls, rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        return [random_array(rng, random_shape(rng), random_dtype(rng, cls.kinds), special=True)], {}


class FloatFunction(Unary):
    """Base of functions of floats.  Builders turn integers into the float that NumPy takes: f16, f32, f64 by width."""

    kinds = "f"

    @classmethod
    def operand_dtypes(cls, items: list[Any]) -> Sequence[ScalarType]:
        return [float_for(common_dtype(items))]


def float_for(dtype: ScalarType) -> ScalarType:
    """The float type in which NumPy computes functions such as exp for this dtype."""
    if is_float(dtype) or kind_of(dtype) is None:
        return dtype
    try:
        return {1: F16, 2: F32}.get(dtype.bytes, F64)
    except TypeError:
        raise InferError(f"cannot compute with elements of type {dtype}", hint="cast them with nd.cast") from None


class Neg(Unary, name="nd.neg"):
    """-x.  Integers wrap around: the smallest one stays itself."""

    @staticmethod
    def eval(x: Any) -> Any:
        return np.negative(x)

    def scalar(self, x: Value) -> Value:
        return arith.negf(x) if is_float(x.type) else arith.subi(number(0, x.type), x)

    @of_first
    def vjp(self, g: Value) -> Value:
        return nd.neg(g)


class Abs(Unary, name="nd.abs"):
    """The absolute value.  The smallest integer stays itself."""

    @staticmethod
    def eval(x: Any) -> Any:
        return np.absolute(x)

    def scalar(self, x: Value) -> Value:
        if is_float(x.type):
            return math.absf(x)
        return x if kind_of(self.operands[0].dtype) == "u" else math.absi(x)

    @of_first
    def vjp(self, g: Value) -> Value:
        """0 at 0."""
        return nd.mul(g, nd.sign(self.operands[0]))


class Sign(Unary, name="nd.sign"):
    """-1, 0 or 1; +0 for -0, and NaN for NaN."""

    differentiable = False

    @staticmethod
    def eval(x: Any) -> Any:
        return np.sign(x)

    def scalar(self, x: Value) -> Value:
        zero, one, minus_one = (number(value, x.type) for value in (0, 1, -1))
        if is_float(x.type):
            # What is neither above, below nor equal to zero is NaN.
            rest = arith.select(arith.cmpf("oeq", x, zero), zero, x)
            rest = arith.select(arith.cmpf("olt", x, zero), minus_one, rest)
            return arith.select(arith.cmpf("ogt", x, zero), one, rest)
        if kind_of(self.operands[0].dtype) == "u":
            return arith.select(arith.cmpi("ne", x, zero), one, zero)
        rest = arith.select(arith.cmpi("slt", x, zero), minus_one, zero)
        return arith.select(arith.cmpi("sgt", x, zero), one, rest)


class Exp(FloatFunction, name="nd.exp"):
    """e ** x; overflows to inf."""

    @staticmethod
    def eval(x: Any) -> Any:
        return np.exp(x)

    def scalar(self, x: Value) -> Value:
        return math.exp(x)

    @of_first
    def vjp(self, g: Value) -> Value:
        return nd.mul(g, self.result)


class Expm1(FloatFunction, name="nd.expm1"):
    """exp(x) - 1, precise near 0; the zero of ±0 keeps its sign."""

    @staticmethod
    def eval(x: Any) -> Any:
        return np.expm1(x)

    def scalar(self, x: Value) -> Value:
        return math.expm1(x)

    @of_first
    def vjp(self, g: Value) -> Value:
        return nd.mul(g, nd.add(self.result, 1.0))


class Log(FloatFunction, name="nd.log"):
    """The natural logarithm; log(±0) is -inf, of a negative number NaN."""

    @staticmethod
    def eval(x: Any) -> Any:
        return np.log(x)

    def scalar(self, x: Value) -> Value:
        return math.log(x)

    @of_first
    def vjp(self, g: Value) -> Value:
        return nd.div(g, self.operands[0])


class Sqrt(FloatFunction, name="nd.sqrt"):
    """The square root, correctly rounded; sqrt(-0) is -0, of a negative number NaN."""

    @staticmethod
    def eval(x: Any) -> Any:
        return np.sqrt(x)

    def scalar(self, x: Value) -> Value:
        return math.sqrt(x)

    @of_first
    def vjp(self, g: Value) -> Value:
        """Infinite at 0."""
        return nd.div(nd.mul(g, 0.5), self.result)


class Rsqrt(FloatFunction, name="nd.rsqrt"):
    """1 / sqrt(x); rsqrt(±0) is ±inf, of a negative number NaN."""

    @staticmethod
    def eval(x: Any) -> Any:
        return through(lambda wide: 1 / np.sqrt(wide), x, np.float32)

    def scalar(self, x: Value) -> Value:
        return math.rsqrt(x)

    @of_first
    def vjp(self, g: Value) -> Value:
        y = self.result
        return nd.mul(nd.mul(g, -0.5), nd.mul(y, nd.mul(y, y)))


class Tanh(FloatFunction, name="nd.tanh"):
    """The hyperbolic tangent."""

    @staticmethod
    def eval(x: Any) -> Any:
        return np.tanh(x)

    def scalar(self, x: Value) -> Value:
        return math.tanh(x)

    @of_first
    def vjp(self, g: Value) -> Value:
        y = self.result
        return nd.mul(g, nd.sub(1.0, nd.mul(y, y)))


class Erf(FloatFunction, name="nd.erf"):
    """The error function, 2 / sqrt(pi) * integral of exp(-t**2) from 0 to x."""

    @staticmethod
    def eval(x: Any) -> Any:
        def apply(wide: np.ndarray) -> np.ndarray:
            return np.fromiter(map(libm.erf, wide.ravel().tolist()), np.float64, wide.size).reshape(wide.shape)

        return through(apply, x, np.float64)

    def scalar(self, x: Value) -> Value:
        return math.erf(x)

    @of_first
    def vjp(self, g: Value) -> Value:
        x = self.operands[0]
        return nd.mul(nd.mul(g, 2 / libm.sqrt(libm.pi)), nd.exp(nd.neg(nd.mul(x, x))))


class Sin(FloatFunction, name="nd.sin"):
    """The sine of an angle in radians; NaN for ±inf."""

    @staticmethod
    def eval(x: Any) -> Any:
        return np.sin(x)

    def scalar(self, x: Value) -> Value:
        return math.sin(x)

    @of_first
    def vjp(self, g: Value) -> Value:
        return nd.mul(g, nd.cos(self.operands[0]))


class Cos(FloatFunction, name="nd.cos"):
    """The cosine of an angle in radians; NaN for ±inf."""

    @staticmethod
    def eval(x: Any) -> Any:
        return np.cos(x)

    def scalar(self, x: Value) -> Value:
        return math.cos(x)

    @of_first
    def vjp(self, g: Value) -> Value:
        return nd.mul(g, nd.neg(nd.sin(self.operands[0])))


class Floor(Unary, name="nd.floor"):
    """The largest integer that is not above x, as a value of the same dtype; integers stay as they are."""

    differentiable = False

    @staticmethod
    def eval(x: Any) -> Any:
        return np.floor(x)

    def scalar(self, x: Value) -> Value:
        return math.floor(x) if is_float(x.type) else x


class Ceil(Unary, name="nd.ceil"):
    """The smallest integer that is not below x, as a value of the same dtype; integers stay as they are."""

    differentiable = False

    @staticmethod
    def eval(x: Any) -> Any:
        return np.ceil(x)

    def scalar(self, x: Value) -> Value:
        return math.ceil(x) if is_float(x.type) else x


class Rint(Unary, name="nd.rint"):
    """The nearest integer, of two the even one, as a value of the same dtype; integers stay as they are."""

    differentiable = False

    @staticmethod
    def eval(x: Any) -> Any:
        return x if x.dtype.kind in "iu" else np.rint(x)

    def scalar(self, x: Value) -> Value:
        return math.roundeven(x) if is_float(x.type) else x


def through(function: Callable[[Any], Any], x: Any, dtype: Any) -> Any:
    """``function(x)`` computed in `dtype` if that is wider than x's own, and rounded back to that."""
    x = np.asarray(x)
    wide = x.astype(dtype) if x.dtype.itemsize < np.dtype(dtype).itemsize else x
    return np.asarray(function(wide)).astype(x.dtype)
