"""The ``schedule`` pass."""

from __future__ import annotations

from dataclasses import dataclass

from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.kernel import KernelRegion
from dlir.passes.kernels.choose import choose_schedule
from dlir.passes.manager import Pass, option


@dataclass
class Schedule(Pass, name="schedule"):
    """Choose how each kernel iterates on a target: its `schedule` and `tile`.  What the text states stays."""

    target: str = option("cpu", "the machine to choose for", choices=("cpu", "cuda"))

    def run(self, module: Module) -> None:
        for op in module.walk():
            if isinstance(op, KernelRegion) and op["schedule"] is None:
                schedule, tile = choose_schedule(op, self.target)
                op.set("schedule", schedule)
                op.set("tile", tile or None)
                self.stats[schedule] += 1
