"""The packing search of :mod:`dlir.passes.memory.exact` as a program of level 5: dlir runs it on its own CPU backend.

It is `_Search`, function by function; read that first.  All state lies in a few buffers of `index` elements, which every
function takes:

- `item`, a row for each of `FIRST` ... `OFFSET`, a column for each buffer to be placed;
- `section`, likewise, by section;
- `starts` and `links`, the buffers that meet a buffer; `trail`, what buffers were before;
- `scalar`, single numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dlir.ir.builder import at_end
from dlir.ir.core import Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.scf import for_loop, if_else, while_loop
from dlir.ir.ops import arith, func, memref
from dlir.ir.types import INDEX, MemRefType
from dlir.passes.memory.exact import CUT, FAILED, FREE, LIFTED, MOST_BUFFERS, NEVER, PLACED, SOLVED

FIRST, LAST, SIZE, RANK, GROUND, STATE, LOWEST, OFFSET = range(8)
BEGIN, LEFT, FLOOR, SLACK = range(4)
NODES, LIMIT, CAPACITY, WALL, TRAIL, SECTIONS, STATUS = range(7)

#: A buffer is on the trail as often as it met one that was placed, and once for being placed and for being lifted
#: since each of these.
MOST_LINKS = MOST_BUFFERS * MOST_BUFFERS
SHAPES = (
    (8, MOST_BUFFERS),
    (4, MOST_BUFFERS + 1),
    (MOST_BUFFERS + 1,),
    (MOST_LINKS,),
    (2 * MOST_LINKS + 3 * MOST_BUFFERS, 3),
    (8,),
)
TYPES = [MemRefType(shape, INDEX) for shape in SHAPES]
GO_ON = 3

Index = Value | int


def search_module() -> Module:
    """A module whose function `main` runs a dive over buffers of the shapes `SHAPES`."""
    module = Module.empty("packing_search")
    for build in (
        _main,
        _solve,
        _level,
        _look_ahead,
        _lift,
        _floors_fit,
        _tightest_group,
        _choose,
        _place,
        _undo,
        _add,
    ):
        build(module)
    return module


class _Memory:
    """The buffers in one function, and shorthands for reading and writing them."""

    def __init__(self, args: Sequence[Value]) -> None:
        self.args = args
        self.buffer, self.section, self.starts, self.links, self.trail, self.scalar = args

    def item(self, row: int, i: Index) -> Value:
        return memref.load(self.buffer, [row, i])

    def at(self, row: int, s: Index) -> Value:
        return memref.load(self.section, [row, s])

    def number(self, which: int) -> Value:
        return memref.load(self.scalar, [which])

    def set_item(self, row: int, i: Index, value: Index) -> None:
        memref.store(value, self.buffer, [row, i])

    def set_at(self, row: int, s: Index, value: Index) -> None:
        memref.store(value, self.section, [row, s])

    def set_number(self, which: int, value: Index) -> None:
        memref.store(value, self.scalar, [which])

    def call(self, name: str, *extra: Index, results: int = 0) -> tuple[Value, ...]:
        numbers = [_number(value) for value in extra]
        found = func.call(*self.args, *numbers, callee=name, result_types=[INDEX] * results)
        return found if isinstance(found, tuple) else (found,)

    def each_left(self, a: Value, b: Value, inits: Sequence[Value], body: Callable[..., Sequence[Value]]) -> tuple:
        """A loop over the buffers of the sections a to b that are not placed; `body(i, state, *carried)`."""

        def step(i: Value, *carried: Value) -> Sequence[Value]:
            state = self.item(STATE, i)
            return if_else(_is("ne", state, PLACED), lambda: body(i, state, *carried), lambda: carried)

        return for_loop(self.at(BEGIN, a), self.at(BEGIN, arith.addi(b, 1)), 1, inits, step)

    def each_section(self, i: Value, inits: Sequence[Value], body: Callable[..., Sequence[Value] | None]) -> tuple:
        return for_loop(self.item(FIRST, i), arith.addi(self.item(LAST, i), 1), 1, inits, body)

    def each_link(self, i: Value, inits: Sequence[Value], body: Callable[..., Sequence[Value] | None]) -> tuple:
        def step(k: Value, *carried: Value) -> Sequence[Value] | None:
            return body(memref.load(self.links, [k]), *carried)

        end = memref.load(self.starts, [arith.addi(i, 1)])
        return for_loop(memref.load(self.starts, [i]), end, 1, inits, step)

    def remember(self, i: Value) -> None:
        """Put a buffer's ground and state on the trail."""
        top = self.number(TRAIL)
        for column, value in enumerate((i, self.item(GROUND, i), self.item(STATE, i))):
            memref.store(value, self.trail, [top, column])
        self.set_number(TRAIL, arith.addi(top, 1))


