"""Programs that look for the first op that makes a NaN or an infinity (the pass ``check-numerics``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dlir.ir.attributes import ArrayAttr, Attribute, DictAttr
from dlir.ir.errors import DlirError
from dlir.ir.location import UNKNOWN, FileLoc, Location


@dataclass(frozen=True, slots=True)
class Check:
    """An array that is looked at: what to say if the check fails, and the place in the source."""

    message: str
    location: Location


class Checked:
    """An executable whose last result is the number of the first check that failed, or how many there are.

    It gives the other results, or raises DlirError.  Donated inputs are written either way.
    """

    def __init__(self, executable: Any, checks: Sequence[Check]) -> None:
        self._executable = executable
        self._checks = checks
        self.signature = replace(executable.signature, results=executable.signature.results[:-1])

    def __call__(self, *arrays: Any, out: Sequence[Any] | Any | None = None, **named: Any) -> tuple[Any, ...]:
        targets: list[Any] | None = None
        if out is not None:
            targets = list(out) if isinstance(out, list | tuple) else [out]
            if len(targets) != len(self.signature.results) or isinstance(targets[0], np.ndarray):
                self.signature.check_out(targets)
        *results, first = self._executable(*arrays, **named)
        number = int(first)
        if number < len(self._checks):
            check = self._checks[number]
            raise DlirError(check.message, check.location)
        if targets is None:
            return tuple(results)
        for target, result in zip(targets, results, strict=True):
            target[...] = result
        return tuple(targets)


def read_checks(attribute: Attribute) -> list[Check]:
    """What the attribute `dlir.checks` of a function says."""
    items = attribute.items if isinstance(attribute, ArrayAttr) else ()
    return [
        _read({name: value.value for name, value in item.items.items()}) for item in items if isinstance(item, DictAttr)
    ]


def _read(entry: dict[str, Any]) -> Check:
    place = FileLoc(entry["file"], entry["line"], entry["column"]) if "file" in entry else UNKNOWN
    name = f" (%{entry['value']})" if "value" in entry else ""
    if "variable" in entry:
        return Check(f"variable '@{entry['variable']}' holds a NaN before the call", place)
    if "op" not in entry:
        return Check(f"argument '%{entry.get('value', '?')}' holds a NaN", place)
    return Check(f"'{entry['op']}'{name} is the first op that makes a NaN or an infinity", place)
