"""What checking rules found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from dlir.ir.errors import Diagnostic
from dlir.passes.rewriter import Pattern


@dataclass
class Verdict:
    """What was found about one rule: `problem` is None if it held on all `programs` and `runs` (inputs) that were tried."""

    pattern: Pattern
    programs: int = 0
    runs: int = 0
    dtypes: Counter[str] = field(default_factory=Counter)
    problem: Diagnostic | None = None

    @property
    def ok(self) -> bool:
        return self.problem is None

    def __str__(self) -> str:
        tried = f"{self.programs} programs, {self.runs} runs, {', '.join(sorted(self.dtypes)) or 'nothing'}"
        return f"{'ok' if self.ok else 'REFUSED':8}{self.pattern.name}: {tried}"


@dataclass
class Report:
    """The verdicts on the rules of one file, in their order."""

    verdicts: list[Verdict]

    @property
    def ok(self) -> bool:
        """Whether every rule held."""
        return all(verdict.ok for verdict in self.verdicts)

    @property
    def problems(self) -> list[Diagnostic]:
        """What is wrong, at most one diagnostic for each rule."""
        return [verdict.problem for verdict in self.verdicts if verdict.problem is not None]

    def __str__(self) -> str:
        return "\n".join(map(str, self.verdicts))
