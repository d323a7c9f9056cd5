"""Comparison and choice, as upstream's ``arith``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from dlir.ir.attributes import Attribute
from dlir.ir.core import Value
from dlir.ir.dialects.enums import FASTMATH, WordOp, Words
from dlir.ir.dialects.scalars import (
    Element,
    ScalarOp,
    as_signed,
    as_unsigned,
    element_type,
    like,
    numbers_to_constants,
    same_floats,
    same_integers,
)
from dlir.ir.errors import DlirError, InferError, did_you_mean
from dlir.ir.op import Op, Type
from dlir.ir.types import I1, VectorType

#: The word for each value of `predicate`, in upstream's order.
INTEGER_PREDICATES = ("eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge")
#: ``o`` (ordered) is false and ``u`` (unordered) is true when an operand is NaN.
FLOAT_PREDICATES = (
    *("false", "oeq", "ogt", "oge", "olt", "ole", "one", "ord"),
    *("ueq", "ugt", "uge", "ult", "ule", "une", "uno", "true"),
)

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


class Compare(ScalarOp):
    """Base of the comparisons: ``arith.cmpi("slt", a, b)``."""

    __slots__ = ()
    predicates: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def create(cls, *operands: Any, **keywords: Any) -> Any:
        """As `Op.create`; the predicate may be a word, as the first argument or the keyword."""
        if operands and isinstance(operands[0], str):
            keywords["predicate"], *operands = operands  # type: ignore[assignment]
        word = keywords.get("predicate")
        if isinstance(word, str):
            if word not in cls.predicates:
                raise DlirError(f"'{cls.op_name}' has no predicate '{word}'", hint=did_you_mean(word, cls.predicates))
            keywords["predicate"] = cls.predicates.index(word)
        return super().create(*operands, **keywords)

    @property
    def predicate(self) -> str:
        """The predicate's word."""
        return self.predicates[self["predicate"]]

    @classmethod
    def _check(cls, operand: Type, predicate: int) -> Type:
        if not 0 <= predicate < len(cls.predicates):
            raise InferError(f"predicate must be 0 to {len(cls.predicates) - 1}, got {predicate}")
        return like(operand, I1)


class CmpI(Compare, name="arith.cmpi"):
    """Compare integers; `predicate` is an index into `INTEGER_PREDICATES`."""

    predicates = INTEGER_PREDICATES

    @staticmethod
    def infer(lhs: Element, rhs: Element, *, predicate: int) -> Type:
        return CmpI._check(same_integers(lhs, rhs), predicate)

    @staticmethod
    def eval(lhs: Any, rhs: Any, *, predicate: int) -> Any:
        word = INTEGER_PREDICATES[predicate]
        view = as_unsigned if word[0] == "u" else as_signed
        return _COMPARE[word[-2:]](view(lhs), view(rhs))


class CmpF(Compare, WordOp, name="arith.cmpf"):
    """Compare floats; `predicate` is an index into `FLOAT_PREDICATES`."""

    predicates = FLOAT_PREDICATES
    words: ClassVar[dict[str, Words]] = {"fastmath": FASTMATH}

    @staticmethod
    def infer(lhs: Element, rhs: Element, *, predicate: int, fastmath: Attribute | None = None) -> Type:
        return CmpF._check(same_floats(lhs, rhs), predicate)

    @staticmethod
    def eval(lhs: Any, rhs: Any, *, predicate: int, fastmath: Any = None) -> Any:
        word = FLOAT_PREDICATES[predicate]
        unordered = np.isnan(lhs) | np.isnan(rhs)
        match word:
            case "false" | "true":
                return np.full_like(unordered, word == "true")[()]
            case "ord":
                return ~unordered
            case "uno":
                return unordered
        found = _COMPARE[word[1:]](lhs, rhs)
        return found & ~unordered if word[0] == "o" else found | unordered


class Select(Op, name="arith.select"):
    """`true_value` where the condition holds, else `false_value`; a vector condition chooses by element."""

    @staticmethod
    def infer(condition: Element, true_value: Type, false_value: Type) -> Type:
        if element_type(condition) is not I1:
            raise InferError(f"needs an i1 condition, got {condition}")
        if true_value is not false_value:
            raise InferError(f"needs two values of one type, got {true_value} and {false_value}")
        if isinstance(condition, VectorType) and (
            not isinstance(true_value, VectorType) or true_value.shape != condition.shape
        ):
            raise InferError(f"needs a condition of the values' shape, got {condition} for {true_value}")
        return true_value

    @staticmethod
    def eval(condition: Any, true_value: Any, false_value: Any) -> Any:
        if np.ndim(condition):
            return np.where(condition, true_value, false_value)
        return true_value if condition else false_value

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        condition, *values = groups
        type = next((value.type for value in values if isinstance(value, Value)), None)
        return [condition, *numbers_to_constants(values, type)]
