"""Making the tables of the grammar with lark: ``python -m dlir.textir.make_tables`` writes ``tables.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lark
from lark.lexer import Lexer

from dlir.textir.grammar import SHORT_CUT, STARTS, STAY, default_rule, digest, grammar_text, lark_options


class _NoLexer(Lexer):
    """The driver has its own; with lark's, `strict` would need another package."""

    __future_interface__ = 2

    def __init__(self, conf: Any) -> None:
        pass

    def lex(self, *args: Any) -> Any:
        raise TypeError("tables are made without lexing")


def make_tables(grammar: str) -> dict[str, Any]:
    """Tables as plain data:

    terminals  [name, regex], in the order in which they are tried
    short_cuts the names of the terminals that the language does not need
    skip       the regex of what may stand between tokens
    rules      [origin, action, size, parts]: the parts handed to the action, -1 for one that is absent; the action is
               None for a rule that hands on its only part
    actions    per state, terminal -> state to shift to, or ~rule to reduce
    gotos      per state, rule name -> state, or STAY
    start, end per start rule, the first and the last state
    """
    parser: Any = lark.Lark(grammar, lexer=_NoLexer, strict=True, **lark_options(STARTS))
    table = parser.parser.parser._parse_table
    numbers = {state: number for number, state in enumerate(table.states)}
    rules: dict[Any, int] = {rule: number for number, rule in enumerate(parser.rules)}
    actions: list[dict[str, int]] = []
    gotos: list[dict[str, int]] = []
    names = {terminal.name for terminal in parser.terminals}
    for row in table.states.values():
        actions.append({})
        gotos.append({})
        for symbol, (kind, argument) in row.items():
            if kind.name == "Reduce":
                actions[-1][symbol] = ~rules[argument]
            else:
                (actions if symbol in names or symbol == "$END" else gotos)[-1][symbol] = numbers[argument]
    ordered = sorted(parser.terminals, key=lambda t: (-t.priority, -t.pattern.max_width, -len(t.pattern.value), t.name))
    ignored = "|".join(f"(?>{parser.get_terminal(name).pattern.to_regexp()})" for name in parser.ignore_tokens)
    tables = {
        "digest": digest(grammar),
        "terminals": [[t.name, t.pattern.to_regexp()] for t in ordered if t.name not in parser.ignore_tokens],
        "short_cuts": [found.partition(".")[0] for found in SHORT_CUT.findall(grammar)],
        "skip": f"(?:{ignored})*+",
        "rules": [_rule(rule) for rule in parser.rules],
        "actions": actions,
        "gotos": gotos,
        "start": {name: numbers[state] for name, state in table.start_states.items()},
        "end": {name: numbers[state] for name, state in table.end_states.items()},
    }
    lists = {number for number, rule in enumerate(parser.rules) if rule.expansion[0].name == rule.origin.name}
    _shorten(tables, lists)
    return _renumbered(tables)


def _rule(rule: Any) -> list[Any]:
    """A lark rule as [origin, action, size, parts], with the parts that lark would hand on."""
    parts: list[int] = []
    position = 0
    for is_absent in rule.options.empty_indices or (False,) * len(rule.expansion):
        if is_absent:
            parts.append(-1)
            continue
        symbol = rule.expansion[position]
        if not (symbol.is_term and symbol.filter_out):
            parts.append(position)
        position += 1
    action = rule.alias or rule.origin.name
    if action == "nothing" or (rule.options.expand1 and not rule.alias and len(parts) == 1):
        action = None
    return [rule.origin.name, action, len(rule.expansion), parts]


def _shorten(tables: dict[str, Any], lists: set[int]) -> None:
    """Take out reductions that do nothing but change the state.

    A rule that hands on its only symbol: the state before it can go straight to the one after it.  A list (a rule that
    starts with itself) whose elements are not kept: having read one more, the parser is where it was before.
    """
    defaults = [default_rule(row) for row in tables["actions"]]
    for row, goto in zip(tables["actions"], tables["gotos"], strict=True):
        for edges in (row, goto):
            for symbol, target in list(edges.items()):
                while target >= 0 and (rule := defaults[target]) is not None:
                    origin, action, size, _ = tables["rules"][rule]
                    if action is None and size == 1:
                        target = goto[origin]
                    elif action is None and size == 2 and rule in lists and edges is goto:
                        target = STAY
                    else:
                        break
                edges[symbol] = target


def _renumbered(tables: dict[str, Any]) -> dict[str, Any]:
    """The tables with states numbered in the order in which they are reached, which does not depend on lark's sets."""
    order = {tables["start"][name]: None for name in STARTS}
    for state in (reached := list(order)):
        for edges in (tables["actions"][state], tables["gotos"][state]):
            for _, target in sorted(edges.items()):
                if target >= 0 and target not in order:
                    order[target] = None
                    reached.append(target)
    numbers = {state: number for number, state in enumerate(order)}
    moved = {
        name: [
            {symbol: numbers.get(target, target) for symbol, target in sorted(tables[name][state].items())}
            for state in order
        ]
        for name in ("actions", "gotos")
    }
    ends = {name: {start: numbers[state] for start, state in tables[name].items()} for name in ("start", "end")}
    return {**tables, **moved, **ends}


def main() -> None:
    """Write ``tables.json``."""
    text = json.dumps(make_tables(grammar_text()), separators=(",", ":"), sort_keys=True)
    Path(__file__).with_name("tables.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
