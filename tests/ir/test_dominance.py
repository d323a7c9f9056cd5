"""The dominator tree against the definition of dominance, on random graphs of blocks."""

import random

import pytest

from dlir.ir.core import Block, Region, UnregisteredOp
from dlir.ir.dominance import dominator_tree


def region_of(edges: list[list[int]]) -> Region:
    blocks = [Block() for _ in edges]
    for block, targets in zip(blocks, edges, strict=True):
        block.append(UnregisteredOp("x.branch", successors=[blocks[target] for target in targets]))
    return Region(blocks)


def test_one_block_has_no_children():
    tree = dominator_tree(region_of([[0]]))
    assert not tree.children and not tree.unreachable


def test_block_that_is_empty_ends_a_path():
    region = region_of([[1], []])
    region.append(Block())
    assert dominator_tree(region).unreachable == [region.blocks[2]]


def test_long_chain_needs_no_recursion():
    count = 5000
    region = region_of([[index + 1] for index in range(count)] + [[]])
    assert len(dominator_tree(region).children) == count


def reached(edges: list[list[int]], without: int | None = None) -> set[int]:
    """The blocks that can be reached from the first one on paths that avoid `without`."""
    seen: set[int] = set()
    waiting = [0]
    while waiting:
        block = waiting.pop()
        if block != without and block not in seen:
            seen.add(block)
            waiting += edges[block]
    return seen


@pytest.mark.parametrize("seed", range(200))
def test_random_graph_is_as_the_definition_says(seed):
    """A block dominates those that cannot be reached without it; the nearest such block is the parent."""
    rng = random.Random(seed)
    count = rng.randrange(2, 25)
    edges = [[rng.randrange(count) for _ in range(rng.randrange(4))] for _ in range(count)]
    region = region_of(edges)
    live = reached(edges)
    dominators = {block: {by for by in live if by != block and block not in reached(edges, by)} for block in live}
    number = {block: index for index, block in enumerate(region.blocks)}
    tree = dominator_tree(region)
    found = {number[child]: number[parent] for parent, children in tree.children.items() for child in children}
    assert found.keys() == live - {0}
    for block, parent in found.items():
        assert dominators[block] == dominators[parent] | {parent}
    assert [number[block] for block in tree.unreachable] == sorted(set(range(count)) - live - {0})
