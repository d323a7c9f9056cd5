"""Buffers for the tensors of a function: which values may share one, and where each one lives.

Values get a buffer in program order:

- an argument has the caller's, which may be written only if it is donated (``dlir.donated``); a variable has its own,
  which only its new value is written to (:mod:`dlir.passes.memory.updates`);
- a region that only reshapes is no kernel: its result is another view of the same buffer;
- a result of a kernel takes the buffer of an operand that is used for the last time there, if the kernel can work in
  place (:mod:`dlir.passes.memory.inplace`), and a new one otherwise;
- what a loop carries has one buffer for the whole loop (:mod:`dlir.passes.memory.loops`);
- a piece of a value, or what a value is joined from, may lie in that value's buffer (:mod:`dlir.passes.memory.parts`).

What is returned lives in a buffer that the caller gives for it, or in a donated argument's, from its first value on.  A
returned value that cannot live there is copied at the end: an argument, a variable, or the same value a second time.
"""

from __future__ import annotations

from dataclasses import dataclass

from dlir.ir.core import Operation, Value
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.kernel import KernelRegion
from dlir.ir.errors import DlirError
from dlir.ir.state import function_writes
from dlir.ir.types import TensorType
from dlir.ir.upstream import NOT_MODELLED
from dlir.passes.memory.assignment import Assignment, Buffer
from dlir.passes.memory.inplace import inplace_candidates, reshaped_operands
from dlir.passes.memory.loops import CONTROL, Slots
from dlir.passes.memory.packing import Host, lifetime, lower_bound, pack
from dlir.passes.memory.parts import use_parts
from dlir.passes.memory.timeline import Timeline, timeline
from dlir.passes.memory.updates import add_states, is_new_value, place_writes


def bytes_needed(function: Func, effort: int | None) -> tuple[int, int]:
    """Bytes of results and arena of a function over tensors, and their lower bound; `effort` as in `pack`.

    Without effort nothing is packed: both are the bound.
    """
    found = assign_buffers(function)
    homes = [b for b in dict.fromkeys(found.buffers.values()) if b.result is not None]
    copied = sum(function.body.terminator.operands[number].type.nbytes for number in found.copied_results)
    needed, bound = _bytes_needed(found, homes, {}, effort)
    return needed + copied, bound + copied


def assign_buffers(function: Func) -> Assignment:
    """The buffers for all tensors of `function`, whose body is kernels over static shapes; DlirError for other ops."""
    times = timeline(function)
    found = _assign(function, times, keep_slots=False)
    if any(found.moves.values()):
        # If nothing but what is wanted there is computed in the slots of loops, there may be less to copy.
        other = _assign(function, times, keep_slots=True)
        found = min(found, other, key=_bytes_moved)
    use_parts(function, found, times, lambda: _bytes_with_results(function, found))
    _place_results(function, found)
    place_writes(function, found)
    return found


def _bytes_moved(found: Assignment) -> int:
    return sum(move.type.nbytes for moves in found.moves.values() for move in moves)


def _assign(function: Func, times: Timeline, keep_slots: bool) -> Assignment:
    found = Assignment()
    last_use = _last_uses(function, times)
    slots = Slots(found, times, last_use)
    for arg in function.body.args:
        if isinstance(arg.type, TensorType):
            donated = "dlir.donated" in function.arg_attributes(arg.index)
            found.buffers[arg] = Buffer("donated" if donated else "input", [arg], 0, last_use[arg])
    add_states(function, found, last_use)
    for time, op in enumerate(times.ops):
        if op.name == "state.read":
            value = op.results[0]
            if value not in found.buffers:
                found.buffers[value] = Buffer("variable", [value], time, last_use[value])
        elif isinstance(op, KernelRegion) and op.results:
            _Region(op, time, last_use, found, slots, keep_slots).assign()
        elif op.name in CONTROL:
            slots.visit(op, time)
        elif not op.is_terminator and op.name != "state.write":
            _check_needs_no_buffer(op)
    return found


