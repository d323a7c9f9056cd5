"""Golden IR: a .dlir file holds its input, its commands (``// RUN:``) and what they must print (``// CHECK:``).

Each RUN line is a test, run in this process: ``dlir-opt %s -p "cse" | filecheck %s``, lit's syntax.  ``not`` in front wants a
failure, ``2>&1`` adds stderr to what is checked, ``%s`` is the file, ``%S`` its folder.
"""

from __future__ import annotations

import contextlib
import io
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def pytest_collect_file(parent: pytest.Collector, file_path: Path) -> pytest.Collector | None:
    if file_path.suffix == ".dlir":
        return GoldenFile.from_parent(parent, path=file_path)
    return None


class GoldenFile(pytest.File):
    """A .dlir file with RUN lines; one without any is an error."""

    def collect(self) -> Iterator[pytest.Item]:
        lines = self.path.read_text().splitlines()
        runs = [line.split("RUN:", 1)[1].strip() for line in lines if line.lstrip().startswith("// RUN:")]
        if not runs:
            raise self.CollectError(f"{self.path} has no RUN line")
        for number, command in enumerate(runs):
            yield GoldenTest.from_parent(self, name=f"RUN{number}", command=command)


class GoldenTest(pytest.Item):
    """One RUN line."""

    def __init__(self, *, command: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.command = command

    def runtest(self) -> None:
        tool, bar, check = self.command.partition("|")
        output, code = run_tool(shlex.split(self._expand(tool)))
        words = shlex.split(tool)
        if (code != 0) != (words[0] == "not"):
            raise GoldenFailure(f"exit code {code}\n{output}")
        if bar:
            self._check(shlex.split(self._expand(check)), output)

    def _expand(self, text: str) -> str:
        return text.replace("%s", str(self.path)).replace("%S", str(self.path.parent))

    def _check(self, words: list[str], output: str) -> None:
        from filecheck.finput import FInput
        from filecheck.matcher import Matcher
        from filecheck.options import parse_argv_options
        from filecheck.parser import Parser

        options = parse_argv_options(words)
        complaint = io.StringIO()
        matcher = Matcher(options, FInput("output", output), Parser.from_opts(options))
        matcher.stderr = complaint
        if matcher.run() != 0:
            raise GoldenFailure(f"{complaint.getvalue()}\n---- output was:\n{output}")

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        if isinstance(excinfo.value, GoldenFailure):
            return f"{self.path}\n$ {self.command}\n{excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, f"{self.path.name}: {self.command}"


class GoldenFailure(Exception):
    """The command or the check failed."""


def run_tool(words: list[str]) -> tuple[str, int]:
    """Run ``[not] dlir-opt ARGS [2>&1]`` in this process; returns what it printed, and its exit code."""
    from dlir.frontends.cli import opt, run

    if words[0] == "not":
        words = words[1:]
    both = "2>&1" in words
    words = [word for word in words if word != "2>&1"]
    main = {"dlir-opt": opt.main, "dlir-run": run.main}[words[0]]
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stdout if both else stderr):
        try:
            code = main(words[1:])
        except SystemExit as stop:
            code = int(stop.code or 0)
    if code != 0 and not both:
        return stdout.getvalue() + stderr.getvalue(), code
    return stdout.getvalue(), code
