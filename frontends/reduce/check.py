"""Asking a command whether a candidate is interesting."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dlir.ir.errors import DlirError


@dataclass
class Check:
    """A command, as words; ``{}`` in a word, or else the end, is where the file's name goes.  It runs through no shell."""

    words: Sequence[str]
    #: Seconds after which it is stopped, which counts as failing.
    timeout: float
    #: How the last run ended, in words, and the end of what it wrote to stderr.
    ended: str = field(default="", init=False)
    errors: str = field(default="", init=False)

    @classmethod
    def parse(cls, text: str, timeout: float) -> Check:
        """The check of a command line; ValueError if it has no words or an open quote."""
        words = shlex.split(text)
        if not words:
            raise ValueError("the command is empty")
        return cls(words, timeout)

    def __call__(self, path: Path) -> bool:
        """Whether the command exits with 0 for this file; DlirError if it cannot be started."""
        words = [word.replace("{}", str(path)) for word in self.words]
        if not any("{}" in word for word in self.words):
            words.append(str(path))
        try:
            # In a session of its own, so that all it starts can be stopped together.
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise DlirError(f"cannot run '{words[0]}': {error.strerror}") from None
        with process:
            try:
                errors = process.communicate(timeout=self.timeout)[1]
            except subprocess.TimeoutExpired:
                self.ended, self.errors = f"did not end within {self.timeout:g} s", ""
                return False
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        code = process.returncode
        self.ended = f"ended with exit code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
        self.errors = errors.decode(errors="replace")[-2000:]
        return code == 0
