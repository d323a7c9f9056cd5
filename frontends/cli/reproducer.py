"""Reproducers: one file that holds a module and the pipeline that failed on it, which ``dlir-opt`` runs again."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence

from dlir.ir.errors import DlirError
from dlir.textir.atomic import atomic_write

_HEAD = re.compile(r'// dlir-opt reproducer: -p "([^"\n]*)"\n')

#: Where a reproducer goes when no place is given.
DEFAULT = "dlir-reproducer.dlir"


def write_reproducer(path: str, text: str, pipeline: str, flags: Sequence[str], error: Exception) -> str | None:
    """Write the module's own text and the pipeline to file `path`; the command that runs it again, with these flags.

    None, and a message, if it cannot be written: that must not hide the error itself.
    """
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    command = " ".join(["dlir-opt", "--run-reproducer", shlex.quote(path), *map(shlex.quote, flags)])
    head = f'// dlir-opt reproducer: -p "{pipeline}"\n// {reason}\n// Run it again: {command}\n\n'
    try:
        atomic_write(path, (head + text).encode())
    except OSError as problem:
        print(f"cannot write a reproducer to '{path}': {problem.strerror}", file=sys.stderr)
        return None
    return command


def pipeline_of(text: str, path: str) -> str:
    """The pipeline that a reproducer names; DlirError if the text is none."""
    found = _HEAD.match(text)
    if found is None:
        raise DlirError(f"'{path}' is not a reproducer: its first line names no pipeline")
    return found.group(1)
