"""A program of threads explored: all interleavings for wrong steps and dead ends, random ones for data races."""

from __future__ import annotations

import random
from collections.abc import Iterable

from llvm_threads import Access, Frames, Threads

World = tuple[tuple, tuple[int, ...]]


class Wrong(Exception):
    """The program did what it must not."""


class Program:
    """Threads that start with the functions `starts` on memory of the values `memory`.

    Threads are numbered by their state, since few states of a thread make up many of the program.
    """

    def __init__(self, threads: Threads, memory: dict[str, object], starts: Iterable[str]) -> None:
        self._threads = threads
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
        random_ = random.Random(seed)
        world = self.start
        clocks = Clocks(len(world[1]))
        while not self.has_ended(world):
            choices = [(t, after) for t in range(len(world[1])) if (after := self.after(world, t)) is not None]
            if not choices:
                raise Wrong("all threads wait")
            thread, after = random_.choice(choices)
            clocks.record(thread, self.access(world, thread), after is not None)
            world = after
