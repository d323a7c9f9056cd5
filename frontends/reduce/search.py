"""The search: chunks of sites first, then single ones, until no step finds anything to take away."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from dlir.frontends.reduce import attributes, functions, ops, shapes
from dlir.frontends.reduce.cost import cost_of
from dlir.frontends.reduce.step import Step
from dlir.ir.dialects.builtin import Module
from dlir.ir.errors import DlirError
from dlir.ir.traversal import clone
from dlir.ir.verifier import verified, verify
from dlir.textir import print_module

#: From what takes most away to what only makes the rest easier to read.
STEPS: tuple[Step, ...] = (*functions.STEPS, *ops.STEPS, *attributes.STEPS, *shapes.STEPS)

Interesting = Callable[[Module], bool]


def reduce_module(
    module: Module,
    interesting: Interesting,
    *,
    improved: Callable[[Module], None] | None = None,
    observe: Callable[[Search], None] | None = None,
) -> Module:
    """The smallest module found for which `interesting` still holds; `module` itself stays as it is.

    `interesting` gets valid modules only, each a copy that it may change, none of them twice.  `improved` is called with
    each smaller module, `observe` after every check.  DlirError if `module` is invalid or not interesting.
    """
    search = Search(module, interesting, improved, observe)
    if not search.holds_at_start():
        raise DlirError("the check does not hold on the module that is to be reduced")
    search.run()
    return search.best


class Search:
    """The smallest module so far, and what was tried."""

    def __init__(
        self,
        module: Module,
        interesting: Interesting,
        improved: Callable[[Module], None] | None = None,
        observe: Callable[[Search], None] | None = None,
    ) -> None:
        self.best = verified(clone(module))
        self.cost = cost_of(self.best)
        #: How often `interesting` was asked.
        self.checks = 0
        #: What is being tried.
        self.step = "the whole module"
        self._interesting = interesting
        self._improved = improved
        self.observe = observe
        self._tried: set[bytes] = set()

    @property
    def size(self) -> int:
        """Ops of the smallest module."""
        return count_ops(self.best)

    def holds_at_start(self) -> bool:
        """Whether the module as it came is interesting; to be asked before `run`."""
        return self._holds(self.best)

    def run(self) -> None:
        """All steps, until none helps."""
        while sum([self._run_step(step) for step in STEPS]):
            pass

    def _run_step(self, step: Step) -> bool:
        """Take away as many sites as possible; whether any went."""
        self.step = step.name
        start = self.cost
        sites = step.sites(self.best)
        size = 1 if step.one_by_one else len(sites)
        while size:
            position = 0
            while position < len(sites):
                if self._attempt(step, sites[position : position + size]):
                    sites = step.sites(self.best)  # what stood behind the chunk stands at its place now
                else:
                    position += size
            size = min(size, len(sites)) // 2
        return self.cost < start

    def _attempt(self, step: Step, sites: Sequence[Any]) -> bool:
        candidate = clone(self.best)
        step.apply(candidate, sites)
        cost = cost_of(candidate)
        if cost >= self.cost or verify(candidate) or not self._holds(candidate):
            return False
        self.best, self.cost = candidate, cost
        if self._improved is not None:
            self._improved(candidate)
        return True

    def _holds(self, candidate: Module) -> bool:
        digest = hashlib.blake2b(print_module(candidate).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if digest in self._tried:
            return False
        self._tried.add(digest)
        self.checks += 1
        found = self._interesting(clone(candidate))
        if self.observe is not None:
            self.observe(self)
        return found


def count_ops(module: Module) -> int:
    """The ops inside a module."""
    return sum(1 for _ in module.walk()) - 1
