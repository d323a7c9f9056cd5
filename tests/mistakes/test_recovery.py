"""One broken line in a right file: what is said is about that line, and every other op is still checked."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from support.cli import run

from dlir.ir.errors import DlirError
from dlir.ir.location import file_location
from dlir.textir import parse

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*(ROOT / "examples").glob("*.dlir"), *(ROOT / "tests" / "golden").glob("*.dlir")])


def wrong_lines(text: str) -> list[int]:
    with pytest.raises(DlirError) as caught:
        parse(text, "a.dlir")
    places = [file_location(diagnostic.location) for diagnostic in caught.value.diagnostics]
    assert None not in places
    return [place.line for place in places if place is not None]


def broken(lines: list[str], number: int, rng: random.Random) -> str:
    """The text with a word in line `number` (from 0) that fits nowhere."""
    words = lines[number].split(" ")
    words.insert(rng.randrange(1, len(words) + 1), "$")
    return "\n".join([*lines[:number], " ".join(words), *lines[number + 1 :]])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("emit", ["as it is", "generic", "lowered"])
def test_nothing_is_said_of_other_lines(path, emit):
    text = path.read_text()
    if emit != "as it is":
        done = run("dlir-opt", path, *(["--emit=generic"] if emit == "generic" else ["-O2"]))
        if done.code:
            pytest.skip("this file does not go through the whole pipeline")
        text = done.out
    lines = text.split("\n")
    rng = random.Random(path.stem)
    numbers = [i for i, line in enumerate(lines) if line.strip() and not line.strip().startswith(("//", "}"))]
    for number in rng.sample(numbers, min(len(numbers), 12)):
        wrong = broken(lines, number, rng)
        assert set(wrong_lines(wrong)) == {number + 1}, wrong.split("\n")[number]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_unknown_op_behind_a_broken_line_is_told_as_well(path):
    lines = path.read_text().split("\n")
    rng = random.Random(path.stem)
    ops = [i for i, line in enumerate(lines) if line.startswith(("  %", "    %")) and " = nd." in line]
    for first, second in zip(ops[:-1:3], ops[1::3], strict=False):
        changed = [*lines]
        changed[second] = changed[second].replace(" = nd.", " = nd.x")
        assert wrong_lines(broken(changed, first, rng)) == [first + 1, second + 1]
