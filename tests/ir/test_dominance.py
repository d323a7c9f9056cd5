"""The dominator tree against networkx, on random graphs of blocks."""

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


@pytest.mark.parametrize("seed", range(200))
def test_random_graph_as_networkx(seed):
    networkx = pytest.importorskip("networkx")
    rng = random.Random(seed)
    count = rng.randrange(2, 25)
    edges = [[rng.randrange(count) for _ in range(rng.randrange(4))] for _ in range(count)]
    region = region_of(edges)
    graph = networkx.DiGraph()
    graph.add_nodes_from(range(count))
    graph.add_edges_from((source, target) for source, targets in enumerate(edges) for target in targets)
    expected = networkx.immediate_dominators(graph, 0)
    number = {block: index for index, block in enumerate(region.blocks)}
    tree = dominator_tree(region)
    found = {number[child]: number[parent] for parent, children in tree.children.items() for child in children}
    assert found == {block: parent for block, parent in expected.items() if block != 0}
    assert [number[block] for block in tree.unreachable] == [b for b in range(count) if b not in expected and b != 0]
