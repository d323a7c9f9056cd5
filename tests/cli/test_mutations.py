"""Texts that were right, with a few bytes or words changed, through the whole pipeline: one message with a place, or IR."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support.cli import run

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [
    path.read_bytes()
    for folder in ("examples", "tests/golden", "tests/mistakes")
    for path in sorted((ROOT / folder).glob("*.dlir"))
]
TYPES = [
    word.encode()
    for word in "f32 f64 i32 i1 index bf16 ui8 none complex<f32> !d.t tensor<?xf32> memref<4xf32> 4x 0x ?x 9999999999x".split()
]
NUMBERS = [word.encode() for word in '0 -1 99999999999999999999999 1.5 2 true 4096 "a" %x'.split()]
_WORD = re.compile(rb'"[^"\n]*"|[%@^#!]?[\w$.]+|\s+|.')
_TYPE = re.compile(rb"[fiu]+\d+|\d+x\w*|index|bf16")
_NUMBER = re.compile(rb"-?\d+(\.\d+)?")


def flip(text: bytes, rng: random.Random) -> bytes:
    changed = bytearray(text)
    for _ in range(rng.randrange(1, 4)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def on_words(change: Callable[[list[bytes], random.Random], None]) -> Callable[[bytes, random.Random], bytes]:
    def mutate(text: bytes, rng: random.Random) -> bytes:
        words = _WORD.findall(text)
        change(words, rng)
        return b"".join(words)

    return mutate


def delete(words: list[bytes], rng: random.Random) -> None:
    del words[rng.randrange(len(words))]


def repeat(words: list[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(words))
    words.insert(at, words[at])


def swap(words: list[bytes], rng: random.Random) -> None:
    one, other = rng.randrange(len(words)), rng.randrange(len(words))
    words[one], words[other] = words[other], words[one]


def retype(words: list[bytes], rng: random.Random) -> None:
    _replace(words, _TYPE, TYPES, rng)


def renumber(words: list[bytes], rng: random.Random) -> None:
    _replace(words, _NUMBER, NUMBERS, rng)


def _replace(words: list[bytes], kind: re.Pattern[bytes], by: list[bytes], rng: random.Random) -> None:
    places = [at for at, word in enumerate(words) if kind.fullmatch(word)]
    if places:
        words[rng.choice(places)] = rng.choice(by)


def lines(text: bytes, rng: random.Random) -> bytes:
    rows = text.split(b"\n")
    at = rng.randrange(len(rows))
    if rng.random() < 0.5:
        del rows[at]
    else:
        rows.insert(at, rng.choice(rows))
    return b"\n".join(rows)


MUTATIONS = [flip, lines, *map(on_words, (delete, repeat, swap, retype, renumber))]


@pytest.mark.parametrize("seed", range(8))
def test_a_changed_text_is_an_error_with_a_place_or_none(seed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = random.Random(seed)
    for _ in range(15):
        text = rng.choice(TEXTS)
        for _ in range(rng.choice((1, 1, 1, 2))):
            text = rng.choice(MUTATIONS)(text, rng)
        Path("a.dlir").write_bytes(text)
        done = run("dlir-opt", "a.dlir", "-O2", "--max-errors=0")
        assert done.code in (0, 1) and "Traceback" not in done.err, text.decode("utf-8", "replace")
        errors = [line for line in done.err.splitlines() if re.match(r"(\S+:\d+:\d+: )?error: ", line)]
        assert bool(errors) == (done.code == 1)
        assert all(line.startswith(("a.dlir:", "<pipeline>:")) for line in errors), done.err
        # What stands for a wrong type or value is never shown.
        assert "dlir.error" not in done.err
