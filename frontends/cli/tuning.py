"""``dlir-run --tune``: tiles by measurement, with a progress bar, and the tuned text."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dlir.ir.errors import DlirError

if TYPE_CHECKING:
    from dlir.ir.dialects.builtin import Module
    from dlir.textir import ParsedModule

_WIDTH = 30


def tuning(parsed: ParsedModule, backend: str, path: str | None) -> Callable[[Any, Module], None]:
    """What `compile_module` is to call after each pass; the text with its tuned schedules is written to `path`, if given."""
    from dlir.backends.cpu.tune import Tuner

    if backend != "cpu":
        raise DlirError(f"only the cpu backend can be tuned, not '{backend}'")
    tuner = Tuner(_bar if sys.stderr.isatty() else None)

    def after(pass_: Any, module: Module) -> None:
        tuner.after(pass_, module)
        if path is not None and pass_.name == "schedule":
            from dlir.frontends.cli.common import write_text
            from dlir.textir import to_text

            write_text(to_text(module), path)
            parsed.copy_sidecars(path)

    return after


def _bar(done: int, total: int) -> None:
    """Show how many of all candidates have been measured."""
    filled = _WIDTH * done // max(total, 1)
    end = "\n" if done == total else ""
    sys.stderr.write(f"\rtuning [{'#' * filled}{' ' * (_WIDTH - filled)}] {done}/{total}{end}")
    sys.stderr.flush()
