"""Which operand of a kernel may give its buffer to which result.

An operand may be overwritten by a result only if the kernel has read each of its elements before that element's place
is written.  What is allowed here is what holds for every way in which a kernel may iterate:

- everything that the kernel computes from the operand, up to the results, is elementwise at the same row-major position
  (elementwise ops and reshapes; a reduction, a shifted or a broadcast read rules the operand out);
- the operand reaches this result only; or several, if the whole kernel is one loop over one shape, or if these results are
  stored by the same loop.  Such a loop reads everything it needs at a point before it writes at that point
  (`Kernel.store_outputs`), and comes to each point once;
- what stands behind a contraction is stored by such a loop: sums are kept in scratch memory until they are complete.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dlir.ir.affine import constant, dim, linearize
from dlir.ir.builder import before
from dlir.ir.core import Block, Operation, Value
from dlir.ir.dialects.decompose import Decomposed, decompose_op
from dlir.ir.dialects.kernel import KernelRegion
from dlir.ir.dialects.nd.base import Primitive, Space
from dlir.ir.dialects.nd.movement import View
from dlir.ir.traversal import Mapping, clone_ops
from dlir.passes.kernels.plan import Unfit
from dlir.passes.kernels.planner import plan_kernel

#: Forms of kernels whose loops store results point by point, each once.
_POINT_BY_POINT = ("flat", "row", "contraction")


def inplace_candidates(region: KernelRegion) -> dict[int, list[int]]:
    """For each operand of `region` (over tensors) that may be overwritten, the results that may take its place."""
    spaces = _spaces(region)
    if spaces is None:
        return {}
    body, spaces_of = spaces
    yielded = body.terminator.operands
    contracts = any(space.reduction and len(space.maps) > 1 for space in spaces_of.values())
    single_loop = (
        not any(space.reduction for space in spaces_of.values()) and len({value.shape for value in yielded}) == 1
    )
    loops: list[int] | None = None
    found: dict[int, list[int]] = {}
    for arg in body.args:
        reached = _reached(arg, body, spaces_of)
        if reached is None:
            continue
        results = [index for index, value in enumerate(yielded) if value in reached]
        is_safe = single_loop or (len(results) == 1 and not contracts)
        if not is_safe and results:
            loops = _storing_loops(yielded) if loops is None else loops
            is_safe = len({loops[number] for number in results}) == 1 and loops[results[0]] >= 0
        if is_safe:
            found[arg.index] = results
    return found


def _storing_loops(yielded: Sequence[Value]) -> list[int]:
    """For each result the number of the loop that stores it point by point, as the kernel will be planned; -1: none does."""
    found = [-1] * len(yielded)
    try:
        plan = plan_kernel(yielded, lambda op: True)
    except Unfit:
        return found
    parts = plan.parts or [(list(range(len(yielded))), plan)]
    loops = [(numbers, loop) for numbers, part in parts if part.form in _POINT_BY_POINT for loop in part.loops]
    for count, (numbers, loop) in enumerate(loops):
        for number, _ in loop.outputs:
            found[numbers[number]] = count
    return found


def reshaped_operands(region: KernelRegion) -> list[int] | None:
    """For a region whose every result is an operand, element for element in row-major order: which ones; else None."""
    if not all(isinstance(op, View | Decomposed) or op.is_terminator for op in region.body.ops):
        return None
    found = _spaces(region)
    if found is None:
        return None
    body, spaces = found
    sources: dict[Value, int] = {arg: arg.index for arg in body.args}
    for op in body.ops:
        if isinstance(op, View) and op.operands[0] in sources and _keeps_order(spaces[op], 0, op.operands[0]):
            sources[op.results[0]] = sources[op.operands[0]]
    results = [sources.get(value, -1) for value in body.terminator.operands]
    return None if -1 in results else results


def _spaces(region: KernelRegion) -> tuple[Block, dict[Operation, Space]] | None:
    """A copy of the region's body with composites written out, and the iteration space of each op; None if unknown."""
    # Not a clone of the region itself: that would use the region's operands.
    body = Block(arg.type for arg in region.body.args)
    for op in clone_ops(region.body.ops, Mapping(dict(zip(region.body.args, body.args, strict=True)))):
        body.append(op)
    waiting = list(body.ops)
    spaces: dict[Operation, Space] = {}
    while waiting:
        op = waiting.pop()
        if isinstance(op, Decomposed):
            previous = op.previous
            with before(op):
                values = decompose_op(op)
            last = op.previous
            op.replace_by(values)
            while last is not None and last is not previous:
                waiting.append(last)
                last = last.previous
        elif isinstance(op, Primitive):
            spaces[op] = op.space()
        elif not op.is_terminator:
            return None
    return body, spaces


def _reached(arg: Value, body: Block, spaces: dict[Operation, Space]) -> dict[Value, None] | None:
    """What is computed from `arg`, if each of it is elementwise in `arg`; else None."""
    reached: dict[Value, None] = {arg: None}
    for op in body.ops:
        if op.is_terminator or not any(operand in reached for operand in op.operands):
            continue
        space = spaces[op]
        for number, operand in enumerate(op.operands):
            if operand in reached:
                if space.reduction or not _keeps_order(space, number, operand):
                    return None
        reached.update(dict.fromkeys(op.results))
    return reached


def _keeps_order(space: Space, number: int, operand: Value) -> bool:
    """Whether point p of the space reads element p of operand `number`, both counted row-major, and all are read."""
    affine = space.maps[number]
    if affine is None or space.guarded:
        return False
    extents = space.parallel
    if affine.is_identity and operand.shape == extents:
        return True
    if math.prod(extents) != math.prod(operand.shape):
        return False
    point = tuple(constant(0) if extent == 1 else dim(i, extent) for i, extent in enumerate(extents))
    return linearize(affine.apply(point), operand.shape) == linearize(point, extents)
