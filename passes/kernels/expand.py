"""Composite ops written out as primitives."""

from __future__ import annotations

from collections.abc import Iterable

from dlir.ir.builder import before
from dlir.ir.core import Block, Operation, Value
from dlir.ir.dialects.decompose import Decomposed, decompose_op
from dlir.ir.dialects.nd.attention import Attention
from dlir.ir.dialects.nd.composite import narrowed, widened
from dlir.ir.dialects.nd.normalization import Softmax
from dlir.ir.ops import nd


def expand(op: Decomposed) -> list[Operation]:
    """Replace `op` by its decomposition, one level deep; the new ops in order."""
    previous = op.previous
    with before(op):
        values = (_softmax(*op.operands, **op.keywords),) if isinstance(op, Softmax) else decompose_op(op)
    made: list[Operation] = []
    new = op.previous
    while new is not None and new is not previous:
        made.append(new)
        new = new.previous
    op.replace_by(values)
    return made[::-1]


def _softmax(x: Value, *, axis: int) -> Value:
    """The decomposition of softmax, but for one thing: dividing an element takes ten times as long as multiplying it.

    The sum lies between 1 and the number of elements, so that its reciprocal is accurate, and the product is within
    1.5 ulp of the quotient.
    """
    wide = widened(x)
    powers = nd.exp(nd.sub(wide, nd.max(wide, axes=(axis,), keepdims=True)))
    return narrowed(nd.mul(powers, nd.div(1.0, nd.sum(powers, axes=(axis,), keepdims=True))), x)


def expandable(ops: Iterable[Operation]) -> list[Decomposed]:
    """The composites among `ops` that kernels hold written out: all but attention, which is computed in another way."""
    return [op for op in ops if isinstance(op, Decomposed) and not isinstance(op, Attention)]


def expand_all(block: Block) -> None:
    """Replace every composite of `block` that kernels hold written out, however deep its decomposition goes."""
    waiting = expandable(block.ops)
    while waiting:
        waiting += expandable(expand(waiting.pop()))
