"""Running the commands inside the test process."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Finished:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


def run(command: str, *arguments: str | Path) -> Finished:
    """Run ``dlir-opt`` or ``dlir-run`` with these arguments."""
    from dlir.frontends.cli import opt
    from dlir.frontends.cli import run as run_module

    main = {"dlir-opt": opt.main, "dlir-run": run_module.main}[command]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(item) for item in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Finished(code, out.getvalue(), err.getvalue())