def _number(value: Index) -> Value:
    return arith.constant(value, INDEX) if isinstance(value, int) else value


def _is(predicate: str, a: Value, b: Index) -> Value:
    return arith.cmpi(predicate, a, b)


def _function(module: Module, name: str, extra: int, results: int, body: Callable[..., Sequence[Value]]) -> None:
    made = Func.make(name, [*TYPES, *[INDEX] * extra], [INDEX] * results, private=name != "main")
    module.body.append(made)
    with at_end(made.body):
        args = made.body.args
        func.return_(*body(_Memory(args[: len(TYPES)]), *args[len(TYPES) :]))


def _main(module: Module) -> None:
    def body(m: _Memory) -> Sequence[Value]:
        (status,) = m.call("solve", 0, arith.subi(m.number(SECTIONS), 1), results=1)
        m.set_number(STATUS, status)
        return ()

    _function(module, "main", 0, 0, body)


def _solve(module: Module) -> None:
    def body(m: _Memory, a: Value, b: Value) -> Sequence[Value]:
        mark = m.number(TRAIL)

        def failed() -> Sequence[Value]:
            m.call("undo", mark)
            return (_number(FAILED),)

        def step(a: Value, b: Value, status: Value) -> Sequence[Value]:
            nodes = arith.addi(m.number(NODES), 1)
            m.set_number(NODES, nodes)

            def look() -> Sequence[Value]:
                (level,) = m.call("level", a, b, results=1)
                return if_else(
                    _is("slt", level, 0),
                    lambda: (a, b, _number(SOLVED)),
                    lambda: _or_give_up(level),
                )

            def _or_give_up(level: Value) -> Sequence[Value]:
                (may,) = if_else(
                    _is("eq", level, NEVER),
                    lambda: (_number(0),),
                    lambda: m.call("look_ahead", a, b, level, results=1),
                )
                return if_else(_is("eq", may, 0), lambda: (a, b, *failed()), lambda: _branch(level))

            def _branch(level: Value) -> Sequence[Value]:
                groups, low, high = m.call("tightest_group", a, b, results=3)
                return if_else(
                    _is("sgt", groups, 1), lambda: _group(low, high), lambda: (low, high, _ask(m, low, high, level))
                )

            def _group(low: Value, high: Value) -> Sequence[Value]:
                (found,) = m.call("solve", low, high, results=1)
                (after,) = if_else(_is("eq", found, FAILED), failed, lambda: (found,))
                return a, b, arith.select(_is("eq", after, SOLVED), _number(GO_ON), after)

            over = _is("sgt", nodes, m.number(LIMIT))
            return if_else(over, lambda: (a, b, _number(CUT)), look)

        found = while_loop(
            [a, b, _number(GO_ON)],
            lambda a, b, status: (_is("eq", status, GO_ON), a, b, status),
            step,
        )
        return (found[2],)

    _function(module, "solve", 2, 1, body)


def _ask(m: _Memory, a: Value, b: Value, level: Value) -> Value:
    """Place a buffer and solve the rest; if that has no solution, lift the buffer.  The status, or GO_ON."""
    (i,) = m.call("choose", a, b, level, results=1)

    def place() -> Sequence[Value]:
        before = m.number(TRAIL)
        m.call("place", i, level)
        (status,) = m.call("solve", a, b, results=1)
        if_else(_is("eq", status, FAILED), lambda: m.call("undo", before) and None)
        return (status,)

    fits = _is("sle", arith.addi(level, m.item(SIZE, i)), m.number(CAPACITY))
    (status,) = if_else(fits, place, lambda: (_number(FAILED),))

    def lift() -> Sequence[Value]:
        m.remember(i)
        m.set_item(STATE, i, LIFTED)
        return (_number(GO_ON),)

    (result,) = if_else(_is("eq", status, FAILED), lift, lambda: (status,))
    return result


def _level(module: Module) -> None:
    def body(m: _Memory, a: Value, b: Value) -> Sequence[Value]:
        def step(i: Value, state: Value, level: Value) -> Sequence[Value]:
            # As unsigned, -1 is above all.
            ground = arith.select(_is("eq", state, FREE), m.item(GROUND, i), _number(NEVER))
            return (arith.minui(level, ground),)

        return m.each_left(a, b, [_number(-1)], step)

    _function(module, "level", 2, 1, body)


