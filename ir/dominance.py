"""Dominators of the blocks of a region (Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm")."""

from __future__ import annotations

from dataclasses import dataclass, field

from dlir.ir.core import Block, Region


@dataclass(slots=True)
class DominatorTree:
    """Children of each block in the dominator tree, and the blocks that cannot be reached from the entry."""

    children: dict[Block, list[Block]] = field(default_factory=dict)
    unreachable: list[Block] = field(default_factory=list)


def dominator_tree(region: Region) -> DominatorTree:
    """The dominator tree of a region's blocks; its root is the entry."""
    blocks = region.blocks
    if len(blocks) < 2:
        return DominatorTree()
    order = _reverse_postorder(blocks[0])
    number = {block: index for index, block in enumerate(order)}
    predecessors: dict[Block, list[Block]] = {block: [] for block in order}
    for block in order:
        for successor in _successors(block):
            predecessors[successor].append(block)
    immediate = _immediate_dominators(order, number, predecessors)
    tree = DominatorTree(unreachable=[block for block in blocks if block not in number])
    for index in range(1, len(order)):
        tree.children.setdefault(order[immediate[index]], []).append(order[index])
    return tree


def _immediate_dominators(
    order: list[Block], number: dict[Block, int], predecessors: dict[Block, list[Block]]
) -> list[int]:
    immediate = [-1] * len(order)
    immediate[0] = 0
    changed = True
    while changed:
        changed = False
        for index in range(1, len(order)):
            new = -1
            for predecessor in predecessors[order[index]]:
                other = number[predecessor]
                if immediate[other] < 0:
                    continue
                new = other if new < 0 else _intersect(immediate, new, other)
            if new != immediate[index]:
                immediate[index] = new
                changed = True
    return immediate


def _intersect(immediate: list[int], one: int, two: int) -> int:
    while one != two:
        while one > two:
            one = immediate[one]
        while two > one:
            two = immediate[two]
    return one


def _successors(block: Block) -> tuple[Block, ...]:
    return block.last.successors if block.last is not None else ()


def _reverse_postorder(entry: Block) -> list[Block]:
    seen = {entry: None}
    postorder: list[Block] = []
    stack = [(entry, iter(_successors(entry)))]
    while stack:
        block, rest = stack[-1]
        for successor in rest:
            if successor not in seen:
                seen[successor] = None
                stack.append((successor, iter(_successors(successor))))
                break
        else:
            postorder.append(block)
            stack.pop()
    return postorder[::-1]
