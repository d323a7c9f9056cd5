"""Diagnostics: what a user is told, with its place.

Everything that a user can cause is raised as :class:`DlirError`, which holds one or more diagnostics; anything else that
escapes is a bug in dlir.  Rendering with source lines and carets is ``textir.diagnostics``' work: here is only the data.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

from dlir.ir.location import UNKNOWN, Location, file_location


@dataclass(slots=True)
class Note:
    """A second place or fact that explains a diagnostic."""

    message: str
    location: Location = UNKNOWN


@dataclass(slots=True)
class Diagnostic:
    """One error or warning: a message without a final full stop, its place, notes, and a hint for mending it."""

    message: str
    location: Location = UNKNOWN
    severity: str = "error"
    notes: list[Note] = field(default_factory=list)
    hint: str | None = None

    def __str__(self) -> str:
        lines = [_placed(self.location, f"{self.severity}: {self.message}")]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        lines += [_placed(note.location, f"note: {note.message}") for note in self.notes]
        return "\n".join(lines)


class DlirError(Exception):
    """A user's mistake.  `diagnostics` holds all that were found, at least one."""

    def __init__(
        self,
        message: str | Diagnostic | Iterable[Diagnostic],
        location: Location = UNKNOWN,
        *,
        notes: Iterable[Note] = (),
        hint: str | None = None,
    ) -> None:
        if isinstance(message, str):
            self.diagnostics = [Diagnostic(message, location, notes=list(notes), hint=hint)]
        elif isinstance(message, Diagnostic):
            self.diagnostics = [message]
        else:
            self.diagnostics = list(message)
        super().__init__("\n".join(map(str, self.diagnostics)))

    @property
    def message(self) -> str:
        """The first diagnostic's message."""
        return self.diagnostics[0].message

    def at(self, location: Location) -> DlirError:
        """The same error, with `location` for the diagnostics that have no place yet."""
        for diagnostic in self.diagnostics:
            if diagnostic.location is UNKNOWN:
                diagnostic.location = location
        return DlirError(self.diagnostics)


class InferError(DlirError):
    """An op cannot have these operands or attributes; raised by ``infer`` and completed with the op and its place."""


def did_you_mean(word: str, candidates: Iterable[str]) -> str | None:
    """A hint that names the closest candidate to `word`, or None."""
    names = list(candidates)
    same = next((name for name in names if name.lower() == word.lower()), None)
    if same is not None:
        return f"did you mean '{same}'?"
    close = difflib.get_close_matches(word, names, n=5, cutoff=0.6)
    close = close or difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    # Two letters that changed places are the likelier slip.
    swapped = [name for name in close if sorted(name) == sorted(word)]
    return f"did you mean '{(swapped or close)[0]}'?" if close else None


def count(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun: ``1 operand``, ``2 indices``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def _placed(location: Location, text: str) -> str:
    place = file_location(location)
    return f"{place.file}:{place.line}:{place.column}: {text}" if place else text
