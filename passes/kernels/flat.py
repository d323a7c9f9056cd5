"""Kernels without rows: every point of one shape is computed by itself.

`emit_flat` makes one loop over all elements, a thread of a GPU for each.  `emit_nest` keeps the dimensions that broadcasting
or a change of order tells apart, so that the innermost loop runs over neighbours, which LLVM widens.  `emit_blocks` is for
operands that lie in another order than the results: blocks of both orders stay in the cache.
"""

from __future__ import annotations

import math

from dlir.ir.affine import AffineExpr, delinearize
from dlir.passes.kernels.grid import crossing, merge_dims
from dlir.passes.kernels.kernel import Kernel
from dlir.passes.kernels.plan import Unfit


def emit_flat(kernel: Kernel) -> None:
    """One work item for each element."""
    (loop,) = kernel.plan.loops
    kernel.emitter.is_serial = True
    total = math.prod(loop.extents)
    kernel.emitter.items(total, lambda item: kernel.store_outputs(loop, delinearize(item, loop.extents)))


def emit_nest(kernel: Kernel) -> None:
    """One work item for each run of neighbours; at most ``tile[0]`` elements of one, where that is given."""
    (loop,) = kernel.plan.loops
    grid = merge_dims(kernel.plan, loop)
    if len(grid.extents) > 1:
        emit_runs(kernel)
        return
    (count,) = grid.extents or (1,)
    kernel.emitter.items(count, lambda item: kernel.store_outputs(loop, grid.expand([item], loop.extents)))


def emit_runs(kernel: Kernel) -> None:
    """As `emit_nest`, and a run is an item also where there is nothing else to number."""
    (loop,) = kernel.plan.loops
    grid = merge_dims(kernel.plan, loop)
    *outer, inner = grid.extents or (1,)
    emitter = kernel.emitter
    block = min(kernel.tile[0], inner) if kernel.tile else inner
    blocks = -(-inner // block) if block else 0

    def run(item: AffineExpr) -> None:
        *index, number = delinearize(item, (*outer, blocks))

        def point(lane: AffineExpr) -> None:
            kernel.store_outputs(loop, grid.expand([*index, number * block + lane], loop.extents))

        emitter.parallel([kernel.at_most(block, inner, number * block)], point)

    emitter.items(math.prod(outer) * blocks, run)


def emit_blocks(kernel: Kernel) -> None:
    """One work item for each strip of ``tile[0]`` in the direction of the operand, in blocks of ``tile[1]`` elements."""
    (loop,) = kernel.plan.loops
    grid = merge_dims(kernel.plan, loop)
    across = crossing(kernel.plan, loop, grid)
    if across is None:
        raise Unfit("no operand lies in another order than the results")
    emitter = kernel.emitter
    *outer, inner = grid.extents
    depth = outer.pop(across)
    strip, block = min(kernel.tile[0], depth), min(kernel.tile[1], inner)
    counts = (*outer, -(-depth // strip))

    def item(number: AffineExpr) -> None:
        *index, part = delinearize(number, counts)
        strip_size = kernel.at_most(strip, depth, part * strip)

        def point(start: AffineExpr, i: AffineExpr, lane: AffineExpr) -> None:
            place = [*index[:across], part * strip + i, *index[across:], start + lane]
            kernel.store_outputs(loop, grid.expand(place, loop.extents))

        def blocks(start: AffineExpr) -> None:
            block_size = kernel.at_most(block, inner, start)
            emitter.parallel([strip_size, block_size], lambda i, lane: point(start, i, lane))

        emitter.serial(inner, blocks, step=block)

    emitter.items(math.prod(counts), item)
