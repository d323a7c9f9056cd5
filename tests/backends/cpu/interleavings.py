"""A program of threads explored: all interleavings for wrong steps and dead ends, random ones for data races."""

from __future__ import annotations

import random
from collections.abc import Iterable

from llvm_threads import Access, Frames, Threads

World = tuple[tuple, tuple[int, ...]]


class Wrong(Exception):
    """The program did what it must not."""


class Program:
    """Threads that start with the functions `starts` on memory of the values `memory`; the last `alike` are alike.

    A state of a thread goes by a number, since few of them make up many worlds.
    """

    def __init__(self, threads: Threads, memory: dict[str, object], starts: Iterable[str], alike: int = 1) -> None:
        self._threads = threads
        self._alike = alike
        self._places = list(memory)
        self._states: list[Frames] = []
        self._numbers: dict[Frames, int] = {}
        self._at: list[int] = []
        self._steps: dict[tuple[int, object], tuple[int, object] | None] = {}
        self.start: World = tuple(memory.values()), tuple(self._number(threads.start(name)) for name in starts)

    def _number(self, state: Frames) -> int:
        if state not in self._numbers:
            self._numbers[state] = len(self._states)
            self._states.append(state)
            self._at.append(self._places.index(self._threads.next_access(state).place) if state else -1)
        return self._numbers[state]

    def access(self, world: World, thread: int) -> Access:
        """What `thread` does next."""
        return self._threads.next_access(self._states[world[1][thread]])

    def after(self, world: World, thread: int) -> World | None:
        """The world after the next step of `thread`; None if it has ended or has to wait."""
        memory, states = world
        place = self._at[states[thread]]
        if place < 0:
            return None
        key = states[thread], memory[place]
        if key not in self._steps:
            done = self._threads.step(self._states[key[0]], key[1])
            self._steps[key] = done and (self._number(done[0]), done[1])
        done_ = self._steps[key]
        if done_ is None:
            return None
        state, value = done_
        return (*memory[:place], value, *memory[place + 1 :]), (*states[:thread], state, *states[thread + 1 :])

    def has_ended(self, world: World) -> bool:
        return all(self._at[state] < 0 for state in world[1])

    def explore(self, limit: int) -> int:
        """Visit every world that can be reached; their number.

        Wrong if a step is wrong, or if from some world the end cannot be reached any more.
        """
        numbers = {self.start: 0}
        worlds = [self.start]
        sources: list[list[int]] = [[]]
        ends = []
        for number, world in enumerate(worlds):
            if self.has_ended(world):
                ends.append(number)
            for thread in range(len(world[1])):
                following = self.after(world, thread)
                if following is None:
                    continue
                # Which of those that are alike is in which state does not matter.
                states = following[1]
                following = following[0], (*states[: -self._alike], *sorted(states[-self._alike :]))
                target = numbers.setdefault(following, len(worlds))
                if target == len(worlds):
                    worlds.append(following)
                    sources.append([])
                sources[target].append(number)
            assert len(worlds) < limit, "too many interleavings for a test"
        finishing = set(ends)
        while ends:
            for source in sources[ends.pop()]:
                if source not in finishing:
                    finishing.add(source)
                    ends.append(source)
        if len(finishing) < len(worlds):
            raise Wrong(f"{len(worlds) - len(finishing)} of {len(worlds)} worlds lead nowhere")
        return len(worlds)

    def walk(self, seed: int) -> None:
        """One random interleaving; Wrong if it has a data race, even one that did no harm."""
        dice = random.Random(seed)
        # How long a thread runs while all others stand still differs from walk to walk.
        patience = dice.choice((0.0, 0.9, 0.98))
        world, thread = self.start, 0
        clocks = Clocks(len(world[1]))
        while not self.has_ended(world):
            choices = {t: after for t in range(len(world[1])) if (after := self.after(world, t)) is not None}
            if not choices:
                raise Wrong("all threads wait")
            if thread not in choices or dice.random() >= patience:
                thread = dice.choice(list(choices))
            after = choices[thread]
            access = self.access(world, thread)
            clocks.record(thread, access, world[0][self._places.index(access.place)])
            world = after


_ACQUIRES = ("acquire", "acq_rel", "seq_cst")
_RELEASES = ("release", "acq_rel", "seq_cst")
#: What the externals of :mod:`test_interleavings` mean as atomic accesses.
_ORDERINGS = {"@sem_wait": "acquire", "@sem_post": "release", "@await": "acquire", "@arrive": "release"}


class Clocks:
    """Which steps happen before which, by C++'s rules for atomics, as a vector clock a thread."""

    def __init__(self, threads: int) -> None:
        self._now = [[0] * threads for _ in range(threads)]
        # By place: what an acquiring access of it learns.
        self._released: dict[str, list[int]] = {}
        # By cell: thread and time of the last write, and of reads after it.
        self._writes: dict[object, tuple[int, int]] = {}
        self._reads: dict[object, dict[int, int]] = {}

    def record(self, thread: int, access: Access, old: object) -> None:
        """A step of `thread`, which finds `old`; Wrong if it is in a race with an earlier one."""
        self._now[thread][thread] += 1
        instruction, name = access.instruction, access.instruction.detail
        if instruction.opcode == "call" and name not in _ORDERINGS:
            context, *rest = access.operands
            # An iteration reads the context and writes an element; the caller's frame is all of them.
            if name == "@begin":
                self._read(thread, context)
            elif name == "@end":
                self._write(thread, (context, rest[0]))
            else:
                for cell in (context, *((context, t) for t in range(rest[0]))):
                    self._write(thread, cell)
        elif instruction.orderings or name in _ORDERINGS:
            orderings = instruction.orderings or (_ORDERINGS[name],)
            failed = instruction.opcode == "cmpxchg" and old != access.operands[1]
            self._synchronise(thread, access.place, orderings[-1 if failed else 0], instruction.opcode, failed)
        elif instruction.opcode == "load":
            self._read(thread, access.place)
        else:
            self._write(thread, access.place)

    def _synchronise(self, thread: int, place: str, ordering: str, opcode: str, failed: bool) -> None:
        now = self._now[thread]
        released = self._released.setdefault(place, [0] * len(now))
        if opcode != "store" and ordering in _ACQUIRES:
            now[:] = map(max, now, released)
        if opcode == "store":
            # It ends the release sequence of earlier ones, which read-modify-writes carry on.
            self._released[place] = list(now) if ordering in _RELEASES else [0] * len(now)
        elif opcode != "load" and not failed and ordering in _RELEASES:
            released[:] = map(max, now, released)

    def _read(self, thread: int, cell: object) -> None:
        self._check(thread, cell, self._writes.get(cell))
        self._reads.setdefault(cell, {})[thread] = self._now[thread][thread]

    def _write(self, thread: int, cell: object) -> None:
        for earlier in (self._writes.get(cell), *self._reads.pop(cell, {}).items()):
            self._check(thread, cell, earlier)
        self._writes[cell] = thread, self._now[thread][thread]

    def _check(self, thread: int, cell: object, earlier: tuple[int, int] | None) -> None:
        if earlier and self._now[thread][earlier[0]] < earlier[1]:
            raise Wrong(f"data race on {cell}")
