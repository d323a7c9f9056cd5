"""Exact packing: do these buffers fit below this capacity?  A depth-first search that can also answer no.

The idea is that of MiniMalloc (Moffitt, "MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine
Learning", ASPLOS 2023): look only at *canonical* solutions, where every buffer lies on the ground or on another one.
They are built from below, and each buffer that is placed goes to the lowest place that is left to it, its *ground*.

Time is cut into *sections*, one for each largest set of buffers that live at one time.  A node of the search takes the
lowest ground of all and asks of one buffer there: does it lie here, or must another one go below it?  In the second case
it is *lifted*: it cannot be placed until something was placed under it.  So every solution is met once, whatever the
order in which buffers are asked about.  A node is given up when

- in some section, the lowest place for a buffer that is left and the sizes of all that are left exceed the capacity;
- a lifted buffer would come to lie too high, or nothing can come to lie where it could have been (then the buffer could
  drop, and the solution is another one's).

Where the buffers that are left fall apart into groups that do not meet, the groups are solved one after the other: a
group that has no solution is not tried again for each solution of another.

One order of questions can be unlucky, so there are many short dives (Luby, Sinclair and Zuckerman, 1993) with different
orders, in some of which, as in MiniMalloc, the tightness of sections does not count.  `dive` is the search in plain
Python; what is used is the same search as machine code (`SEARCHES`), which visits the same nodes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dlir.ir.tables import Table

#: Above every height.
NEVER = 1 << 40
#: The search is not for more buffers than these: it would not end.
MOST_BUFFERS = 1024
#: Nodes of the shortest dive.
SHORTEST_DIVE = 500
#: How the search is run: name -> a function like `dive`.  The first is used.
SEARCHES = Table("search", "dlir.searches", {"native": "dlir.backends.cpu.packing_search:dive"})

SOLVED, FAILED, CUT = 1, 0, 2


@dataclass(frozen=True, slots=True)
class Problem:
    """Buffers in the order of their first sections; sizes in units of `unit` bytes.

    `links[starts[i]:starts[i + 1]]` are the buffers that meet buffer i, and `begin[s]` is the first one that does not
    begin before section s.  `order[i]` is the buffer's number outside.
    """

    order: list[int]
    size: list[int]
    first: list[int]
    last: list[int]
    length: list[int]
    starts: list[int]
    links: list[int]
    begin: list[int]
    unit: int

    @property
    def sections(self) -> int:
        return len(self.begin) - 1

    def fullness(self) -> list[int]:
        """The sizes of all buffers in each section."""
        full = [0] * self.sections
        for size, first, last in zip(self.size, self.first, self.last):
            for s in range(first, last + 1):
                full[s] += size
        return full


@dataclass(frozen=True, slots=True)
class Order:
    """Which buffer to ask about, of those on the lowest ground: the lowest `rank`, in the tightest section only.

    Filling a gap up to its wall, on either side, takes `wall` from the rank.  Where that is 0 the rank alone counts, in all
    sections.
    """

    rank: list[int]
    wall: int


@dataclass(frozen=True, slots=True)
class Dive:
    """How a dive ended: SOLVED with the offsets, FAILED (there is no solution) or CUT, after so many nodes."""

    status: int
    nodes: int
    offsets: list[int]


def problem_of(spans: Sequence[tuple[int, int, int]], unit: int) -> Problem:
    """The problem of buffers given as (bytes, first time, last time), none empty."""
    ends = sorted({last for _, _, last in spans})
    # A section is the time of an end before which something began since the end before: no larger set is there.
    times: list[int] = []
    previous = -math.inf
    for end in ends:
        if any(previous < first <= end for _, first, _ in spans):
            times.append(end)
        previous = end
    first = [next(s for s, time in enumerate(times) if time >= begin) for _, begin, _ in spans]
    last = [max(s for s, time in enumerate(times) if time <= end) for _, _, end in spans]
    order = sorted(range(len(spans)), key=lambda i: (first[i], last[i]))
    first, last = [first[i] for i in order], [last[i] for i in order]
    starts, links = [0], []
    for i in range(len(order)):
        links += [j for j in range(len(order)) if j != i and first[j] <= last[i] and first[i] <= last[j]]
        starts.append(len(links))
    begin = [sum(f < s for f in first) for s in range(len(times) + 1)]
    size = [-(-spans[i][0] // unit) for i in order]
    length = [spans[i][2] - spans[i][1] + 1 for i in order]
    return Problem(order, size, first, last, length, starts, links, begin, unit)


def fit(problem: Problem, capacity: int, nodes: int) -> tuple[Dive, int]:
    """Search for offsets below `capacity` units with `nodes` nodes at most; how it ended, and the nodes it took."""
    run: Callable[..., Dive] = SEARCHES.load(next(iter(SEARCHES)))
    spent = 0
    for order, limit in _dives(problem):
        found = run(problem, order, capacity, min(limit, nodes - spent))
        spent += found.nodes
        if found.status != CUT or spent >= nodes:
            break
    return found, spent


def _luby() -> Iterator[int]:
    """1, 1, 2, 1, 1, 2, 4, 1, 1, 2, 1, 1, 2, 4, 8, ..."""
    u = v = 1
    while True:
        yield v
        u, v = (u + 1, 1) if u & -u == v else (u, 2 * v)


def _dives(problem: Problem) -> Iterator[tuple[Order, int]]:
    """Orders with limits: by the fullness of a buffer's sections, its length and size, with walls and without; then with noise.

    Some instances of MiniMalloc's benchmark take a thousand nodes in one of the two ways and more than ten million in the
    other.  With noise, four of five orders have walls, which is better where both ways take long.
    """
    count = len(problem.size)
    full = problem.fullness()
    total = [max(full[problem.first[i] : problem.last[i] + 1]) for i in range(count)]
    area = [a * b for a, b in zip(problem.size, problem.length)]
    size, length = problem.size, problem.length
    keys = [(total, length), (total, area), (length, total), (size, length), (area, total), (total, size)]
    for key in keys:
        rank = _rank(key)
        yield Order(rank, count), 4 * SHORTEST_DIVE
        yield Order(rank, 0), 4 * SHORTEST_DIVE
    chance = random.Random(0)
    for number, length_of_dive in enumerate(_luby()):
        noisy = [
            values if values is total else [value * (0.5 + chance.random()) for value in values]
            for values in keys[number // 5 % len(keys)]
        ]
        yield Order(_rank(noisy), 0 if number % 5 == 4 else count), length_of_dive * SHORTEST_DIVE


def _rank(key: Sequence[Sequence[float]]) -> list[int]:
    """The position of each buffer, by falling values of the first list, and then of the second."""
    first, second = key
    order = sorted(range(len(first)), key=lambda i: (-first[i], -second[i], i))
    rank = [0] * len(order)
    for position, i in enumerate(order):
        rank[i] = position
    return rank


# ---------------------------------------------------------------- the search

FREE, LIFTED, PLACED = 0, 1, 2


def dive(problem: Problem, order: Order, capacity: int, limit: int) -> Dive:
    """One search with `limit` nodes at most."""
    search = _Search(problem, order, capacity, limit)
    status = search.solve(0, problem.sections - 1)
    return Dive(status, search.nodes, search.offset)


class _Search:
    """The state of a dive: `solve` answers for the sections a to b, whose buffers meet no others that are left."""

    def __init__(self, problem: Problem, order: Order, capacity: int, limit: int) -> None:
        self.p, self.order, self.capacity, self.limit = problem, order, capacity, limit
        count = len(problem.size)
        self.nodes = 0
        self.ground = [0] * count
        self.state = [FREE] * count
        #: No lower bound on where a buffer will lie is higher than this one; NEVER once it is placed.
        self.lowest = [0] * count
        self.offset = [0] * count
        #: By section: the sizes that are left, the lowest of `lowest`, and the room that will be left over.
        self.left = problem.fullness()
        self.floor = [0] * problem.sections
        self.slack = [0] * problem.sections
        #: What buffers were before: (buffer, ground, state).
        self.trail: list[tuple[int, int, int]] = []

    def add(self, i: int, size: int) -> None:
        for s in range(self.p.first[i], self.p.last[i] + 1):
            self.left[s] += size

    def solve(self, a: int, b: int) -> int:
        mark = len(self.trail)
        while True:
            self.nodes += 1
            if self.nodes > self.limit:
                return CUT
            level = self.level(a, b)
            if level < 0:
                return SOLVED
            if level == NEVER or not self.look_ahead(a, b, level):
                self.undo(mark)
                return FAILED
            groups, low, high = self.tightest_group(a, b)
            if groups > 1:
                status = self.solve(low, high)
                if status == SOLVED:
                    continue
                if status == FAILED:
                    self.undo(mark)
                return status
            a, b = low, high
            i = self.choose(a, b, level)
            if level + self.p.size[i] <= self.capacity:
                before = len(self.trail)
                self.place(i, level)
                status = self.solve(a, b)
                if status != FAILED:
                    return status
                self.undo(before)
            self.trail.append((i, self.ground[i], self.state[i]))
            self.state[i] = LIFTED

    def level(self, a: int, b: int) -> int:
        """The lowest ground of a buffer that is free, NEVER if all that are left are lifted, -1 if none is left."""
        level = -1
        for i in range(self.p.begin[a], self.p.begin[b + 1]):
            if self.state[i] != PLACED:
                if level < 0:
                    level = NEVER
                if self.state[i] == FREE:
                    level = min(level, self.ground[i])
        return level

    def look_ahead(self, a: int, b: int, level: int) -> bool:
        """Bound from below where the buffers can lie; whether there may be a solution."""
        lifted = False
        for i in range(self.p.begin[a], self.p.begin[b + 1]):
            if self.state[i] == PLACED:
                self.lowest[i] = NEVER
            elif self.state[i] == FREE:
                self.lowest[i] = self.ground[i]
            else:
                self.lowest[i] = max(self.ground[i], level) + 1
                lifted = True
        if not self.floors_fit(a, b):
            return False
        if not lifted:
            return True
        first = self.lift(a, b)
        if first != 1:
            return first == 0
        return self.lift(a, b) >= 0 and self.floors_fit(a, b)

    def lift(self, a: int, b: int) -> int:
        """Raise the bounds of lifted buffers: 1 if any rose, 0 if none did, -1 if there is no solution."""
        result = 0
        p = self.p
        for i in range(p.begin[a], p.begin[b + 1]):
            if self.state[i] != LIFTED:
                continue
            low = top = 2 * NEVER
            for j in p.links[p.starts[i] : p.starts[i + 1]]:
                low = min(low, self.lowest[j])
                top = min(top, self.lowest[j] + p.size[j])
            if low >= self.ground[i] + p.size[i] or max(top, self.lowest[i]) + p.size[i] > self.capacity:
                return -1
            if top > self.lowest[i]:
                self.lowest[i] = top
                result = 1
        return result

    def floors_fit(self, a: int, b: int) -> bool:
        """Make the floors and slacks; whether in each section what is left fits over the floor."""
        for s in range(a, b + 1):
            self.floor[s] = NEVER
        for i in range(self.p.begin[a], self.p.begin[b + 1]):
            if self.state[i] != PLACED:
                for s in range(self.p.first[i], self.p.last[i] + 1):
                    self.floor[s] = min(self.floor[s], self.lowest[i])
        least = 0
        for s in range(a, b + 1):
            # Nothing is left where the floor is NEVER.
            self.slack[s] = NEVER if self.floor[s] == NEVER else self.capacity - self.floor[s] - self.left[s]
            least = min(least, self.slack[s])
        return least >= 0

    def tightest_group(self, a: int, b: int) -> tuple[int, int, int]:
        """How many groups of buffers are left that do not meet; the sections of the one with the least slack."""
        groups, low, high = 0, a, b
        best = tight = NEVER
        start = reach = a
        for s in range(a, b + 1):
            for i in range(self.p.begin[s], self.p.begin[s + 1]):
                if self.state[i] != PLACED:
                    reach = max(reach, self.p.last[i])
            tight = min(tight, self.slack[s])
            if reach <= s:
                if tight != NEVER:
                    groups += 1
                if tight < best:
                    best, low, high = tight, start, s
                start, tight = s + 1, NEVER
        return groups, low, high

    def choose(self, a: int, b: int, level: int) -> int:
        """The buffer to ask about: on the lowest ground, the best in rank; in the tightest section, with what fills gaps
        first, unless the rank alone counts."""
        section, least, wall = a, 2 * NEVER, self.order.wall
        for i in range(self.p.begin[a], self.p.begin[b + 1]):
            if self.state[i] == FREE and self.ground[i] == level:
                for s in range(self.p.first[i], self.p.last[i] + 1):
                    if self.slack[s] < least:
                        section, least = s, self.slack[s]
        chosen, best = -1, NEVER
        for i in range(self.p.begin[a], self.p.begin[b + 1]):
            first, last = self.p.first[i], self.p.last[i]
            if self.state[i] == FREE and self.ground[i] == level and (first <= section <= last or wall == 0):
                score = self.order.rank[i]
                if first <= a or self.floor[first - 1] > level:
                    score -= wall
                if last >= b or self.floor[last + 1] > level:
                    score -= wall
                if score < best:
                    chosen, best = i, score
        return chosen

    def place(self, i: int, level: int) -> None:
        self.trail.append((i, self.ground[i], self.state[i]))
        self.offset[i] = level
        self.state[i] = PLACED
        self.add(i, -self.p.size[i])
        top = level + self.p.size[i]
        for j in self.p.links[self.p.starts[i] : self.p.starts[i + 1]]:
            if self.state[j] != PLACED and self.ground[j] < top:
                self.trail.append((j, self.ground[j], self.state[j]))
                self.ground[j] = top
                self.state[j] = FREE

    def undo(self, mark: int) -> None:
        while len(self.trail) > mark:
            i, ground, state = self.trail.pop()
            if self.state[i] == PLACED:
                self.add(i, self.p.size[i])
            self.ground[i], self.state[i] = ground, state
