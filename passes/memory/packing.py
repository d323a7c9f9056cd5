"""Packing: where in one arena each buffer goes, given how long it lives.

This is dynamic storage allocation (offline, weighted): NP-hard, and solved well in practice by placing the buffers one
by one in a few different orders, each at the lowest (first fit) or the tightest (best fit) gap among the placed buffers
whose lifetimes meet its own (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020).
The search ends early at the lower bound; else an exact search looks for a packing there and, if there is none or it takes
too long, for one at heights between (:mod:`dlir.passes.memory.ladder`), and the best order is perturbed for a while.

*Hosts* are buffers outside the arena that are free for a while, such as a result's before the result is first written:
a buffer that fits may live there, at offset 0, and costs nothing.

Everything is deterministic: effort is counted in steps, not in seconds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dlir.passes.memory.exact import MOST_BUFFERS
from dlir.passes.memory.ladder import descend

#: Arena offsets are multiples of this many bytes: a cache line, and the widest vector.
ALIGNMENT = 64
#: How long to search by default: about a second, if the lower bound is not reached before.
EFFORT = 4_000_000
#: Packings tried whatever the effort.
LEAST_TRIALS = 4
#: What a node of the exact search costs in visits.
NODE_COST = 20
#: The search ends after this many trials in a row that found nothing better, or at this share of the lower bound.
PATIENCE = 1000
GOOD_ENOUGH = 1.001


@dataclass(frozen=True, slots=True)
class Lifetime:
    """`size` bytes that are needed at the times `first` to `last`, both included; `hosts`: where else it may live."""

    size: int
    first: int
    last: int
    hosts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Host:
    """`size` bytes for elements of one type, outside the arena, that are free at the times `first` to `last`."""

    dtype: object
    size: int
    first: int
    last: int

    def takes(self, dtype: object, size: int, first: int, last: int) -> bool:
        """Whether a buffer with these elements, bytes and times may live here."""
        return self.dtype is dtype and size <= self.size and self.first <= first and last <= self.last


def lifetime(dtype: object, size: int, first: int, last: int, hosts: Sequence[Host]) -> Lifetime:
    """The lifetime of a buffer, with those of the hosts that take it."""
    fitting = [number for number, host in enumerate(hosts) if host.takes(dtype, size, first, last)]
    return Lifetime(size, first, last, tuple(fitting))


@dataclass(slots=True)
class Packing:
    """Where each buffer goes: at `offsets[i]` of the arena, or in host `hosts[i]` when that is not None.

    `height` is the size of the arena in bytes, and `lower_bound` what no packing can go below.
    """

    offsets: list[int]
    hosts: list[int | None]
    height: int
    lower_bound: int


def aligned(size: int, alignment: int = ALIGNMENT) -> int:
    """`size` rounded up to a multiple of `alignment`."""
    return -(-size // alignment) * alignment


def lower_bound(items: Sequence[Lifetime], alignment: int = ALIGNMENT) -> int:
    """Bytes that the arena needs at least: the most that is live at one time, less what hosts can take at that time.

    The topmost of the live buffers need not be padded; each host takes one buffer at most.
    """
    bound = 0
    for live in _live_sets(items):
        sizes = [aligned(items[i].size, alignment) for i in live]
        padding = max(size - items[i].size for size, i in zip(sizes, live))
        bound = max(bound, sum(sizes) - padding - _hosted_at_most(items, live, alignment))
    return bound


def _live_sets(items: Sequence[Lifetime]) -> Iterator[list[int]]:
    """The sets of buffers that are live together, at each time when one begins."""
    live: list[int] = []
    order = sorted(range(len(items)), key=lambda i: items[i].first)
    for position, i in enumerate(order):
        now = items[i].first
        live = [j for j in live if items[j].last >= now]
        live.append(i)
        if position + 1 == len(order) or items[order[position + 1]].first > now:
            yield live


def _hosted_at_most(items: Sequence[Lifetime], live: list[int], alignment: int) -> int:
    largest: dict[int, int] = {}
    for i in live:
        for host in items[i].hosts:
            largest[host] = max(largest.get(host, 0), aligned(items[i].size, alignment))
    hostable = sorted((aligned(items[i].size, alignment) for i in live if items[i].hosts), reverse=True)
    return min(sum(largest.values()), sum(hostable[: len(largest)]))


def pack(
    items: Sequence[Lifetime], alignment: int = ALIGNMENT, effort: int = EFFORT, target: int | None = None
) -> Packing:
    """The best packing found, or the first one that needs at most `target` bytes.

    `effort` bounds the search, in visits of a neighbour (about 5 million a second); a few orders are tried in any case.
    """
    search = _Search(items, alignment, target)
    trials = ((order, policy) for order in _orders(items, search.neighbours) for policy in search.policies)
    best = search.place(*next(trials))
    for number, (order, policy) in enumerate(trials, 1):
        if search.is_good(best) or (number >= LEAST_TRIALS and search.spent >= effort):
            break
        trial = search.place(order, policy)
        if trial.height < best.height:
            best = trial
    best = search.refine(search.descend(best, effort), effort)
    return Packing(best.offsets, best.hosts, best.height, search.bound)


@dataclass(frozen=True, slots=True)
class _Policy:
    """How a buffer chooses among the places that are free."""

    best_fit: bool
    #: Live in a host whenever one is free, and not only when the arena would grow.
    host_first: bool


@dataclass(slots=True)
class _Trial:
    """One packing and the order and policy that it came from."""

    order: list[int]
    policy: _Policy
    offsets: list[int]
    hosts: list[int | None]
    height: int


class _Search:
    """Places buffers in given orders."""

    def __init__(self, items: Sequence[Lifetime], alignment: int, target: int | None) -> None:
        self.items = items
        self.alignment = alignment
        self.bound = lower_bound(items, alignment)
        self.goal = GOOD_ENOUGH * self.bound if target is None else max(self.bound, target)
        self.neighbours = _neighbours(items)
        #: What it costs to place all buffers once: looking at a buffer is like visiting ten neighbours.
        self.cost = sum(map(len, self.neighbours)) + 10 * len(items)
        self.spent = 0
        host_policies = (True, False) if any(item.hosts for item in items) else (True,)
        self.policies = [_Policy(fit, host) for host in host_policies for fit in (True, False)]

    def is_good(self, trial: _Trial) -> bool:
        """Whether it is no use to look for a better packing."""
        return trial.height <= self.goal

    def place(self, order: list[int], policy: _Policy) -> _Trial:
        """Place all buffers in this order."""
        self.spent += self.cost
        count = len(self.items)
        #: The arena offset of each buffer that was placed there; -1: not yet, or in a host.
        offsets = [-1] * count
        hosts: list[int | None] = [None] * count
        height = 0
        for i in order:
            item = self.items[i]
            host = self._free_host(i, hosts) if item.hosts else None
            if host is not None and policy.host_first:
                hosts[i] = host
                continue
            offset = self._gap(i, offsets, policy.best_fit)
            if host is not None and offset + item.size > height:
                hosts[i] = host
                continue
            offsets[i] = offset
            height = max(height, offset + item.size)
        return _Trial(order, policy, [max(offset, 0) for offset in offsets], hosts, height)

    def _free_host(self, i: int, hosts: list[int | None]) -> int | None:
        taken = {hosts[j] for j in self.neighbours[i]}
        return next((host for host in self.items[i].hosts if host not in taken), None)

    def _gap(self, i: int, offsets: list[int], best_fit: bool) -> int:
        """The offset of the lowest or the tightest gap that holds buffer `i`."""
        items, alignment = self.items, self.alignment
        size = items[i].size
        chosen, slack = -1, -1
        top = 0
        taken = [(offsets[j], offsets[j] + items[j].size) for j in self.neighbours[i] if offsets[j] >= 0]
        for start, end in sorted(taken):
            spare = start - top - size
            if spare >= 0:
                if not best_fit:
                    return top
                if chosen < 0 or spare < slack:
                    chosen, slack = top, spare
            if end > top:
                top = -(-end // alignment) * alignment
        return top if chosen < 0 else chosen

    def descend(self, best: _Trial, effort: int) -> _Trial:
        """Search exactly for the buffers that `best` has put into the arena, with most of what is left of the effort."""
        inside = [i for i, item in enumerate(self.items) if best.hosts[i] is None and item.size]
        nodes = (effort - self.spent) * 3 // 4 // NODE_COST
        if self.is_good(best) or nodes < 1 or len(inside) > MOST_BUFFERS:
            return best
        spans = [(self.items[i].size, self.items[i].first, self.items[i].last) for i in inside]
        found = descend(spans, best.height, self.alignment, nodes, int(self.goal))
        self.spent += found.nodes * NODE_COST
        if found.height >= best.height:
            return best
        offsets = list(best.offsets)
        for i, offset in zip(inside, found.offsets, strict=True):
            offsets[i] = offset
        # A turn for each buffer in which it finds its place free.
        order = sorted(best.order, key=lambda i: offsets[i])
        return _Trial(order, best.policy, offsets, best.hosts, found.height)

    def refine(self, best: _Trial, effort: int) -> _Trial:
        """Iterated greedy: move a buffer that reaches the top to an earlier turn, and keep what is not worse."""
        chance = random.Random(0)
        current = best
        stale = 0
        while self.spent < effort and stale < PATIENCE and not self.is_good(best):
            stale += 1
            order = list(current.order)
            tops = [
                i
                for i, item in enumerate(self.items)
                if current.hosts[i] is None and current.offsets[i] + item.size == current.height
            ]
            moved = chance.choice(tops)
            position = order.index(moved)
            del order[position]
            order.insert(chance.randrange(position + 1), moved)
            if chance.random() < 0.3:
                a, b = chance.randrange(len(order)), chance.randrange(len(order))
                order[a], order[b] = order[b], order[a]
            trial = self.place(order, chance.choice(self.policies))
            if trial.height <= current.height:
                current = trial
            if trial.height < best.height:
                best, stale = trial, 0
        return best


def _neighbours(items: Sequence[Lifetime]) -> list[list[int]]:
    """For each buffer the others whose lifetimes meet its own."""
    found: list[list[int]] = [[] for _ in items]
    live: list[int] = []
    for i in sorted(range(len(items)), key=lambda i: items[i].first):
        if items[i].size == 0:
            continue
        live = [j for j in live if items[j].last >= items[i].first]
        for j in live:
            found[i].append(j)
            found[j].append(i)
        live.append(i)
    return found


def _orders(items: Sequence[Lifetime], neighbours: list[list[int]]) -> Iterator[list[int]]:
    """Orders in which to place the buffers, the most promising first."""

    def area(i: int) -> int:
        return items[i].size * (items[i].last - items[i].first + 1)

    around = [sum(items[j].size for j in near) for near in neighbours]
    keys: list[Callable[[int], tuple[int, ...]]] = [
        lambda i: (-items[i].size, -(items[i].last - items[i].first)),
        lambda i: (-items[i].last, -items[i].size),
        lambda i: (items[i].first, -items[i].size),
        lambda i: (-area(i),),
        lambda i: (-(items[i].last - items[i].first), -items[i].size),
        lambda i: (-around[i], -items[i].size),
        lambda i: (-around[i] * items[i].size,),
        lambda i: (-items[i].size, items[i].first),
        lambda i: (-items[i].size, -items[i].last),
        lambda i: (items[i].last, -items[i].size),
        lambda i: (-items[i].first, -items[i].size),
    ]
    for key in keys:
        yield sorted(range(len(items)), key=key)
    yield _by_breadth(items)


def _by_breadth(items: Sequence[Lifetime]) -> list[int]:
    """The fullest times first, and at each the largest buffers first."""
    sets = sorted(_live_sets(items), key=lambda live: -sum(items[i].size for i in live))
    return list(dict.fromkeys(i for live in sets for i in sorted(live, key=lambda i: -items[i].size)))
