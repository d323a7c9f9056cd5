"""How a kernel's work items are spread over a GPU: a thread or a block for each, and how many threads to a block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from dlir.ir.core import Operation, Value
from dlir.ir.dialects.arith import constant_value
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.memref import strides_of
from dlir.ir.dialects.scf import Parallel
from dlir.passes.kernels.loops_cuda import Box
from dlir.passes.kernels.reduce_cuda import WARP

#: A loop over work items with this attribute (a number) has bodies that already tell threads apart: that many to a block.
THREADS = "dlir.threads"

#: Multiprocessors that should all have work, about: the larger GPUs have 108 to 148.
MULTIPROCESSORS = 128
LARGEST_BLOCK = 1024
POINTWISE_BLOCK = 256
#: With more items than this many blocks have threads, each thread computes several.
MOST_BLOCKS = 4096
#: A loop inside an item is worth a block's threads from this many points on.
WORTH_A_BLOCK = 32


@dataclass(frozen=True)
class Mapping:
    """`kind`: an item is one thread's ("threads"), a block's ("block"), or already says what threads do ("tile")."""

    kind: Literal["threads", "block", "tile"]
    grid: int
    threads: int


def choose_mapping(stage: Func, loop: Parallel | None, items: int) -> Mapping:
    """How to spread the items of `loop`, or the whole of `stage` where there is no such loop."""
    if loop is not None and THREADS in loop.attributes:
        return Mapping("tile", items, loop.attributes[THREADS].value)
    inner = list(_outermost(loop or stage))
    if loop is not None and _suits_threads(stage, loop, inner, items):
        threads = POINTWISE_BLOCK
        while threads > WARP and items < threads * MULTIPROCESSORS:
            threads //= 2
        return Mapping("threads", min(-(-items // threads), MOST_BLOCKS), threads)
    sizes = [_size_at_most(found) for found in inner]
    threads = WARP
    # Four points for each thread, so that the reduction at the end is little of the work.
    while threads < LARGEST_BLOCK and threads * 4 < max(sizes, default=1):
        threads *= 2
    return Mapping("block", items, threads)


def _outermost(op: Operation) -> Iterator[Parallel]:
    """The parallel loops inside `op` that are in no other one."""
    for found in op.walk():
        if found is not op and isinstance(found, Parallel):
            parent = found.parent_op
            while parent is not None and parent is not op and not isinstance(parent, Parallel):
                parent = parent.parent_op
            if parent is op:
                yield found


def _size_at_most(loop: Parallel) -> int:
    """The number of points; where a bound is the smaller of two values, one of them may tell."""
    size = 1
    _, uppers, _, _ = loop.groups
    for upper in uppers:
        op = upper.defining_op
        candidates = op.operands if op is not None and op.name == "arith.minsi" else (upper,)
        numbers = [constant_value(value) for value in candidates]
        size *= min((int(number) for number in numbers if number is not None), default=POINTWISE_BLOCK)
    return size


def _suits_threads(stage: Func, loop: Parallel, inner: list[Parallel], items: int) -> bool:
    """Whether an item is better computed by one thread than by a block."""
    if not inner:
        return True
    if any(op.name == "memref.alloca" for op in loop.body.ops):
        return False
    if all(_size_at_most(found) < WORTH_A_BLOCK for found in inner):
        return items >= WARP
    by_item, by_point = neighbours(stage, loop, inner)
    return by_item > by_point and items >= MULTIPROCESSORS


def neighbours(stage: Func, loop: Parallel, inner: list[Parallel]) -> tuple[int, int]:
    """How many accesses in the inner loops have a neighbour in memory for the next item, and for the next point.

    Found by working the addresses out for the first item and point, and for the next ones.
    """
    item, points = _next_point(loop), {k: v for found in inner for k, v in _next_point(found).items()}
    base, other_item, other_point = (_Addresses(stage, start) for start in ({}, item, points))
    by_item = by_point = 0
    for found in inner:
        for op in found.walk():
            places = [addresses.of(op) for addresses in (base, other_item, other_point)]
            if None in places:
                continue
            start, next_item, next_point = places
            assert start is not None and next_item is not None and next_point is not None
            by_item += abs(next_item - start) == 1 and abs(next_point - start) != 1
            by_point += abs(next_point - start) == 1 and abs(next_item - start) != 1
    return by_item, by_point


def _next_point(loop: Parallel) -> dict[Value, int]:
    """The counters of a loop at its second point, where its bounds are known."""
    box = Box(loop)
    for position in reversed(range(len(box.extents))):
        low, step = box.lowers[position], box.steps[position]
        if box.extents[position] != 1 and isinstance(low, int) and isinstance(step, int):
            return {loop.counters[position]: low + step}
    return {}


_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "arith.addi": lambda a, b: a + b,
    "arith.subi": lambda a, b: a - b,
    "arith.muli": lambda a, b: a * b,
    "arith.divui": lambda a, b: a // b if b else 0,
    "arith.remui": lambda a, b: a % b if b else 0,
    "arith.floordivsi": lambda a, b: a // b if b else 0,
    "arith.maxsi": max,
    "arith.minsi": min,
}


class _Addresses:
    """Where a kernel's accesses go in memory, with the counters of all loops 0 but for those given."""

    def __init__(self, stage: Func, counters: dict[Value, int]) -> None:
        self.values = dict(counters)
        for op in stage.walk():
            if op.name in ("scf.parallel", "scf.for"):
                for counter in op.body.args[: len(op.body.args) - len(op.results) * (op.name == "scf.for")]:
                    self.values.setdefault(counter, 0)
            elif op.name == "arith.constant":
                number = op.get("value")
                if isinstance(number, int):
                    self.values[op.results[0]] = number
            elif op.name in _ARITHMETIC and all(value in self.values for value in op.operands):
                self.values[op.results[0]] = _ARITHMETIC[op.name](*(self.values[value] for value in op.operands))

    def of(self, op: Operation) -> int | None:
        """The position in its buffer of the element that `op` loads or stores; None if it cannot be told."""
        if op.name not in ("memref.load", "memref.store"):
            return None
        buffer, *indices = op.operands[op.name == "memref.store" :]
        type: Any = buffer.type
        if not type.is_static or any(index not in self.values for index in indices):
            return None
        return sum(self.values[index] * stride for index, stride in zip(indices, strides_of(type.shape)))
