"""Buffers for what loops carry and branches give.

Each tensor that ``scf.for`` or ``scf.while`` carries has one buffer for the whole loop, its *slot*: what goes in, what the body
gets, what it yields and what comes out lie there, one after the other.  So that nothing has to be copied

- the loop takes over the buffer of what goes in, if that is used for the last time there and may be written;
- what a body yields is computed in its slot: in place, or as soon as nobody needs any more what the slot held.

A result of ``scf.if`` has a slot, too, into which both branches compute.  What does not lie in its slot at the end of a body is
copied there; copies that wait for each other (``scf.yield %b, %a``) go through a buffer of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dlir.ir.core import Operation, Value
from dlir.ir.dialects import scf
from dlir.ir.types import TensorType
from dlir.passes.memory.assignment import Assignment, Buffer, Move
from dlir.passes.memory.timeline import SEQUENTIAL, Timeline

CONTROL = (*SEQUENTIAL, "scf.yield", "scf.condition", "tensor.extract", "tensor.from_elements")


@dataclass
class Slots:
    """Gives slots to the values of loops and branches, in the order of the program's ops."""

    found: Assignment
    times: Timeline
    last_use: dict[Value, int]
    #: The slot in which a value that is to be yielded is wanted.
    wanted: dict[Value, Buffer] = field(default_factory=dict)
    #: The slots of what each op carries or gives, by the number of its value; for loops, of their first block.
    of: dict[Operation, dict[int, Buffer]] = field(default_factory=dict)
    #: The slots of what ``scf.while`` hands from its first block to its second one and gives.
    handed: dict[Operation, dict[int, Buffer]] = field(default_factory=dict)
    branches: dict[Operation, _Branches] = field(default_factory=dict)

    def visit(self, op: Operation, time: int) -> None:
        """Meet an op of `CONTROL`, those with regions at both of their times."""
        is_end = bool(op.regions) and time != self.times.starts[op]
        if isinstance(op, scf.For):
            self._leave(op, time, self.of[op]) if is_end else self._enter_for(op, time)
        elif isinstance(op, scf.If):
            self._leave_if(op, time) if is_end else self._enter_if(op, time)
        elif isinstance(op, scf.While):
            self._leave(op, time, self.handed[op]) if is_end else self._enter_while(op, time)
        elif op.name == "scf.condition":
            self._end_before(op, time)
        elif op.name == "tensor.from_elements":
            (value,) = op.results
            self._put(value, self.place_for(value, time) or Buffer("temporary", [value], time, time))
        elif op.name == "scf.yield":
            self._end_body(op, time)

    def place_for(self, value: Value, time: int) -> Buffer | None:
        """The slot in which `value`, made at `time` by an op that does not read the slot, can lie from the start."""
        slot = self.wanted.get(value)
        return slot if slot is not None and slot.last < time and _alike(slot.type, value.type) else None

    # ------------------------------------------------------------ loops

    def _enter_for(self, op: scf.For, time: int) -> None:
        slots = self._carry(op, op.inits, op.carried, time)
        for number, yielded in _tensors(op.body.terminator.operands):
            self.wanted.setdefault(yielded, slots[number])

    def _enter_while(self, op: scf.While, time: int) -> None:
        before, after = op.regions[0].block, op.regions[1].block
        slots = self._carry(op, op.operands, before.args, time)
        handed: dict[int, Buffer] = {}
        for number, value in _tensors(before.terminator.operands[1:]):
            same = next((slots[i] for i, arg in _tensors(before.args) if arg is value), None)
            if same is not None and same not in handed.values():
                # Handed on as it is: it stays where it is.
                handed[number] = same
            else:
                handed[number] = self._slot(op.results[number], time)
                self.wanted.setdefault(value, handed[number])
            self._put(op.results[number], handed[number])
        for number, yielded in _tensors(after.terminator.operands):
            self.wanted.setdefault(yielded, slots[number])
        for slot in (*slots.values(), *handed.values()):
            slot.last = time
        for number, arg in _tensors(before.args):
            self._put(arg, slots[number])
        self.handed[op] = handed

    def _carry(self, op: Operation, inits: Sequence[Value], args: Sequence[Value], time: int) -> dict[int, Buffer]:
        """Slots for what goes into a loop; what cannot stay where it is will be moved."""
        slots: dict[int, Buffer] = {}
        moves = []
        for number, init in _tensors(inits):
            buffer = self.found.buffers[init]
            # What comes out of a `for` was carried; a `while` gives what it hands over.
            result = op.results[number] if isinstance(op, scf.For) else args[number]
            if not self._may_take_over(buffer, result, time) or buffer in slots.values():
                buffer = self._slot(result, time)
                moves.append((init, args[number]))
            slots[number] = buffer
        for number, buffer in slots.items():
            buffer.is_slot = True
            self._put(args[number], buffer)
        self.of[op] = slots
        self.found.moves[op] = in_order(moves, self.found, time)
        return slots

    def _may_take_over(self, buffer: Buffer, value: Value, time: int) -> bool:
        """Whether a loop at `time` may go on in the buffer of what goes into it."""
        return (buffer.may_be_written and buffer.last == time) and (
            buffer.kind != "donated" or not _is_returned(value) or buffer.type is value.type
        )

    def _end_before(self, op: Operation, time: int) -> None:
        """``scf.condition``: hand over to the second block, or give the results."""
        loop = op.parent_op
        assert loop is not None
        self._fill(op, op.operands[1:], loop.results, time)
        for number, arg in _tensors(loop.regions[1].block.args):
            self._put(arg, self.handed[loop][number])

    # ------------------------------------------------------------ branches

    def _enter_if(self, op: scf.If, time: int) -> None:
        slots: dict[int, Buffer] = {}
        yields = [region.block.terminator.operands for region in op.regions if region.blocks]
        for number, result in _tensors(op.results):
            slot = self._free_after(op, result, [operands[number] for operands in yields])
            if slot is None or slot in slots.values():
                slot = Buffer("temporary", [result], time, time)
            slot.is_slot = True
            slots[number] = self.found.buffers[result] = slot
            slot.values.append(result)
        for number, _ in _tensors(op.results):
            for operands in yields:
                self.wanted.setdefault(operands[number], slots[number])
        self.of[op] = slots
        self.branches[op] = _Branches(op, self.found, self.times)
        self.branches[op].enter(0)

    def _free_after(self, op: scf.If, result: Value, yielded: Sequence[Value]) -> Buffer | None:
        """A buffer for a result of `op`: where it is wanted, or where something lies that a branch yields as it is."""
        found = [self.wanted.get(result), *(self.found.buffers.get(value) for value in yielded)]
        for buffer in found:
            if buffer is not None and buffer.may_be_written and buffer.last < self.times.ends[op]:
                is_result = buffer.kind == "donated" and _is_returned(result)
                if _alike(buffer.type, result.type) and (not is_result or buffer.type is result.type):
                    return buffer
        return None

    # ------------------------------------------------------------ parts

    def _end_body(self, op: Operation, time: int) -> None:
        """``scf.yield``: bring what does not lie in its slot there."""
        outer = op.parent_op
        if isinstance(outer, scf.If):
            self._fill(op, op.operands, outer.results, time)
            if op.parent is outer.regions[0].block:
                self.branches[outer].enter(1)
        elif outer is not None and outer.name in SEQUENTIAL:
            carried = outer.carried if isinstance(outer, scf.For) else outer.regions[0].block.args
            self._fill(op, op.operands, carried, time)

    def _fill(self, op: Operation, values: Sequence[Value], targets: Sequence[Value], time: int) -> None:
        buffers = self.found.buffers
        moves = [(v, targets[n]) for n, v in _tensors(values) if buffers[v] is not buffers[targets[n]]]
        self.found.moves[op] = in_order(moves, self.found, time)

    def _leave_if(self, op: scf.If, time: int) -> None:
        self.branches.pop(op).leave()
        self._leave(op, time, self.of[op])

    def _leave(self, op: Operation, time: int, slots: dict[int, Buffer]) -> None:
        """The results lie in the slots; loops have needed all of theirs until now."""
        for slot in (*self.of[op].values(), *slots.values()):
            slot.last = max(slot.last, time)
        for number, result in _tensors(op.results):
            self._put(result, slots[number])
            slots[number].last = max(slots[number].last, time)

    def _slot(self, result: Value, time: int) -> Buffer:
        """A slot for what a value will be: where that is wanted, if it is free by now, or a new one."""
        buffer = self.place_for(result, time)
        if buffer is None:
            # `last` is when what it holds is needed for the last time: it holds nothing yet.
            buffer = Buffer("temporary", [result], time, time)
        buffer.is_slot = True
        return buffer

    def _put(self, value: Value, buffer: Buffer) -> None:
        self.found.buffers[value] = buffer
        if value not in buffer.values:
            buffer.values.append(value)
        buffer.last = self.last_use[value]


