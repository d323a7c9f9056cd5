"""Buffers for the tensors of a function: which values may share one, and where each one lives.

Values get a buffer in program order:

- an argument has the caller's, which may be written only if it is donated (``dlir.donated``); a variable has its own,
  never written;
- a region that only reshapes is no kernel: its result is another view of the same buffer;
- a result of a kernel takes the buffer of an operand that is used for the last time there, if the kernel can work in
  place (:mod:`dlir.passes.memory.inplace`), and a new one otherwise;
- a piece of a value, or what a value is joined from, may lie in that value's buffer (:mod:`dlir.passes.memory.parts`).

What is returned lives in a buffer that the caller gives for it, or in a donated argument's, from its first value on.  A
returned value that cannot live there is copied at the end: an argument, a variable, or the same value a second time.
"""

from __future__ import annotations

from dlir.ir.core import Operation, Value
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.kernel import KernelRegion
from dlir.ir.errors import DlirError
from dlir.ir.types import TensorType
from dlir.passes.memory.assignment import Assignment, Buffer
from dlir.passes.memory.inplace import inplace_candidates, reshaped_operands
from dlir.passes.memory.packing import Host, lifetime, pack
from dlir.passes.memory.parts import use_parts


def bytes_needed(function: Func, effort: int) -> tuple[int, int]:
    """Bytes of results and arena of a function over tensors, and their lower bound; `effort` as in `pack`."""
    found = assign_buffers(function)
    homes = [b for b in dict.fromkeys(found.buffers.values()) if b.result is not None]
    copied = sum(function.body.terminator.operands[number].type.nbytes for number in found.copied_results)
    needed, bound = _bytes_needed(found, homes, {}, effort)
    return needed + copied, bound + copied


def assign_buffers(function: Func) -> Assignment:
    """The buffers for all tensors of `function`, whose body is kernels over static shapes; DlirError for other ops."""
    found = Assignment()
    last_use = _last_uses(function)
    for arg in function.body.args:
        if isinstance(arg.type, TensorType):
            donated = "dlir.donated" in function.arg_attributes(arg.index)
            found.buffers[arg] = Buffer("donated" if donated else "input", [arg], 0, last_use[arg])
    for time, op in enumerate(function.body.ops):
        if op.name == "state.read":
            value = op.results[0]
            found.buffers[value] = Buffer("variable", [value], time, last_use[value])
        elif isinstance(op, KernelRegion) and op.results:
            _assign_region(op, time, last_use, found)
        elif not op.is_terminator:
            _check_needs_no_buffer(op)
    use_parts(function, found, lambda: _bytes_with_results(function, found))
    _place_results(function, found)
    return found


def _last_uses(function: Func) -> dict[Value, int]:
    """The time of each value's last use in the body, or of its definition if it is unused."""
    found: dict[Value, int] = dict.fromkeys(function.body.args, 0)
    for time, op in enumerate(function.body.ops):
        found.update(dict.fromkeys(op.results, time))
        found.update(dict.fromkeys(op.operands, time))
    return found


def _check_needs_no_buffer(op: Operation) -> None:
    values = [value for inner in op.walk() for value in (*inner.operands, *inner.results)]
    if op.name != "kernel.region" and any(isinstance(value.type, TensorType) for value in values):
        if not op.is_registered:
            hint = "no dialect here has this op: --load-plugin brings one, or a pass must replace the op"
        else:
            hint = "run 'inline' first" if op.name == "func.call" else "run 'fuse' first: only kernels get buffers"
        raise DlirError(f"'{op.name}' over tensors cannot be given buffers", op.location, hint=hint)


def _assign_region(op: KernelRegion, time: int, last_use: dict[Value, int], found: Assignment) -> None:
    sources = reshaped_operands(op)
    if sources is not None:
        found.reshapes[op] = sources
        for result, source in zip(op.results, sources, strict=True):
            _join(found, found.buffers[op.operands[source]], result, last_use)
        return
    pairs = _reused(op, time, found)
    if pairs:
        found.inplace[op] = pairs
    for operand, taker in pairs:
        _join(found, found.buffers[op.operands[operand]], op.results[taker], last_use)
    for value in op.results:
        if value not in found.buffers:
            found.buffers[value] = Buffer("temporary", [value], time, last_use[value])


def _join(found: Assignment, buffer: Buffer, value: Value, last_use: dict[Value, int]) -> None:
    found.buffers[value] = buffer
    buffer.values.append(value)
    buffer.last = max(buffer.last, last_use[value])


def _reused(op: KernelRegion, time: int, found: Assignment) -> list[tuple[int, int]]:
    """Pairs (operand, result): which results are computed in place, and over what.  The largest operand goes first."""
    buffers = [found.buffers[value] for value in op.operands]
    dying = [
        number
        for number, buffer in enumerate(buffers)
        if buffer.may_be_written and buffer.last == time and buffers.count(buffer) == 1
    ]
    free = list(range(len(op.results)))
    if not any(_same_memory(op.operands[number], op.results[result]) for number in dying for result in free):
        return []
    candidates = inplace_candidates(op)
    pairs: list[tuple[int, int]] = []
    # Between equals a donated one goes first: a temporary's place can be used again, and what is donated costs nothing.
    for number in sorted(dying, key=lambda i: (-buffers[i].type.nbytes, buffers[i].kind != "donated", i)):
        for result in candidates.get(number, ()):
            if result in free and _may_join(buffers[number], op.operands[number], op.results[result]):
                pairs.append((number, result))
                free.remove(result)
                break
    return pairs


def _same_memory(old: Value, new: Value) -> bool:
    """Whether the two tensors have the same element type and as many elements."""
    return old.type.dtype is new.type.dtype and old.type.size == new.type.size


def _may_join(buffer: Buffer, old: Value, new: Value) -> bool:
    if not _same_memory(old, new):
        return False
    # A donated argument that holds a result has the result's type, too: the caller sees nothing else of it.
    returned = any(user.name == "func.return" for user in new.users)
    return buffer.kind != "donated" or not returned or buffer.type is new.type


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
    found: Assignment, homes: list[Buffer], merges: dict[Buffer, Buffer], effort: int = 0
) -> tuple[int, int]:
    """Bytes of results and arena if these results live in those donated arguments, and the lower bound.

    It does not always pay: temporaries cannot wait there any more.
    """
    end = max((buffer.last for buffer in found.buffers.values()), default=0)
    hosts: list[Host] = []
    temporaries: list[Buffer] = []
    for buffer in dict.fromkeys(found.buffers.values()):
        if buffer.kind == "donated" and buffer.result is None and buffer not in merges.values():
            hosts.append(Host(buffer.dtype, buffer.nbytes, buffer.last + 1, end))
        elif buffer.kind == "temporary" and buffer.result is None:
            temporaries.append(buffer)
        elif buffer.kind == "temporary" and buffer not in merges:
            hosts.append(Host(buffer.dtype, buffer.nbytes, 0, buffer.first - 1))
    items = [lifetime(b.dtype, b.nbytes, b.first, b.last, hosts) for b in temporaries]
    results = sum(b.type.nbytes for b in homes if b.kind == "temporary" and b not in merges)
    packing = pack(items, effort=effort)
    return results + packing.height, results + packing.lower_bound


def _merge(found: Assignment, place: Buffer, buffer: Buffer) -> None:
    for value in buffer.values:
        found.buffers[value] = place
    place.values += buffer.values
    place.result, place.last = buffer.result, buffer.last
