"""The ``dce`` pass."""

from __future__ import annotations

from dataclasses import dataclass

from dlir.ir.core import Operation
from dlir.ir.effects import is_removable
from dlir.passes.manager import Pass


@dataclass
class DeadCode(Pass, name="dce"):
    """Remove ops whose results nobody uses and that do nothing else."""

    runs_on_functions = True

    def run(self, root: Operation) -> None:
        # Backwards, and inner ops before outer ones that stand above them: a user is always met before what it uses.
        effects: dict[Operation, frozenset[str]] = {}
        stack = [block.last for region in root.regions for block in region.blocks]
        while stack:
            op = stack.pop()
            while op is not None:
                previous = op.previous
                if not op.is_used and is_removable(op, effects):
                    op.erase()
                    self.stats["erased"] += 1
                elif op.regions:
                    stack.append(previous)
                    stack.extend(block.last for region in op.regions for block in region.blocks)
                    break
                op = previous