class _Branches:
    """What the two branches of an ``scf.if`` use for the last time: one does not meet what the other one needs."""

    def __init__(self, op: scf.If, found: Assignment, times: Timeline) -> None:
        start, end = times.starts[op], times.ends[op]
        self.start = start
        #: For each branch, the last uses of buffers that are not needed after it.
        self.uses: list[dict[Buffer, int]] = [{}, {}]
        switch = times.starts[op.regions[0].block.terminator]
        for inner in times.ops[start + 1 : end]:
            for value in inner.operands:
                buffer = found.buffers.get(value)  # what is made in the branches has none yet
                if buffer is not None and buffer.last < end:
                    uses = self.uses[times.starts[inner] > switch]
                    uses[buffer] = max(uses.get(buffer, 0), times.last_use(value, inner))
        self.last = {buffer: buffer.last for uses in self.uses for buffer in uses}

    def enter(self, number: int) -> None:
        """From here on buffers are needed for branch `number` only."""
        self._note()
        for buffer in self.last:
            buffer.last = self.uses[number].get(buffer, self.start)

    def leave(self) -> None:
        self._note()
        for buffer, last in self.last.items():
            buffer.last = last

    def _note(self) -> None:
        for buffer, last in self.last.items():
            self.last[buffer] = max(last, buffer.last)


