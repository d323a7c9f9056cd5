"""The ``cse`` pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dlir.ir.core import Block, Operation, Region
from dlir.ir.dominance import DominatorTree, dominator_tree
from dlir.ir.effects import effects_of
from dlir.ir.location import fuse_locations
from dlir.ir.op import ALLOC, IO, READ, WRITE
from dlir.passes.manager import Pass

_WRITES = frozenset({WRITE, IO})


@dataclass
class CommonSubexpressions(Pass, name="cse"):
    """Compute each expression once: an op equal to one that dominates it is replaced by that one."""

    runs_on_functions = True

    def run(self, root: Operation) -> None:
        walk = _Walk()
        walk.enter_regions(root)
        while walk.stack:
            walk.stack.pop()()
        self.stats["merged"] = walk.merged


class _Walk:
    """Walks regions in dominance order; an expression is known inside what the op that computes it dominates."""

    def __init__(self) -> None:
        self.merged = 0
        self.known: list[dict[Any, Operation]] = [{}]
        #: Counts the writes met so far: a read may only be merged with one since the last write.
        self.epoch = 0
        self.stack: list[Callable[[], None]] = []

    def enter_regions(self, op: Operation) -> None:
        isolated = op.is_isolated
        if isolated:
            self.stack.append(self._leave_isolated)
        for region in reversed(op.regions):
            self.stack.append(lambda region=region: self._enter_region(region))  # type: ignore[misc]
        if isolated:
            self.stack.append(lambda: self.known.append({}))

    def _leave_isolated(self) -> None:
        self.known.pop()

    def _enter_region(self, region: Region) -> None:
        if region.blocks:
            self._enter_block(region.blocks[0], dominator_tree(region))

    def _enter_block(self, block: Block, tree: DominatorTree) -> None:
        added: list[Any] = []
        self.epoch += bool(tree.children)  # what other blocks wrote before this one is not known
        self.stack.append(lambda: self._forget(added))
        for child in reversed(tree.children.get(block, ())):
            self.stack.append(lambda child=child: self._enter_block(child, tree))  # type: ignore[misc]
        self._resume(block.first, added)

    def _forget(self, keys: list[Any]) -> None:
        for key in keys:
            self.known[-1].pop(key, None)

    def _resume(self, op: Operation | None, added: list[Any]) -> None:
        while op is not None:
            following = op.next
            if op.regions:
                if effects_of(op) & _WRITES:
                    self.epoch += 1
                self.stack.append(lambda op=following: self._resume(op, added))  # type: ignore[misc]
                self.enter_regions(op)
                return
            self._visit(op, added)
            op = following

    def _visit(self, op: Operation, added: list[Any]) -> None:
        effects = effects_of(op)
        if effects & _WRITES:
            self.epoch += 1
            return
        if not op.results or op.is_terminator or op.successors or ALLOC in effects:
            return
        operands = op.operands
        if getattr(op, "is_commutative", False):
            operands = tuple(sorted(operands, key=id))
        attributes = frozenset(op.attributes.items()) if op.attributes else None
        key = (op.name, operands, attributes, op.result_types, self.epoch if READ in effects else -1)
        found = self.known[-1].get(key)
        if found is None:
            self.known[-1][key] = op
            added.append(key)
        else:
            found.location = fuse_locations((found.location, op.location))
            op.replace_by(found.results)
            self.merged += 1