def _look_ahead(module: Module) -> None:
    def body(m: _Memory, a: Value, b: Value, level: Value) -> Sequence[Value]:
        def bound(i: Value, lifted: Value) -> Sequence[Value]:
            state, ground = m.item(STATE, i), m.item(GROUND, i)
            is_lifted = _is("eq", state, LIFTED)
            above = arith.addi(arith.maxsi(ground, level), 1)
            lowest = arith.select(is_lifted, above, ground)
            m.set_item(LOWEST, i, arith.select(_is("eq", state, PLACED), _number(NEVER), lowest))
            return (arith.select(is_lifted, _number(1), lifted),)

        (lifted,) = for_loop(m.at(BEGIN, a), m.at(BEGIN, arith.addi(b, 1)), 1, [_number(0)], bound)
        (fits,) = m.call("floors_fit", a, b, results=1)

        def again() -> Sequence[Value]:
            (second,) = m.call("lift", a, b, results=1)
            return if_else(_is("slt", second, 0), lambda: (_number(0),), lambda: m.call("floors_fit", a, b, results=1))

        def lift() -> Sequence[Value]:
            (first,) = m.call("lift", a, b, results=1)
            return if_else(_is("eq", first, 1), again, lambda: (arith.addi(first, 1),))

        return if_else(_is("eq", arith.muli(fits, lifted), 1), lift, lambda: (fits,))

    _function(module, "look_ahead", 3, 1, body)


def _lift(module: Module) -> None:
    def body(m: _Memory, a: Value, b: Value) -> Sequence[Value]:
        def raised(i: Value, result: Value) -> Sequence[Value]:
            def meet(j: Value, low: Value, top: Value) -> Sequence[Value]:
                lowest = m.item(LOWEST, j)
                return arith.minsi(low, lowest), arith.minsi(top, arith.addi(lowest, m.item(SIZE, j)))

            low, top = m.each_link(i, [_number(2 * NEVER)] * 2, meet)
            size, lowest = m.item(SIZE, i), m.item(LOWEST, i)
            new = arith.maxsi(top, lowest)
            m.set_item(LOWEST, i, new)
            is_free = _is("sge", low, arith.addi(m.item(GROUND, i), size))
            is_high = _is("sgt", arith.addi(new, size), m.number(CAPACITY))
            after = arith.select(_is("sgt", new, lowest), _number(1), result)
            return (arith.select(arith.ori(is_free, is_high), _number(-1), after),)

        def step(i: Value, state: Value, result: Value) -> Sequence[Value]:
            goes_on = arith.andi(_is("eq", state, LIFTED), _is("sge", result, 0))
            return if_else(goes_on, lambda: raised(i, result), lambda: (result,))

        return m.each_left(a, b, [_number(0)], step)

    _function(module, "lift", 2, 1, body)


def _floors_fit(module: Module) -> None:
    def body(m: _Memory, a: Value, b: Value) -> Sequence[Value]:
        end = arith.addi(b, 1)
        for_loop(a, end, 1, [], lambda s: m.set_at(FLOOR, s, NEVER))

        def lower(i: Value, state: Value) -> Sequence[Value]:
            lowest = m.item(LOWEST, i)
            m.each_section(i, [], lambda s: m.set_at(FLOOR, s, arith.minsi(m.at(FLOOR, s), lowest)))
            return ()

        m.each_left(a, b, [], lower)
        capacity = m.number(CAPACITY)

        def room(s: Value, least: Value) -> Sequence[Value]:
            floor = m.at(FLOOR, s)
            over = arith.subi(arith.subi(capacity, floor), m.at(LEFT, s))
            slack = arith.select(_is("eq", floor, NEVER), _number(NEVER), over)
            m.set_at(SLACK, s, slack)
            return (arith.minsi(least, slack),)

        (least,) = for_loop(a, end, 1, [_number(0)], room)
        return (arith.select(_is("slt", least, 0), _number(0), _number(1)),)

    _function(module, "floors_fit", 2, 1, body)


def _tightest_group(module: Module) -> None:
    def body(m: _Memory, a: Value, b: Value) -> Sequence[Value]:
        def step(s: Value, *carried: Value) -> Sequence[Value]:
            groups, low, high, best, tight, start, reach = carried
            (reach,) = m.each_left(s, s, [reach], lambda i, state, reach: (arith.maxsi(reach, m.item(LAST, i)),))
            tight = arith.minsi(tight, m.at(SLACK, s))

            def close() -> Sequence[Value]:
                some = _is("ne", tight, NEVER)
                better = _is("slt", tight, best)
                return (
                    arith.select(some, arith.addi(groups, 1), groups),
                    arith.select(better, start, low),
                    arith.select(better, s, high),
                    arith.minsi(best, tight),
                    _number(NEVER),
                    arith.addi(s, 1),
                    reach,
                )

            open_group = (groups, low, high, best, tight, start, reach)
            return if_else(_is("sle", reach, s), close, lambda: open_group)

        inits = [_number(0), a, b, _number(NEVER), _number(NEVER), a, a]
        return for_loop(a, arith.addi(b, 1), 1, inits, step)[:3]

    _function(module, "tightest_group", 2, 3, body)


