"""Trying a rule on random programs."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dlir.ir.builder import at_end, before
from dlir.ir.core import Value
from dlir.ir.errors import Diagnostic, DlirError, Note
from dlir.ir.types import F32, I32, ScalarType
from dlir.passes.patterns.load import load_patterns
from dlir.passes.patterns.pattern import TextPattern
from dlir.passes.patterns.proof.examples import example_of
from dlir.passes.patterns.proof.inputs import DTYPES, MODES, random_input
from dlir.passes.patterns.proof.maker import Build, Example, Maker, Unfit
from dlir.passes.patterns.proof.report import Report, Verdict
from dlir.passes.patterns.proof.sides import Difference, Inputs, Sides, needed_for, spell_array
from dlir.passes.patterns.proof.together import check_together
from dlir.passes.rewriter import Pattern, rewrite
from dlir.textir import to_text
from dlir.textir.names import Names

#: How many different programs a rule is tried on, on how many inputs each, and how many of them at least must be found.
PROGRAMS, RUNS, LEAST = 60, 5, 8
#: A rule for which there are few different programs is tried on so many times more, equal ones included.
REPEATS = 3
#: Tries at making a program that the rule matches.
TRIES = 20000
#: Tries at a smaller program on which a rule fails, once there is one.
SMALLER = 60


def check_patterns(
    path: str | Path, programs: int = PROGRAMS, seed: int = 0, sources: dict[str, str] | None = None
) -> Report:
    """Check each rule in a file on random programs and inputs, and that all of them together, with dlir's own, end.

    `sources` receives the text, as for `load_patterns`, which raises DlirError for rules that make no sense.
    """
    report = prove_all(load_patterns(path, sources), programs, seed)
    check_together(report.verdicts)
    return report


def prove_all(patterns: Iterable[TextPattern], programs: int = PROGRAMS, seed: int = 0) -> Report:
    """Check rules of text."""
    return Report([prove(pattern, programs=programs, seed=seed) for pattern in patterns])


def prove(pattern: Pattern, example: Build | None = None, programs: int = PROGRAMS, seed: int = 0) -> Verdict:
    """Check one rule on so many random programs.

    A rule written in Python needs an `example`: it makes, with a `Maker` and the builder functions, what the rule is to
    match, and returns that op's (first) result.  For a rule of text it follows from the rule.
    """
    if example is None:
        assert isinstance(pattern, TextPattern)
        example = example_of(pattern.rule)
    seeds = [seed, zlib.crc32(pattern.name.encode())]
    proof = _Proof(pattern, example, np.random.default_rng(seeds), pattern.ignores)
    proof.run(programs)
    verdict = proof.verdict
    if verdict.problem is not None and proof.failure is not None and proof.failure.difference is not None:
        verdict.problem.hint = _advice(pattern, example, proof.failure.difference, seeds)
    return verdict


def _advice(pattern: Pattern, example: Build, difference: Difference, seeds: list[int]) -> str:
    """How the rule could be made true: what it would have to ignore, if there is anything that is enough."""
    words, word = list(pattern.ignores), difference.word
    while word is not None and word not in words:
        words.append(word)
        proof = _Proof(pattern, example, np.random.default_rng(seeds), words)
        proof.run(PROGRAMS, smaller=0)
        if proof.verdict.ok:
            return f"guard it with 'where', or say 'ignores {', '.join(words)}' if that is meant"
        word = proof.failure.difference.word if proof.failure is not None and proof.failure.difference else None
    return "guard it with 'where'"


@dataclass
class _Failure:
    """What is wrong with a rule on one program, and how much a reader has to look at: less is better."""

    problem: Diagnostic
    weight: tuple[int, ...]
    difference: Difference | None = None


class _Proof:
    def __init__(self, pattern: Pattern, example: Build, rng: np.random.Generator, ignores: Sequence[str]) -> None:
        self.pattern = pattern
        self.example = example
        self.rng = rng
        self.ignores = ignores
        self.verdict = Verdict(pattern)
        self.failure: _Failure | None = None
        #: By dtype: programs that matched, and tries.
        self.matched: Counter[ScalarType] = Counter()
        self.tried: Counter[ScalarType] = Counter()

    def run(self, programs: int, smaller: int = SMALLER) -> None:
        verdict = self.verdict
        matched = 0
        for number in range(TRIES):
            # Small ones first: what is wrong shows in one element, mostly, and reads better there.
            example = self._make(small=matched < programs // 4 and number % 2 == 0)
            if example is None:
                continue
            text = to_text(example.module)
            outcome = self._check(example, text)
            if isinstance(outcome, _Failure):
                self._fail(outcome, smaller)
                return
            if outcome:
                matched += 1
                self.matched[example.dtype] += 1
                verdict.texts[text] = None
                verdict.runs += outcome
                verdict.dtypes.update(str(arg.dtype) for arg in example.block.args)
                if verdict.programs >= programs or matched >= programs * REPEATS:
                    return
        if verdict.programs < min(LEAST, programs):
            message = f"pattern '{self.pattern.name}' cannot be checked: {verdict.programs} programs that it matches "
            message += f"were found in {TRIES} tries"
            hint = "is there a program that it matches? 'where type(%x) is ...' narrows the search"
            verdict.problem = Diagnostic(message, self.pattern.location, hint=hint)

    def _fail(self, failure: _Failure, tries: int) -> None:
        """Note a failure, or a smaller one of the same rule that comes up in so many tries."""
        for _ in range(tries):
            example = self._make(small=True)
            outcome = self._check(example, to_text(example.module)) if example is not None else None
            if not isinstance(outcome, _Failure) or (outcome.difference is None) != (failure.difference is None):
                continue
            if outcome.weight < failure.weight:
                failure = outcome
        self.failure, self.verdict.problem = failure, failure.problem

    def _make(self, small: bool) -> Example | None:
        # One try in four goes to the dtype that was matched least, so that each has its share.
        dtype = min(DTYPES, key=lambda d: (self.matched[d], self.tried[d])) if self.rng.random() < 0.25 else None
        maker = Maker(self.rng, small, dtype)
        self.tried[maker.dtype] += 1
        try:
            with at_end(maker.block):
                value = self.example(maker)
        except (Unfit, DlirError):
            return None
        op = value.defining_op
        return maker.finish(op) if op is not None and op.name in self.pattern.ops else None

    # ------------------------------------------------------------ one program

    def _check(self, example: Example, text: str) -> _Failure | int:
        """What is wrong with the rule on this program, or how many runs count: 0 if it does not match."""
        op = example.op
        needed = needed_for(op)
        try:
            with before(op):
                replacement = self.pattern.apply(op)
        except DlirError as error:
            return self._wrong("makes what does not fit", example, text, hint=error.message)
        if replacement is None:
            return 0
        values = [replacement] if isinstance(replacement, Value) else list(replacement)
        if [value.type for value in values] != list(op.result_types):
            listed = ", ".join(str(value.type) for value in values)
            what = f"gives {listed} in place of {', '.join(map(str, op.result_types))}"
            return self._wrong(what, example, text, hint="guard it with 'where': types must come out as they were")
        sides = Sides(example, values, self.ignores, needed)
        runs = 0
        for mode in self.rng.permutation(MODES)[:RUNS]:
            inputs: Inputs = {
                arg: random_input(self.rng, example.extents.get(arg, ()), arg.dtype, str(mode), self.ignores)
                for arg in example.block.args
            }
            outcome = sides.run(inputs)
            if isinstance(outcome, Difference):
                inputs, outcome = sides.simplified(inputs, outcome)
                return self._wrong(outcome.what, example, text, inputs, outcome)
            runs += outcome
        return (self._endless(example, text) if self.verdict.programs < LEAST else None) or runs

    def _endless(self, example: Example, text: str) -> _Failure | None:
        try:
            rewrite(example.module, [self.pattern], max_rewrites=200)
        except DlirError as error:
            return self._wrong("does not end", example, text, hint=error.message)
        return None

    # ------------------------------------------------------------ what is wrong

    def _wrong(
        self,
        what: str,
        example: Example,
        text: str,
        inputs: Inputs | None = None,
        difference: Difference | None = None,
        hint: str | None = None,
    ) -> _Failure:
        notes = []
        if inputs:
            names = Names(example.module)
            notes.append(Note("with " + ", ".join(f"%{names.value(a)} = {spell_array(v)}" for a, v in inputs.items())))
        notes.append(Note("in this program:\n" + text.rstrip()))
        problem = Diagnostic(f"pattern '{self.pattern.name}' {what}", self.pattern.location, notes=notes, hint=hint)
        elements = sum(np.size(array) for array in (inputs or {}).values())
        return _Failure(problem, (elements, example.dtype not in (F32, I32), len(text)), difference)
