"""Packing lifetimes into an arena: valid plans, lower bounds, hosts."""

from __future__ import annotations

import random

import pytest

from dlir.passes.memory.checker import conflicts
from dlir.passes.memory.packing import Lifetime, Packing, lower_bound, pack


def random_items(seed: int) -> list[Lifetime]:
    chance = random.Random(seed)
    count = chance.choice([1, 5, 30, 120])
    items = []
    for _ in range(count):
        first = chance.randrange(count)
        length = chance.randrange(4) if chance.random() < 0.8 else chance.randrange(count)
        size = chance.choice([0, 4, 64, 256, 4096, chance.randrange(1, 8192)])
        hosts = tuple(host for host in range(2) if chance.random() < 0.1)
        items.append(Lifetime(size, first, first + length, hosts))
    return items


def overlaps(items: list[Lifetime], plan: Packing) -> list[tuple[int, int]]:
    """Pairs that share a byte at one time: by marking every byte of every moment."""
    bad: set[tuple[int, int]] = set()
    for time in sorted({item.first for item in items}):
        owners: dict[tuple[int | None, int], list[int]] = {}
        for i, item in enumerate(items):
            if item.first <= time <= item.last:
                start = plan.offsets[i] if plan.hosts[i] is None else 0
                for byte in range(start, start + item.size):
                    here = owners.setdefault((plan.hosts[i], byte), [])
                    bad.update((other, i) for other in here)
                    here.append(i)
    return sorted(bad)


@pytest.mark.parametrize("seed", range(40))
def test_a_plan_is_valid_and_not_below_the_lower_bound(seed):
    items = random_items(seed)
    plan = pack(items, effort=20_000)
    assert not conflicts(items, plan)
    assert all(offset % 64 == 0 for offset in plan.offsets)
    assert all(host is None or host in item.hosts for item, host in zip(items, plan.hosts, strict=True))
    inside = [o + item.size for item, o, h in zip(items, plan.offsets, plan.hosts, strict=True) if h is None]
    assert plan.height == max(inside, default=0)
    assert plan.lower_bound == lower_bound(items) <= plan.height


@pytest.mark.parametrize("seed", range(12))
def test_the_checker_agrees_with_marking_every_byte(seed):
    chance = random.Random(seed)
    items = [Lifetime(chance.randrange(40), t := chance.randrange(6), t + chance.randrange(3), (0,)) for _ in range(6)]
    offsets = [chance.randrange(60) for _ in items]
    hosts = [chance.choice([None, None, 0]) for _ in items]
    plan = Packing(offsets, hosts, height=100, lower_bound=0)
    assert sorted(conflicts(items, plan)) == overlaps(items, plan)


def test_the_checker_sees_what_is_out_of_place():
    items = [Lifetime(64, 0, 1), Lifetime(64, 0, 1)]
    assert conflicts(items, Packing([0, 64], [None, None], 100, 0)) == [(1, 1)]
    assert conflicts(items, Packing([0, 0], [None, 3], 64, 0)) == [(1, 1)]


@pytest.mark.parametrize("seed", range(30))
def test_packings_are_close_to_the_lower_bound(seed):
    items = [Lifetime(item.size, item.first, item.last) for item in random_items(seed)]
    plan = pack(items, effort=200_000)
    assert plan.height <= 1.15 * plan.lower_bound


def test_the_lower_bound_is_the_most_that_is_live_at_once():
    items = [Lifetime(128, 0, 2), Lifetime(64, 1, 3), Lifetime(192, 3, 4)]
    assert lower_bound(items) == 256
    assert pack(items).height == 256


def test_only_the_topmost_buffer_is_not_padded():
    items = [Lifetime(10, 0, 0), Lifetime(63, 0, 0)]
    assert lower_bound(items) == pack(items).height == 64 + 10


def test_a_chain_needs_two_places_and_one_with_a_host():
    chain = [Lifetime(640, i, i + 1) for i in range(9)]
    assert pack(chain).height == 2 * 640
    hosted = [Lifetime(640, i, i + 1, (0,) if i < 8 else ()) for i in range(9)]
    plan = pack(hosted)
    assert plan.height == 640 == plan.lower_bound
    assert plan.hosts.count(0) == 4


def test_refinement_finds_what_no_simple_order_does():
    """The first instance of a random search on which every order is above the bound."""
    items = random_items(4)
    alone = [Lifetime(item.size, item.first, item.last) for item in items]
    assert pack(alone, effort=500_000).height <= pack(alone, effort=0).height


def test_nothing_needs_nothing():
    assert pack([]).height == 0
    assert pack([Lifetime(0, 0, 5), Lifetime(0, 2, 3)]).height == 0


def test_the_same_items_give_the_same_plan():
    items = random_items(7)
    assert pack(items, effort=50_000) == pack(items, effort=50_000)
