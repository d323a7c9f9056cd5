"""Algebraic rules of elementwise arithmetic."""

from __future__ import annotations

from typing import Any

from dlir.ir.core import Value
from dlir.ir.types import I1, is_float
from dlir.passes.rewriter import defined_by, pattern
from dlir.passes.rules.constants import elements_of, is_splat_of


@pattern("nd.add", "nd.mul", "nd.maximum", "nd.minimum")
def constant_to_the_right(op: Any) -> Value | None:
    """c + x -> x + c, likewise for * and max and min: later rules need to look on one side only.

    Max and min of -0.0 and 0.0 compare equal, so the side may decide which zero comes out; only + and * move for floats.
    """
    a, b = op.operands
    exact = op.name in ("nd.add", "nd.mul") or not is_float(a.dtype)
    if not exact or elements_of(a) is None or elements_of(b) is not None:
        return None
    return type(op).build(b, a)


@pattern("nd.add")
def add_nothing(op: Any) -> Value | None:
    """x + (-0.0) -> x for floats, x + 0 -> x for integers.  (x + 0.0 is not x for x = -0.0.)"""
    a, b = op.operands
    return a if is_splat_of(b, -0.0 if is_float(a.dtype) else 0) else None


@pattern("nd.sub")
def subtract_nothing(op: Any) -> Value | None:
    """x - 0 -> x."""
    a, b = op.operands
    return a if is_splat_of(b, 0) else None


@pattern("nd.mul", "nd.div", "nd.floor_divide", "nd.pow")
def times_one(op: Any) -> Value | None:
    """x * 1 -> x, x / 1 -> x, x ** 1 -> x; floor division only for integers."""
    a, b = op.operands
    if op.name == "nd.floor_divide" and is_float(a.dtype):
        return None
    return a if is_splat_of(b, 1) and op.result.type is a.type else None


@pattern("nd.mul")
def times_zero(op: Any) -> Value | None:
    """x * 0 -> 0 for integers only: NaN * 0.0 is NaN."""
    a, b = op.operands
    return b if not is_float(a.dtype) and is_splat_of(b, 0) else None


@pattern("nd.neg")
def double_negation(op: Any) -> Value | None:
    """neg(neg(x)) -> x."""
    inner = defined_by(op.operands[0], "nd.neg")
    return inner.operands[0] if inner else None


@pattern("nd.logical_not")
def double_not(op: Any) -> Value | None:
    """not(not(x)) -> x."""
    inner = defined_by(op.operands[0], "nd.logical_not")
    return inner.operands[0] if inner and inner.operands[0].dtype is I1 else None


@pattern("nd.maximum", "nd.minimum")
def idempotent(op: Any) -> Value | None:
    """max(x, x) -> x, min(x, x) -> x."""
    a, b = op.operands
    return a if a is b else None


@pattern("nd.select")
def select_the_same(op: Any) -> Value | None:
    """select(c, x, x) -> x; select(true, x, y) -> x; select(false, x, y) -> y."""
    condition, yes, no = op.operands
    if yes is no:
        return yes
    found = elements_of(condition)
    if found is None or not found.is_splat:
        return None
    return yes if bool(found.array[()]) else no


@pattern("nd.cast")
def cast_to_the_same(op: Any) -> Value | None:
    """cast(x, type of x) -> x."""
    return op.operands[0] if op.operands[0].type is op.result.type else None


ARITHMETIC = (
    constant_to_the_right,
    add_nothing,
    subtract_nothing,
    times_one,
    times_zero,
    double_negation,
    double_not,
    idempotent,
    select_the_same,
    cast_to_the_same,
)
