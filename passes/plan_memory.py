"""The ``plan-memory`` pass."""

from __future__ import annotations

from dataclasses import dataclass

from dlir.ir.attributes import UNIT, Attribute, IntegerAttr
from dlir.ir.builder import at_start, before
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.initializers import is_initializer
from dlir.ir.ops import arith, memref
from dlir.ir.state import WRITES
from dlir.ir.types import I8, INDEX, MemRefType
from dlir.passes.manager import Pass, option
from dlir.passes.memory.budget import check_budget
from dlir.passes.memory.checker import conflicts
from dlir.passes.memory.liveness import Liveness, Span, liveness, planned_ops
from dlir.passes.memory.packing import ALIGNMENT, EFFORT, Host, Lifetime, Packing, lifetime, pack
from dlir.passes.memory.poison import Use, poison_freed
from dlir.passes.memory.report import naive_bytes, planned_bytes
from dlir.passes.memory.views import reshaped


@dataclass
class PlanMemory(Pass, name="plan-memory"):
    """Replace allocations by places in one arena, the last argument of the function (`dlir.arena`).

    Buffers whose lifetimes do not meet share memory.  A buffer may also live in a result's before the result is first
    written, and in a donated argument's after its last use.
    """

    effort: int = option(EFFORT, "steps of search for a smaller arena; about 5 million a second", least=0)
    budget: int = option(0, "bytes that a call may need: inputs, results and arena; 0: any", least=0)
    poison: bool = option(False, "overwrite memory that holds no value, to test the plan")

    def run(self, module: Module) -> None:
        for op in list(module.body.ops):
            if isinstance(op, Func) and can_plan(op):
                found = self._plan(op)
                if not is_initializer(op):  # those run before any call
                    self.stats.update(found)

    def _plan(self, function: Func) -> dict[str, int]:
        found = liveness(function)
        allocs = [op for op in planned_ops(function) if not _escapes(op, found)]
        hosts = _hosts(function, found)
        items = [_lifetime(op.results[0], found, [host for _, host in hosts]) for op in allocs]
        fixed = planned_bytes(function) - sum(op.results[0].type.nbytes for op in allocs)
        packing = pack(items, effort=self.effort, target=max(0, self.budget - fixed) if self.budget else None)
        problems = conflicts(items, packing)
        assert not problems, f"the memory plan of '@{function.symbol}' is wrong: {problems}"
        naive = naive_bytes(function)
        ops = found.times.ops
        places = _place(function, allocs, [value for value, _ in hosts], packing)
        planned = planned_bytes(function)
        if self.budget:
            check_budget(function, self.budget)
        fills = 0
        if self.poison:
            spans = [found.spans.get(op.results[0]) for op in allocs]
            fills = poison_freed([Use(p, ops[s.first], ops[s.last]) for p, s in zip(places, spans) if s is not None])
        return {
            "naive": naive,
            "buffers": len(allocs),
            "in_results": sum(host is not None for host in packing.hosts),
            "planned": planned,
            "lower_bound": planned - packing.height + packing.lower_bound,
            **({"poisoned": fills} if self.poison else {}),
        }


def can_plan(function: Func) -> bool:
    """Whether `function` is over buffers, in one block, no kernel, and not planned yet."""
    if function.is_declaration or len(function.regions[0].blocks) != 1 or "dlir.kernel" in function.attributes:
        return False
    roles = [function.arg_attributes(arg.index) for arg in function.body.args]
    has_buffers = WRITES in function.attributes or any("dlir.input" in role or "dlir.result" in role for role in roles)
    return has_buffers and not any("dlir.arena" in role for role in roles)


def _escapes(alloc: Operation, found: Liveness) -> bool:
    span = found.spans.get(alloc.results[0])
    return span is not None and span.escapes


def _hosts(function: Func, found: Liveness) -> list[tuple[Value, Host]]:
    """The arguments in which temporaries may live.

    A result's buffer is free until it is first touched, a donated argument's after it was last touched; one that is
    both is in use all the time.
    """
    hosts: list[tuple[Value, Host]] = []
    for arg in function.body.args:
        role = function.arg_attributes(arg.index)
        span = found.spans.get(arg)
        if not isinstance(arg.type, MemRefType) or ("dlir.result" in role and "dlir.input" in role):
            continue
        if "dlir.result" in role:
            free = (0, found.end if span is None else span.first - 1)
        elif "dlir.donated" in role:
            free = (0 if span is None else span.last + 1, found.end)
        else:
            continue
        hosts.append((arg, Host(arg.dtype, arg.type.nbytes, *free)))
    return hosts


def _lifetime(value: Value, found: Liveness, hosts: list[Host]) -> Lifetime:
    span = found.spans.get(value, Span(0, 0))
    return lifetime(value.dtype, value.type.nbytes, span.first, span.last, hosts)


def _place(function: Func, allocs: list[Operation], hosts: list[Value], packing: Packing) -> list[Value]:
    """Replace each alloc by a view of its place, and return these."""
    places: list[Value] = []
    used = sorted({offset for offset, host in zip(packing.offsets, packing.hosts) if host is None})
    arena = _add_arena(function, packing) if used else None
    with at_start(function.body, function.location):
        shifts = {offset: arith.constant(offset, INDEX) for offset in used}
    for alloc, offset, host in zip(allocs, packing.offsets, packing.hosts, strict=True):
        old = alloc.results[0]
        with before(alloc):
            if host is None:
                place = memref.view(arena, shifts[offset], result_types=[old.type])
                place.name = old.name
            else:
                place = reshaped(hosts[host], old.shape, old.name)
        for user in old.users:
            if user.name == "memref.dealloc":
                user.erase()
        old.replace_by(place)
        alloc.erase()
        places.append(place)
    return places


def _add_arena(function: Func, packing: Packing) -> Value:
    """The arena as a new last argument."""
    entry: dict[str, Attribute] = {"dlir.arena": UNIT, "dlir.alignment": IntegerAttr(ALIGNMENT)}
    if packing.lower_bound < packing.height:
        entry["dlir.lower_bound"] = IntegerAttr(packing.lower_bound)
    attributes = [function.arg_attributes(arg.index) for arg in function.body.args]
    arena = function.body.add_arg(MemRefType((packing.height,), I8), "arena", function.location)
    function.set_arg_attributes([*attributes, entry])
    function.update_type()
    return arena
