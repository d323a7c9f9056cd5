"""What a kernel of attention reads and writes, for those who emit its loops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dlir.ir.affine import AffineExpr, constant, symbol
from dlir.ir.core import Value
from dlir.ir.dialects.nd.attention import Attention
from dlir.ir.dialects.nd.scalars import accumulator, narrow, widen
from dlir.ir.ops import arith
from dlir.ir.types import I1, INDEX, Type
from dlir.passes.kernels.demand import Index
from dlir.passes.kernels.emit import Emitter
from dlir.passes.kernels.kernel import Kernel
from dlir.passes.kernels.plan import inverse_point


@dataclass(frozen=True)
class Attending:
    """The extents of an ``nd.attention``, how its operands are read, and where its result is needed.

    `features` are those of queries and keys, `outputs` those of values.  `dtype` is what is computed in.
    """

    op: Attention
    batch: tuple[int, ...]
    queries: int
    keys: int
    features: int
    outputs: int
    scale: float
    causal: bool
    dtype: Type
    #: Where the loop over the kernel's results needs this one.
    needed: Index

    @property
    def mask(self) -> Value | None:
        return self.op.operands[3] if len(self.op.operands) > 3 else None

    @property
    def has_mask_of_pairs(self) -> bool:
        """Whether there is a mask that differs both from query to query and from key to key."""
        return self.mask is not None and self.mask.rank > 1 and 1 not in self.mask.shape[-2:]

    # ------------------------------------------------------------ operands

    def query(self, emitter: Emitter, head: Sequence[AffineExpr], query: AffineExpr, feature: AffineExpr) -> Value:
        """A feature of a query, in the type that is computed in; likewise `key` and `value`."""
        return self._read(emitter, self.op.operands[0], head, query, feature)

    def key(self, emitter: Emitter, head: Sequence[AffineExpr], key: AffineExpr, feature: AffineExpr) -> Value:
        return self._read(emitter, self.op.operands[1], head, key, feature)

    def value(self, emitter: Emitter, head: Sequence[AffineExpr], key: AffineExpr, feature: AffineExpr) -> Value:
        return self._read(emitter, self.op.operands[2], head, key, feature)

    def _read(self, emitter: Emitter, operand: Value, head: Sequence[AffineExpr], *place: AffineExpr) -> Value:
        return widen(emitter.element(operand, _aligned(operand, (*head, *place))))

    # ------------------------------------------------------------ masks

    def visible_keys(self, emitter: Emitter, first: AffineExpr, queries: int) -> int | Value:
        """How many keys, counted from the first, some of `queries` queries from `first` on may see."""
        if not self.causal:
            return self.keys
        return arith.minsi(emitter.index(first + queries), emitter.constant(self.keys, INDEX))

    def with_masks(
        self, emitter: Emitter, first: AffineExpr, start: AffineExpr, keys: int, body: Callable[[bool], None]
    ) -> None:
        """``body(masked)`` for `keys` keys from `start` on: whether some query from `first` on may not see one of them."""
        if self.mask is not None or not self.causal:
            body(self.mask is not None)
            return
        is_seen = arith.cmpi("sle", emitter.index(start + (keys - 1)), emitter.index(first))
        emitter.when(is_seen, lambda: body(False))
        emitter.when(arith.xori(is_seen, emitter.constant(True, I1)), lambda: body(True))

    def mask_number(
        self, emitter: Emitter, head: Sequence[AffineExpr], query: AffineExpr, key: AffineExpr
    ) -> Value | None:
        """What the mask holds for a query and a key, in the type that is computed in; 1 or 0 for a mask of truth values."""
        if self.mask is None:
            return None
        found = emitter.element(self.mask, _aligned(self.mask, (*head, query, key)))
        return arith.uitofp(found, self.dtype) if found.type is I1 else widen(found)

    def masked(self, emitter: Emitter, score: Value, number: Value | None, query: AffineExpr, key: AffineExpr) -> Value:
        """A score with its `mask_number`, -inf where the query does not see the key."""
        nothing = emitter.constant(-math.inf, self.dtype)
        if number is not None and self.mask is not None and self.mask.dtype is I1:
            score = arith.select(arith.cmpf("one", number, emitter.constant(0, self.dtype)), score, nothing)
        elif number is not None:
            score = arith.addf(score, number)
        if self.causal:
            is_seen = arith.cmpi("sle", emitter.index(key), emitter.index(query))
            score = arith.select(is_seen, score, nothing)
        return score

    # ------------------------------------------------------------ results

    def store(
        self, kernel: Kernel, head: Sequence[AffineExpr], query: AffineExpr, feature: AffineExpr, found: Value
    ) -> None:
        """Compute and store the kernel's results for an element of the attention's."""
        (loop,) = kernel.plan.loops
        (result,) = self.op.results
        point = inverse_point(self.needed, loop.extents, result.shape, (*head, query, feature))
        index = tuple(expr.substitute(point) for expr in self.needed)
        kernel.emitter.remember(result, index, narrow(found, result.dtype))
        kernel.store_outputs(loop, point)

    def at_most(self, emitter: Emitter, place: AffineExpr, extent: int, beyond: int) -> AffineExpr:
        """`place`, which may be up to ``beyond - 1`` too large, or the last one of `extent`."""
        if extent % beyond == 0:
            return emitter.bounded(place, extent)
        last = emitter.constant(max(extent - 1, 0), INDEX)
        return symbol(arith.minsi(emitter.index(place), last), extent)


def roles_of_attention(kernel: Kernel) -> Attending:
    """The attention that a kernel computes."""
    op: Any = kernel.plan.anchor
    assert isinstance(op, Attention)
    query, value = op.operands[0], op.operands[2]
    (loop,) = kernel.plan.loops
    (needed,) = (index for found, index in loop.demand.leaves if found is op.results[0])
    scale = op["scale"]
    return Attending(
        op,
        op.results[0].shape[:-2],
        query.shape[-2],
        value.shape[-2],
        query.shape[-1],
        value.shape[-1],
        1 / math.sqrt(query.shape[-1]) if scale is None else scale,
        op["causal"],
        accumulator(query.dtype),
        needed,
    )


def _aligned(operand: Value, index: Sequence[AffineExpr]) -> Index:
    """The element of an operand that broadcasts, at an index of what it broadcasts to."""
    own = index[len(index) - operand.rank :] if operand.rank else ()
    return tuple(constant(0) if extent == 1 else expr for extent, expr in zip(operand.shape, own))
