"""Constant folding: an op of constants is the constant that its ``eval`` gives.  There is no second arithmetic."""

from __future__ import annotations

from typing import Any

from dlir.ir.op import Op
from dlir.ir.registry import dialect_ops
from dlir.ir.types import TensorType
from dlir.passes.rewriter import Pattern
from dlir.passes.rules.constants import constant, elements_of

#: A fold must not turn a small program into a large one: bytes that a folded constant may have.
FOLD_LIMIT = 1 << 16
#: Elements up to which numbers along a dimension are written down for all others, too.
SMALL = 64


def fold_constants(op: Any) -> list[Any] | None:
    """op(constants) -> constant, as ``eval`` computes it, up to FOLD_LIMIT bytes; what only repeats elements stays."""
    if op.name == "nd.constant" or not isinstance(op, Op) or _repeats(op):
        return None
    types = [result.type for result in op.results]
    if not all(isinstance(t, TensorType) and t.is_static and t.nbytes <= FOLD_LIMIT for t in types):
        return None
    constants = [elements_of(value) for value in op.operands]
    if any(found is None or found.type.nbytes > FOLD_LIMIT for found in constants):
        return None
    arrays = op.evaluate([found.value for found in constants if found is not None])
    return [constant(array, type) for array, type in zip(arrays, types, strict=True)]


def _repeats(op: Op) -> bool:
    """Whether an op makes few elements into many."""
    result = op.results[0]
    if op.name == "nd.iota":
        return result.type.is_static and result.type.size > max(SMALL, *result.shape)
    return op.name == "nd.broadcast_to" and result.type != op.operands[0].type


#: Keys are constants as soon as the one that they come from is; what is drawn with them is left to the run.
KEYS = ("random.key", "random.split", "random.fold_in")

_FOLDED = (*(name for name in dialect_ops("nd") if name != "nd.constant"), *KEYS)
FOLDING = (Pattern("fold-constants", _FOLDED, fold_constants),)
