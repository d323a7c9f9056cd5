"""Scalar code that several ops emit: constants, widening of half precision, conversions, guarded integer division."""

from __future__ import annotations

from typing import Any

from dlir.ir.core import Value
from dlir.ir.ops import arith
from dlir.ir.types import BF16, F16, F32, ScalarType, Type


def number(value: float | int | bool, dtype: Type) -> Value:
    """The constant `value` of scalar type `dtype`."""
    return arith.constant(value, dtype)


def accumulator(dtype: Any) -> ScalarType:
    """The type in which sums of `dtype` are made, and in which half precision is computed."""
    return F32 if dtype is F16 or dtype is BF16 else dtype


def widen(value: Value) -> Value:
    """`value`, as f32 when it is f16 or bf16."""
    return arith.extf(value, F32) if accumulator(value.type) is not value.type else value


def narrow(value: Value, dtype: Type) -> Value:
    """`value` rounded to `dtype` when that is f16 or bf16; the inverse of `widen`."""
    if value.type is not dtype and accumulator(dtype) is value.type:
        return arith.truncf(value, dtype)
    return value
