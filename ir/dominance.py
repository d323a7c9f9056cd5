"""Dominators of the blocks of a region."""

from __future__ import annotations

from dataclasses import dataclass, field

from dlir.ir.core import Block, Region


@dataclass(slots=True)
class DominatorTree:
    """Children of each block in the dominator tree, and the blocks that cannot be reached from the entry."""

    children: dict[Block, list[Block]] = field(default_factory=dict)
    unreachable: list[Block] = field(default_factory=list)


#: Nearly every region has this one.
_OF_ONE_BLOCK = DominatorTree()


def dominator_tree(region: Region) -> DominatorTree:
    """The dominator tree of a region's blocks; its root is the entry."""
    blocks = region.blocks
    if len(blocks) < 2:
        return _OF_ONE_BLOCK
    import networkx  # takes 200 ms, and few regions have several blocks

    graph = networkx.DiGraph()
    graph.add_nodes_from(blocks)
    for block in blocks:
        if block.last is not None:
            graph.add_edges_from((block, successor) for successor in block.last.successors)
    parents = networkx.immediate_dominators(graph, blocks[0])
    tree = DominatorTree()
    for block in blocks[1:]:
        parent = parents.get(block)
        if parent is None:
            tree.unreachable.append(block)
        else:
            tree.children.setdefault(parent, []).append(block)
    return tree
