"""Contractions on a GPU: tiles of the result by blocks of threads, or one item for each element.

A block of 256 threads computes a tile, `rows` x `columns`, and each thread keeps its elements of it in registers.  It reads
what it needs of a panel's lines 16 bytes at a time: its rows and columns are groups of neighbours, and the groups are as far
apart as all the threads of a direction have neighbours, so that neighbouring threads read neighbours in shared memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dlir.ir.affine import AffineExpr, delinearize
from dlir.ir.attributes import UNIT
from dlir.ir.core import Value
from dlir.ir.ops import arith, memref, vector
from dlir.ir.ops import math as math_ops
from dlir.ir.types import VectorType, is_float
from dlir.passes.kernels.kernel import Kernel
from dlir.passes.kernels.panel_cuda import VECTOR, Panel, sum_in_steps
from dlir.passes.kernels.plan import Unfit
from dlir.passes.kernels.roles import Roles, roles_of
from dlir.passes.kernels.tiles_cuda import Tiling

#: Threads of a block in each direction of the tile.
SIDE = 16


def emit_elements(kernel: Kernel) -> None:
    """One work item for each element; a reduction inside is a loop that a block's threads may share."""
    (loop,) = kernel.plan.loops
    kernel.emitter.items(
        math.prod(loop.extents), lambda item: kernel.store_outputs(loop, delinearize(item, loop.extents))
    )


def emit_tiles(kernel: Kernel) -> None:
    """One work item for each tile of the result."""
    roles = roles_of(kernel.plan, lambda op: True)
    if roles is None:
        raise Unfit("it is no product of two operands that are in memory")
    rows, columns, depth = kernel.tile
    if rows % SIDE or columns % SIDE:
        raise Unfit(f"a tile's rows and columns must be multiples of {SIDE}, not {rows} and {columns}")
    _Tiles(kernel, roles, (rows, columns, depth), SIDE * SIDE).emit()


def tile_for(roles: Roles, blocks: int) -> tuple[int, ...]:
    """The largest tile (rows, columns, depth) of which there are `blocks`, or else the smallest; () if the result is so
    narrow that most of a tile would lie outside of it."""
    tiles = ((128, 128, 8), (64, 64, 16), (32, 32, 16), (SIDE, SIDE, SIDE))
    return tile_of(tiles, roles, blocks)


def tile_of(tiles: Sequence[tuple[int, int, int]], roles: Roles, blocks: int) -> tuple[int, ...]:
    """As `tile_for`, of some tiles, the largest first."""
    rows = roles.size(roles.rows)
    columns = roles.size((*roles.bands, *roles.columns))
    if min(rows, columns) < SIDE // 2 or roles.depth == 0:
        return ()
    for tile in tiles:
        if roles.size(roles.outer) * -(-rows // tile[0]) * -(-columns // tile[1]) >= blocks:
            return tile
    return tiles[-1]


class _Tiles(Tiling):
    """Tiles whose elements are the registers of 16 x 16 threads."""

    def compute(self, outer: Sequence[AffineExpr], starts: tuple[AffineExpr, AffineExpr], thread: AffineExpr) -> None:
        places = delinearize(thread, (SIDE, SIDE))
        panels = [Panel(self, side, self.dtype, False, outer, starts[side], thread) for side in (0, 1)]
        lines = [self._lines(place, size) for place, size in zip(places, self.tile)]
        inits = [self.emitter.constant(0, self.dtype)] * (len(lines[0]) * len(lines[1]))

        def accumulate(turn: AffineExpr, sums: Sequence[Value]) -> Sequence[Value]:
            return self._accumulate(panels, turn, places, sums)

        sums = iter(sum_in_steps(self, panels, accumulate, inits))
        for row in lines[0]:
            for column in lines[1]:
                total = next(sums)
                self.store(outer, starts[0] + row, starts[1] + column, lambda total=total: total)  # type: ignore[misc]

    def _group(self, size: int) -> int:
        """How many of a thread's lines are neighbours."""
        return math.gcd(max(1, VECTOR // self.dtype.bytes), size // SIDE)

    def _lines(self, place: AffineExpr, size: int) -> list[AffineExpr]:
        """The rows or columns of a tile that belong to the threads at `place`."""
        group = self._group(size)
        return [place * group + SIDE * group * (n // group) + n % group for n in range(size // SIDE)]

    def _accumulate(
        self, panels: Sequence[Panel], turn: AffineExpr, places: Sequence[AffineExpr], sums: Sequence[Value]
    ) -> Sequence[Value]:
        """Add the products of one step to a thread's sums, row by row."""
        emitter = self.emitter

        def product(k: AffineExpr, *carried: Value) -> list[Value]:
            left, right = (self._read(panel, turn, k, place) for panel, place in zip(panels, places))
            pairs = [(a, b) for a in left for b in right]
            return [_multiply_add(a, b, total) for (a, b), total in zip(pairs, carried)]

        found = emitter.serial(self.tile[2], product, sums)
        found[0].owner.attributes["dlir.unroll"] = UNIT
        return found

    def _read(self, panel: Panel, turn: AffineExpr, k: AffineExpr, place: AffineExpr) -> list[Value]:
        """A thread's lines of a panel at one product."""
        group = self._group(panel.size)
        lines = self._lines(place, panel.size)
        if group == 1:
            return [memref.load(panel.buffer, panel.at(turn, line, k)) for line in lines]
        type = VectorType((group,), self.dtype)
        vectors = [
            vector.load(panel.buffer, panel.at(turn, line, k), type, alignment=group * self.dtype.bytes)
            for line in lines[::group]
        ]
        return [vector.extract(found, number) for found in vectors for number in range(group)]


def _multiply_add(left: Value, right: Value, total: Value) -> Value:
    if is_float(left.type):
        return math_ops.fma(left, right, total)
    return arith.addi(total, arith.muli(left, right))
