"""Contractions of half or bfloat16 factors on a GPU's tensor cores.

A block's warps divide a tile among them, and each warp holds 16x16 matrices of sums, in float.  Products are those of the
``gpu`` dialect's ``subgroup_mma`` ops, which take their factors from the panels in shared memory.  How the sums lie in the
lanes' registers is nobody's business, so they go through shared memory as well, one matrix of each warp at a time; from there
the lanes take elements and compute the results, as the other kernels do.
"""

from __future__ import annotations

from collections.abc import Sequence

from dlir.ir.affine import AffineExpr, constant, delinearize
from dlir.ir.attributes import UNIT
from dlir.ir.core import Value
from dlir.ir.dialects.gpu import workgroup
from dlir.ir.dialects.gpu_mma import mma_matrix
from dlir.ir.dialects.nd.base import Primitive
from dlir.ir.ops import gpu, memref
from dlir.ir.types import BF16, F16, F32
from dlir.passes.kernels.blocks_cuda import SHARED_LIMIT
from dlir.passes.kernels.contraction_cuda import tile_of
from dlir.passes.kernels.emit import accumulated_dtype
from dlir.passes.kernels.kernel import Kernel
from dlir.passes.kernels.panel_cuda import Panel, sum_in_steps
from dlir.passes.kernels.plan import Unfit
from dlir.passes.kernels.reduce_cuda import WARP
from dlir.passes.kernels.roles import Roles, roles_of
from dlir.passes.kernels.tiles_cuda import Tiling

#: Rows, columns and depth of one product.
SIDE = 16
#: Tiles (rows, columns, depth), the largest first, and what one warp computes of each.
WARP_TILES = {(128, 128, 32): (64, 32), (64, 64, 32): (32, 32), (32, 32, 32): (16, 16)}


def suits_tensor_cores(op: Primitive) -> bool:
    """Whether the factors of contraction `op` have a type of the tensor cores, and its sums are floats."""
    dtypes = {operand.dtype for operand in op.operands}
    return dtypes in ({F16}, {BF16}) and accumulated_dtype(op) is F32


def mma_tile_for(roles: Roles, blocks: int) -> tuple[int, ...]:
    """The largest tile of which there are `blocks`, or else the smallest; () if the result is too narrow for tiles."""
    return tile_of(list(WARP_TILES), roles, blocks)


def emit_mma_tiles(kernel: Kernel) -> None:
    """One work item for each tile of the result."""
    op, tile = kernel.plan.anchor, kernel.tile
    assert op is not None
    roles = roles_of(kernel.plan, lambda op: True)
    if roles is None or not suits_tensor_cores(op):
        raise Unfit("its factors are not both f16 or both bf16, from memory")
    if tile not in WARP_TILES:
        raise Unfit(f"the tile must be one of {', '.join(str(list(one)) for one in WARP_TILES)}, not {list(tile)}")
    rows, columns, depth = tile
    across = WARP_TILES[rows, columns, depth]
    threads = WARP * (rows // across[0]) * (columns // across[1])
    _MmaTiles(kernel, roles, (rows, columns, depth), threads).emit()


class _MmaTiles(Tiling):
    """Tiles whose elements are matrices of warps."""

    def compute(self, outer: Sequence[AffineExpr], starts: tuple[AffineExpr, AffineExpr], thread: AffineExpr) -> None:
        rows, columns = WARP_TILES[self.tile]
        warp, lane = delinearize(thread, (self.threads // WARP, WARP))
        down, across = delinearize(warp, (self.tile[0] // rows, self.tile[1] // columns))
        #: Where a warp's matrices begin in the tile.
        lines = [
            [down * rows + SIDE * n for n in range(rows // SIDE)],
            [across * columns + SIDE * n for n in range(columns // SIDE)],
        ]
        dtype = self.op.operands[self.roles.left].dtype
        panels = [Panel(self, side, dtype, True, outer, starts[side], thread) for side in (0, 1)]
        scratch = self._scratch(panels)
        zero = gpu.subgroup_mma_constant_matrix(
            self.emitter.constant(0, F32), result_types=[mma_matrix(SIDE, SIDE, F32, "COp")]
        )

        def accumulate(turn: AffineExpr, sums: Sequence[Value]) -> Sequence[Value]:
            for k in range(0, self.tile[2], SIDE):
                sums = _multiply(panels, turn, lines, constant(k), sums)
            return sums

        sums = iter(sum_in_steps(self, panels, accumulate, [zero] * (len(lines[0]) * len(lines[1]))))
        for row in lines[0]:
            for column in lines[1]:
                corner = (starts[0] + row, starts[1] + column)
                self._finish(outer, corner, next(sums), scratch, (warp * SIDE, lane))

    def _scratch(self, panels: Sequence[Panel]) -> Value:
        """Memory for one matrix of each warp.  Lanes that write below each other use different banks, if that fits."""
        warps = self.threads // WARP
        used = sum(panel.buffer.type.nbytes for panel in panels)
        pitch = SIDE + 4 if used + warps * SIDE * (SIDE + 4) * F32.bytes <= SHARED_LIMIT else SIDE
        return memref.alloca((), (), workgroup((warps * SIDE, pitch), F32))

    def _finish(
        self,
        outer: Sequence[AffineExpr],
        corner: tuple[AffineExpr, AffineExpr],
        sums: Value,
        scratch: Value,
        where: tuple[AffineExpr, AffineExpr],
    ) -> None:
        """Compute the results for one matrix of each warp, which lies at `corner`; `where`: first line of scratch, and lane."""
        emitter, (top, lane) = self.emitter, where
        pitch = scratch.type.shape[1]
        gpu.subgroup_mma_store_matrix(sums, scratch, emitter.index(top), 0, leadDimension=pitch)
        gpu.barrier()
        down, column = delinearize(lane, (WARP // SIDE, SIDE))

        def element(turn: AffineExpr) -> None:
            row = turn * (WARP // SIDE) + down

            def total() -> Value:
                return memref.load(scratch, [emitter.index(top + row), emitter.index(column)])

            self.store(outer, corner[0] + row, corner[1] + column, total)

        emitter.serial(SIDE * SIDE // WARP, element)
        loop = emitter.scopes[-1].block.last
        assert loop is not None
        loop.attributes["dlir.unroll"] = UNIT
        gpu.barrier()


def _multiply(
    panels: Sequence[Panel],
    turn: AffineExpr,
    lines: Sequence[Sequence[AffineExpr]],
    k: AffineExpr,
    sums: Sequence[Value],
) -> list[Value]:
    """Add one product of depth 16 to each of a warp's matrices, row by row."""
    left, right = ([_load(panel, turn, line, k) for line in lines[panel.side]] for panel in panels)
    pairs = [(a, b) for a in left for b in right]
    return [gpu.subgroup_mma_compute(a, b, total) for (a, b), total in zip(pairs, sums)]


def _load(panel: Panel, turn: AffineExpr, line: AffineExpr, k: AffineExpr) -> Value:
    """A factor: 16 lines of a panel, and 16 products."""
    return gpu.subgroup_mma_load_matrix(
        panel.buffer,
        *panel.at(turn, line, k),
        leadDimension=panel.pitch,
        # Rows of a left factor are lines, and columns of a right one.
        transpose=panel.by_lines != (panel.side == 0) or None,
        result_types=[mma_matrix(SIDE, SIDE, panel.dtype, "AOp" if panel.side == 0 else "BOp")],
    )
