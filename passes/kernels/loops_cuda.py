"""Parallel loops as the loops of threads: shared out among the threads of a block, or run by one thread in order.

Loops are rewritten in place: their bodies move, nothing is copied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dlir.ir.builder import at_end, before, insert
from dlir.ir.core import Block, Region, Value
from dlir.ir.dialects.arith import constant_value
from dlir.ir.dialects.scf import For, Parallel, Yield, as_index, for_loop
from dlir.ir.ops import arith
from dlir.ir.ops import math as math_ops
from dlir.ir.traversal import Mapping, clone_ops
from dlir.ir.types import F32, F64, INDEX

#: An index that may be known: arithmetic on ints is done here, on values it emits ops.
Number = Value | int


def known(value: Number) -> Number:
    """`value` as an int if it is a constant."""
    found = value if isinstance(value, int) else constant_value(value)
    return value if found is None else int(found)


def add(a: Number, b: Number) -> Number:
    """a + b."""
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    if a == 0:
        return b
    return a if b == 0 else arith.addi(as_index(a), as_index(b))


def multiply(a: Number, b: Number) -> Number:
    """a * b."""
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    if a == 1:
        return b
    return a if b == 1 else arith.muli(as_index(a), as_index(b))


def divide(a: Number, b: Number) -> Number:
    """a // b of numbers that are not negative."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    return a if b == 1 else arith.divui(as_index(a), as_index(b))


def remainder(a: Number, b: Number) -> Number:
    """a % b of numbers that are not negative."""
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    return 0 if b == 1 else arith.remui(as_index(a), as_index(b))


class Box:
    """The points of a parallel loop, counted row-major from 0."""

    def __init__(self, loop: Parallel) -> None:
        lowers, uppers, steps, _ = loop.groups
        self.lowers, self.steps = list(map(known, lowers)), list(map(known, steps))
        self.extents = [self._trips(known(u), low, s) for u, low, s in zip(uppers, self.lowers, self.steps)]

    @staticmethod
    def _trips(upper: Number, lower: Number, step: Number) -> Number:
        """How often one dimension counts; what is emitted for bounds that are not known assumes lower <= upper."""
        if isinstance(upper, int) and isinstance(lower, int) and isinstance(step, int):
            return max(0, -(-(upper - lower) // step))
        span = upper if lower == 0 else arith.subi(as_index(upper), as_index(lower))
        rounded = span if step == 1 else add(add(span, step), -1)
        return divide(rounded, step)

    @property
    def size(self) -> int | None:
        """The number of points, if it is known."""
        extents = [extent for extent in self.extents if isinstance(extent, int)]
        return math.prod(extents) if len(extents) == len(self.extents) or 0 in extents else None

    def total(self) -> Number:
        """The number of points."""
        total: Number = 1
        for extent in self.extents:
            total = multiply(total, extent)
        return total

    def counters(self, number: Number) -> list[Value]:
        """The counters of the loop at point `number`."""
        found = []
        for position in reversed(range(len(self.extents))):
            here = number if position == 0 else remainder(number, self.extents[position])
            found.append(as_index(add(self.lowers[position], multiply(here, self.steps[position]))))
            if position:
                number = divide(number, self.extents[position])
        return found[::-1]


def distribute(loop: Parallel, first: Number, step: Number, inits: Sequence[Value]) -> For:
    """Give each thread the points `first`, `first` + `step`, ...; the new loop carries what a thread has combined,
    from `inits` on.  The old loop's results are left to the caller, and the loop stays in place, empty."""
    with before(loop):
        box = Box(loop)
        body = Block([INDEX, *(init.type for init in inits)])
        bounds = [as_index(bound) for bound in (first, box.total(), step)]
        with at_end(body, loop.location):
            results = _move_body(loop, box.counters(body.args[0]), body.args[1:], body)
            Yield.build(*results)
        found = For.create(*bounds, *inits, regions=[Region([body])], location=loop.location)
        assert loop.parent is not None
        loop.parent.insert_before(loop, found)
    return found


def serialize(loop: Parallel) -> None:
    """Run the points in order, in nested loops that carry the reductions."""
    inits = loop.group("initVals")

    def nest(block: Block, counters: list[Value], carried: Sequence[Value]) -> Sequence[Value]:
        position = len(counters)
        if position == len(bounds):
            return _move_body(loop, counters, carried, block)
        lower, upper, step = bounds[position]
        return for_loop(lower, upper, step, carried, lambda i, *inner: nest(i.owner, [*counters, i], inner))

    bounds = list(zip(*loop.groups[:3]))
    assert loop.parent is not None
    with before(loop):
        results = nest(loop.parent, [], inits)
    loop.replace_by(results)


def move_into(loop: Parallel, block: Block, counters: Sequence[Value]) -> None:
    """Move the body of a loop without results to the end of `block`, for one point."""
    _move_body(loop, counters, (), block)


def _move_body(loop: Parallel, counters: Sequence[Value], carried: Sequence[Value], block: Block) -> list[Value]:
    """Move what is done at one point to the end of `block`; the carried values, combined with those of this point."""
    for old, new in zip(loop.counters, counters):
        old.replace_by(new)
    ending = loop.body.terminator
    for op in list(loop.body.ops):
        if op is not ending:
            op.detach()
            block.append(op)
    values = ending.operands
    regions = list(ending.regions)
    combined = []
    with at_end(block, loop.location):
        for region, value, old in zip(regions, values, carried):
            combined.append(_accumulate(region, old, value))
    return combined


def combine(region: Region, one: Value, two: Value) -> Value:
    """What a region of ``scf.reduce`` makes of two values, emitted at the insertion point."""
    mapping = Mapping(dict(zip(region.block.args, (one, two))))
    for op in clone_ops(region.block.ops, mapping):
        if op.is_terminator:
            return op.operands[0]
        insert(op)
    raise AssertionError("a region of scf.reduce ends in scf.reduce.return")


def _accumulate(region: Region, carried: Value, value: Value) -> Value:
    """One more value into a running total.  Adding a product rounds once: sums of products run at twice the speed."""
    product = value.defining_op
    if (
        combining_op(region) == "arith.addf"
        and product is not None
        and product.name == "arith.mulf"
        and value.has_one_use
        and value.type in (F32, F64)
    ):
        return math_ops.fma(*product.operands, carried)
    return combine(region, carried, value)


def combining_op(region: Region) -> str | None:
    """The name of the op when a region of ``scf.reduce`` is just one op on its two arguments."""
    first = region.block.first
    if first is None or first.next is not region.block.last or len(first.results) != 1:
        return None
    ending = region.block.terminator
    if set(first.operands) != set(region.block.args) or ending.operands[0] is not first.results[0]:
        return None
    return first.name
