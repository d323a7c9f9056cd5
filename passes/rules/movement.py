"""Rules of the ops that only move elements: those in ``movement.pattern``, and one that makes constants."""

from __future__ import annotations

from typing import Any

from dlir.ir.attributes import DenseElementsAttr
from dlir.ir.core import Value
from dlir.ir.ops import nd
from dlir.passes.patterns import load_rules
from dlir.passes.rewriter import pattern
from dlir.passes.rules.constants import elements_of


@pattern("nd.reshape", "nd.broadcast_to", "nd.transpose", "nd.slice")
def move_a_splat(op: Any) -> Value | None:
    """move(constant c everywhere) -> constant c everywhere, whatever the size."""
    found = elements_of(op.operands[0])
    if found is None or not found.is_splat or not op.result.type.is_static:
        return None
    return nd.constant(value=DenseElementsAttr(found.array, op.result.type))


MOVEMENT = (move_a_splat, *load_rules("movement"))
