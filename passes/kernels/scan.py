"""Kernels with a running total: the dimension along which it runs is a loop in order, all others are work items.

What a point needs besides, and what is computed from its total, is made at the point: such a kernel reads and writes
everything once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dlir.ir.affine import AffineExpr, delinearize
from dlir.ir.core import Value
from dlir.ir.dialects.nd.scan import Scan
from dlir.ir.ops import memref
from dlir.ir.types import MemRefType
from dlir.passes.kernels.buffers import signless
from dlir.passes.kernels.emit import Context, accumulated_dtype
from dlir.passes.kernels.kernel import Kernel
from dlir.passes.kernels.monoids import combine
from dlir.passes.kernels.plan import Plan, points


def width_of(plan: Plan) -> int:
    """How many running totals lie side by side in memory."""
    (loop,) = plan.loops
    return math.prod(loop.extents[_scan_of(plan).axis + 1 :])


def runs_of(plan: Plan) -> int:
    """How many running totals there are."""
    (loop,) = plan.loops
    axis = _scan_of(plan).axis
    return math.prod((*loop.extents[:axis], *loop.extents[axis + 1 :]))


def emit_scan(kernel: Kernel) -> None:
    """One work item for each run of totals, or for ``tile[0]`` of them."""
    together = kernel.tile[0] if kernel.tile else 1
    width = width_of(kernel.plan)
    if together > 1 and width > 1:
        _emit_lanes(kernel, min(together, width))
    else:
        _emit_runs(kernel, math.gcd(together, runs_of(kernel.plan)))


def _emit_runs(kernel: Kernel, together: int) -> None:
    """One work item for so many runs, which divide all of them; their totals are carried by one loop.

    An addition waits for the one before it, so that a few runs take no longer than one.
    """
    emitter, scan = kernel.emitter, _scan_of(kernel.plan)
    shape, axis = scan.results[0].shape, scan.axis
    others = (*shape[:axis], *shape[axis + 1 :])

    def item(number: AffineExpr) -> None:
        runs = [delinearize(number * together + lane, others) for lane in range(together)]

        def step(count: AffineExpr, *totals: Value) -> list[Value]:
            place = _place(scan, count)
            here = [[*run[:axis], place, *run[axis:]] for run in runs]
            return [_point(kernel, scan, point, total) for point, total in zip(here, totals)]

        emitter.serial(shape[axis], step, [emitter.neutral(scan.monoid, accumulated_dtype(scan))] * together)

    emitter.items(math.prod(others) // together, item)


def _emit_lanes(kernel: Kernel, lanes: int) -> None:
    """One work item for so many runs side by side, their totals in scratch: LLVM widens the loop over them."""
    emitter, scan = kernel.emitter, _scan_of(kernel.plan)
    shape, axis = scan.results[0].shape, scan.axis
    dtype = accumulated_dtype(scan)
    outer, inner = shape[:axis], shape[axis + 1 :]
    width = math.prod(inner)
    counts = (*outer, -(-width // lanes))

    def item(number: AffineExpr) -> None:
        *index, block = delinearize(number, counts)
        start = block * lanes
        size = kernel.at_most(lanes, width, start)
        totals = memref.alloca((), (), MemRefType((lanes,), signless(dtype)), alignment=64)

        def step(count: AffineExpr) -> None:
            def lane(number: AffineExpr) -> None:
                point = [*index, _place(scan, count), *delinearize(start + number, inner)]
                before = emitter.buffers.load_memref(emitter, totals, [number])
                emitter.buffers.store(emitter, _point(kernel, scan, point, before), totals, [number])

            emitter.parallel([size], lane)

        zero = emitter.neutral(scan.monoid, dtype)
        emitter.parallel([size], lambda number: emitter.buffers.store(emitter, zero, totals, [number]))
        emitter.serial(shape[axis], step)

    emitter.items(math.prod(counts), item)


def _point(kernel: Kernel, scan: Scan, point: Sequence[AffineExpr], before: Value) -> Value:
    """Compute and store the results at one point, where the total was `before`; the total after it."""
    emitter, (loop,) = kernel.emitter, kernel.plan.loops
    context = Context(emitter, scan)
    index = tuple(expr.substitute(point) for expr in points(scan.results[0].shape))
    after = combine(scan.monoid, accumulated_dtype(scan), before, scan.term(context, index))
    total = scan.finish(context, before if scan["exclusive"] else after, index)
    emitter.remember(scan.results[0], index, total)
    kernel.store_outputs(loop, point)
    return after


def _place(scan: Scan, count: AffineExpr) -> AffineExpr:
    """Where along the axis step number `count` is."""
    return -count + (scan.results[0].shape[scan.axis] - 1) if scan["reverse"] else count


def _scan_of(plan: Plan) -> Scan:
    assert isinstance(plan.anchor, Scan)
    return plan.anchor