def in_order(moves: Sequence[tuple[Value, Value | Buffer]], found: Assignment, time: int) -> list[Move]:
    """Moves (from, to) that happen at once as copies one after the other: all is read before it is overwritten."""
    places = [target if isinstance(target, Buffer) else found.buffers[target] for _, target in moves]
    waiting = [(found.buffers[move[0]], place, Move(*move)) for move, place in zip(moves, places, strict=True)]
    ordered: list[Move] = []
    while waiting:
        read = [source for source, _, _ in waiting]
        free = next((number for number, (_, target, _) in enumerate(waiting) if target not in read), None)
        if free is not None:
            ordered.append(waiting.pop(free)[2])
            continue
        # All that is left goes round: what lies in the first target is put aside.
        target = waiting[0][1]
        value = waiting[read.index(target)][2].source
        assert isinstance(value, Value)
        aside = Buffer("temporary", [value], time, time)
        found.asides.append(aside)
        ordered.append(Move(value, aside))
        waiting = [
            (aside, to, Move(aside, move.target)) if source is target else (source, to, move)
            for source, to, move in waiting
        ]
    return ordered


def _tensors(values: Sequence[Value]) -> Iterator[tuple[int, Value]]:
    return ((number, value) for number, value in enumerate(values) if isinstance(value.type, TensorType))


def _alike(one: TensorType, two: TensorType) -> bool:
    return one.dtype is two.dtype and one.size == two.size


def _is_returned(value: Value) -> bool:
    return any(user.name == "func.return" for user in value.users)
