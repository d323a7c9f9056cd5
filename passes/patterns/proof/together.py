"""Whether rules that are true one by one end when they are applied together, and with dlir's own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from dlir.ir.errors import Diagnostic, DlirError, Note
from dlir.passes.patterns.proof.report import Verdict
from dlir.passes.rewriter import rewrite
from dlir.passes.rules import canonical_rules
from dlir.textir import parse

#: Programs of each rule that all rules are applied to.
PROGRAMS = 8


def check_together(verdicts: Sequence[Verdict]) -> None:
    """Apply all rules that held, and those of ``canonicalize``, to programs of each; what does not end is a problem of it."""
    held = [verdict for verdict in verdicts if verdict.ok]
    patterns = [verdict.pattern for verdict in held]
    messages: list[str] = []
    for verdict in held:
        for text in islice(verdict.texts, PROGRAMS):
            if any(f"'{verdict.pattern.name}'" in message for message in messages):
                break
            module = parse(text)
            try:
                rewrite(module, [*canonical_rules(module), *patterns])
            except DlirError as error:
                messages.append(error.message)
                verdict.problem = _problem(verdict, error, text)


def _problem(verdict: Verdict, error: DlirError, text: str) -> Diagnostic:
    first = error.diagnostics[0]
    message = f"pattern '{verdict.pattern.name}' with the other rules: {first.message}"
    notes = [*first.notes, Note("in this program:\n" + text.rstrip())]
    return Diagnostic(message, verdict.pattern.location, notes=notes, hint=first.hint)
