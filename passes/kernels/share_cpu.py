"""Kernels with few work items, or one, whose inner loops are shared out among threads instead.

Such a kernel becomes an ordinary function that runs in its caller's thread.  Each of its large loops goes to a function of
its own, `@kernel_0_part`, which takes a range of the loop as other kernels take one of their items, and is called for a
fixed number of chunks.  A reduction gives a partial result for each chunk, and they are combined in the order of the chunks:
the result does not depend on how many threads there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dlir.ir.builder import at_end, at_start, before, insert
from dlir.ir.core import Value
from dlir.ir.dialects.arith import constant_value
from dlir.ir.dialects.func import Call, Func
from dlir.ir.dialects.scf import Parallel, for_loop, parallel_loop
from dlir.ir.ops import arith, func, memref
from dlir.ir.types import MemRefType, VectorType
from dlir.passes.kernels.loops_cuda import combine
from dlir.passes.kernels.outline import captured_by, function_of
from dlir.passes.kernels.reduce_cuda import neutral
from dlir.passes.kernels.work_cpu import loop_bounds, scalar_work, trip_count

#: Waiting for all chunks of a loop takes longer than doing one of few ops by itself: how many times the work from which on a
#: kernel's items are shared out.
TIMES = 5
#: A kernel with several items, though few, is done one after another if the loops that are shared out are this part of it.
MOST_OF_IT = 0.75


def loops_to_share(function: Func, items: Parallel | None, chunks: int, threshold: int) -> list[Parallel]:
    """The loops of a large kernel to share out in so many chunks; none if the items of the loop `items` are enough for that."""
    count = 1 if items is None else math.prod(_extents(items))
    if count >= chunks or any(isinstance(type, VectorType) for op in function.walk() for type in op.result_types):
        return []
    tops = [op for op in function.body.ops if isinstance(op, Parallel)]
    found = [loop for loop in tops if loop is not items and _is_divisible(loop, chunks, threshold)]
    if found or len(tops) != 1:
        return found
    (outer,) = tops
    count = math.prod(_extents(outer))
    inner = [op for op in outer.body.ops if isinstance(op, Parallel)]
    inner = [loop for loop in inner if _is_divisible(loop, chunks, threshold)]
    return inner if count * sum(map(_work, inner)) >= MOST_OF_IT * _work(outer) or count == 1 else []


def _work(loop: Parallel) -> int:
    return scalar_work(loop.body) * math.prod(_extents(loop))


def _extents(loop: Parallel) -> list[int]:
    """How often each dimension counts; 0 where that is not known."""
    return [trip_count(*bounds) or 0 for bounds in loop_bounds(loop)]


def _is_divisible(loop: Parallel, chunks: int, threshold: int) -> bool:
    """Whether `loop` is large, and can be done in so many chunks along its longest dimension."""
    is_of_rows = any(isinstance(op, Parallel) for op in loop.body.ops)
    least = threshold if is_of_rows else TIMES * threshold
    is_plain = all(constant_value(low) == 0 and constant_value(step) == 1 for low, _, step in loop_bounds(loop))
    are_monoids = all(neutral(region) is not None for region in loop.body.terminator.regions)
    return is_plain and are_monoids and max(_extents(loop)) >= chunks and _work(loop) >= least


def share(loop: Parallel, function: Func, name: str, chunks: int) -> Func:
    """Replace a loop of `function` by calls of a new function, called `name`, for its chunks; that function."""
    extents = _extents(loop)
    axis = extents.index(max(extents))
    part = _part(loop, axis, name, captured := captured_by(loop))
    regions = loop.body.terminator.regions
    with at_start(function.body, loop.location):
        places = [memref.alloca((), (), MemRefType((chunks,), value.type)) for value in loop.results]

    def chunk(number: Value) -> None:
        low, high = chunk_bounds(number, extents[axis], chunks)
        call = insert(Call.create(low, high, *captured, callee=name, result_types=[v.type for v in loop.results]))
        for value, place in zip(call.results, places):
            memref.store(value, place, [number])

    def add(number: Value, *totals: Value) -> list[Value]:
        partials = [memref.load(place, [number]) for place in places]
        return [combine(region, one, two) for region, one, two in zip(regions, totals, partials)]

    with before(loop):
        parallel_loop([0], [chunks], [1], chunk)
        results = for_loop(0, chunks, 1, loop.group("initVals"), add) if places else ()
    loop.replace_by(results)
    return part


def chunk_bounds(number: Value, items: int, chunks: int) -> list[Value]:
    """The first item of chunk `number` and of the next: ``t * items // chunks``, so sizes differ by one at most."""
    return [arith.divui(arith.muli(index, items), chunks) for index in (number, arith.addi(number, 1))]


def _part(loop: Parallel, axis: int, name: str, captured: Sequence[Value]) -> Func:
    """The function for a range of `loop` along one of its dimensions; it returns what the range reduces to."""
    part, copy = function_of(loop, name, captured, ["lo", "hi"])
    low, high, *_ = part.body.args
    with at_end(part.body, loop.location):
        lowers, uppers, steps, inits = (list(group) for group in copy.groups)
        lowers[axis], uppers[axis] = low, high
        with before(copy):
            starts = [neutral(region) for region in copy.body.terminator.regions]
            inits = [arith.constant(start, init.type) for start, init in zip(starts, inits)]
        copy.set_operands((*lowers, *uppers, *steps, *inits))
        func.return_(*copy.results)
    part.update_type()
    return part
