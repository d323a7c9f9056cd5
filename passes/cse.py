"""The ``cse`` pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dlir.ir.core import ALLOC, IO, READ, WRITE, Block, Operation
from dlir.ir.dominance import dominator_tree
from dlir.ir.effects import effects_inside
from dlir.ir.location import fuse_locations
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
        #: The blocks next below each in the dominator tree, for the regions of several blocks.
        self.below: dict[Block, list[Block]] = {}
        #: Counts the writes met so far: a read may only be merged with one since the last write.
        self.epoch = 0
        #: The effects of ops with regions, inner ones included.
        self.effects: dict[Operation, frozenset[str]] = {}
        #: Work still to do, last first: what to call, and with what.
        self.stack: list[tuple[Callable[[Any], Any], Any]] = []
        self._enter_regions(root)
        while self.stack:
            step, subject = self.stack.pop()
            step(subject)

    def _enter_regions(self, op: Operation) -> None:
        if op.is_isolated:
            self.known.append({})
            self.stack.append((self.known.pop, -1))
        for region in reversed(op.regions):
            blocks = region.blocks
            if len(blocks) > 1:
                tree = dominator_tree(region)
                self.below.update({block: tree.children.get(block, []) for block in blocks})
            if blocks:
                self.stack.append((self._enter_block, blocks[0]))

    def _enter_block(self, block: Block) -> None:
        self.open.add(block)
        self.stack.append((self.open.remove, block))
        below = self.below.get(block)
        if below is not None:
            self.epoch += 1  # what other blocks wrote before this one is not known
            self.stack.extend([(self._enter_block, child) for child in reversed(below)])
        self._resume(block._first)

    def _resume(self, op: Operation | None) -> None:
        """Visit the ops from `op` on; one with regions puts the rest aside until those are done."""
        while op is not None:
            following = op._next
            if op.regions:
                # A loop comes back to its first read after its last write.  An isolated op starts with nothing known.
                if not op.is_isolated and self._may_write(op):
                    self.epoch += 1
                self.stack.append((self._resume, following))
                self._enter_regions(op)
                return
            if op.is_registered:
                self._visit(op)
            else:
                self.epoch += 1  # it may write
            op = following

    def _may_write(self, op: Operation) -> bool:
        """Whether an op with regions, or one inside them, may write."""
        if not op.side_effects().isdisjoint(_WRITES):
            return True
        if op not in self.effects:
            self.effects.update(effects_inside(op))
        return not self.effects[op].isdisjoint(_WRITES)

    def _visit(self, op: Operation) -> None:
        effects = op.side_effects()
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
