"""Kernels for CPU threads: each computes a range of its work items, with ordinary loops inside.

The outermost parallel loop of a kernel is cut to the range [lo, hi), which become its first two arguments.  Loops inside it
become ``scf.for``, which LLVM widens; sums may be reassociated for that.  A large kernel with few items is shared out by its
inner loops instead (share_cpu.py).
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence

from dlir.ir.attributes import UNIT, StringAttr
from dlir.ir.builder import before
from dlir.ir.core import Block, Region, Value
from dlir.ir.dialects.arith import constant_value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.enums import fastmath
from dlir.ir.dialects.func import Call, Func
from dlir.ir.dialects.scf import Parallel, for_loop, parallel_loop
from dlir.ir.ops import arith, func
from dlir.ir.types import INDEX
from dlir.passes.kernels.outline import outline
from dlir.passes.kernels.share_cpu import chunk_bounds, loops_to_share, share
from dlir.passes.kernels.work_cpu import loop_bounds, scalar_work, trip_count

#: Chunks of a large kernel's items: many more than threads, so that what is left at the end, while others wait, is little.
CHUNKS = 32
#: Chunks of an inner loop that is shared out, which are combined one after another.
PARTS = 16

#: What combining ops are free to do: any order, as ``scf.parallel`` says, and either zero, as ``nd.maximum`` says.
_FREEDOM = {"arith.addf": "reassoc", "arith.mulf": "reassoc", "arith.maximumf": "nsz", "arith.minimumf": "nsz"}


def map_cpu(module: Module, stats: Counter[str], threads: int, threshold: int) -> None:
    """Map the kernels of `module` that are not mapped yet, and their calls."""
    kernels: dict[str, tuple[int, int]] = {}
    for op in list(module.body.ops):
        if isinstance(op, Func) and op.attributes.get("dlir.kernel") is UNIT and not op.is_declaration:
            stats["kernels"] += 1
            stats["shared out"] += (shared := _share_loops(op, module, threshold))
            if not shared:
                kernels[op.symbol] = _map_kernel(op, module)
    calls = [op for op in module.walk() if isinstance(op, Call) and op["callee"] in kernels]
    for call in calls:
        items, work = kernels[call["callee"]]
        chunks = min(items, threads or CHUNKS) if work >= threshold else 1
        if threads == 1:
            chunks = 1
        _map_call(call, items, chunks)
        stats["chunked" if chunks > 1 else "single"] += 1


def _map_call(call: Call, items: int, chunks: int) -> None:
    """Call with ranges: all items at once, or those of each chunk in a parallel loop."""
    operands = call.operands

    def call_range(low: Value, high: Value) -> None:
        func.call(low, high, *operands, callee=call["callee"], result_types=())

    def chunk(number: Value) -> None:
        call_range(*chunk_bounds(number, items, chunks))

    with before(call):
        if chunks > 1:
            parallel_loop([0], [chunks], [1], chunk)
        else:
            call_range(arith.constant(0, INDEX), arith.constant(items, INDEX))
    call.erase()


# ---------------------------------------------------------------- kernels


def _share_loops(function: Func, module: Module, threshold: int) -> int:
    """Share out the inner loops of a kernel if that is better than sharing out its items; how many.

    Then it is an ordinary function, and calls of it stay as they are.
    """
    if scalar_work(function.body) < threshold:
        return 0
    loops = loops_to_share(function, _work_items(function), PARTS, threshold)
    taken = {op.get("sym_name") for op in module.body.ops}
    names = (name for number in itertools.count() if (name := f"{function.symbol}_{number}") not in taken)
    parts = [share(loop, function, next(names), PARTS) for loop in loops]
    if parts:
        del function.attributes["dlir.kernel"]
    for part in parts:
        module.body.append(part)
    for changed in (*parts, function) if parts else ():
        # What calls parts stays parallel.
        loops = [op for op in changed.walk() if isinstance(op, Parallel)]
        for loop in reversed(loops):
            if not any(isinstance(op, Call) for op in loop.body.ops):
                _serialize(loop)
        _hoist_scratch(changed)
    return len(parts)


def _map_kernel(function: Func, module: Module) -> tuple[int, int]:
    """Map one kernel; the number of its work items, and its work in scalar ops."""
    work = scalar_work(function.body)
    taken = {op.get("sym_name") for op in module.body.ops}
    names = (name for number in itertools.count() if (name := f"{function.symbol}_{number}") not in taken)
    for part in outline(function, lambda: next(names)):
        module.body.append(part)
        for loop in reversed([op for op in part.walk() if isinstance(op, Parallel)]):
            _serialize(loop)
    outermost = _work_items(function)
    items = 1 if outermost is None else math.prod(trip_count(*bounds) or 0 for bounds in loop_bounds(outermost))
    # Inner loops first: what is moved out of a loop is already serial.
    for loop in reversed([op for op in function.walk() if isinstance(op, Parallel)]):
        if loop is not outermost:
            _serialize(loop)
    low, high = _add_range(function)
    if outermost is None:
        _make_one_item(function, low, high)
    else:
        _cut(outermost, low, high)
    _hoist_scratch(function)
    function.attributes["dlir.kernel"] = StringAttr("cpu")
    return items, work


def _work_items(function: Func) -> Parallel | None:
    """The loop over work items: the only parallel loop at the top of a kernel, of known extent and without results.

    None if there is no such loop: then the whole kernel is one item.
    """
    loops = [op for op in function.body.ops if op.regions]
    if len(loops) != 1 or not isinstance(loops[0], Parallel) or loops[0].results:
        return None
    if any(op.name == "memref.store" for op in function.body.ops):
        return None
    return loops[0] if all(trip_count(*bounds) is not None for bounds in loop_bounds(loops[0])) else None


def _add_range(function: Func) -> tuple[Value, Value]:
    """Give `function` the leading arguments lo and hi."""
    block = function.body
    old = list(block.args)
    fresh = Block([INDEX, INDEX, *(arg.type for arg in old)])
    for arg, name in zip(fresh.args, ["lo", "hi", *(arg.name for arg in old)]):
        arg.name = name
    for before_, after in zip(old, fresh.args[2:]):
        before_.replace_by(after)
    for op in list(block.ops):
        op.detach()
        fresh.append(op)
    attributes = [function.arg_attributes(index) for index in range(len(old))]
    function.regions[0].blocks.clear()
    function.regions[0].append(fresh)
    if "arg_attrs" in function.attributes:
        function.set_arg_attributes([{}, {}, *attributes])
    function.update_type()
    return fresh.args[0], fresh.args[1]


def _cut(loop: Parallel, low: Value, high: Value) -> None:
    """Make `loop`, over all work items, one over those from `low` to `high`, counted row-major."""
    bounds = loop_bounds(loop)
    plain = len(bounds) == 1 and constant_value(bounds[0][0]) == 0 and constant_value(bounds[0][2]) == 1

    def body(item: Value) -> None:
        counters = [item] if plain else _counters(item, bounds)
        _move_body(loop, item.owner, counters, ())

    with before(loop):
        for_loop(low, high, 1, [], body)
    loop.erase()


def _counters(item: Value, bounds: list[tuple[Value, Value, Value]]) -> list[Value]:
    """The counters of a loop over a box at its point number `item`."""
    counters: list[Value] = []
    for lower, upper, step in reversed(bounds):
        count = trip_count(lower, upper, step)
        assert count is not None
        number = item if len(counters) == len(bounds) - 1 else arith.remui(item, count)
        counters.append(arith.addi(lower, arith.muli(number, step)))
        item = arith.divui(item, count)
    return counters[::-1]


def _make_one_item(function: Func, low: Value, high: Value) -> None:
    """Run the whole body for item 0, which is in one of the ranges only."""
    ops = [op for op in function.body.ops if not op.is_terminator]

    def body(item: Value) -> None:
        for op in ops:
            op.detach()
            item.owner.append(op)

    with before(function.body.terminator):
        for_loop(low, high, 1, [], body)


# ---------------------------------------------------------------- loops


def _serialize(loop: Parallel) -> None:
    """Make a parallel loop nested ``scf.for`` loops that carry its reductions."""
    bounds = loop_bounds(loop)
    inits = loop.group("initVals")

    def nest(block: Block | None, counters: list[Value], carried: Sequence[Value]) -> Sequence[Value]:
        if len(counters) == len(bounds):
            assert block is not None
            return _move_body(loop, block, counters, carried)
        lower, upper, step = bounds[len(counters)]
        return for_loop(lower, upper, step, carried, lambda i, *inner: nest(i.owner, [*counters, i], inner))

    with before(loop):
        results = nest(None, [], inits)
    loop.replace_by(results)


def _move_body(loop: Parallel, block: Block, counters: Sequence[Value], carried: Sequence[Value]) -> list[Value]:
    """Move what is done at one point into `block`; the carried values combined with those of this point."""
    for old, new in zip(loop.counters, counters):
        old.replace_by(new)
    ending = loop.body.terminator
    for op in list(loop.body.ops):
        if op is not ending:
            op.detach()
            block.append(op)
    return [
        _inline_combiner(region, block, value, before_)
        for region, value, before_ in zip(ending.regions, ending.operands, carried)
    ]


def _inline_combiner(region: Region, block: Block, value: Value, carried: Value) -> Value:
    """The ops that combine two values, moved into `block`."""
    combiner = region.block
    for old, new in zip(combiner.args, (carried, value)):
        old.replace_by(new)
    ending = combiner.terminator
    for op in list(combiner.ops):
        if op is not ending:
            op.detach()
            block.append(op)
            if op.name in _FREEDOM:
                op.attributes["fastmath"] = fastmath(_FREEDOM[op.name])
    return ending.operands[0]


def _hoist_scratch(function: Func) -> None:
    """Allocate scratch once, at the start."""
    first = function.body.first
    for op in list(function.walk()):
        if op.name == "memref.alloca" and not op.operands and first is not None and op is not first:
            op.move_before(first)
