"""How much work loops are, in scalar ops."""

from __future__ import annotations

import math

from dlir.ir.core import Block, Operation, Value
from dlir.ir.dialects.arith import constant_value
from dlir.ir.dialects.scf import For, Parallel
from dlir.ir.types import VectorType
from dlir.passes.kernels.classify import scalar_cost
from dlir.passes.kernels.parts import SHARE


def loop_bounds(loop: Parallel) -> list[tuple[Value, Value, Value]]:
    """Lower bound, upper bound and step of each dimension."""
    lowers, uppers, steps, _ = loop.groups
    return list(zip(lowers, uppers, steps))


def trip_count(lower: Value, upper: Value, step: Value) -> int | None:
    """How often a loop runs, if its bounds are constants."""
    low, high, stride = (constant_value(value) for value in (lower, upper, step))
    if low is None or high is None or not stride:
        return None
    return max(0, -(-(high - low) // stride))


def scalar_work(block: Block) -> int:
    """About how many scalar ops running `block` takes."""
    total = 0.0
    waiting: list[tuple[Block, float]] = [(block, 1)]
    while waiting:
        here, times = waiting.pop()
        for op in here.ops:
            total += times * _weight(op)
            inner = times * _runs(op)
            waiting += [(body, inner) for region in op.regions for body in region.blocks]
    return int(total)


def _weight(op: Operation) -> int:
    types = (*op.operand_types, *op.result_types)
    lanes = max((type.size for type in types if isinstance(type, VectorType)), default=1)
    return lanes * scalar_cost(op.name)


def _runs(op: Operation) -> float:
    """How often the regions of `op` run, at most; those for a part of a kernel's items, how often on average."""
    if SHARE in op.attributes:
        return op.attributes[SHARE].value
    if isinstance(op, Parallel):
        bounds = loop_bounds(op)
    elif isinstance(op, For):
        bounds = [op.operands[:3]]  # type: ignore[list-item]
    else:
        return 1
    return math.prod(_at_most(*found) for found in bounds)


def _at_most(lower: Value, upper: Value, step: Value) -> int:
    """How often a loop runs; where the bound is the smaller of two values, one of them may tell."""
    found = trip_count(lower, upper, step)
    if found is not None:
        return found
    limit = upper.defining_op
    if limit is not None and limit.name == "arith.minsi":
        known = [trip_count(lower, value, step) for value in limit.operands]
        return min((count for count in known if count is not None), default=1)
    return 1


def values_from_outside(loop: Operation) -> list[Value]:
    """The values that `loop` uses and that are made outside, in the order of their use."""
    inside: dict[Value, None] = {}
    used: dict[Value, None] = {}
    for op in loop.walk():
        used.update(dict.fromkeys(op.operands))
        inside.update(dict.fromkeys(op.results))
        inside.update(dict.fromkeys(arg for region in op.regions for block in region.blocks for arg in block.args))
    return [value for value in used if value not in inside]
