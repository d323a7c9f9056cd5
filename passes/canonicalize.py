"""The ``canonicalize`` pass."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from dlir.ir.core import Operation
from dlir.passes.manager import Pass, option
from dlir.passes.rewriter import Pattern, rewrite
from dlir.passes.rules import canonical_rules


@dataclass
class Canonicalize(Pass, name="canonicalize"):
    """Fold constants, apply the algebraic rules of `passes/rules` until none matches, and drop what is unused."""

    runs_on_functions = True

    max_rewrites: int = option(0, "rewrites at most before giving up; 0: 64 per op", least=0)
    rules: str = option("", "tables of a plugin's rules to apply as well, as in one+two")
    seed: int = option(0, "take the ops in a random order with this seed; 0: program order", least=0)

    def __post_init__(self) -> None:
        #: More rules, which are no option: `dlir-opt --patterns FILE` sets them.
        self.patterns: Sequence[Pattern] = ()

    def run(self, root: Operation) -> None:
        shuffle = random.Random(self.seed) if self.seed else None
        rules = [*canonical_rules(root, filter(None, self.rules.split("+"))), *self.patterns]
        self.stats.update(rewrite(root, rules, self.max_rewrites or None, shuffle))
