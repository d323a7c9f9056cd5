"""The tutorials: their files are written, their commands run, and what they print is what the pages show.

A block that begins with ``# name.py`` or ``// name.dlir`` is a file (``# name.py, continued``: more of it), a ``console`` block a
command with its output; an exit code other than 0 is part of what is shown.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest

PAGES = ("first-dialect", "first-pass", "first-rule")
BLOCK = re.compile(r"```(python|mlir|console)\n(.*?)```", re.DOTALL)
TOOLS = {"dlir-opt": "dlir.frontends.cli.opt", "dlir-run": "dlir.frontends.cli.run"}


def output_of(command: str, folder, root) -> str:
    """What a command prints: stderr, then stdout, then its exit code if that is not 0."""
    tool, *words = shlex.split(command)
    program = [sys.executable, *(["-m", TOOLS[tool]] if tool in TOOLS else [])]
    environment = {**os.environ, "PYTHONPATH": str(root / ".src"), "NO_COLOR": "1"}
    done = subprocess.run([*program, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr + done.stdout + (f"(exit code {done.returncode})\n" if done.returncode else "")


@pytest.mark.parametrize("name", PAGES)
def test_a_tutorial_does_what_it_shows(name, repo_root, tmp_path):
    page = (repo_root / "docs" / f"{name}.md").read_text()
    commands = 0
    for language, text in BLOCK.findall(page):
        head, _, rest = text.partition("\n")
        if language == "console":
            assert output_of(head.removeprefix("$ "), tmp_path, repo_root) == rest
            commands += 1
            continue
        file, _, more = head.removeprefix("# ").removeprefix("// ").partition(", ")
        with open(tmp_path / file, "a" if more == "continued" else "w") as stream:
            stream.write("\n\n" + rest if more else text)
    assert commands >= 2


@pytest.mark.parametrize("name", ["language", *PAGES])
def test_links_lead_somewhere(name, repo_root):
    page = (repo_root / "docs" / f"{name}.md").read_text()
    links = re.findall(r"\]\(([\w./-]+)\)", page)
    assert links and [link for link in links if not (repo_root / "docs" / link).exists()] == []
