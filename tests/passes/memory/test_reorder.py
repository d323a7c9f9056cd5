"""reorder: less memory, the same results, and never more memory than in the text's order."""

from __future__ import annotations

import random

import numpy as np
import pytest
from support.buffers import into_regions, make_function, region, run_tensors
from support.programs import make_inputs, make_program

from dlir.ir.dialects.func import find_function
from dlir.ir.ops import nd
from dlir.ir.traversal import clone, structurally_equal
from dlir.ir.types import F32, TensorType
from dlir.passes.manager import PassManager
from dlir.passes.memory.buffers import bytes_needed
from dlir.passes.memory.order import graph_of, orders, peak

BIG, SMALL = TensorType((64, 64), F32), TensorType((64, 1), F32)


def wide(branches: int):
    """All branches are opened before the first is closed: branches big values at once, where one would do."""

    def body(x):
        opened = [region(lambda a, n=n: nd.matmul(nd.add(a, float(n)), a), x) for n in range(branches)]
        closed = [region(lambda a: nd.sum(a, axes=[1], keepdims=True), value) for value in opened]
        total = closed[0]
        for value in closed[1:]:
            total = region(nd.add, total, value)
        return total

    return make_function([BIG], body, ["x"])


def reordered(module):
    copy = clone(module)
    manager = PassManager.from_text("reorder")
    manager.run(copy)
    return copy, manager.passes[0].stats


def needed(module):
    return bytes_needed(find_function(module, "main"), 100_000)[0]


def test_branches_are_closed_before_others_are_opened():
    module = wide(6)
    better, stats = reordered(module)
    assert stats["peak_after"] < stats["peak_before"] // 3
    assert needed(better) < needed(module) // 3


def test_the_results_stay():
    module = wide(5)
    better, _ = reordered(module)
    x = np.random.default_rng(0).integers(-3, 4, (64, 64)).astype(np.float32)
    np.testing.assert_array_equal(run_tensors(better.body.first, [x]), run_tensors(module.body.first, [x]))


def test_a_text_whose_order_is_as_good_as_any_stays_as_it_is():
    def chain(x):
        for _ in range(6):
            x = region(lambda a: nd.matmul(a, a), x)
        return x

    module = make_function([BIG], chain)
    same, stats = reordered(module)
    assert structurally_equal(same, module)
    assert not stats


def test_the_same_text_gives_the_same_order():
    assert structurally_equal(reordered(wide(6))[0], reordered(wide(6))[0])


@pytest.mark.parametrize("seed", range(60))
def test_random_programs_never_need_more(seed):
    program = make_program(seed, exact=True, size=20)
    function = find_function(program.module, "main")
    into_regions(function, random.Random(seed), most=2)
    arrays = make_inputs(program, seed)
    wanted = run_tensors(function, arrays)
    better, _ = reordered(program.module)
    assert needed(better) <= needed(program.module)
    for got, want in zip(run_tensors(find_function(better, "main"), arrays), wanted, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("seed", range(20))
def test_orders_hold_every_op_behind_what_it_needs(seed):
    program = make_program(seed, exact=True, size=20)
    function = find_function(program.module, "main")
    into_regions(function, random.Random(seed), most=2)
    graph = graph_of(function)
    for order in [graph.ops, *orders(graph)]:
        place = {op: n for n, op in enumerate(order)}
        assert len(place) == len(graph.ops)
        assert all(
            place[value.defining_op] < place[op] for op in order for value in op.operands if value.defining_op in place
        )


@pytest.mark.parametrize("seed", range(20))
def test_the_peak_is_that_of_the_definition(seed):
    """At each op: all temporaries made so far that it or a later op reads, or that it makes."""
    program = make_program(seed, exact=True, size=20)
    function = find_function(program.module, "main")
    into_regions(function, random.Random(seed), most=1)
    graph = graph_of(function)
    for order in [graph.ops, *orders(graph)]:
        place = {op: n for n, op in enumerate(order)}
        most = 0
        for now in range(len(order)):
            live = 0
            for value, size in graph.bytes.items():
                uses = [place[op] for op in order for operand in op.operands if graph.owner(operand) is value]
                made = place[value.defining_op]
                live += size if made <= now <= max([made, *uses]) else 0
            most = max(most, live)
        assert peak(graph, order) == most
