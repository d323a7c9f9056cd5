"""Structured control flow and calls in LLVM IR.

`scf.parallel` in a function that outlines (one that is no kernel) becomes a function of the iteration number that the
thread pool runs, see threads.py; anywhere else it is a nest of loops, in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dlir.backends.cpu.emit_function import FunctionEmitter, Handler, Regions
from dlir.backends.cpu.llvm_types import llvm_type
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.func import Call
from dlir.ir.dialects.scf import For, If, Parallel, While

#: A loop that carries more vectors than this is not unrolled: two copies of its body would not fit the registers.
UNROLLED_VECTORS = 8

#: Name, type, first and next value.
Phi = tuple[str, str, str, str]


@dataclass(slots=True)
class _Loop:
    """A counted loop whose body is being emitted."""

    entered_from: str
    head: str
    exit: str
    phis: int
    counter: str
    counter_type: str
    lower: str
    step: str
    carried: list[tuple[str, str, str]]
    """Name, type and first value of each value carried round."""
    may_unroll: bool = True


def _open_loop(
    f: FunctionEmitter,
    counter_type: str,
    bounds: tuple[str, str, str],
    inits: Sequence[tuple[str, str]],
) -> _Loop:
    """Begin a loop over `bounds` (lower, upper, step) carrying values of (type, first value); the body comes next."""
    lower, upper, step = bounds
    head, body, exit_ = f.new_label(), f.new_label(), f.new_label()
    entered_from = f.label
    f.branch(head)
    f.start(head)
    carried = [(f.fresh(), type_, init) for type_, init in inits]
    loop = _Loop(entered_from, head, exit_, f.reserve(), f.fresh(), counter_type, lower, step, carried)
    f.branch_if(f.emit(f"icmp slt {counter_type} {loop.counter}, {upper}"), body, exit_)
    f.start(body)
    return loop


def _close_loop(f: FunctionEmitter, loop: _Loop, carried_on: Sequence[str]) -> None:
    """End the body; the code after the loop comes next, where the carried names hold their last values."""
    following = f.emit(f"add nsw {loop.counter_type} {loop.counter}, {loop.step}")
    back = f.label
    if not loop.may_unroll or sum(type_.startswith("<") for _, type_, _ in loop.carried) > UNROLLED_VECTORS:
        f.do(f"br label %{loop.head}, !llvm.loop {f.module.loop_hint('llvm.loop.unroll.disable')}")
    else:
        f.branch(loop.head)
    pairs = [(loop.counter, loop.counter_type, loop.lower, following)]
    pairs += [(*carried, new) for carried, new in zip(loop.carried, carried_on)]
    _fill_phis(f, loop.phis, pairs, loop.entered_from, back)
    f.start(loop.exit)


def _fill_phis(f: FunctionEmitter, place: int, phis: Sequence[Phi], entered_from: str, back: str) -> None:
    """Values at a loop's head: the first on entry from one label, the last coming back from the other."""
    lines = [
        f"  {name} = phi {type_} [ {first}, %{entered_from} ], [ {new}, %{back} ]" for name, type_, first, new in phis
    ]
    f.fill(place, lines)


def _for(f: FunctionEmitter, op: For) -> Regions:
    lower, upper, step = (f.name(value) for value in op.operands[:3])
    inits = [(llvm_type(value.type), f.name(value)) for value in op.inits]
    loop = _open_loop(f, llvm_type(op.counter.type), (lower, upper, step), inits)
    # Beside a register tile, unrolling what is around inner loops only takes time to compile.
    loop.may_unroll = not f.has_tiles or all(inner.name != "scf.for" for inner in op.body.ops)
    f.names[op.counter] = loop.counter
    for arg, result, (name, _, _) in zip(op.carried, op.results, loop.carried):
        f.names[arg] = f.names[result] = name
    terminator = yield op.body
    _close_loop(f, loop, [f.name(value) for value in terminator.operands])


def _if(f: FunctionEmitter, op: If) -> Regions:
    then, otherwise, join = f.new_label(), f.new_label(), f.new_label()
    f.branch_if(f.name(op.operands[0]), then, otherwise)
    incoming: list[list[str]] = [[] for _ in op.results]
    for label, region in zip((then, otherwise), op.regions):
        f.start(label)
        if region.blocks:
            terminator = yield region.block
            for values, value in zip(incoming, terminator.operands):
                values.append(f"[ {f.name(value)}, %{f.label} ]")
        f.branch(join)
    f.start(join)
    for result, values in zip(op.results, incoming):
        f.emit(f"phi {llvm_type(result.type)} {', '.join(values)}", result)


def _while(f: FunctionEmitter, op: While) -> Regions:
    before, after = (region.block for region in op.regions)
    head, body, exit_ = f.new_label(), f.new_label(), f.new_label()
    entered_from = f.label
    f.branch(head)
    f.start(head)
    phis = f.reserve()
    for arg in before.args:
        f.fresh(arg)
    condition = yield before
    held, *handed = condition.operands
    f.branch_if(f.name(held), body, exit_)
    f.start(body)
    for values in (after.args, op.results):
        for value, source in zip(values, handed):
            f.names[value] = f.name(source)
    terminator = yield after
    back = f.label
    f.branch(head)
    pairs = [
        (f.name(arg), llvm_type(arg.type), f.name(init), f.name(new))
        for arg, init, new in zip(before.args, op.operands, terminator.operands)
    ]
    _fill_phis(f, phis, pairs, entered_from, back)
    f.start(exit_)


# ---------------------------------------------------------------- parallel loops


def _parallel(f: FunctionEmitter, op: Parallel) -> Regions | None:
    if f.outlines and not op.results:
        _run_by_threads(f, op)
        return None
    return _nest(f, op)


