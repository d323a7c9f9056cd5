"""The ``cse`` pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from dlir.ir.core import Block, Operation, Region
from dlir.ir.dominance import DominatorTree, dominator_tree
from dlir.ir.effects import effects_inside, own_effects
from dlir.ir.location import fuse_locations
from dlir.ir.op import ALLOC, IO, READ, WRITE
from dlir.passes.manager import Pass

_WRITES = frozenset({WRITE, IO})


@dataclass
class CommonSubexpressions(Pass, name="cse"):
    """Compute each expression once: an op equal to one that dominates it is replaced by that one."""

    runs_on_functions = True

    def run(self, root: Operation) -> None:
        self.stats["merged"] = _Walk(root).merged


class _Walk:
    """Walks regions in dominance order; an expression is known inside what the op that computes it dominates."""

    def __init__(self, root: Operation) -> None:
        self.merged = 0
        #: The op that computes each expression, for each isolated op around the place in hand.
        self.known: list[dict[Any, Operation]] = [{}]
        #: The blocks that dominate the place in hand: what another one computes is not known here.
        self.open: set[Block] = set()
        #: Counts the writes met so far: a read may only be merged with one since the last write.
        self.epoch = 0
        #: The effects of ops with regions, inner ones included.
        self.effects: dict[Operation, frozenset[str]] = {}
        #: Work still to do, last first.
        self.stack: list[Callable[[], Any]] = []
        self._enter_regions(root)
        while self.stack:
            self.stack.pop()()

    def _enter_regions(self, op: Operation) -> None:
        if op.is_isolated:
            self.known.append({})
            self.stack.append(self.known.pop)
        self.stack.extend([partial(self._enter_region, region) for region in reversed(op.regions)])

    def _enter_region(self, region: Region) -> None:
        if region.blocks:
            self._enter_block(region.blocks[0], dominator_tree(region))

    def _enter_block(self, block: Block, tree: DominatorTree) -> None:
        self.epoch += bool(tree.children)  # what other blocks wrote before this one is not known
        self.open.add(block)
        self.stack.append(partial(self.open.remove, block))
        self.stack.extend([partial(self._enter_block, child, tree) for child in reversed(tree.children.get(block, ()))])
        self._resume(block.first)

    def _resume(self, op: Operation | None) -> None:
        """Visit the ops from `op` on; one with regions puts the rest aside until those are done."""
        while op is not None:
            following = op.next
            if op.regions:
                # A loop comes back to its first read after its last write.  An isolated op starts with nothing known.
                if not op.is_isolated and self._may_write(op):
                    self.epoch += 1
                self.stack.append(partial(self._resume, following))
                self._enter_regions(op)
                return
            if op.is_registered:
                self._visit(op)
            else:
                self.epoch += 1  # it may write
            op = following

    def _may_write(self, op: Operation) -> bool:
        """Whether an op with regions, or one inside them, may write."""
        if not own_effects(op).isdisjoint(_WRITES):
            return True
        if op not in self.effects:
            self.effects.update(effects_inside(op))
        return not self.effects[op].isdisjoint(_WRITES)

    def _visit(self, op: Operation) -> None:
        effects = own_effects(op)
        if not effects.isdisjoint(_WRITES):
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
        if found is None or found.parent not in self.open:
            self.known[-1][key] = op
        else:
            found.location = fuse_locations((found.location, op.location))
            op.replace_by(found.results)
            self.merged += 1
