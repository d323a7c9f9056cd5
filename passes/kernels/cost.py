"""What computing elements costs, and which are worth keeping."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dlir.ir.affine import has_lookup
from dlir.ir.core import Value
from dlir.ir.dialects.arith import constant_value
from dlir.ir.dialects.nd.base import Primitive
from dlir.ir.types import INDEX
from dlir.passes.kernels.classify import facts
from dlir.passes.kernels.demand import Demand, Index
from dlir.passes.kernels.plan import Loop, Plan
from dlir.passes.kernels.probe import Probe

#: From this cost on, computing an element again costs more than writing and reading it.
WORTH_KEEPING = 10
#: Bytes of scratch that one work item may take for that.
SCRATCH_LIMIT = 32 << 10


def is_product(op: Primitive) -> bool:
    """Whether an element of `op` is an element of the first operand times one of the second, each possibly widened, and
    zero where one is read outside of its shape."""
    if len(op.operands) != 2 or 0 in op.space().extents:
        return False
    found = Probe(op).result.defining_op
    if found is None or found.name not in ("arith.mulf", "arith.muli"):
        return False
    return all(_is_read(factor) for factor in found.operands)


def _is_read(value: Value) -> bool:
    """Whether `value` is what was loaded, through widening and a choice between it and zero."""
    op = value.defining_op
    while op is not None and op.name in ("arith.extf", "arith.select"):
        if op.name == "arith.select" and constant_value(op.operands[2]) != 0:
            return False
        value = op.operands[1 if op.name == "arith.select" else 0]
        op = value.defining_op
    return op is None and value.type is not INDEX


def computation_cost(key: tuple[Value, Index], demand: Demand) -> int:
    """What computing an element costs with all that it needs, up to what is in memory or reduced."""
    total = 0
    seen: dict[tuple[Value, Index], None] = {}
    waiting = [key]
    while waiting:
        here = waiting.pop()
        value, index = here
        op = value.defining_op
        if here in seen or here in demand.leaves or not isinstance(op, Primitive) or op in demand.reductions:
            continue
        seen[here] = None
        total += facts(op).cost
        waiting += facts(op).operand_elements(op, index)
    return total


def staged_elements(loops: Sequence[Loop], limit: int) -> dict[Loop, list[tuple[Value, Index]]]:
    """For each loop over a row, the elements to keep for a later loop that runs over the same columns.

    Kept is what a later loop needs of an earlier one and would be costly to compute again, within `limit` bytes in all.
    """
    kept: dict[Loop, list[tuple[Value, Index]]] = {}
    for position, later in enumerate(loops):
        for earlier in loops[:position]:
            if earlier.extents != later.extents or not later.extents:
                continue
            for key in _frontier(earlier, later):
                value, _ = key
                size = math.prod(later.extents) * value.dtype.bytes
                known = any(key in found for found in kept.values())
                if known or size > limit or computation_cost(key, later.demand) < WORTH_KEEPING:
                    continue
                kept.setdefault(earlier, []).append(key)
                limit -= size
    return kept


def _frontier(earlier: Loop, later: Loop) -> list[tuple[Value, Index]]:
    """What `later` needs directly, at every column, that `earlier` computes too."""
    rank = len(later.demand.extents) - len(later.extents)
    columns = {rank + i for i, extent in enumerate(later.extents) if extent != 1}
    shared = {key for key in later.demand.elements if key in earlier.demand.elements}
    inner: set[tuple[Value, Index]] = set()
    for value, index in shared:
        op = value.defining_op
        if (
            (value, index) not in later.demand.leaves
            and isinstance(op, Primitive)
            and op not in later.demand.reductions
        ):
            inner.update(facts(op).operand_elements(op, index))
    found = []
    for key in later.demand.elements:
        used = {n for expr in key[1] for n in expr.used_dims()}
        # What is read at an index from memory has no place of its own in scratch.
        if has_lookup(key[1]):
            continue
        if key in shared and key not in inner and key not in later.demand.leaves and columns <= used:
            found.append(key)
    return found


def recomputation(plan: Plan) -> str | None:
    """Why a plan would waste work: which costly op it computes far more often than it has results; None if it does not."""
    rank = len(plan.rows)
    for _, part in plan.parts:
        if reason := recomputation(part):
            return reason
    for loop in plan.loops:
        total = math.prod((*plan.rows, *loop.extents))
        for value, index in loop.demand.elements:
            op = value.defining_op
            if (value, index) in loop.demand.leaves or not isinstance(op, Primitive) or op in loop.demand.reductions:
                continue
            used = {n for expr in index for n in expr.used_dims()}
            times = _times(plan, loop, used, rank)
            wasted = (times - math.prod(value.shape)) * facts(op).cost
            if wasted > 2 * total:
                return f"'{op.name}' would be computed {times} times for its {math.prod(value.shape)} elements"
    return None


def _times(plan: Plan, loop: Loop, used: set[int], rank: int) -> int:
    """How often an element over the dimensions `used` is computed, in the outermost loop that has them all."""
    if plan.form == "row" and all(n < rank for n in used):
        return math.prod(plan.rows)
    extents = loop.demand.extents
    if plan.form == "row":
        return math.prod((*plan.rows, *loop.extents))
    # Loops over all but the innermost dimension, and that inside: what does not need it is computed once outside.
    own = len(loop.extents)
    inner = [n for n in range(own) if extents[n] != 1]
    if inner and inner[-1] not in used and all(n < own for n in used):
        return math.prod(loop.extents[: inner[-1]])
    return math.prod(loop.extents) * math.prod(extents[n] for n in used if n >= own)


def row_elements(loop: Loop, rank: int) -> list[tuple[Value, Index]]:
    """The elements that a loop over columns needs and that only depend on the row, whose dimensions are the first `rank`,
    if they are costly to compute."""
    if math.prod(loop.extents) == 1:
        return []
    demand = loop.demand
    of_row = {key for key in demand.elements if all(n < rank for expr in key[1] for n in expr.used_dims())}
    inner: set[tuple[Value, Index]] = set()
    for value, index in of_row:
        op = value.defining_op
        if (value, index) not in demand.leaves and isinstance(op, Primitive) and op not in demand.reductions:
            inner.update(facts(op).operand_elements(op, index))
    wanted = [key for key in demand.elements if key in of_row and key not in inner]
    return [key for key in wanted if not has_lookup(key[1]) and computation_cost(key, demand) >= WORTH_KEEPING]
