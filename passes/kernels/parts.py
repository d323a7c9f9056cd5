"""Kernels of several independent parts: their work items are numbered one after another, and an item tells which part's it is.

Launching one kernel instead of many small ones saves launches, and where each part has too few items for all threads
their items together may have enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dlir.ir.affine import AffineExpr, constant
from dlir.ir.attributes import FloatAttr
from dlir.ir.core import Operation, Value
from dlir.ir.ops import arith
from dlir.ir.types import I1
from dlir.passes.kernels.classify import is_free
from dlir.passes.kernels.emit import Emitter
from dlir.passes.kernels.kernel import Kernel
from dlir.passes.kernels.plan import Inside

#: What a region that runs for the items of one part only says: the part's share of the items.
SHARE = "dlir.share"
#: Stands between the schedules of parts.
SEPARATOR = " + "

#: The number of items of a part, and the code for one of them.
Items = tuple[int, Callable[[AffineExpr], None]]


def independent(outputs: Sequence[Value], inside: Inside) -> list[list[int]]:
    """The numbers of the outputs in groups that have no op in common, but for views and constants; in order."""
    group_of: dict[Operation, int] = {}
    groups: dict[int, list[int]] = {}
    for number, value in enumerate(outputs):
        ops = _needed(value, inside)
        merged = [number]
        for other in dict.fromkeys(group_of[op] for op in ops if op in group_of):
            merged += groups.pop(other)
        groups[number] = sorted(merged)
        for key in [*ops, *(op for op, other in group_of.items() if other not in groups)]:
            group_of[key] = number
    return sorted(groups.values())


def _needed(value: Value, inside: Inside) -> list[Operation]:
    """The ops that compute something for `value`."""
    found: dict[Operation, None] = {}
    waiting = [value]
    while waiting:
        op = waiting.pop().defining_op
        if op is not None and op not in found and inside(op):
            found[op] = None
            waiting += op.operands
    return [op for op in found if not is_free(op)]


def kernels_of_parts(kernel: Kernel, tiles: Sequence[tuple[int, ...]]) -> list[Kernel]:
    """Each part of a kernel as one to be emitted by itself, with these tiles."""
    return [
        Kernel(plan, [kernel.targets[n] for n in numbers], kernel.emitter, tile)
        for (numbers, plan), tile in zip(kernel.plan.parts, tiles, strict=True)
    ]


def emit_parts(emitter: Emitter, emits: Sequence[Callable[[], None]]) -> None:
    """One loop over the items of all parts; each of `emits` makes the loop over the items of one."""
    parts: list[Items] = []
    for emit in emits:
        with emitter.collected_items() as found:
            emit()
        parts += found
    starts = [sum(count for count, _ in parts[:number]) for number in range(len(parts) + 1)]
    total = starts[-1]

    def dispatch(item: AffineExpr, first: int, last: int) -> None:
        """The item, which belongs to one of the parts `first` to ``last - 1``."""
        if last - first == 1:
            count, body = parts[first]
            emitter.floor = emitter.depth
            body(emitter.bounded(item - starts[first], count))
            return
        middle = (first + last) // 2
        is_before = arith.cmpi("slt", emitter.index(item), emitter.index(constant(starts[middle])))
        for low, high in ((first, middle), (middle, last)):
            condition = is_before if low == first else arith.xori(is_before, emitter.constant(True, I1))
            floor = emitter.floor
            emitter.when(condition, lambda low=low, high=high: dispatch(item, low, high))  # type: ignore[misc]
            emitter.floor = floor
            guard = emitter.scopes[-1].block.last
            assert guard is not None
            share = (starts[high] - starts[low]) / max(1, starts[last] - starts[first])
            guard.attributes[SHARE] = FloatAttr(share)

    emitter.items(total, lambda item: dispatch(item, 0, len(parts)))


def split_tile(tile: Sequence[int], lengths: Sequence[int]) -> list[tuple[int, ...]] | None:
    """A tile as those of the parts, which have these lengths; None if it is longer or shorter."""
    if sum(lengths) != len(tile):
        return None
    ends = [sum(lengths[: number + 1]) for number in range(len(lengths))]
    return [tuple(tile[end - length : end]) for end, length in zip(ends, lengths)]
