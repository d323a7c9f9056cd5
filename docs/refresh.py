"""Writes what pages show below their examples: the errors in language.md, and what the commands of the tutorials print.

    python docs/refresh.py            write them
    python docs/refresh.py --check    say which pages are out of date; exit code 1 if any is

In a tutorial a block that begins with ``# name.py`` or ``// name.dlir`` is a file (``# name.py, continued``: more of it), a
``console`` block a command with its output: stderr, stdout, and the exit code if it is not 0.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from dlir.ir.errors import DlirError
from dlir.ir.verifier import verified
from dlir.textir import parse
from dlir.textir.diagnostics import render

DOCS = Path(__file__).resolve().parent
TUTORIALS = ("first-dialect", "first-pass", "first-rule")
TOOLS = {"dlir-opt": "dlir.frontends.cli.opt", "dlir-run": "dlir.frontends.cli.run"}


def refreshed(name: str) -> str:
    """What the page called `name` should be."""
    page = (DOCS / f"{name}.md").read_text()
    return language(page) if name == "language" else tutorial(page)


def language(page: str) -> str:
    """The page with the message for each ``mlir-error`` block below it."""

    def fill(match: re.Match[str]) -> str:
        text = match[1]
        try:
            verified(parse(text, "net.dlir"))
        except DlirError as error:
            return f"```mlir-error\n{text}```\n\n```\n{render(error, {'net.dlir': text})}\n```\n"
        raise ValueError(f"nothing is wrong with this example:\n{text}")

    return re.sub(r"```mlir-error\n(.*?)```\n(?:\n```\n.*?```\n)?", fill, page, flags=re.DOTALL)


def tutorial(page: str) -> str:
    """The page with what its commands print, each run in a folder that holds the files that stand before it."""
    with tempfile.TemporaryDirectory() as folder:

        def fill(match: re.Match[str]) -> str:
            head, _, rest = match[2].partition("\n")
            if match[1] == "console":
                return f"```console\n{head}\n{output_of(head.removeprefix('$ '), folder)}```"
            file, _, more = head.removeprefix("# ").removeprefix("// ").partition(", ")
            with open(Path(folder) / file, "a" if more else "w") as stream:
                stream.write(f"\n\n{rest}" if more else match[2])
            return match[0]

        return re.sub(r"```(python|mlir|console)\n(.*?)```", fill, page, flags=re.DOTALL)


def output_of(command: str, folder: str) -> str:
    """What a command prints when it is run in `folder`; RuntimeError for a traceback."""
    tool, *words = shlex.split(command)
    program = [sys.executable, *(["-m", TOOLS[tool]] if tool in TOOLS else [])]
    environment = {**os.environ, "PYTHONPATH": str(DOCS.parent / ".src"), "NO_COLOR": "1"}
    done = subprocess.run([*program, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    if "Traceback" in done.stderr or done.returncode == 3:
        raise RuntimeError(f"{command}\n{done.stderr}")
    return done.stderr + done.stdout + (f"(exit code {done.returncode})\n" if done.returncode else "")


def main() -> int:
    stale = []
    for name in ("language", *TUTORIALS):
        text = refreshed(name)
        file = DOCS / f"{name}.md"
        if file.read_text() != text:
            stale.append(file.name)
            if "--check" not in sys.argv:
                file.write_text(text)
    print("\n".join(stale))
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