def _nest(f: FunctionEmitter, op: Parallel) -> Regions:
    """Loops one in the other, the reductions carried through all of them."""
    lowers, uppers, steps, inits = op.groups
    carried = [(llvm_type(value.type), f.name(value)) for value in inits]
    loops = []
    for counter, *bounds in zip(op.counters, lowers, uppers, steps):
        lower, upper, step = (f.name(bound) for bound in bounds)
        loop = _open_loop(f, "i64", (lower, upper, step), carried)
        f.names[counter] = loop.counter
        carried = [(type_, name) for name, type_, _ in loop.carried]
        loops.append(loop)
    reduce = yield op.body
    new = []
    for (name, _, _), value, region in zip(loops[-1].carried, reduce.operands, reduce.regions):
        total, item = region.block.args
        f.names[total], f.names[item] = name, f.name(value)
        terminator = yield region.block
        new.append(f.name(terminator.operands[0]))
    for loop in reversed(loops):
        _close_loop(f, loop, new)
        new = [name for name, _, _ in loop.carried]
    for result, name in zip(op.results, new):
        f.names[result] = name


def _run_by_threads(f: FunctionEmitter, op: Parallel) -> None:
    """Move the body into a function of (context, iteration) and hand that to the pool.

    The context is a struct in the caller's frame with the values that the body uses from outside.
    """
    captured = [value for value in _values_from_outside(op) if f.name(value).startswith("%")]
    types = [llvm_type(value.type) for value in captured]
    struct = f"{{ {', '.join(types)} }}" if types else "{ i8 }"
    counts = [_iterations(f, *bounds) for bounds in zip(*op.groups[:3])]
    total = counts[0]
    for count in counts[1:]:
        total = f.emit(f"mul i64 {total}, {count}")
    context = f.local_memory(struct, 8 * len(types), 8)
    for index, value in enumerate(captured):
        field = f.emit(f"getelementptr inbounds {struct}, ptr {context}, i64 0, i32 {index}")
        f.do(f"store {f.typed(value)}, ptr {field}")
    symbol = _outline(f, op, captured, struct)
    f.call("void", "@dlir.parallel_for", [("ptr", symbol), ("ptr", context), ("i64", total)])


def _outline(f: FunctionEmitter, op: Parallel, captured: Sequence[Value], struct: str) -> str:
    """The function that runs one iteration; its symbol."""
    body = FunctionEmitter(f.module, outlines=False)
    # What is no register is a constant or a symbol, with the same name anywhere.
    body.names = {value: name for value, name in f.names.items() if not name.startswith("%")}
    for index, value in enumerate(captured):
        field = body.emit(f"getelementptr inbounds {struct}, ptr %context, i64 0, i32 {index}")
        body.emit(f"load {llvm_type(value.type)}, ptr {field}", value)
    rest = "%t"
    for position in reversed(range(op.dims)):
        lower, upper, step = (group[position] for group in op.groups[:3])
        number = rest
        if position:
            count = _iterations(body, lower, upper, step)
            number = body.emit(f"urem i64 {rest}, {count}")
            rest = body.emit(f"udiv i64 {rest}, {count}")
        offset = body.emit(f"mul nsw i64 {number}, {body.name(step)}")
        body.emit(f"add nsw i64 {body.name(lower)}, {offset}", op.counters[position])
    body.run(op.body)
    body.return_()
    return f.module.add_function(
        "parallel", lambda symbol: body.text(f"define internal void {symbol}(ptr %context, i64 %t) #0")
    )


def _iterations(f: FunctionEmitter, lower: Value, upper: Value, step: Value) -> str:
    """How many steps fit between the bounds, as an i64."""
    if f.name(lower) == "0" and f.name(step) == "1" and f.name(upper).isdecimal():
        return f.name(upper)
    span = f.emit(f"sub nsw i64 {f.name(upper)}, {f.name(lower)}")
    rounded = f.emit(f"add nsw i64 {span}, {f.emit(f'sub nsw i64 {f.name(step)}, 1')}")
    count = f.emit(f"sdiv i64 {rounded}, {f.name(step)}")
    return f.call("i64", "@llvm.smax.i64", [("i64", count), ("i64", "0")])


def _values_from_outside(op: Operation) -> list[Value]:
    """The values that `op` and its regions use, but that are made outside, in order of their use."""
    inside: dict[Value, None] = {}
    used: dict[Value, None] = {}
    for inner in op.walk():
        used.update(dict.fromkeys(inner.operands))
        if inner is not op:
            inside.update(dict.fromkeys(inner.results))
        for region in inner.regions:
            for block in region.blocks:
                inside.update(dict.fromkeys(block.args))
    return [value for value in used if value not in inside]


# ---------------------------------------------------------------- calls


def _call(f: FunctionEmitter, op: Call) -> None:
    symbol = f.module.function_symbol(op)
    arguments = ", ".join(f.typed(operand) for operand in op.operands)
    types = [llvm_type(result.type) for result in op.results]
    if not types:
        f.do(f"call void {symbol}({arguments})")
    elif len(types) == 1:
        f.emit(f"call {types[0]} {symbol}({arguments})", op.result)
    else:
        struct = f"{{ {', '.join(types)} }}"
        found = f.emit(f"call {struct} {symbol}({arguments})")
        for index, result in enumerate(op.results):
            f.emit(f"extractvalue {struct} {found}, {index}", result)


HANDLERS: dict[str, Handler] = {
    "func.call": _call,
    "scf.for": _for,
    "scf.if": _if,
    "scf.parallel": _parallel,
    "scf.while": _while,
}