def _last_uses(function: Func, times: Timeline) -> dict[Value, int]:
    """The time of each value's last use in the body, or of its definition if it is unused."""
    found: dict[Value, int] = dict.fromkeys(function.body.args, 0)
    for op, time in times.starts.items():
        found.update(dict.fromkeys(op.results, time))
        if not op.is_isolated:
            found.update((arg, time) for region in op.regions for block in region.blocks for arg in block.args)
        for value in op.operands:
            found[value] = max(found[value], times.last_use(value, op))
    # Variables are written when the function returns.
    found.update(dict.fromkeys((op.operands[0] for op in function_writes(function)), len(times.ops) - 1))
    return found


def _check_needs_no_buffer(op: Operation) -> None:
    values = [value for inner in op.walk() for value in (*inner.operands, *inner.results)]
    if op.name != "kernel.region" and any(isinstance(value.type, TensorType) for value in values):
        if op.name in NOT_MODELLED:
            hint = "ops of MLIR that dlir does not have are read and printed, but not compiled"
        elif not op.is_registered:
            hint = "no dialect here has this op: --load-plugin brings one, or a pass must replace the op"
        else:
            hint = "run 'fuse' first: only kernels get buffers"
            if op.name == "func.call":
                hint = "run 'inline' first; a function that is declared only has no body to run"
            if op.regions:
                hint = "loops and branches over arrays are scf.for, scf.while and scf.if"
        raise DlirError(f"'{op.name}' over tensors cannot be given buffers", op.location, hint=hint)


@dataclass
class _Region:
    """A kernel that gets buffers for its results."""

    op: KernelRegion
    time: int
    last_use: dict[Value, int]
    found: Assignment
    slots: Slots
    #: Whether only what is wanted in the slot of a loop may be computed there.
    keep_slots: bool

    def assign(self) -> None:
        op, found = self.op, self.found
        sources = reshaped_operands(op)
        if sources is not None:
            found.reshapes[op] = sources
            for result, source in zip(op.results, sources, strict=True):
                self._join(found.buffers[op.operands[source]], result)
            return
        for value in op.results:
            slot = self.slots.place_for(value, self.time)
            if slot is not None:
                self._join(slot, value)
        pairs = self._reused()
        if pairs:
            found.inplace[op] = pairs
        for operand, taker in pairs:
            self._join(found.buffers[op.operands[operand]], op.results[taker])
        for value in op.results:
            if value not in found.buffers:
                found.buffers[value] = Buffer("temporary", [value], self.time, self.last_use[value])

    def _join(self, buffer: Buffer, value: Value) -> None:
        self.found.buffers[value] = buffer
        buffer.values.append(value)
        buffer.last = max(buffer.last, self.last_use[value])

    def _reused(self) -> list[tuple[int, int]]:
        """Pairs (operand, result): which results are computed in place, and over what.  The largest operand goes first."""
        op, found = self.op, self.found
        buffers = [found.buffers[value] for value in op.operands]
        dying = [
            number
            for number, buffer in enumerate(buffers)
            if (buffer.may_be_written or buffer.kind == "state")
            and (buffer.last == self.time and buffers.count(buffer) == 1)
        ]
        free = [number for number, value in enumerate(op.results) if value not in found.buffers]
        if not any(_same_memory(op.operands[number], op.results[result]) for number in dying for result in free):
            return []
        candidates = inplace_candidates(op)
        pairs: list[tuple[int, int]] = []

        def turn(number: int) -> tuple[bool, int, bool, int]:
            # What is wanted in a slot goes there; a variable takes its own new value or none.  Between equals a donated one
            # goes first: a temporary's place can be used again, and what is donated costs nothing.
            buffer = buffers[number]
            is_wanted = any(self._is_wanted(result, buffer) for result in candidates.get(number, ()))
            is_wanted = is_wanted or buffer.kind == "state"
            return not is_wanted, -buffer.type.nbytes, buffer.kind != "donated", number

        for number in sorted(dying, key=turn):
            for result in sorted(candidates.get(number, ()), key=lambda n: not self._is_wanted(n, buffers[number])):
                if result in free and self._may_join(buffers[number], number, result):
                    pairs.append((number, result))
                    free.remove(result)
                    break
        return pairs

    def _is_wanted(self, result: int, buffer: Buffer) -> bool:
        return self.slots.wanted.get(self.op.results[result]) is buffer

    def _may_join(self, buffer: Buffer, operand: int, result: int) -> bool:
        new = self.op.results[result]
        if not _same_memory(self.op.operands[operand], new):
            return False
        if buffer.kind == "state":
            return is_new_value(self.found, buffer, new)
        if buffer.is_slot and self.keep_slots and not self._is_wanted(result, buffer):
            return False
        # A donated argument that holds a result has the result's type, too: the caller sees nothing else of it.
        returned = any(user.name == "func.return" for user in new.users)
        return buffer.kind != "donated" or not returned or buffer.type is new.type


