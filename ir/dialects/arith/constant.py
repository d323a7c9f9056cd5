"""``arith.constant``."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlir.ir.attributes import Attribute, BoolAttr, DenseElementsAttr, FloatAttr, IntegerAttr
from dlir.ir.core import Value
from dlir.ir.dialects.scalars import element_type, is_floating
from dlir.ir.errors import DlirError, InferError
from dlir.ir.op import INDEX, Op, Type
from dlir.ir.types import F32, I1, FloatType, IntegerType, ScalarType, ShapedType


class Constant(Op, name="arith.constant"):
    """A constant number, or a vector of them.

    From Python: ``arith.constant(0.5, F32)``, ``arith.constant(0.0, VectorType((8,), F32))`` (a splat); without a type
    a bool is an i1, an int an index and a float an f32.
    """

    @staticmethod
    def infer(*, value: Attribute) -> Type:
        if isinstance(value, BoolAttr):
            return I1
        if isinstance(value, IntegerAttr | FloatAttr | DenseElementsAttr):
            return value.type
        raise InferError(f"needs a number or dense elements, got {value}")

    @staticmethod
    def eval(*, value: Attribute) -> Any:
        if isinstance(value, DenseElementsAttr):
            return value.value
        if isinstance(value, BoolAttr):
            return np.bool_(value.value)
        assert isinstance(value, IntegerAttr | FloatAttr) and isinstance(value.type, ScalarType)
        return number(value.value, value.type)

    @classmethod
    def create(cls, *operands: Any, **keywords: Any) -> Any:
        """As `Op.create`, and with a Python number and a type as the first arguments."""
        if operands and "value" not in keywords:
            keywords["value"] = constant_attribute(*operands)
            operands = ()
        op = super().create(*operands, **keywords)
        op.result.name = _hint(op.attributes["value"])
        return op


def _hint(value: Attribute) -> str:
    """A name that tells the value, as MLIR gives constants: c4, true, cst."""
    if isinstance(value, BoolAttr):
        return str(value)
    if isinstance(value, IntegerAttr):
        return f"c{value.value}"
    return "cst"


def number(value: float, type: ScalarType) -> Any:
    """A Python number as a NumPy scalar of an element type; an integer keeps its low bits, as in MLIR."""
    if isinstance(type, FloatType):
        return np.asarray(value).astype(type.numpy)[()]
    if type.numpy.kind == "u":
        return type.numpy.type(int(value) % (1 << 8 * type.bytes))
    return type.numpy.type(low_bits(int(value), 8 * type.bytes))


def low_bits(value: int, width: int) -> int:
    """The number whose two's complement is the low `width` bits of `value`."""
    half = 1 << (width - 1)
    return (value + half) % (2 * half) - half


def constant_attribute(value: Any, type: Type | None = None) -> Attribute:
    """The attribute for a Python number as a scalar, or for a number or array as a vector, of `type`.

    Of an integer that is too large, its low bits.
    """
    if isinstance(value, Attribute):
        return value
    if type is None:
        type = I1 if isinstance(value, bool | np.bool_) else INDEX if isinstance(value, int | np.integer) else F32
    dtype = element_type(type)
    if not isinstance(dtype, ScalarType):
        raise DlirError(f"'arith.constant' cannot have type {type}")
    if isinstance(type, ShapedType):
        return DenseElementsAttr(np.asarray(value).astype(dtype.numpy), type)
    if is_floating(type):
        return FloatAttr(float(value), type)
    if not isinstance(type, IntegerType) and type is not INDEX:
        raise DlirError(f"'arith.constant' cannot have type {type}")
    if type is I1:
        return BoolAttr(bool(value))
    return IntegerAttr(low_bits(int(value), type.width if isinstance(type, IntegerType) else 64), type)


def constant_value(value: Value) -> Any:
    """The Python number that a scalar `value` holds if it is an ``arith.constant``, else None."""
    op = value.defining_op
    if not isinstance(op, Constant) or isinstance(op["value"], DenseElementsAttr):
        return None
    return op["value"].value
