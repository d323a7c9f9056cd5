"""Attention as one kernel on a CPU, without a buffer for all scores.

A work item is a block of queries of one head.  It goes over the keys in blocks: the scores of a block are computed, turned
into powers of e relative to the largest score so far, and the values are added, weighted with them.  When a larger score
comes up, what was summed before is scaled down.  Queries lie along the lanes of vectors, so that the largest score and the
sum of a query need no reduction across a vector, and keys and values are read where they lie, one scalar for each vector.

The sums follow Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018), and Dao et al.,
"FlashAttention" (2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dlir.ir.affine import AffineExpr, constant, delinearize
from dlir.ir.core import Value
from dlir.ir.ops import arith, memref, vector
from dlir.ir.ops import math as math_ops
from dlir.ir.types import I1, INDEX, MemRefType, VectorType
from dlir.passes.kernels.attention_roles import Attending, roles_of_attention
from dlir.passes.kernels.kernel import Kernel
from dlir.passes.kernels.plan import Unfit


@dataclass(frozen=True)
class Tile:
    """`queries` and `keys` of a block.  A register tile is `rows` keys, or features, of all queries, in vectors of `lanes`."""

    queries: int
    keys: int
    rows: int
    lanes: int


def emit_attention(kernel: Kernel) -> None:
    """One work item for each head and block of queries."""
    tile = Tile(*kernel.tile)
    if tile.queries % tile.lanes:
        raise Unfit(f"the {tile.queries} queries of a tile are no multiple of {tile.lanes} lanes")
    if tile.keys % tile.rows:
        raise Unfit(f"the {tile.keys} keys of a tile are no multiple of {tile.rows} rows")
    roles = roles_of_attention(kernel)
    counts = (*roles.batch, -(-roles.queries // tile.queries))

    def item(number: AffineExpr) -> None:
        *head, block = delinearize(number, counts)
        _Item(kernel, roles, tile, head, block * tile.queries).emit()

    kernel.emitter.items(math.prod(counts), item)


class _Item:
    """Emits the queries from `first` on of one head."""

    def __init__(
        self, kernel: Kernel, roles: Attending, tile: Tile, head: Sequence[AffineExpr], first: AffineExpr
    ) -> None:
        self.kernel = kernel
        self.emitter = kernel.emitter
        self.roles = roles
        self.tile = tile
        self.head = head
        self.first = first
        self.vectors = tile.queries // tile.lanes
        self.type = VectorType((tile.lanes,), roles.dtype)

    def emit(self) -> None:
        tile, roles, emitter = self.tile, self.roles, self.emitter
        lanes = tile.queries
        #: A column for each query: the query itself, the powers of a block of keys, and the sum of weighted values.
        self.query = self._scratch(roles.features, lanes)
        self.powers = self._scratch(tile.keys, lanes)
        self.sums = self._scratch(roles.outputs, lanes)
        #: A row for each query: what the mask holds for a block of keys.  Rows of odd length meet no cache set too often.
        self.masks = self._scratch(lanes, tile.keys + 1) if roles.has_mask_of_pairs else None
        #: For each query the largest score, the sum of powers, what earlier sums are scaled by, and what scores are less.
        self.largest, self.total, self.decay, self.shift = (self._scratch(lanes) for _ in range(4))
        self._start()
        emitter.serial(roles.visible_keys(emitter, self.first, lanes), self._block, step=tile.keys)
        self._store()

    def _scratch(self, *shape: int) -> Value:
        return memref.alloca((), (), MemRefType(shape, self.roles.dtype), alignment=64)

    def _start(self) -> None:
        roles, emitter, lanes = self.roles, self.emitter, self.tile.queries

        def copy(lane: AffineExpr, feature: AffineExpr) -> None:
            found = roles.query(emitter, self.head, self._place(lane), feature)
            scaled = arith.mulf(found, emitter.constant(roles.scale, roles.dtype))
            self._set(scaled, self.query, feature, lane)

        def clear(lane: AffineExpr) -> None:
            self._set(emitter.constant(-math.inf, roles.dtype), self.largest, lane)
            self._set(emitter.constant(0, roles.dtype), self.total, lane)

        emitter.parallel([lanes, roles.features], copy)
        emitter.parallel([lanes], clear)
        zero = emitter.constant(0, roles.dtype)
        emitter.parallel([roles.outputs, lanes], lambda *index: self._set(zero, self.sums, *index))

    def _place(self, lane: AffineExpr) -> AffineExpr:
        """The query of a lane; the last one for lanes beyond it, whose results nobody takes."""
        return self.roles.at_most(self.emitter, self.first + lane, self.roles.queries, self.tile.queries)

    # ------------------------------------------------------------ a block of keys

    def _block(self, start: AffineExpr) -> None:
        """The keys from `start` on."""
        emitter, tile, roles = self.emitter, self.tile, self.roles
        end = roles.visible_keys(emitter, self.first, tile.queries)
        left = arith.subi(end if isinstance(end, Value) else emitter.constant(end, INDEX), emitter.index(start))
        count = arith.minsi(left, emitter.constant(tile.keys, INDEX))
        self._all_scores(start, count)
        self._each_lane(self._remember_largest)
        roles.with_masks(emitter, self.first, start, tile.keys, lambda masked: self._find_largest(start, count, masked))
        self._each_lane(self._rescale)
        emitter.serial(count, lambda key: self._each_lane(lambda lane: self._power(key, lane)))
        whole, rest = divmod(roles.outputs, tile.rows)
        if whole:
            emitter.serial(whole * tile.rows, lambda f: self._add_values(start, count, f, tile.rows), step=tile.rows)
        if rest:
            self._add_values(start, count, constant(whole * tile.rows), rest)

    def _each_lane(self, body: Callable[[AffineExpr], None]) -> None:
        self.emitter.parallel([self.tile.queries], body)

    def _all_scores(self, start: AffineExpr, count: Value) -> None:
        """The scores of `count` keys from `start` on, perhaps of some more: in register tiles, the last one of what is left."""
        emitter, rows = self.emitter, self.tile.rows
        rest = self.roles.keys % rows
        whole = -start + (self.roles.keys - rest)
        if self.roles.keys >= rows:
            limit = arith.minsi(count, emitter.index(whole)) if rest else count
            emitter.serial(limit, lambda row: self._scores(start, row, rows), step=rows)
        if rest:
            is_last = arith.cmpi("sgt", count, emitter.index(whole))
            emitter.when(is_last, lambda: self._scores(start, whole, rest))

    def _scores(self, start: AffineExpr, row: AffineExpr, rows: int) -> None:
        """The products of all queries with `rows` keys from ``start + row`` on: a register tile."""
        emitter, roles = self.emitter, self.roles
        keys = [emitter.bounded(start + row + i, roles.keys) for i in range(rows)]

        def step(feature: AffineExpr, *sums: Value) -> list[Value]:
            queries = self._vectors(self.query, feature)
            factors = [roles.key(emitter, self.head, key, feature) for key in keys]
            return self._products(factors, queries, sums)

        zero = emitter.vector_constant(0, self.type)
        found = emitter.serial(roles.features, step, [zero] * (rows * self.vectors))
        self._spill(found, self.powers, row, rows)

    def _remember_largest(self, lane: AffineExpr) -> None:
        self._set(self._get(self.largest, lane), self.decay, lane)

    def _find_largest(self, start: AffineExpr, count: Value, masked: bool) -> None:
        """Update the largest scores; where something is masked, mask the scores as well."""
        emitter, roles = self.emitter, self.roles

        def one(key: AffineExpr, lane: AffineExpr) -> None:
            score = self._get(self.powers, key, lane)
            if masked:
                query, where = self._place(lane), emitter.bounded(start + key, roles.keys)
                if self.masks is not None:
                    number: Value | None = self._get(self.masks, lane, key)
                else:
                    number = roles.mask_number(emitter, self.head, query, where)
                score = roles.masked(emitter, score, number, query, where)
                self._set(score, self.powers, key, lane)
            self._set(arith.maximumf(self._get(self.largest, lane), score), self.largest, lane)

        if self.masks is not None:
            self._copy_masks(start, self.masks)
        emitter.serial(count, lambda key: self._each_lane(lambda lane: one(key, lane)))

    def _copy_masks(self, start: AffineExpr, masks: Value) -> None:
        """Bring what the mask holds for a block of keys to scratch.

        Neighbours in a mask are the keys of one query: they are read as they lie, and turned where that is cheap.
        """
        emitter, roles, keys = self.emitter, self.roles, self.tile.keys

        def copy(lane: AffineExpr, key: AffineExpr) -> None:
            number = roles.mask_number(emitter, self.head, self._place(lane), emitter.bounded(start + key, roles.keys))
            assert number is not None
            self._set(number, masks, lane, key)

        def rows(count: int) -> None:
            self._each_lane(lambda lane: emitter.parallel([count], lambda key: copy(lane, key)))

        rest = roles.keys % keys
        if not rest or roles.keys < keys:
            rows(rest or keys)
            return
        is_whole = arith.cmpi("sle", emitter.index(start), emitter.constant(roles.keys - keys, INDEX))
        emitter.when(is_whole, lambda: rows(keys))
        emitter.when(arith.xori(is_whole, emitter.constant(True, I1)), lambda: rows(rest))

    def _rescale(self, lane: AffineExpr) -> None:
        """What the sums so far are scaled by; nothing where no score was more than -inf."""
        emitter, dtype = self.emitter, self.roles.dtype
        largest = self._get(self.largest, lane)
        is_nothing = arith.cmpf("oeq", largest, emitter.constant(-math.inf, dtype))
        shift = arith.select(is_nothing, emitter.constant(0, dtype), largest)
        decay = math_ops.exp(arith.subf(self._get(self.decay, lane), shift))
        self._set(shift, self.shift, lane)
        self._set(decay, self.decay, lane)
        self._set(arith.mulf(self._get(self.total, lane), decay), self.total, lane)

    def _power(self, key: AffineExpr, lane: AffineExpr) -> None:
        power = math_ops.exp(arith.subf(self._get(self.powers, key, lane), self._get(self.shift, lane)))
        self._set(power, self.powers, key, lane)
        self._set(arith.addf(self._get(self.total, lane), power), self.total, lane)

    def _add_values(self, start: AffineExpr, count: Value, feature: AffineExpr, rows: int) -> None:
        """Add the weighted values of a block to `rows` features from `feature` on: a register tile."""
        emitter, roles = self.emitter, self.roles
        decay = self._vectors(self.decay)
        inits = [
            arith.mulf(old, by) for i in range(rows) for old, by in zip(self._vectors(self.sums, feature + i), decay)
        ]

        def step(key: AffineExpr, *sums: Value) -> list[Value]:
            weights = self._vectors(self.powers, key)
            where = emitter.bounded(start + key, roles.keys)
            places = [emitter.bounded(feature + i, roles.outputs) for i in range(rows)]
            factors = [roles.value(emitter, self.head, where, place) for place in places]
            return self._products(factors, weights, sums)

        self._spill(emitter.serial(count, step, inits), self.sums, feature, rows)

    # ------------------------------------------------------------ results

    def _store(self) -> None:
        """The weighted values, divided by the sums of the weights, to where they are needed."""
        emitter, roles = self.emitter, self.roles
        count = self.kernel.at_most(self.tile.queries, roles.queries, self.first)

        def invert(lane: AffineExpr) -> None:
            """0 where a query sees nothing: all its sums are 0 as well."""
            total = self._get(self.total, lane)
            zero, one = (emitter.constant(number, roles.dtype) for number in (0, 1))
            is_nothing = arith.cmpf("oeq", total, zero)
            self._set(arith.divf(one, arith.select(is_nothing, one, total)), self.total, lane)

        def element(lane: AffineExpr, feature: AffineExpr) -> None:
            found = arith.mulf(self._get(self.sums, feature, lane), self._get(self.total, lane))
            query = emitter.bounded(self.first + lane, roles.queries)
            roles.store(self.kernel, self.head, query, feature, found)

        self._each_lane(invert)
        emitter.parallel([count], lambda lane: emitter.parallel([roles.outputs], lambda f: element(lane, f)))

    # ------------------------------------------------------------ scratch and vectors

    def _get(self, place: Value, *index: AffineExpr) -> Value:
        return self.emitter.buffers.load_memref(self.emitter, place, index)

    def _set(self, scalar: Value, place: Value, *index: AffineExpr) -> None:
        self.emitter.buffers.store(self.emitter, scalar, place, index)

    def _vectors(self, place: Value, *row: AffineExpr) -> list[Value]:
        """A row of scratch."""
        emitter, lanes = self.emitter, self.tile.lanes
        index = [emitter.index(expr) for expr in row]
        return [
            vector.load(place, [*index, emitter.index(constant(v * lanes))], self.type) for v in range(self.vectors)
        ]

    def _spill(self, found: Sequence[Value], place: Value, row: AffineExpr, rows: int) -> None:
        """Store a register tile to the rows of scratch from `row` on."""
        emitter, lanes = self.emitter, self.tile.lanes
        for i in range(rows):
            for v in range(self.vectors):
                index = [emitter.index(row + i), emitter.index(constant(v * lanes))]
                vector.store(found[i * self.vectors + v], place, index)

    def _products(self, factors: Sequence[Value], vectors: Sequence[Value], sums: Sequence[Value]) -> list[Value]:
        """The sums with each factor times each vector added."""
        found = []
        for i, factor in enumerate(factors):
            wide = vector.broadcast(factor, self.type)
            found += [vector.fma(wide, one, sums[i * len(vectors) + v]) for v, one in enumerate(vectors)]
        return found
