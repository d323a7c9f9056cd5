"""Rules of the ops that only move elements; all are exact."""

from __future__ import annotations

from typing import Any

from dlir.ir.attributes import DenseElementsAttr
from dlir.ir.core import Value
from dlir.ir.ops import nd
from dlir.passes.rewriter import defined_by, pattern
from dlir.passes.rules.constants import elements_of


@pattern("nd.reshape", "nd.broadcast_to", "nd.transpose", "nd.slice", "nd.pad")
def movement_to_nowhere(op: Any) -> Value | None:
    """move(x) -> x when the result is x's type and every element stays in its place."""
    source = op.operands[0]
    if op.result.type is not source.type or not source.type.is_static:
        return None
    if op.name == "nd.transpose" and list(op["perm"] or range(source.rank)[::-1]) != list(range(source.rank)):
        return None
    if op.name in ("nd.slice", "nd.pad") and source.type.size and not _keeps_order(op):
        return None
    return source


def _keeps_order(op: Any) -> bool:
    """A slice or pad that keeps the shape keeps the order unless it walks backwards or shifts."""
    if op.name == "nd.slice":
        return all(step == 1 for step in op["step"] or ())
    return not any(op["low"])


@pattern("nd.transpose")
def double_transpose(op: Any) -> Value | None:
    """transpose(transpose(x, q), p) -> transpose(x, q o p)."""
    inner = defined_by(op.operands[0], "nd.transpose")
    if inner is None:
        return None
    rank = op.result.rank
    outer_perm = op["perm"] or tuple(range(rank))[::-1]
    inner_perm = inner["perm"] or tuple(range(rank))[::-1]
    return nd.transpose(inner.operands[0], perm=tuple(inner_perm[axis] for axis in outer_perm))


@pattern("nd.reshape")
def double_reshape(op: Any) -> Value | None:
    """reshape(reshape(x, s), t) -> reshape(x, t)."""
    inner = defined_by(op.operands[0], "nd.reshape")
    if inner is None or not op.result.type.is_static:
        return None
    return nd.reshape(inner.operands[0], shape=op.result.shape)


@pattern("nd.broadcast_to")
def double_broadcast(op: Any) -> Value | None:
    """broadcast_to(broadcast_to(x, s), t) -> broadcast_to(x, t)."""
    inner = defined_by(op.operands[0], "nd.broadcast_to")
    if inner is None or not op.result.type.is_static or not inner.result.type.is_static:
        return None
    return nd.broadcast_to(inner.operands[0], shape=op.result.shape)


@pattern("nd.reshape", "nd.broadcast_to", "nd.transpose", "nd.slice")
def move_a_splat(op: Any) -> Value | None:
    """move(constant c everywhere) -> constant c everywhere, whatever the size."""
    found = elements_of(op.operands[0])
    if found is None or not found.is_splat or not op.result.type.is_static:
        return None
    return nd.constant(value=DenseElementsAttr(found.array, op.result.type))


MOVEMENT = (movement_to_nowhere, double_transpose, double_reshape, double_broadcast, move_a_splat)
