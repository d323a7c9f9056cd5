"""Reproducers: one file that holds a module and the pipeline that failed on it, which ``dlir-opt`` runs again."""

from __future__ import annotations

import re

from dlir.ir.errors import DlirError
from dlir.textir.atomic import atomic_write

_HEAD = re.compile(r'// dlir-opt reproducer: -p "([^"\n]*)"\n')

#: Where a reproducer goes when no place is given.
DEFAULT = "dlir-reproducer.dlir"


def write_reproducer(path: str, text: str, pipeline: str, error: Exception) -> None:
    """Write the module's own text and the pipeline to file `path`."""
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    head = (
        f'// dlir-opt reproducer: -p "{pipeline}"\n// {reason}\n// Run it again: dlir-opt --run-reproducer {path}\n\n'
    )
    atomic_write(path, (head + text).encode())


def pipeline_of(text: str, path: str) -> str:
    """The pipeline that a reproducer names; DlirError if the text is none."""
    found = _HEAD.match(text)
    if found is None:
        raise DlirError(f"'{path}' is not a reproducer: its first line names no pipeline")
    return found.group(1)