def _choose(module: Module) -> None:
    def body(m: _Memory, a: Value, b: Value, level: Value) -> Sequence[Value]:
        def is_candidate(i: Value, state: Value) -> Value:
            return arith.andi(_is("eq", state, FREE), _is("eq", m.item(GROUND, i), level))

        def tighter(s: Value, section: Value, least: Value) -> Sequence[Value]:
            slack = m.at(SLACK, s)
            return arith.select(_is("slt", slack, least), s, section), arith.minsi(slack, least)

        def look(i: Value, state: Value, section: Value, least: Value) -> Sequence[Value]:
            candidate = is_candidate(i, state)
            return if_else(candidate, lambda: m.each_section(i, [section, least], tighter), lambda: (section, least))

        section, _ = m.each_left(a, b, [a, _number(2 * NEVER)], look)
        wall = m.number(WALL)

        def score(i: Value, chosen: Value, best: Value) -> Sequence[Value]:
            first, last = m.item(FIRST, i), m.item(LAST, i)
            found = m.item(RANK, i)
            # Beyond the ends there is a wall; the section that is read there instead does not count.
            left = m.at(FLOOR, arith.maxsi(arith.subi(first, 1), 0))
            right = m.at(FLOOR, arith.minsi(arith.addi(last, 1), b))
            for is_end, floor in ((_is("sle", first, a), left), (_is("sge", last, b), right)):
                touches = arith.ori(is_end, _is("sgt", floor, level))
                found = arith.select(touches, arith.subi(found, wall), found)
            better = _is("slt", found, best)
            return arith.select(better, i, chosen), arith.select(better, found, best)

        def judge(i: Value, state: Value, chosen: Value, best: Value) -> Sequence[Value]:
            inside = arith.andi(_is("sle", m.item(FIRST, i), section), _is("sge", m.item(LAST, i), section))
            candidate = arith.andi(is_candidate(i, state), arith.ori(inside, _is("eq", wall, 0)))
            return if_else(candidate, lambda: score(i, chosen, best), lambda: (chosen, best))

        return m.each_left(a, b, [_number(-1), _number(NEVER)], judge)[:1]

    _function(module, "choose", 3, 1, body)


def _place(module: Module) -> None:
    def body(m: _Memory, i: Value, level: Value) -> Sequence[Value]:
        m.remember(i)
        size = m.item(SIZE, i)
        m.set_item(OFFSET, i, level)
        m.set_item(STATE, i, PLACED)
        m.call("add", i, arith.subi(_number(0), size))
        top = arith.addi(level, size)

        def cover(j: Value) -> None:
            def rise() -> None:
                m.remember(j)
                m.set_item(GROUND, j, top)
                m.set_item(STATE, j, FREE)

            covered = arith.andi(_is("ne", m.item(STATE, j), PLACED), _is("slt", m.item(GROUND, j), top))
            if_else(covered, rise)

        m.each_link(i, [], cover)
        return ()

    _function(module, "place", 2, 0, body)


def _undo(module: Module) -> None:
    def body(m: _Memory, mark: Value) -> Sequence[Value]:
        def step(top: Value) -> Sequence[Value]:
            last = arith.subi(top, 1)
            i, ground, state = (memref.load(m.trail, [last, column]) for column in range(3))
            if_else(_is("eq", m.item(STATE, i), PLACED), lambda: m.call("add", i, m.item(SIZE, i)) and None)
            m.set_item(GROUND, i, ground)
            m.set_item(STATE, i, state)
            return (last,)

        (top,) = while_loop([m.number(TRAIL)], lambda top: (_is("sgt", top, mark), top), step)
        m.set_number(TRAIL, top)
        return ()

    _function(module, "undo", 1, 0, body)


def _add(module: Module) -> None:
    def body(m: _Memory, i: Value, size: Value) -> Sequence[Value]:
        m.each_section(i, [], lambda s: m.set_at(LEFT, s, arith.addi(m.at(LEFT, s), size)))
        return ()

    _function(module, "add", 2, 0, body)
