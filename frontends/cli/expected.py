"""``--verify-diagnostics``: a file says which diagnostics it must give, and where.

    %y = nd.exp %x, %x   // expected-error {{takes 1 operand}}
    // expected-error @+1 {{unknown op}}
    %z = nd.oops %x

``@+N`` and ``@-N`` move the line, ``@above`` and ``@below`` by one; ``@unknown`` is for diagnostics without a place.  The
text in braces must be part of the message.  In ``expected-error-re {{got {{[0-9]+}} of 3}}`` what stands in braces once more
is a regular expression.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dlir.ir.errors import Diagnostic
from dlir.ir.location import Location, file_location

_WHERE = r"\s*(@(?:[+-]\d+|above|below|unknown))?\s*"
_EXPECTED = re.compile(rf"expected-(error|warning|note)(?:{_WHERE}\{{\{{(.*?)\}}\}}|-re{_WHERE}\{{\{{(.*)\}}\}})")
#: What looks like one.
_MEANT = re.compile(r"//.*\bexpected?-[a-z]+\b")
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
    #: What the message must hold, as a regular expression.
    pattern: str = ""

    def fits(self, severity: str, line: int | None, message: str) -> bool:
        """Whether a diagnostic is the one that is asked for, and no other was."""
        is_here = not self.met and (self.severity, self.line) == (severity, line)
        return is_here and re.search(self.pattern, message) is not None


def expectations(text: str) -> list[Expectation]:
    """What the comments of `text` ask for."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        for match in _EXPECTED.finditer(line):
            severity, where, wanted = match[1], match[2] or match[4], match[3] if match[5] is None else match[5]
            pattern = re.escape(wanted) if match[5] is None else _pattern(wanted)
            place: int | None = number
            if where == "@unknown":
                place = None
            elif where:
                place = number + (_STEPS[where] if where in _STEPS else int(where[1:]))
            found.append(Expectation(severity, place, wanted, number, pattern=pattern))
    return found


def _pattern(text: str) -> str:
    """The regular expression that a text with others in double braces stands for."""
    parts = re.split(r"\{\{(.*?)\}\}", text)
    return "".join(part if number % 2 else re.escape(part) for number, part in enumerate(parts))


def _malformed(text: str) -> list[tuple[int, str]]:
    """The lines with a comment that was meant as an expectation and is none, and what is wrong with them."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        match = _EXPECTED.search(line)
        if match is None and _MEANT.search(line):
            found.append((number, "this is no expectation: write // expected-error @+1 {{part of the message}}"))
        elif match is not None and match[5] is not None:
            try:
                re.compile(_pattern(match[5]))
            except re.error as error:
                found.append((number, f"this is no regular expression: {error}"))
    return found


def unmet(text: str, diagnostics: list[Diagnostic], file: str) -> list[str]:
    """How the diagnostics differ from what `text` asks for: missing and unexpected ones, one message each."""
    complaints = [f"{file}:{number}: {problem}" for number, problem in _malformed(text)]
    if complaints:
        return complaints
    wanted = expectations(text)
    for severity, message, location in _flat(diagnostics):
        place = file_location(location)
        line = place.line if place is not None else None
        fitting = (item for item in wanted if item.fits(severity, line, message))
        match = next(fitting, None)
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
