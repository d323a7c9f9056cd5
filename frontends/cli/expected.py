"""``--verify-diagnostics``: a file says which diagnostics it must give, and where.

    %y = nd.exp %x, %x   // expected-error {{takes 1 operand}}
    // expected-error @+1 {{unknown op}}
    %z = nd.oops %x

``@+N`` and ``@-N`` move the line, ``@above`` and ``@below`` by one; ``@unknown`` is for diagnostics without a place.  The
text in braces must be part of the message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dlir.ir.errors import Diagnostic
from dlir.ir.location import Location, file_location

_EXPECTED = re.compile(r"expected-(error|warning|note)\s*(@(?:[+-]\d+|above|below|unknown))?\s*\{\{(.*?)\}\}")
_STEPS = {"@above": -1, "@below": 1}

#: The line that separates the inputs of a file under ``--split-input-file``.
SEPARATOR = re.compile(r"^// -----.*$", re.MULTILINE)


@dataclass
class Expectation:
    """A diagnostic that a text asks for; `line` is None for one without a place."""

    severity: str
    line: int | None
    text: str
    written_at: int
    met: bool = False


def expectations(text: str) -> list[Expectation]:
    """What the comments of `text` ask for."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        for match in _EXPECTED.finditer(line):
            severity, where, wanted = match.groups()
            place: int | None = number
            if where == "@unknown":
                place = None
            elif where:
                place = number + (_STEPS[where] if where in _STEPS else int(where[1:]))
            found.append(Expectation(severity, place, wanted, number))
    return found


def unmet(text: str, diagnostics: list[Diagnostic], file: str) -> list[str]:
    """How the diagnostics differ from what `text` asks for: missing and unexpected ones, one message each."""
    wanted = expectations(text)
    complaints = []
    for severity, message, location in _flat(diagnostics):
        place = file_location(location)
        line = place.line if place is not None else None
        match = next(
            (e for e in wanted if not e.met and e.severity == severity and e.line == line and e.text in message), None
        )
        if match is not None:
            match.met = True
        elif severity != "note":  # notes may be left out
            where = f"{file}:{line}" if line is not None else file
            complaints.append(f"{where}: unexpected {severity}: {message}")
    for item in wanted:
        if not item.met:
            line = item.line if item.line is not None else item.written_at
            complaints.append(f"{file}:{line}: expected {item.severity} was not given: {item.text}")
    return complaints


def _flat(diagnostics: list[Diagnostic]) -> list[tuple[str, str, Location]]:
    found = []
    for diagnostic in diagnostics:
        found.append((diagnostic.severity, diagnostic.message, diagnostic.location))
        found += [("note", note.message, note.location) for note in diagnostic.notes]
    return found


def split_text(text: str) -> list[str]:
    """The inputs that ``// -----`` lines separate, each with as many empty lines in front as keep its line numbers."""
    parts, start = [], 0
    for match in [*SEPARATOR.finditer(text), None]:
        end = len(text) if match is None else match.start()
        parts.append("\n" * text.count("\n", 0, start) + text[start:end])
        start = end if match is None else match.end()
    return parts
