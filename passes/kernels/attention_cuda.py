"""Attention as one kernel on a GPU, without a buffer for all scores.

A block of threads takes a block of queries of one head and goes over the keys in blocks, as the CPU's kernel does
(`dlir.passes.kernels.attention`): scores, their largest, powers, weighted values.  Each of these steps is a loop whose
points the threads share; what they hand on lies in shared memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dlir.ir.affine import AffineExpr, delinearize
from dlir.ir.core import Value
from dlir.ir.dialects.nd.scalars import accumulator
from dlir.ir.ops import arith, memref
from dlir.ir.ops import math as math_ops
from dlir.ir.types import INDEX, MemRefType
from dlir.passes.kernels.attention_roles import Attending, roles_of_attention
from dlir.passes.kernels.kernel import Kernel
from dlir.passes.kernels.plan import Plan

#: Queries and keys of a tile: 16 kB of shared memory for heads of 64 features.
TILE = (16, 32)
#: Bytes of shared memory that a tile may take.
SHARED_BYTES = 40 << 10


def tile_for(plan: Plan) -> tuple[int, int]:
    """The tile for an attention; fewer queries where they have many features."""
    query, _, value = plan.anchor.operands[:3]
    queries, keys = TILE
    row = (query.shape[-1] + value.shape[-1] + keys) * accumulator(query.dtype).bytes
    while queries > 1 and queries * row > SHARED_BYTES:
        queries //= 2
    return queries, keys


def emit_attention_blocks(kernel: Kernel) -> None:
    """One work item for each head and block of queries."""
    roles = roles_of_attention(kernel)
    queries, keys = kernel.tile or TILE
    counts = (*roles.batch, -(-roles.queries // queries))

    def item(number: AffineExpr) -> None:
        *head, block = delinearize(number, counts)
        _Item(kernel, roles, (queries, keys), head, block * queries).emit()

    kernel.emitter.items(math.prod(counts), item)


class _Item:
    """Emits the queries from `first` on of one head."""

    def __init__(
        self, kernel: Kernel, roles: Attending, tile: tuple[int, int], head: Sequence[AffineExpr], first: AffineExpr
    ) -> None:
        self.kernel = kernel
        self.emitter = kernel.emitter
        self.roles = roles
        self.queries, self.keys = tile
        self.head = head
        self.first = first

    def emit(self) -> None:
        roles, emitter, queries = self.roles, self.emitter, self.queries
        self.query = self._scratch(queries, roles.features)
        self.powers = self._scratch(queries, self.keys)
        self.sums = self._scratch(queries, roles.outputs)
        #: For each query the largest score, the sum of powers, and what earlier sums are scaled by.
        self.largest, self.total, self.decay = (self._scratch(queries) for _ in range(3))
        self._start()
        emitter.serial(roles.visible_keys(emitter, self.first, queries), self._block, step=self.keys)
        self._store()

    def _start(self) -> None:
        emitter, roles = self.emitter, self.roles
        zero, nothing = (emitter.constant(number, roles.dtype) for number in (0, -math.inf))

        def copy(query: AffineExpr, feature: AffineExpr) -> None:
            found = roles.query(emitter, self.head, self._place(query), feature)
            scaled = arith.mulf(found, emitter.constant(roles.scale, roles.dtype))
            self._set(scaled, self.query, query, feature)

        def clear(query: AffineExpr) -> None:
            self._set(nothing, self.largest, query)
            self._set(zero, self.total, query)

        emitter.parallel([self.queries, roles.features], copy)
        emitter.parallel([self.queries], clear)
        emitter.parallel([self.queries, roles.outputs], lambda *index: self._set(zero, self.sums, *index))

    def _block(self, start: AffineExpr) -> None:
        """The keys from `start` on."""
        emitter, roles = self.emitter, self.roles
        emitter.parallel([self.queries, self.keys], lambda query, key: self._score(start, query, key))
        emitter.parallel([self.queries], self._find_largest)
        emitter.parallel([self.queries, self.keys], self._power)
        emitter.parallel([self.queries], self._add_powers)
        emitter.parallel([self.queries, roles.outputs], lambda query, f: self._add_values(start, query, f))

    def _place(self, query: AffineExpr) -> AffineExpr:
        return self.roles.at_most(self.emitter, self.first + query, self.roles.queries, self.queries)

    def _key(self, place: AffineExpr) -> AffineExpr:
        return self.roles.at_most(self.emitter, place, self.roles.keys, self.keys)

    # ------------------------------------------------------------ the steps

    def _score(self, start: AffineExpr, query: AffineExpr, key: AffineExpr) -> None:
        emitter, roles = self.emitter, self.roles
        where = self._key(start + key)

        def product(feature: AffineExpr, total: Value) -> list[Value]:
            one = self._get(self.query, query, feature)
            return [math_ops.fma(one, roles.key(emitter, self.head, where, feature), total)]

        (score,) = emitter.serial(roles.features, product, [emitter.constant(0, roles.dtype)])
        number = roles.mask_number(emitter, self.head, self._place(query), where)
        score = roles.masked(emitter, score, number, self._place(query), where)
        if roles.keys % self.keys:
            # Beyond the last key there is nothing to see.
            end = emitter.constant(roles.keys, INDEX)
            is_key = arith.cmpi("slt", emitter.index(start + key), end)
            score = arith.select(is_key, score, emitter.constant(-math.inf, roles.dtype))
        self._set(score, self.powers, query, key)

    def _find_largest(self, query: AffineExpr) -> None:
        """The largest score so far, and what earlier sums are scaled by."""
        emitter = self.emitter
        before = self._get(self.largest, query)

        def step(key: AffineExpr, largest: Value) -> list[Value]:
            return [arith.maximumf(largest, self._get(self.powers, query, key))]

        (largest,) = emitter.serial(self.keys, step, [before])
        self._set(largest, self.largest, query)
        decay = math_ops.exp(arith.subf(before, self._shift(largest)))
        self._set(decay, self.decay, query)
        self._set(arith.mulf(self._get(self.total, query), decay), self.total, query)

    def _shift(self, largest: Value) -> Value:
        """What scores are less: nothing where no score was more than -inf."""
        emitter, dtype = self.emitter, self.roles.dtype
        is_nothing = arith.cmpf("oeq", largest, emitter.constant(-math.inf, dtype))
        return arith.select(is_nothing, emitter.constant(0, dtype), largest)

    def _power(self, query: AffineExpr, key: AffineExpr) -> None:
        below = arith.subf(self._get(self.powers, query, key), self._shift(self._get(self.largest, query)))
        self._set(math_ops.exp(below), self.powers, query, key)

    def _add_powers(self, query: AffineExpr) -> None:
        def step(key: AffineExpr, total: Value) -> list[Value]:
            return [arith.addf(total, self._get(self.powers, query, key))]

        (total,) = self.emitter.serial(self.keys, step, [self._get(self.total, query)])
        self._set(total, self.total, query)

    def _add_values(self, start: AffineExpr, query: AffineExpr, feature: AffineExpr) -> None:
        emitter, roles = self.emitter, self.roles

        def step(key: AffineExpr, total: Value) -> list[Value]:
            value = roles.value(emitter, self.head, self._key(start + key), feature)
            return [math_ops.fma(self._get(self.powers, query, key), value, total)]

        scaled = arith.mulf(self._get(self.sums, query, feature), self._get(self.decay, query))
        (found,) = emitter.serial(self.keys, step, [scaled])
        self._set(found, self.sums, query, feature)

    def _store(self) -> None:
        """The weighted values divided by the sums of the weights; 0 where a query sees nothing."""
        emitter, roles = self.emitter, self.roles
        count = self.kernel.at_most(self.queries, roles.queries, self.first)

        def element(query: AffineExpr, feature: AffineExpr) -> None:
            total = self._get(self.total, query)
            zero, one = (emitter.constant(number, roles.dtype) for number in (0, 1))
            total = arith.select(arith.cmpf("oeq", total, zero), one, total)
            found = arith.divf(self._get(self.sums, query, feature), total)
            roles.store(self.kernel, self.head, emitter.bounded(self.first + query, roles.queries), feature, found)

        emitter.parallel([count, roles.outputs], element)

    # ------------------------------------------------------------ scratch

    def _scratch(self, *shape: int) -> Value:
        return memref.alloca((), (), MemRefType(shape, self.roles.dtype), alignment=64)

    def _get(self, place: Value, *index: AffineExpr) -> Value:
        return self.emitter.buffers.load_memref(self.emitter, place, index)

    def _set(self, scalar: Value, place: Value, *index: AffineExpr) -> None:
        self.emitter.buffers.store(self.emitter, scalar, place, index)
