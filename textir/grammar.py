"""The grammar of the text IR and its LALR tables.

Making the tables with lark takes some 200 ms, so they are kept as data in ``tables.json``, with a digest of the grammar.
After a change of the grammar, ``python -m dlir.textir.make_tables`` writes it anew; until then they are made in memory.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

#: The rules from which a text, or a piece of one, can be parsed.
STARTS = ("start", "full_type", "fn_type", "plain_types", "entries")

#: Stands in the goto table for: back to the same state, without a value (an element of a list that is not kept).
STAY = -1

_HERE = Path(__file__).parent
_FORMAT = "dlir tables 2"
SHORT_CUT = re.compile(r"^(\w+(?:\.\d+)?): .*// ~$", re.MULTILINE)


def grammar_text(short_cuts: bool = True) -> str:
    """The text of ``dlir.lark``; without its short-cuts the language is the same, in small tokens."""
    text = _HERE.joinpath("dlir.lark").read_text("utf-8")
    return text if short_cuts else SHORT_CUT.sub(r"\1: /(?!x)x/", text)


def lark_options(starts: Iterable[str]) -> dict[str, Any]:
    """How every lark parser of the grammar is made."""
    return {"parser": "lalr", "start": list(starts), "maybe_placeholders": True, "g_regex_flags": re.ASCII}


def load_tables() -> dict[str, Any]:
    """The tables for the driver, from ``tables.json`` if it belongs to the grammar."""
    grammar = grammar_text()
    try:
        tables = json.loads(_HERE.joinpath("tables.json").read_text("utf-8"))
        if tables["digest"] == digest(grammar):
            return tables
    except (OSError, ValueError, KeyError):
        pass
    from dlir.textir.make_tables import make_tables

    return make_tables(grammar)


def digest(grammar: str) -> str:
    """What tells tables of this grammar from others."""
    return hashlib.blake2b((_FORMAT + grammar).encode(), digest_size=16).hexdigest()


def default_rule(row: dict[str, int]) -> int | None:
    """The rule that a state reduces whatever comes next, or None."""
    targets = set(row.values())
    only = next(iter(targets), 0)
    return ~only if len(targets) == 1 and only < 0 else None
