"""Running both sides of a rule."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlir.ir.builder import at_end, before
from dlir.ir.core import Operation, Value
from dlir.ir.errors import Diagnostic, DlirError, Note
from dlir.ir.op import Op
from dlir.ir.types import ScalarType
from dlir.passes.patterns.load import load_patterns
from dlir.passes.patterns.pattern import TextPattern
from dlir.passes.patterns.proof.compare import difference, holds, suggestion
from dlir.passes.patterns.proof.examples import example_of
from dlir.passes.patterns.proof.inputs import DTYPES, MODES, random_input
from dlir.passes.patterns.proof.maker import Build, Example, Maker, Unfit
from dlir.passes.patterns.proof.report import Report, Verdict
from dlir.passes.rewriter import Pattern, rewrite
from dlir.textir import to_text

#: How many different programs a rule is tried on, on how many inputs each, and how many of them at least must be found.
PROGRAMS, RUNS, LEAST = 60, 5, 8
#: A rule for which there are few different programs is tried on so many times more, equal ones included.
REPEATS = 3
#: Tries at making a program that the rule matches.
TRIES = 20000


def check_patterns(
    path: str | Path, programs: int = PROGRAMS, seed: int = 0, sources: dict[str, str] | None = None
) -> Report:
    """Check each rule in a file on random programs and inputs.

    `sources` receives the text, as for `load_patterns`, which raises DlirError for rules that make no sense.
    """
    return prove_all(load_patterns(path, sources), programs, seed)


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
    proof = _Proof(pattern, example, np.random.default_rng([seed, zlib.crc32(pattern.name.encode())]))
    proof.run(programs)
    return proof.verdict


class _Proof:
    def __init__(self, pattern: Pattern, example: Build, rng: np.random.Generator) -> None:
        self.pattern = pattern
        self.example = example
        self.rng = rng
        self.ignores: Sequence[str] = pattern.ignores
        self.verdict = Verdict(pattern)
        self.seen: dict[str, None] = {}
        #: By dtype: programs that matched, and tries.
        self.matched: Counter[ScalarType] = Counter()
        self.tried: Counter[ScalarType] = Counter()

    def run(self, programs: int) -> None:
        verdict = self.verdict
        matched = 0
        for number in range(TRIES):
            # Small ones first: what is wrong shows in one element, mostly, and reads better there.
            example = self._make(small=matched < programs // 4 and number % 2 == 0)
            if example is None:
                continue
            text = to_text(example.module)
            outcome = self._check(example, text)
            if isinstance(outcome, Diagnostic):
                verdict.problem = outcome
                return
            if outcome:
                matched += 1
                self.matched[example.dtype] += 1
                self.seen[text] = None
                verdict.runs += outcome
                verdict.programs = len(self.seen)
                verdict.dtypes.update(str(arg.dtype) for arg in example.block.args)
                if verdict.programs >= programs or matched >= programs * REPEATS:
                    return
        if verdict.programs < min(LEAST, programs):
            message = f"pattern '{self.pattern.name}' cannot be checked: {verdict.programs} programs that it matches "
            message += f"were found in {TRIES} tries"
            hint = "is there a program that it matches? 'where type(%x) is ...' narrows the search"
            verdict.problem = Diagnostic(message, self.pattern.location, hint=hint)

    def _make(self, small: bool) -> Example | None:
        # One try in four goes to the dtype that was matched least, so that each has its share.
        dtype = min(DTYPES, key=lambda d: (self.matched[d], self.tried[d])) if self.rng.random() < 0.25 else None
        maker = Maker(self.rng, small, dtype)
        self.tried[maker.dtype] += 1
        try:
            with at_end(maker.block):
                value = self.example(maker)
        except Unfit:
            return None
        op = value.defining_op
        return maker.finish(op) if op is not None and op.name in self.pattern.ops else None

    # ------------------------------------------------------------ one program

    def _check(self, example: Example, text: str) -> Diagnostic | int:
        """What is wrong with the rule on this program, or how many runs count: 0 if it does not match."""
        op = example.op
        needed = _needed(op)
        try:
            with before(op):
                replacement = self.pattern.apply(op)
        except DlirError as error:
            return self._wrong("makes what does not fit", text, hint=error.message)
        if replacement is None:
            return 0
        values = [replacement] if isinstance(replacement, Value) else list(replacement)
        if [value.type for value in values] != list(op.result_types):
            listed = ", ".join(str(value.type) for value in values)
            return self._wrong(f"gives {listed} in place of {', '.join(map(str, op.result_types))}", text)
        runs = 0
        for mode in self.rng.permutation(MODES)[:RUNS]:
            outcome = self._run(example, values, needed, str(mode), text)
            if isinstance(outcome, Diagnostic):
                return outcome
            runs += outcome
        return (self._endless(example, text) if len(self.seen) < LEAST else None) or runs

    def _run(
        self, example: Example, values: list[Value], needed: set[Operation], mode: str, text: str
    ) -> Diagnostic | int:
        """Both sides on one set of inputs: what is wrong, or how many runs (0 or 1) count."""
        inputs: dict[Value, Any] = {
            arg: random_input(self.rng, example.extents.get(arg, ()), arg.dtype, mode, self.ignores)
            for arg in example.block.args
        }
        known = dict(inputs)
        if not _evaluate([op for op in example.block.ops if op in needed], known):
            return 0
        on_the_way = [known[value] for value in known]
        if any(what in self.ignores and holds(on_the_way, what) for what in ("nan", "inf")):
            return 0
        if not _evaluate([op for op in example.block.ops if op not in needed and not op.is_terminator], known):
            return self._wrong("makes what cannot be computed", text, inputs)
        for value, result in zip(values, example.op.results, strict=True):
            found, wanted = np.asarray(known[value]), np.asarray(known[result])
            if found.shape != wanted.shape:
                return self._wrong(f"gives the shape {found.shape} in place of {wanted.shape}", text, inputs)
            differs = difference(found, wanted, self.ignores, on_the_way)
            if differs is not None:
                return self._different(text, inputs, found, wanted, differs)
        return 1

    def _endless(self, example: Example, text: str) -> Diagnostic | None:
        try:
            rewrite(example.module, [self.pattern], max_rewrites=200)
        except DlirError as error:
            return self._wrong("does not end", text, hint=error.message)
        return None

    # ------------------------------------------------------------ what is wrong

    def _different(
        self, text: str, inputs: dict[Any, Any], found: np.ndarray, wanted: np.ndarray, differs: np.ndarray
    ) -> Diagnostic:
        index = tuple(int(at) for at in np.argwhere(differs)[0])
        one, two = found[index], wanted[index]
        at = f" at {list(index)}" if index else ""
        word = suggestion(one, two)
        hint = "guard it with 'where'" + (f", or say 'ignores {word}' if that is meant" if word else "")
        return self._wrong(f"changes the result: {_spell(two)} becomes {_spell(one)}{at}", text, inputs, hint)

    def _wrong(self, what: str, text: str, inputs: dict[Any, Any] | None = None, hint: str | None = None) -> Diagnostic:
        notes = []
        if inputs is not None:
            given = [f"%{arg.name or arg.index} = {_spell_array(array)}" for arg, array in inputs.items()]
            notes.append(Note("with " + ", ".join(given)))
        notes.append(Note("in this program:\n" + text.rstrip()))
        message = f"pattern '{self.pattern.name}' {what}"
        return Diagnostic(message, self.pattern.location, notes=notes, hint=hint)


def _needed(op: Operation) -> set[Operation]:
    """`op` and all that its operands come from."""
    found = {op}
    waiting = [op]
    while waiting:
        for value in waiting.pop().operands:
            source = value.defining_op
            if source is not None and source not in found:
                found.add(source)
                waiting.append(source)
    return found


def _evaluate(ops: Iterable[Operation], known: dict[Value, Any]) -> bool:
    """Compute the results of `ops`; False if one cannot be computed."""
    for op in ops:
        assert isinstance(op, Op)
        try:
            results = op.evaluate([known[value] for value in op.operands])
        except (DlirError, ArithmeticError, ValueError):
            return False
        known.update(zip(op.results, results, strict=True))
    return True


def _spell(number: Any) -> str:
    return str(number.item() if number.dtype.kind in "biuf" else float(number))


def _spell_array(array: Any) -> str:
    text = np.array2string(np.asarray(array).astype(object), separator=", ", threshold=16)
    return " ".join(text.split())
