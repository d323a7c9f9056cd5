"""dlir's own rule files, with what they say kept as data.

Reading a rule file takes lark, whose import and grammar cost some 150 ms; so the syntax of the files in ``passes/rules`` is
kept in ``rules.json``, with a digest of each text.  After a change ``python -m dlir.passes.patterns.store`` writes it anew;
until then the text is read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from dlir.passes.patterns import syntax
from dlir.passes.patterns.load import compile_all, parse_patterns
from dlir.passes.patterns.pattern import TextPattern
from dlir.textir.source import Source

_FILE = "rules.json"


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
        return json.loads((files("dlir.passes.rules") / _FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def digest(text: str) -> str:
    """What tells the syntax of this text, in this format, from others."""
    return hashlib.blake2b(("dlir rules 1\n" + text).encode(), digest_size=16).hexdigest()


def to_data(item: Any) -> Any:
    """A node as lists and plain values: its class, then its fields."""
    if isinstance(item, tuple):
        return [to_data(part) for part in item]
    if isinstance(item, syntax.Node):
        return [type(item).__name__, *(to_data(getattr(item, field.name)) for field in _fields(type(item)))]
    return {"float": item.hex()} if isinstance(item, float) else item


def from_data(data: Any) -> Any:
    """The node, tuple or plain value that `to_data` made `data` of."""
    if isinstance(data, dict):
        return float.fromhex(data["float"])
    if not isinstance(data, list):
        return data
    cls = getattr(syntax, data[0]) if data and isinstance(data[0], str) and data[0] in _CLASSES else None
    if cls is None:
        return tuple(map(from_data, data))
    names = [field.name for field in _fields(cls)]
    return cls(**dict(zip(names, map(from_data, data[1:]), strict=True)))


@cache
def _fields(cls: Any) -> tuple[Any, ...]:
    return dataclasses.fields(cls)


_CLASSES = {name for name, item in vars(syntax).items() if isinstance(item, type) and issubclass(item, syntax.Node)}


def stored_text() -> str:
    """What ``rules.json`` should hold."""
    from dlir.passes.patterns.parser import parse_rules

    found: dict[str, Any] = {}
    folder = files("dlir.passes.rules")
    for name in sorted(item.name.removesuffix(".pattern") for item in folder.iterdir() if item.name.endswith(".pattern")):
        text = rule_text(name)
        rules, problems = parse_rules(Source(name, text))
        assert not problems, problems
        found[name] = {"digest": digest(text), "rules": [to_data(rule) for rule in rules]}
    return json.dumps(found, separators=(",", ":")) + "\n"


def main() -> None:
    """Write ``rules.json``."""
    Path(str(files("dlir.passes.rules") / _FILE)).write_text(stored_text(), "utf-8")


if __name__ == "__main__":
    main()
