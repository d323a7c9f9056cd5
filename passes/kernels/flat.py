"""Kernels without rows: every point of one shape is computed by itself.

`emit_flat` makes one loop over all elements, a thread of a GPU for each.  `emit_nest` keeps the dimensions that broadcasting
or a change of order tells apart, so that the innermost loop runs over neighbours, which LLVM widens.
"""

from __future__ import annotations

import math

from dlir.ir.affine import AffineExpr, delinearize
from dlir.ir.ops import arith
from dlir.passes.kernels.kernel import Kernel, merge_dims
from dlir.passes.kernels.plan import Loop


def emit_flat(kernel: Kernel) -> None:
    """One work item for each element."""
    (loop,) = kernel.plan.loops
    kernel.emitter.is_serial = True

    def body(item: AffineExpr) -> None:
        _store_all(kernel, loop, list(delinearize(item, loop.extents)))

    kernel.emitter.items(math.prod(loop.extents), body)


def emit_nest(kernel: Kernel) -> None:
    """One work item for each run of neighbours; at most ``tile[0]`` elements of one, where that is given."""
    (loop,) = kernel.plan.loops
    grid = merge_dims(loop, (), lambda number: kernel.targets[number].shape)
    *outer, inner = grid.extents or (1,)
    emitter = kernel.emitter
    if not outer:
        emitter.items(inner, lambda item: _store_all(kernel, loop, grid.expand([item], loop.extents)))
        return
    block = min(kernel.tile[0], inner) if kernel.tile else inner
    blocks = -(-inner // block) if block else 0

    def body(item: AffineExpr) -> None:
        *outer_index, number = delinearize(item, (*outer, blocks))

        def point(lane: AffineExpr) -> None:
            position = lane if blocks == 1 else number * block + lane
            _store_all(kernel, loop, grid.expand([*outer_index, position], loop.extents))

        if inner % block == 0:
            emitter.parallel([block], point)
        else:
            left = emitter.index(-(number * block) + inner)
            emitter.parallel([arith.minsi(left, emitter.index(AffineExpr({}, block)))], point)

    emitter.items(math.prod(outer) * blocks, body)


def _store_all(kernel: Kernel, loop: Loop, point: list[AffineExpr]) -> None:
    """Compute and store all results at one point: everything is read before anything is written."""
    emitter = kernel.emitter
    places = [(number, tuple(expr.substitute(point) for expr in index)) for number, index in loop.outputs]
    found = [emitter.element(kernel.values[number], index) for number, index in places]
    for scalar, (number, index) in zip(found, places):
        emitter.buffers.store(emitter, scalar, kernel.targets[number], index)
