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
    runs: int = 0
    dtypes: Counter[str] = field(default_factory=Counter)
    problem: Diagnostic | None = None
    #: The different programs that it held on.
    texts: dict[str, None] = field(default_factory=dict)

    @property
    def programs(self) -> int:
        """How many different programs it held on."""
        return len(self.texts)

    @property
    def ok(self) -> bool:
        return self.problem is None

    def __str__(self) -> str:
        if not self.ok:
            return f"REFUSED {self.pattern.name}"
        return (
            f"ok      {self.pattern.name}: {self.programs} programs, {self.runs} runs, {', '.join(sorted(self.dtypes))}"
        )


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
