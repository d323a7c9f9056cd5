"""The ``canonicalize`` pass."""

from __future__ import annotations

import random
from dataclasses import dataclass

from dlir.ir.dialects.builtin import Module
from dlir.passes.manager import Pass, option
from dlir.passes.rewriter import rewrite
from dlir.passes.rules import CANONICAL


@dataclass
class Canonicalize(Pass, name="canonicalize"):
    """Fold constants, apply the algebraic rules of `passes/rules` until none matches, and drop what is unused."""

    max_rewrites: int = option(0, "rewrites at most before giving up; 0: 64 per op", least=0)
    seed: int = option(0, "take the ops in a random order with this seed; 0: program order", least=0)

    def run(self, module: Module) -> None:
        shuffle = random.Random(self.seed) if self.seed else None
        self.stats.update(rewrite(module, CANONICAL, self.max_rewrites or None, shuffle))
