"""Contractions in register tiles.

A work item is a block of rows times a panel of columns.  It packs the panel of the right operand, `columns` wide, and goes
over its rows, `rows` at a time: a tile of the result is kept in vector registers while the products are summed.  The
tile is then stored to scratch, from where the pointwise ops on the result take it.  Columns beyond the last are zeros in
the packed panel, and what is computed for them is not read.

The layout follows Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dlir.ir.affine import AffineExpr, constant, delinearize
from dlir.ir.core import Value
from dlir.ir.ops import arith, memref, vector
from dlir.ir.types import MemRefType, VectorType, is_float
from dlir.passes.kernels.buffers import signless
from dlir.passes.kernels.demand import Index
from dlir.passes.kernels.emit import Context, accumulated_dtype
from dlir.passes.kernels.kernel import Kernel
from dlir.passes.kernels.outline import may_be_outlined
from dlir.passes.kernels.panel import Panel
from dlir.passes.kernels.plan import Unfit
from dlir.passes.kernels.product import factor, leaf_of
from dlir.passes.kernels.roles import Roles, inverse, reads_vectors, roles_of, split

#: Bytes of one packed panel: a part of the second-level cache.
PANEL_BYTES = 256 << 10
#: Work items that there should be, for threads to share, as long as each has so many rows for every packed panel.
ITEMS = 32
BLOCK_ROWS = 96


@dataclass(frozen=True)
class Tile:
    """Sizes of a register tile: `rows` x `columns`, in vectors of `lanes`."""

    rows: int
    columns: int
    lanes: int


def emit_contraction(kernel: Kernel) -> None:
    """One work item for each block of rows and panel of columns."""
    roles = roles_of(kernel.plan, lambda op: True)
    tile = Tile(*kernel.tile)
    if roles is None:
        raise Unfit("it is no sum of products of two operands")
    if tile.columns % tile.lanes:
        raise Unfit(f"the {tile.columns} columns of a tile are no multiple of {tile.lanes} lanes")
    _Contraction(kernel, roles, tile).emit()


class _Contraction:
    """Emits one contraction."""

    def __init__(self, kernel: Kernel, roles: Roles, tile: Tile) -> None:
        self.kernel = kernel
        self.emitter = kernel.emitter
        self.roles = roles
        self.tile = tile
        assert kernel.plan.anchor is not None
        self.op = kernel.plan.anchor
        self.dtype = signless(accumulated_dtype(self.op))
        self.height = roles.size(roles.rows)
        self.width = roles.size(roles.columns)
        #: Rows of bands in one panel, and columns of each; a band is one row of columns.
        self.bands = max(1, min(roles.size(roles.bands), tile.columns // max(1, self.width)))
        self.span = min(self.width, tile.columns)
        self.panels = (-(-roles.size(roles.bands) // self.bands), -(-self.width // self.span) if self.width else 0)
        self.is_packed = not self._reads_vectors()
        self._split_depth()
        self._split_height()

    def _split_depth(self) -> None:
        """Parts of the sum whose packed panel fits the cache; one if nothing is packed."""
        row_bytes = self.tile.columns * self.dtype.bytes  # type: ignore[attr-defined]
        most = max(1, PANEL_BYTES // row_bytes if self.is_packed else self.roles.depth)
        self.parts = max(1, -(-self.roles.depth // most))
        self.part = max(1, -(-self.roles.depth // self.parts))

    def _split_height(self) -> None:
        """Blocks of rows, each a multiple of the tile's, enough of them to share."""
        tiles = -(-self.height // self.tile.rows)
        others = self.roles.size(self.roles.outer) * math.prod(self.panels)
        blocks = min(-(-ITEMS // max(1, others)), max(1, self.height // BLOCK_ROWS))
        if self.parts > 1:
            # Partial sums of the whole block are kept: 64 kB of them at most.
            most = max(1, (64 << 10) // (self.tile.rows * self.tile.columns * 4))
            blocks = max(blocks, -(-tiles // most))
        self.block = -(-tiles // blocks) * self.tile.rows
        self.blocks = -(-self.height // self.block)

    def _reads_vectors(self) -> bool:
        """Whether vectors are read from the right operand where it lies: it is read once, and whole vectors fit."""
        if self.height > self.tile.rows or self.width % self.tile.columns or self.bands > 1:
            return False
        return reads_vectors(self.op, self.roles, self.dtype)

    # ------------------------------------------------------------ structure

    def emit(self) -> None:
        roles = self.roles
        outer = roles.extents(roles.outer)
        extents = (*outer, *self.panels, self.blocks)

        def item(number: AffineExpr) -> None:
            *index, band, panel, block = delinearize(number, extents)
            _Item(self, index, band * self.bands, panel * self.span, block * self.block).emit()

        self.emitter.items(math.prod(extents), item)


class _Item:
    """Emits one work item: rows from `top` on, bands from `band` on, columns from `start` on."""

    def __init__(
        self, owner: _Contraction, outer: Sequence[AffineExpr], band: AffineExpr, start: AffineExpr, top: AffineExpr
    ) -> None:
        self.owner = owner
        self.emitter = owner.emitter
        self.tile = owner.tile
        self.outer = outer
        self.band, self.start, self.top = band, start, top
        roles = owner.roles
        self.bands = owner.kernel.at_most(owner.bands, roles.size(roles.bands), band)
        self.span = owner.kernel.at_most(owner.span, owner.width, start)

    def emit(self) -> None:
        owner, tile = self.owner, self.tile
        if owner.is_packed:
            panel_type = MemRefType((owner.part, tile.columns), owner.dtype)
            self.panel = memref.alloca((), (), panel_type, alignment=64)
        height = tile.rows if owner.parts == 1 else owner.block
        self.sums = memref.alloca((), (), MemRefType((height, tile.columns), owner.dtype), alignment=64)
        if owner.parts == 1:
            self._whole_sum()
        else:
            self._sum_in_parts()

    def _whole_sum(self) -> None:
        depth = self.owner.roles.depth
        if self.owner.is_packed:
            self._pack(constant(0), depth)

        def tile(row: AffineExpr, count: int) -> None:
            self._spill(self._multiply(row, count, constant(0), depth, None), constant(0), count)
            self._finish(row, count, constant(0))

        self._rows(tile)

    def _sum_in_parts(self) -> None:
        """Keep the sums of the whole block in scratch, and add to them part by part."""
        owner, emitter = self.owner, self.emitter
        zero = emitter.vector_constant(0, VectorType((self.tile.lanes,), owner.dtype))

        def clear(row: AffineExpr) -> None:
            self._spill([[zero] * (self.tile.columns // self.tile.lanes)], row, 1)

        def part(first: AffineExpr) -> None:
            depth = owner.kernel.at_most(owner.part, owner.roles.depth, first)
            self._pack(first, depth)
            self._rows(lambda row, count: self._spill(self._multiply(row, count, first, depth, row), row, count))

        emitter.parallel([owner.block], clear)
        emitter.serial(owner.roles.depth, part, step=owner.part)
        self._rows(lambda row, count: self._finish(row, count, row))

    def _rows(self, body: Callable[[AffineExpr, int], None]) -> None:
        """``body(row, count)`` for the tiles of the block: `row` counts from the block's top."""
        owner, emitter, step = self.owner, self.emitter, self.tile.rows
        whole, rest = divmod(owner.height, step)
        single = owner.blocks == 1
        if single and whole == 1:
            body(constant(0), step)
        elif whole:
            limit: int | Value = min(owner.block, whole * step)
            if owner.blocks * owner.block > whole * step and not single:
                left = emitter.index(-self.top + whole * step)
                limit = arith.minsi(left, emitter.index(constant(owner.block)))
            emitter.serial(limit, lambda row: body(row, step), step=step)
        if not rest:
            return
        last = whole * step - (owner.blocks - 1) * owner.block
        if single:
            body(constant(last), rest)
            return
        is_last = arith.cmpi("sge", emitter.index(self.top), emitter.index(constant((owner.blocks - 1) * owner.block)))
        emitter.when(is_last, lambda: body(constant(last), rest))

    # ------------------------------------------------------------ the sum

    def _pack(self, first: AffineExpr, depth: int | Value) -> None:
        """Copy the panel of the right operand, for `depth` products from `first` on."""
        owner = self.owner
        panel = Panel(
            self.emitter, owner.op, owner.roles, self.outer, self.band, self.start, self.bands, self.span, self.panel
        )
        panel.pack(first, depth)

    def _multiply(
        self, row: AffineExpr, count: int, first: AffineExpr, depth: int | Value, add_to: AffineExpr | None
    ) -> list[list[Value]]:
        """The sums of a tile of `count` rows, one vector after another; on top of scratch row `add_to` if given."""
        owner, emitter, tile = self.owner, self.emitter, self.tile
        type = VectorType((tile.lanes,), owner.dtype)
        vectors = tile.columns // tile.lanes
        if add_to is None:
            zero = emitter.vector_constant(0, type)
            inits = [zero] * (count * vectors)
        else:
            inits = [
                vector.load(self.sums, [emitter.index(add_to + i), emitter.index(constant(v * tile.lanes))], type)
                for i in range(count)
                for v in range(vectors)
            ]

        def step(k: AffineExpr, *sums: Value) -> list[Value]:
            right = [self._vector(k, constant(v * tile.lanes), type) for v in range(vectors)]
            found = []
            for i in range(count):
                scalar = self._factor(owner.roles.left, self._point(row + i, constant(0), constant(0)), first + k)
                left = vector.broadcast(scalar, type)
                found += [_multiply_add(left, right[v], sums[i * vectors + v]) for v in range(vectors)]
            return found

        found = emitter.serial(depth, step, inits)
        return [list(found[i * vectors : (i + 1) * vectors]) for i in range(count)]

    def _vector(self, k: AffineExpr, column: AffineExpr, type: VectorType) -> Value:
        """Neighbouring columns of the right operand, for product `k` of the panel."""
        owner, emitter = self.owner, self.emitter
        if owner.is_packed:
            return vector.load(self.panel, [emitter.index(k), emitter.index(column)], type)
        point = self._point(constant(0), constant(0), column)
        leaf = leaf_of(owner.op, owner.roles.right, point + split(k, owner.roles.reduction))
        assert leaf is not None
        return emitter.buffers.load_vector(emitter, *leaf, type)

    def _spill(self, sums: list[list[Value]], place: AffineExpr, count: int) -> None:
        """Store a tile to scratch."""
        emitter = self.emitter
        for i in range(count):
            for v, value in enumerate(sums[i]):
                at = [emitter.index(place + i), emitter.index(constant(v * self.tile.lanes))]
                vector.store(value, self.sums, at)

    # ------------------------------------------------------------ elements

    def _point(self, row: AffineExpr, band: AffineExpr, column: AffineExpr) -> Index:
        """The element of the result at a row, band and column of this item."""
        roles, owner = self.owner.roles, self.owner
        return roles.point(
            self.outer,
            self.emitter.bounded(self.top + row, owner.height),
            self.emitter.bounded(self.band + band, roles.size(roles.bands)),
            self.emitter.bounded(self.start + column, owner.width),
        )

    def _factor(self, operand: int, point: Index, k: AffineExpr) -> Value:
        """What one operand contributes to product `k` at a point, in the type of the sum."""
        owner = self.owner
        op = owner.op
        k = self.emitter.bounded(k, owner.roles.depth)
        index = point + split(k, owner.roles.reduction)
        return factor(self.emitter, op, operand, index)

    def _finish(self, row: AffineExpr, count: int, place: AffineExpr) -> None:
        """Compute and store the results for the sums of `count` rows from `row` on, which lie from `place` on."""
        owner, emitter = self.owner, self.emitter
        kernel, op = owner.kernel, owner.op
        ((*wanted,),) = kernel.plan.loops[0].demand.reductions[op]

        def element(i: AffineExpr, *index: AffineExpr) -> None:
            band, column = index if owner.bands > 1 else (constant(0), index[-1])
            point = self._point(row + i, band, column)
            found = emitter.buffers.load_memref(emitter, self.sums, (place + i, band * owner.width + column))
            finished = op.finish(Context(emitter, op), found, point)
            loop_point = inverse(kernel.plan, point)
            emitter.remember(op.results[0], tuple(e.substitute(loop_point) for e in wanted), finished)
            kernel.store_outputs(kernel.plan.loops[0], loop_point)

        def line(i: AffineExpr) -> None:
            if owner.bands > 1:
                emitter.parallel([self.bands, self.span], lambda *index: element(i, *index))
            else:
                emitter.parallel([self.span], lambda *index: element(i, *index))

        emitter.parallel([count], line)
        may_be_outlined(emitter)


def _multiply_add(left: Value, right: Value, total: Value) -> Value:
    if is_float(left.dtype):
        return vector.fma(left, right, total)
    return arith.addi(total, arith.muli(left, right))
