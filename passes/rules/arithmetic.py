"""Algebraic rules of elementwise arithmetic: those in ``arithmetic.pattern``, and one that text cannot say."""

from __future__ import annotations

from typing import Any

from dlir.ir.core import Value
from dlir.ir.types import is_float
from dlir.passes.patterns import load_rules
from dlir.passes.rewriter import pattern
from dlir.passes.rules.constants import elements_of


@pattern("nd.add", "nd.mul", "nd.maximum", "nd.minimum")
def constant_to_the_right(op: Any) -> Value | None:
    """c + x -> x + c, likewise for * and max and min: later rules need to look on one side only.

    Max and min of -0.0 and 0.0 compare equal, so the side may decide which zero comes out; only + and * move for floats.
    Text cannot say this: there a commutative op is the same either way round.
    """
    a, b = op.operands
    exact = op.name in ("nd.add", "nd.mul") or not is_float(a.dtype)
    if not exact or elements_of(a) is None or elements_of(b) is not None:
        return None
    return type(op).build(b, a)


ARITHMETIC = (constant_to_the_right, *load_rules("arithmetic"))