def _same_memory(old: Value, new: Value) -> bool:
    """Whether the two tensors have the same element type and as many elements."""
    return old.type.dtype is new.type.dtype and old.type.size == new.type.size


def _bytes_with_results(function: Func, found: Assignment) -> int:
    """Bytes of results and arena as things stand; nothing is chosen for good."""
    homes = _choose_homes(function, found)
    needed = _bytes_needed(found, homes, {})[0]
    returned = function.body.terminator.operands
    needed += sum(returned[number].type.nbytes for number in found.copied_results)
    for buffer in homes:
        buffer.result = None
    found.copied_results.clear()
    return needed


def _place_results(function: Func, found: Assignment) -> None:
    """Choose the buffers that hold the function's results at the end; the other results are copied."""
    homes = _choose_homes(function, found)
    merges = _results_in_donated(found, homes)
    if merges and _bytes_needed(found, homes, merges)[0] <= _bytes_needed(found, homes, {})[0]:
        for buffer, place in merges.items():
            _merge(found, place, buffer)


def _choose_homes(function: Func, found: Assignment) -> list[Buffer]:
    """Say of buffers which result they hold, and of the other results that they are copied."""
    homes: list[Buffer] = []
    returned = function.body.terminator.operands
    for number, value in enumerate(returned):
        buffer = found.buffers[value]
        fits = buffer.kind == "temporary" or (buffer.kind == "donated" and buffer.type is value.type)
        if fits and buffer.result is None:
            buffer.result = number
            homes.append(buffer)
        else:
            found.copied_results.append(number)
    return homes


def _results_in_donated(found: Assignment, homes: list[Buffer]) -> dict[Buffer, Buffer]:
    """Results that are first written when a donated argument of their type is no longer needed, and that argument."""
    free = [b for b in dict.fromkeys(found.buffers.values()) if b.kind == "donated" and b.result is None]
    pairs: dict[Buffer, Buffer] = {}
    for buffer in homes:
        # All values of a buffer have one dtype and size; with one shape, too, the argument's type is the result's.
        if buffer.kind == "temporary" and len({value.type for value in buffer.values}) == 1:
            place = next((b for b in free if b.type is buffer.type and b.last < buffer.first), None)
            if place is not None:
                pairs[buffer] = place
                free.remove(place)
    return pairs


def _bytes_needed(
    found: Assignment, homes: list[Buffer], merges: dict[Buffer, Buffer], effort: int | None = 0
) -> tuple[int, int]:
    """Bytes of results and arena if these results live in those donated arguments, and the lower bound.

    It does not always pay: temporaries cannot wait there any more.
    """
    buffers = found.all_buffers
    end = max((buffer.last for buffer in buffers), default=0)
    hosts: list[Host] = []
    temporaries: list[Buffer] = []
    for buffer in buffers:
        if buffer.kind == "donated" and buffer.result is None and buffer not in merges.values():
            hosts.append(Host(buffer.dtype, buffer.nbytes, buffer.last + 1, end))
        elif buffer.kind == "temporary" and buffer.result is None:
            temporaries.append(buffer)
        elif buffer.kind == "temporary" and buffer not in merges:
            hosts.append(Host(buffer.dtype, buffer.nbytes, 0, buffer.first - 1))
    items = [lifetime(b.dtype, b.nbytes, b.first, b.last, hosts) for b in temporaries]
    results = sum(b.type.nbytes for b in homes if b.kind == "temporary" and b not in merges)
    if effort is None:
        bound = results + lower_bound(items)
        return bound, bound
    packing = pack(items, effort=effort)
    return results + packing.height, results + packing.lower_bound


def _merge(found: Assignment, place: Buffer, buffer: Buffer) -> None:
    for value in buffer.values:
        found.buffers[value] = place
    place.values += buffer.values
    place.result, place.last = buffer.result, buffer.last
