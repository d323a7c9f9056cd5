"""How the commands begin: Ctrl-C ends them with one word and exit code 130, from their first import to their last line.

While a command runs, Ctrl-C is an exception, so that files half-written are removed (`run_command`).  Before and after that
there is nothing to clean up, and an exception in the middle of an import may end as a traceback, or be lost.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130


def opt() -> int:
    """``dlir-opt``."""
    return _command("dlir.frontends.cli.opt")


def run() -> int:
    """``dlir-run``."""
    return _command("dlir.frontends.cli.run")


def reduce() -> int:
    """``dlir-reduce``."""
    return _command("dlir.frontends.cli.reduce")


def lsp() -> int:
    """``dlir-lsp``."""
    return _command("dlir.frontends.lsp.server")


def _command(module: str) -> int:
    from importlib import import_module

    # One that is ignored, as in a script's background job, stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
    code: int = import_module(module).main()
    return code


def _stop(number: int, frame: FrameType | None) -> None:
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"interrupted\n")
    os._exit(INTERRUPTED)


class Interruptible:
    """``with Interruptible():`` makes Ctrl-C a KeyboardInterrupt inside, if a command of this module was begun."""

    def __enter__(self) -> None:
        self.begun = signal.getsignal(signal.SIGINT) is _stop
        if self.begun:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def __exit__(self, *error: object) -> None:
        if self.begun:
            signal.signal(signal.SIGINT, _stop)
