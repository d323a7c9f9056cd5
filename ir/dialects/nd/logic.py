"""Comparisons, logic on bools, and choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd.arithmetic import Binary
from dlir.ir.dialects.nd.base import Elementwise
from dlir.ir.dialects.nd.checks import need_kind, same_dtype, same_shape
from dlir.ir.dialects.nd.gradients import of_each
from dlir.ir.dialects.nd.operands import common_dtype
from dlir.ir.dialects.nd.samples import random_array, random_dtype, random_shape
from dlir.ir.dialects.nd.scalars import number
from dlir.ir.op import Tensor
from dlir.ir.ops import arith, nd
from dlir.ir.types import I1, ScalarType, is_float


class Comparison(Binary):
    """Base of comparisons: i1 in the operands' shape.  With NaN all are false but `not_equal`."""

    differentiable = False
    kinds = "biuf"
    #: The predicates of ``arith.cmpf`` and ``arith.cmpi``.
    predicates: ClassVar[tuple[str, str]]

    @classmethod
    def infer(cls, a: Tensor, b: Tensor) -> Tensor:
        return super().infer(a, b).with_dtype(I1)

    def scalar(self, a: Value, b: Value) -> Value:
        of_floats, of_integers = self.predicates
        if is_float(a.type):
            return arith.cmpf(of_floats, a, b)
        if a.type is I1 or self.is_unsigned:
            # As a signed number, true would be -1.
            of_integers = {"slt": "ult", "sle": "ule", "sgt": "ugt", "sge": "uge"}.get(of_integers, of_integers)
        return arith.cmpi(of_integers, a, b)


class Equal(Comparison, name="nd.equal"):
    """a == b."""

    is_commutative = True
    predicates = ("oeq", "eq")

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.equal(a, b)


class NotEqual(Comparison, name="nd.not_equal"):
    """a != b; true if either is NaN."""

    is_commutative = True
    predicates = ("une", "ne")

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.not_equal(a, b)


class Less(Comparison, name="nd.less"):
    """a < b; false is less than true."""

    predicates = ("olt", "slt")

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.less(a, b)


class LessEqual(Comparison, name="nd.less_equal"):
    """a <= b."""

    predicates = ("ole", "sle")

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.less_equal(a, b)


class Greater(Comparison, name="nd.greater"):
    """a > b."""

    predicates = ("ogt", "sgt")

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.greater(a, b)


class GreaterEqual(Comparison, name="nd.greater_equal"):
    """a >= b."""

    predicates = ("oge", "sge")

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.greater_equal(a, b)


class Logical(Binary):
    """Base of logic on two bools.  Builders take any dtype: what is not zero is true, NaN included."""

    differentiable = False
    kinds = "b"
    is_commutative = True

    @classmethod
    def operand_dtypes(cls, items: list[Any]) -> Sequence[ScalarType]:
        return [I1, I1]


class LogicalAnd(Logical, name="nd.logical_and"):
    """Whether both are true."""

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.logical_and(a, b)

    def scalar(self, a: Value, b: Value) -> Value:
        return arith.andi(a, b)


class LogicalOr(Logical, name="nd.logical_or"):
    """Whether either is true."""

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.logical_or(a, b)

    def scalar(self, a: Value, b: Value) -> Value:
        return arith.ori(a, b)


class LogicalXor(Logical, name="nd.logical_xor"):
    """Whether exactly one is true."""

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.logical_xor(a, b)

    def scalar(self, a: Value, b: Value) -> Value:
        return arith.xori(a, b)


class LogicalNot(Elementwise, name="nd.logical_not"):
    """Whether x is false.  Builders take any dtype: what is not zero is true, NaN included."""

    differentiable = False

    @staticmethod
    def infer(x: Tensor) -> Tensor:
        need_kind(x.dtype, "b")
        return x

    @classmethod
    def operand_dtypes(cls, items: list[Any]) -> Sequence[ScalarType]:
        return [I1]

    @staticmethod
    def eval(x: Any) -> Any:
        return np.logical_not(x)

    def scalar(self, x: Value) -> Value:
        return arith.xori(x, number(True, I1))

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        return [random_array(rng, random_shape(rng), I1)], {}


class Select(Elementwise, name="nd.select"):
    """x where `condition` is true, y elsewhere: NumPy's ``where``.  The condition is i1; x and y have one dtype."""

    @staticmethod
    def infer(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
        need_kind(condition.dtype, "b")
        need_kind(same_dtype(x, y), "biuf")
        same_shape(condition, x, y)
        return x

    @classmethod
    def operand_dtypes(cls, items: list[Any]) -> Sequence[ScalarType]:
        dtype = common_dtype(items[1:])
        return [I1, dtype, dtype]

    @staticmethod
    def eval(condition: Any, x: Any, y: Any) -> Any:
        return np.where(condition, x, y)

    def scalar(self, condition: Value, x: Value, y: Value) -> Value:
        return arith.select(condition, x, y)

    @of_each
    def vjp(self, g: Value, needs: Sequence[bool]) -> list[Value | None]:
        condition, _, _ = self.operands
        x = nd.select(condition, g, 0.0) if needs[1] else None
        return [None, x, nd.select(condition, 0.0, g) if needs[2] else None]

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        shape, dtype = random_shape(rng), random_dtype(rng)
        values = [random_array(rng, shape, dtype, special=True) for _ in range(2)]
        return [random_array(rng, shape, I1), *values], {}
