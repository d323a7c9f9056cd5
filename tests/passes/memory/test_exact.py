"""The exact packing search: against brute force, its machine code against Python, and on perfect packings."""

from __future__ import annotations

import itertools
import random

import pytest

from dlir.backends.cpu.packing_search import dive as native
from dlir.passes.memory.checker import conflicts
from dlir.passes.memory.exact import CUT, FAILED, SOLVED, Order, Problem, dive, fit, problem_of
from dlir.passes.memory.ladder import descend
from dlir.passes.memory.packing import Lifetime, Packing, pack


def random_spans(seed: int, count: int, most: int = 4):
    chance = random.Random(seed)
    spans = []
    for _ in range(count):
        first = chance.randrange(count)
        spans.append((chance.randint(1, most), first, first + chance.randrange(4)))
    return spans


def perfect(seed: int, count: int, width: int = 200, height: int = 1000):
    """Buffers that fill `height` bytes at all times: a rectangle that is cut again and again."""
    chance = random.Random(seed)
    pieces = [(0, width, 0, height)]
    while len(pieces) < count:
        left, right, low, high = pieces.pop(chance.randrange(len(pieces)))
        if chance.random() < 0.5 and right - left > 1:
            cut = chance.randrange(left + 1, right)
            pieces += [(left, cut, low, high), (cut, right, low, high)]
        elif high - low > 1:
            cut = chance.randrange(low + 1, high)
            pieces += [(left, right, low, cut), (left, right, cut, high)]
        else:
            pieces.append((left, right, low, high))
    return [(high - low, left, right - 1) for left, right, low, high in pieces]


def lowest(spans) -> int:
    """The least height, by dropping the buffers in every order."""
    best = sum(size for size, _, _ in spans)
    for order in itertools.permutations(range(len(spans))):
        tops: list[tuple[int, int]] = []
        for i in order:
            size, first, last = spans[i]
            below = [top for top, j in tops if spans[j][1] <= last and first <= spans[j][2]]
            tops.append((max(below, default=0) + size, i))
        best = min(best, max(top for top, _ in tops))
    return best


def check(problem: Problem, spans, found, capacity: int) -> None:
    offsets = [0] * len(spans)
    for number, offset in zip(problem.order, found.offsets, strict=True):
        offsets[number] = offset * problem.unit
    items = [Lifetime(*span) for span in spans]
    assert not conflicts(items, Packing(offsets, [None] * len(items), capacity * problem.unit, 0))


@pytest.mark.parametrize("seed", range(25))
def test_it_finds_the_least_height_and_proves_it(seed):
    spans = random_spans(seed, 6)
    least = lowest(spans)
    problem = problem_of(spans, 1)
    found, _ = fit(problem, least, 10_000)
    assert found.status == SOLVED
    check(problem, spans, found, least)
    assert fit(problem, least - 1, 100_000)[0].status == FAILED


@pytest.mark.parametrize("seed", range(20))
def test_the_machine_code_visits_the_same_nodes_as_python(seed):
    spans = random_spans(seed, 40, most=50) if seed % 2 else perfect(seed, 40)
    problem = problem_of(spans, 1)
    order = Order(random.Random(seed).sample(range(40), 40), seed // 2 % 2 * 40)
    least = max(problem.fullness())
    for capacity in (least - 1, least, least + 5):
        one, two = dive(problem, order, capacity, 200), native(problem, order, capacity, 200)
        assert (one.status, one.nodes) == (two.status, two.nodes)
        if one.status == SOLVED:
            assert one.offsets == two.offsets
            check(problem, spans, one, capacity)


@pytest.mark.parametrize("seed", range(6))
def test_packings_without_a_hole_are_found(seed):
    spans = perfect(seed, 90)
    plan = pack([Lifetime(*span) for span in spans], 1, effort=20_000_000, target=1000)
    assert (plan.lower_bound, plan.height) == (1000, 1000)
    assert not conflicts([Lifetime(*span) for span in spans], plan)


def test_the_search_stops_after_as_many_nodes_as_it_may_take():
    problem = problem_of(perfect(3, 120), 1)
    found, nodes = fit(problem, 1000, 700)
    assert found.status in (CUT, SOLVED)
    assert nodes <= 701 + 1


@pytest.mark.parametrize("seed", range(8))
def test_sizes_are_rounded_up_to_the_unit(seed):
    spans = [(size * 7, first, last) for size, first, last in random_spans(seed, 6)]
    found = descend(spans, 1 << 20, 64, 10_000)
    assert all(offset % 64 == 0 for offset in found.offsets)
    items = [Lifetime(*span) for span in spans]
    assert not conflicts(items, Packing(found.offsets, [None] * len(items), found.height, 0))


def test_the_same_question_has_the_same_answer():
    items = [Lifetime(*span) for span in perfect(11, 60)]
    assert pack(items, 1, effort=2_000_000) == pack(items, 1, effort=2_000_000)
