"""The ``set-delta`` pass."""

from __future__ import annotations

from dataclasses import dataclass

from dlir.ir.dialects.builtin import Module
from dlir.passes.manager import Pass, option
from dlir_robust.dialect import Huber


@dataclass
class SetDelta(Pass, name="set-delta"):
    """Give every `robust.huber` the same delta."""

    value: float = option(1.0, "where the parabola ends")

    def run(self, module: Module) -> None:
        for op in module.walk():
            if isinstance(op, Huber):
                op.set("delta", self.value)
                self.stats["set"] += 1
