"""A catalogue of wrong inputs: what each is told, in full, stands in ``golden/``, to be read as the person who typed it.

``*.dlir`` hold wrong files by theme, each under a line that says what is wrong, with ``expected-error`` comments that
``dlir-opt --split-input-file --verify-diagnostics`` checks.  ``*.toml`` hold texts of odd bytes, and wrong command lines.
After a message was changed on purpose, ``DLIR_UPDATE_GOLDEN=1 pytest tests/mistakes`` writes the golden files again.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from support.cli import run

from dlir.frontends.cli.expected import SEPARATOR

HERE = Path(__file__).parent
THEMES = sorted(path.stem for path in HERE.glob("*.dlir"))
TABLES = sorted(path.stem for path in HERE.glob("*.toml"))


def check(theme: str, entries: list[str]) -> None:
    """Compare what was said with the golden file of a theme, or write that."""
    path = HERE / "golden" / f"{theme}.txt"
    found = "\n".join(entries)
    if os.environ.get("DLIR_UPDATE_GOLDEN"):
        path.write_text(found, encoding="utf-8")
    wanted = path.read_text(encoding="utf-8")
    assert found == wanted, "\n".join(
        difflib.unified_diff(wanted.split("\n"), found.split("\n"), "golden", "now", lineterm="")
    )


def parts(theme: str) -> list[str]:
    return [part.lstrip("\n") for part in SEPARATOR.split((HERE / f"{theme}.dlir").read_text(encoding="utf-8"))]


def cases(table: str) -> list[dict[str, Any]]:
    return tomllib.loads((HERE / f"{table}.toml").read_text(encoding="utf-8"))["case"]


def entry(title: str, code: int, said: str, wanted: int = 1) -> str:
    """A case in a golden file; a traceback or another exit code fails at once."""
    assert "Traceback" not in said and "internal error" not in said, f"{title}:\n{said}"
    assert code == wanted, f"{title}: exit code {code}\n{said}"
    return f"---- {title}\n{said}"


@pytest.mark.parametrize("theme", THEMES)
def test_wrong_files(theme, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entries = []
    for part in parts(theme):
        title = part.split("\n", 1)[0].removeprefix("// ")
        file = Path(f"{theme}.dlir")
        file.write_text(part, encoding="utf-8")
        done = run("dlir-opt", file)
        entries.append(entry(title, done.code, done.err))
        assert done.out == ""
    check(theme, entries)


@pytest.mark.parametrize("theme", THEMES)
def test_the_comments_in_the_files_say_the_same(theme):
    done = run("dlir-opt", HERE / f"{theme}.dlir", "--split-input-file", "--verify-diagnostics")
    assert done.code == 0, done.err


@pytest.mark.parametrize("table", TABLES)
def test_wrong_texts_and_commands(table, tmp_path, monkeypatch):
    entries = []
    for number, case in enumerate(cases(table)):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        for name, content in case.get("files", {}).items():
            write(Path(name), content)
        command, *arguments = case.get("command", ["dlir-opt", "a.dlir"])
        done = run(command, *arguments)
        said = "".join(line for line in done.out.splitlines(keepends=True) if line.startswith("MISMATCH")) + done.err
        # Which passes there are is not what this is about.
        said = re.sub(r"(?<=hint: passes: ).*", "(all of them)", said)
        shown = f"{case['title']}\n$ {command} {' '.join(map(quoted, arguments))}"
        entries.append(entry(shown, done.code, said.replace(f"{folder}/", ""), case.get("code", 1)))
    check(table, entries)


def write(path: Path, content: str | dict[str, Any]) -> None:
    """A file from its text, ``{hex = "..."}``, ``{folder = true}`` or ``{tensors = {name = [dtype, shape...]}}``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        path.write_bytes(content.encode())
    elif "hex" in content:
        path.write_bytes(bytes.fromhex(content["hex"]))
    elif "folder" in content:
        path.mkdir()
    else:
        import numpy as np
        from safetensors.numpy import save_file

        arrays = {name: np.ones(shape, dtype) for name, (dtype, *shape) in content["tensors"].items()}
        if path.suffix == ".npy":
            np.save(path, *arrays.values())
        else:
            save_file(arrays, path)


def quoted(word: str) -> str:
    return word if re.fullmatch(r"[\w./=@%+-]+", word) else f"'{word}'"


def test_the_catalogue_is_large():
    assert sum(len(parts(theme)) for theme in THEMES) + sum(len(cases(table)) for table in TABLES) >= 300
