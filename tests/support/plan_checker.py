"""Whether a planned function means what it meant before: every read must see the very writes that it saw.

This is the definition of a right memory plan, and shares nothing with the planner but the IR: no lifetimes, no offsets of
its own.  Both functions are run on memory that remembers, for each byte, which op wrote it last.  There are no numbers in it, so
loops run a few times and branches are taken by chance, in both functions alike.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dlir.ir.core import Block, Operation, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.traversal import clone
from dlir.ir.types import MemRefType
from dlir.passes.plan_memory import PlanMemory

Place = tuple[Any, int, int]
_UNWRITTEN = "unwritten"
#: A loop runs so often at most.
_RUNS = 3


class WrongPlan(AssertionError):
    """A plan that changes what a function computes."""


class Memory:
    """For each block of memory the intervals of bytes and who wrote them."""

    def __init__(self) -> None:
        self.blocks: dict[Any, list[tuple[int, int, Any]]] = {}

    def read(self, place: Place) -> tuple[tuple[int, int, Any], ...]:
        """What the bytes of `place` hold: (begin, end, writer) from its start, neighbours of one writer joined."""
        root, low, high = place
        found: list[tuple[int, int, Any]] = []
        at = low
        for begin, end, writer in sorted(self.blocks.get(root, []), key=lambda item: item[0]):
            begin, end = max(begin, low), min(end, high)
            if begin >= end:
                continue
            if begin > at:
                found.append((at - low, begin - low, _UNWRITTEN))
            found.append((begin - low, end - low, writer))
            at = end
        if at < high:
            found.append((at - low, high - low, _UNWRITTEN))
        return tuple(found)

    def write(self, place: Place, writer: Any) -> None:
        root, low, high = place
        if low == high:
            return
        kept = []
        for begin, end, other in self.blocks.get(root, []):
            if begin < low:
                kept.append((begin, min(end, low), (other, begin) if end > low else other))
            if end > high:
                kept.append((max(begin, high), end, (other, begin) if begin < high else other))
        self.blocks[root] = [*kept, (low, high, writer)]


class _Run:
    """One function on a memory of writers; `seen` is what each op read.  `seed` chooses the way through it."""

    def __init__(self, function: Func, seed: int = 0) -> None:
        self.memory = Memory()
        self.chance = random.Random(seed)
        self.allocs = 0
        self.places: dict[Value, Place] = {}
        self.numbers: dict[Value, int] = {}
        self.seen: list[Any] = []
        for arg in function.body.args:
            if isinstance(arg.type, MemRefType):
                self.places[arg] = (("argument", arg.index), 0, arg.type.nbytes)
                if "dlir.input" in function.arg_attributes(arg.index):
                    self.memory.write(self.places[arg], ("input", arg.index))
        self.block(function.body)
        for arg in function.body.args:
            roles = function.arg_attributes(arg.index) if arg in self.places else {}
            if "dlir.result" in roles or ("dlir.input" in roles and "dlir.donated" not in roles):
                self.seen.append(self.memory.read(self.places[arg]))

    def block(self, block: Block) -> None:
        for op in block.ops:
            self.step(op)

    def _loop(self, op: Operation) -> None:
        if any(isinstance(value.type, MemRefType) for value in op.operands):
            raise NotPlain("a loop that carries memory")
        before = op.regions[0].block
        for _ in range(self._count(op)):
            self.block(before)
            if op.name == "scf.while":
                self.block(op.regions[1].block)
        if op.name == "scf.while":
            self.block(before)

    def _count(self, op: Operation) -> int:
        chosen = self.chance.randint(0, _RUNS)
        bounds = [self.numbers.get(value) for value in op.operands[:3]] if op.name == "scf.for" else [None]
        return chosen if None in bounds else min(len(range(*bounds)), _RUNS)

    def _store(self, op: Operation) -> None:
        _, target, *indices = op.operands
        root, start, end = self.places[target]
        known = [self.numbers.get(index) for index in indices]
        if None not in known:
            shape, size = target.type.shape, target.type.dtype.bytes
            number = 0
            for index, extent in zip(known, shape, strict=True):
                number = number * extent + index
            start, end = start + number * size, start + (number + 1) * size
        self.seen.append("store")
        self.memory.write((root, start, end), len(self.seen))

    def step(self, op: Operation) -> None:
        match op.name:
            case "arith.constant":
                self.numbers[op.results[0]] = op.get("value")
            case "memref.alloc" | "memref.get_global":
                type = op.results[0].type
                # A global is the same memory each time.
                self.allocs += 1
                root = ("global", op.get("name")) if op.name == "memref.get_global" else ("alloc", self.allocs)
                self.places[op.results[0]] = (root, 0, type.nbytes)
            case "memref.view":
                root, start, _ = self.places[op.operands[0]]
                self._name(op, root, start + self.numbers[op.operands[1]])
            case "memref.reinterpret_cast":
                root, start, _ = self.places[op.operands[0]]
                self._name(op, root, start + op.get("static_offsets")[0] * op.results[0].type.dtype.bytes)
            case "memref.dealloc" | "func.return" | "scf.yield" | "scf.condition":
                pass
            case "scf.for" | "scf.while":
                self._loop(op)
            case "scf.if":
                chosen = op.regions[self.chance.randint(0, 1)]
                if chosen.blocks:
                    self.block(chosen.block)
            case "memref.load":
                self.seen.append(self.memory.read(self.places[op.operands[0]]))
            case "memref.store":
                self._store(op)
            case name if name.startswith("arith."):
                pass
            case "memref.copy":
                self._run(op, [op.operands[0]], [op.operands[1]], set())
            case "kernel.region":
                outs = op.get("outs")
                ins = list(op.operands[: len(op.operands) - outs])
                flat = op.get("dlir.inplace") or ()
                self._run(op, ins, list(op.operands[len(ins) :]), set(zip(flat[::2], flat[1::2], strict=True)))
            case _:
                raise NotPlain(op.name)

    def _name(self, op: Operation, root: Any, start: int) -> None:
        end = start + op.results[0].type.nbytes
        if root[0] == "argument" and end > self.limit(root):
            raise WrongPlan(f"{op.name} reaches out of its memory")
        self.places[op.results[0]] = (root, start, end)

    def limit(self, root: Any) -> int:
        return next(end for place, _, end in self.places.values() if place == root)

    def _run(self, op: Operation, ins: list[Value], outs: list[Value], inplace: set[tuple[int, int]]) -> None:
        number = len(self.seen)
        self.seen.append(tuple(self.memory.read(self.places[value]) for value in ins))
        for position, out in enumerate(outs, len(ins)):
            for other, value in enumerate([*ins, *outs]):
                if (
                    other < position
                    and _overlap(self.places[out], self.places[value])
                    and (other, position) not in inplace
                ):
                    raise WrongPlan(f"step {number}, {op.name}: operands {other} and {position} share memory")
        for position, out in enumerate(outs):
            self.memory.write(self.places[out], (number, position))


class NotPlain(Exception):
    """The function holds an op that is not run here."""


def _overlap(one: Place, two: Place) -> bool:
    return one[0] == two[0] and max(one[1], two[1]) < min(one[2], two[2])


def check_plan(before: Func, after: Func) -> None:
    """WrongPlan if the planned function `after` does not compute what `before` does."""
    ways = 4 if any(op.name.startswith("scf.") for op in before.walk()) else 1
    for seed in range(ways):
        _check_way(before, after, seed)


def _check_way(before: Func, after: Func, seed: int) -> None:
    try:
        wanted = _Run(before, seed)
    except NotPlain:
        return
    found = _Run(after, seed)
    if len(wanted.seen) != len(found.seen):
        raise WrongPlan("planning has changed the steps")
    for number, (one, two) in enumerate(zip(wanted.seen, found.seen, strict=True)):
        if one != two:
            raise WrongPlan(f"step {number} of '@{after.symbol}' reads {two} where it should read {one}")


@contextmanager
def every_plan_checked() -> Iterator[None]:
    """Inside, each function that plan-memory plans is checked; not when it adds steps of its own (poison)."""
    run = PlanMemory.run

    def checked(self: PlanMemory, module: Module) -> None:
        before = clone(module)
        run(self, module)
        if not self.poison:
            for old, new in zip(before.body.ops, module.body.ops, strict=True):
                if isinstance(old, Func) and not old.is_declaration and len(old.regions[0].blocks) == 1:
                    check_plan(old, new)

    PlanMemory.run = checked  # type: ignore[method-assign]
    try:
        yield
    finally:
        PlanMemory.run = run  # type: ignore[method-assign]
