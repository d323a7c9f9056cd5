"""dlir's own rule files, with what they say kept as data.

Reading a rule file takes lark, whose import and grammar cost some 150 ms; so the syntax of the files in ``passes/rules`` is
kept in ``rules.json``, with a digest of each text.  After a change ``python -m dlir.passes.patterns.make_store`` writes it;
until then the text is read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

from dlir.passes.patterns import syntax
from dlir.passes.patterns.load import compile_all, parse_patterns
from dlir.passes.patterns.pattern import TextPattern
from dlir.textir.source import Source

STORE = "rules.json"


def load_rules(name: str) -> tuple[TextPattern, ...]:
    """The rules of ``passes/rules/NAME.pattern``."""
    text = rule_text(name)
    stored = _stored().get(name)
    source = Source(f"dlir/passes/rules/{name}.pattern", text)
    if stored is None or stored["digest"] != digest(text):
        return tuple(parse_patterns(text, source.name))
    return tuple(compile_all([from_data(item) for item in stored["rules"]], source))


def rule_text(name: str) -> str:
    """The text of ``passes/rules/NAME.pattern``."""
    return (files("dlir.passes.rules") / f"{name}.pattern").read_text("utf-8")


@cache
def _stored() -> dict[str, Any]:
    try:
        return json.loads((files("dlir.passes.rules") / STORE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def digest(text: str) -> str:
    """What tells the syntax of this text, in this format, from others."""
    return hashlib.blake2b(("dlir rules 1\n" + text).encode(), digest_size=16).hexdigest()


def from_data(data: Any) -> Any:
    """The node, tuple or plain value that `make_store.to_data` made `data` of."""
    if isinstance(data, dict):
        return float.fromhex(data["float"])
    if not isinstance(data, list):
        return data
    cls = getattr(syntax, data[0]) if data and isinstance(data[0], str) and data[0] in _CLASSES else None
    if cls is None:
        return tuple(map(from_data, data))
    names = [field.name for field in fields_of(cls)]
    return cls(**dict(zip(names, map(from_data, data[1:]), strict=True)))


def fields_of(cls: Any) -> tuple[Any, ...]:
    """The fields of a class of nodes."""
    found = _fields.get(cls)
    if found is None:
        found = _fields[cls] = dataclasses.fields(cls)
    return found


_fields: dict[Any, tuple[Any, ...]] = {}


_CLASSES = {name for name, item in vars(syntax).items() if isinstance(item, type) and issubclass(item, syntax.Node)}
