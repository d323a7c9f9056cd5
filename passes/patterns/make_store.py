"""Keeping what dlir's own rule files say: ``python -m dlir.passes.patterns.make_store`` writes ``rules.json``."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from dlir.passes.patterns.parser import parse_rules
from dlir.passes.patterns.store import STORE, digest, fields_of, rule_text
from dlir.passes.patterns.syntax import Node
from dlir.textir.source import Source


def stored_text() -> str:
    """What ``rules.json`` should hold."""
    found: dict[str, Any] = {}
    for name in rule_files():
        text = rule_text(name)
        rules, problems = parse_rules(Source(name, text))
        assert not problems, problems
        found[name] = {"digest": digest(text), "rules": [to_data(rule) for rule in rules]}
    return json.dumps(found, separators=(",", ":")) + "\n"


def rule_files() -> list[str]:
    """The names of the files in ``passes/rules``, without their ending."""
    names = (item.name for item in files("dlir.passes.rules").iterdir())
    return sorted(name.removesuffix(".pattern") for name in names if name.endswith(".pattern"))


def to_data(item: Any) -> Any:
    """A node as lists and plain values: its class, then its fields."""
    if isinstance(item, tuple):
        return [to_data(part) for part in item]
    if isinstance(item, Node):
        return [type(item).__name__, *(to_data(getattr(item, field.name)) for field in fields_of(type(item)))]
    return {"float": item.hex()} if isinstance(item, float) else item


def main() -> None:
    """Write ``rules.json``."""
    Path(str(files("dlir.passes.rules") / STORE)).write_text(stored_text(), "utf-8")


if __name__ == "__main__":
    main()
