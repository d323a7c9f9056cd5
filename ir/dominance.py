"""Dominators of the blocks of a region.

The method is that of Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm" (2001): number the blocks in reverse
postorder and let the parents of a block's predecessors meet, until nothing changes.  On the graphs that programs have, that
is twice through the blocks.
"""

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
    tree = DominatorTree()
    order = _reverse_postorder(blocks[0])
    number = {block: index for index, block in enumerate(order)}
    parents = _parents(order, number)
    for block in blocks[1:]:
        index = number.get(block)
        if index is None:
            tree.unreachable.append(block)
        else:
            tree.children.setdefault(order[parents[index]], []).append(block)
    return tree


def _successors(block: Block) -> tuple[Block, ...]:
    return block.last.successors if block.last is not None else ()


def _reverse_postorder(entry: Block) -> list[Block]:
    """The blocks that can be reached, each before its successors but for the edges of loops."""
    order: list[Block] = []
    seen = {entry}
    stack = [(entry, iter(_successors(entry)))]
    while stack:
        block, following = stack[-1]
        for successor in following:
            if successor not in seen:
                seen.add(successor)
                stack.append((successor, iter(_successors(successor))))
                break
        else:
            order.append(block)
            stack.pop()
    order.reverse()
    return order


def _parents(order: list[Block], number: dict[Block, int]) -> list[int]:
    """The number of each block's immediate dominator; the entry's is its own."""
    predecessors: list[list[int]] = [[] for _ in order]
    for index, block in enumerate(order):
        for successor in _successors(block):
            predecessors[number[successor]].append(index)
    unknown = len(order)
    parents = [0] + [unknown] * (len(order) - 1)
    changed = True
    while changed:
        changed = False
        for index in range(1, len(order)):
            known = [other for other in predecessors[index] if parents[other] != unknown]
            parent = known[0]
            for other in known[1:]:
                parent = _meet(parents, parent, other)
            if parents[index] != parent:
                parents[index] = parent
                changed = True
    return parents


def _meet(parents: list[int], one: int, two: int) -> int:
    """The nearest block that dominates both."""
    while one != two:
        if one > two:
            one = parents[one]
        else:
            two = parents[two]
    return one
