"""The parser: a lexer and an LALR automaton in one loop, over the tables of `dlir.textir.grammar`.

Compared with lark's own loop it makes no token objects, skips blanks as part of the next token's match, does not look ahead
in a state that reduces whatever comes, and leaves out reductions without an action.  It only says *where* a text is wrong;
`dlir.textir.syntax` then finds out what.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from operator import itemgetter
from typing import Any

from dlir.textir.build.base import MAX_DEPTH, TooDeep
from dlir.textir.grammar import STAY, default_rule, load_tables


class SyntaxFailure(Exception):
    """The text is not in the language; `offset` is where that was noticed."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


class Driver:
    """The automaton, without the actions; scanners are compiled when a state first needs one.

    Without `short_cuts` it reads the same language in the smallest tokens.
    """

    def __init__(self, tables: dict[str, Any], short_cuts: bool = True) -> None:
        self.start: dict[str, int] = tables["start"]
        self.end: dict[str, int] = tables["end"]
        self.actions: list[dict[str, int]] = tables["actions"]
        self.gotos: list[dict[str, int]] = tables["gotos"]
        self.defaults = [default_rule(row) for row in self.actions]
        self.rules = [(size, origin, action, _picker(size, parts)) for origin, action, size, parts in tables["rules"]]
        left_out = () if short_cuts else tables["short_cuts"]
        self.terminals = {name: regex for name, regex in tables["terminals"] if name not in left_out}
        self._skip: str = tables["skip"]
        self.blanks = re.compile(self._skip, re.ASCII).match
        self._scanners: dict[frozenset[str], tuple[Callable[..., Any], list[str]]] = {}
        self.scanners: list[Any] = [None] * len(self.actions)
        #: Opening brackets, and the states in which one is open.
        self.openers = [name for name, regex in self.terminals.items() if regex in _OPENERS]
        self.open_states = {row[name] for row in self.actions for name in self.openers if name in row}
        self.open_states.update(row["region_open"] for row in self.gotos if "region_open" in row)

    def scanner(self, state: int) -> tuple[Callable[..., Any], list[str]]:
        """The match function of a state's tokens, and the terminal of each of its groups."""
        row = self.actions[state]
        key = frozenset(row)
        found = self._scanners.get(key)
        if found is None:
            terminals = [(name, regex) for name, regex in self.terminals.items() if name in row]
            pattern = self._skip + "(?:" + "|".join(f"({regex})" for _, regex in terminals) + ")"
            match = re.compile(pattern, re.ASCII).match if terminals else re.compile("(?!)").match
            found = self._scanners[key] = (match, ["", *(name for name, _ in terminals)])
        self.scanners[state] = found
        return found


#: Brackets that an op in the innermost region needs, and the module that may be put around a text.
_LEEWAY = 8

_OPENERS = {re.escape(bracket) for bracket in ("(", "[", "{", "<", "<{")}


def _picker(size: int, parts: list[int]) -> Callable[[list[Any]], Any] | None:
    """What takes an action's arguments out of the values of a rule's symbols (and a None at the end of them)."""
    if parts == list(range(size)):
        return None
    if len(parts) < 2:
        first = parts[0] if parts else 0
        last = (first + 1 or None) if parts else 0
        return itemgetter(slice(first, last))
    return itemgetter(*parts)


@cache
def driver(short_cuts: bool = True) -> Driver:
    """The driver, made once."""
    return Driver(load_tables(), short_cuts)


class Parser:
    """A driver with the actions of one text."""

    def __init__(self, text: str, actions: Any, short_cuts: bool = True) -> None:
        self.text = text
        self.driver = driver(short_cuts)
        self.rules = [
            (size, origin, None if action is None else getattr(actions, action), pick)
            for size, origin, action, pick in self.driver.rules
        ]
        self.converters = {
            name: getattr(actions, name) for name in self.driver.terminals if hasattr(type(actions), name)
        }
        self.converters.update(dict.fromkeys(self.driver.openers, self._opened))
        actions.subparse = self.run
        #: The states and the values of the whole text so far, kept when a mistake ends the run.
        self._stack: list[int] = []
        self._values: list[Any] = []
        #: The length of the stack at which its depth is looked at again: one level takes an entry at least.
        self._check_at = MAX_DEPTH

    def parse(self) -> None:
        """Run the actions for the whole text; SyntaxFailure or TooDeep if it cannot be read to the end."""
        if self.driver.blanks(self.text).end() < len(self.text):  # type: ignore[union-attr]
            self.run("start", 0, len(self.text))

    # ------------------------------------------------------------ going on after a mistake

    def cut(self, states: list[int]) -> bool:
        """Forget what was read behind `states`, the first ones on the stack; False if they are others."""
        if self._stack[: len(states)] != states:
            return False
        del self._stack[len(states) :], self._values[len(states) - 1 :]
        return True

    def go_on(self, position: int) -> None:
        """Read the text from `position` on, with what was kept; SyntaxFailure or TooDeep as in `parse`."""
        self.run("start", position, len(self.text), is_resumed=True)

    def feed(self, terminal: str, text: str, place: int) -> None:
        """Read a token that does not stand in the text, in a state that takes it."""
        stack, values = self._stack, self._values
        while True:
            number = self.driver.defaults[stack[-1]]
            if number is None:
                action = self.driver.actions[stack[-1]][terminal]
                if action >= 0:
                    converter = self.converters.get(terminal)
                    values.append((text, place) if converter is None else converter(text, place))
                    stack.append(action)
                    return
                number = ~action
            size, origin, method, pick = self.rules[number]
            arguments: list[Any] = [*values[-size:], None]
            del values[-size:], stack[-size:]
            arguments = arguments[:-1] if pick is None else list(pick(arguments))
            value = arguments[0] if method is None else method(*arguments)
            target = self.driver.gotos[stack[-1]][origin]
            if target != STAY:
                stack.append(target)
                values.append(value)

    def _opened(self, text: str, start: int) -> tuple[str, int]:
        """An opening bracket."""
        length = len(self._stack)
        if length >= self._check_at:
            depth = sum(state in self.driver.open_states for state in self._stack)
            if depth >= MAX_DEPTH + _LEEWAY:
                raise TooDeep(start)
            self._check_at = length + MAX_DEPTH + _LEEWAY - depth
        return text, start

    def run(self, start: str, position: int, end: int, is_resumed: bool = False) -> Any:
        """The value of text[position:end] as a `start`; SyntaxFailure if it is none."""
        table, text, rules = self.driver, self.text, self.rules
        actions, gotos, defaults, scanners = table.actions, table.gotos, table.defaults, table.scanners
        convert = self.converters.get
        final = table.end[start]
        stack: list[int] = self._stack if is_resumed else [table.start[start]]
        values: list[Any] = self._values if is_resumed else []
        state = stack[-1]
        if start == "start":
            self._stack, self._values = stack, values
        push, push_value = stack.append, values.append
        terminal = None
        while True:
            number = defaults[state]
            if number is None:
                if terminal is None:
                    match, names = scanners[state] or table.scanner(state)
                    found = match(text, position, end)
                    if found is None:
                        position = table.blanks(text, position, end).end()  # type: ignore[union-attr]
                        if position < end:
                            raise SyntaxFailure(position)
                        if state == final:
                            return values[-1]
                        terminal = "$END"
                    else:
                        group = found.lastindex
                        terminal = names[group]
                        position = found.end()
                action = actions[state].get(terminal)
                if action is None:
                    raise SyntaxFailure(position)
                if action >= 0:
                    if terminal == "$END":
                        return values[-1]
                    converter = convert(terminal)
                    if converter is None:
                        push_value((found[group], found.start(group)))
                    else:
                        push_value(converter(found[group], found.start(group)))
                    push(action)
                    state = action
                    terminal = None
                    continue
                number = ~action
            size, origin, method, pick = rules[number]
            arguments = values[-size:]
            del values[-size:], stack[-size:]
            if pick is not None:
                arguments.append(None)
                arguments = pick(arguments)
            value = arguments[0] if method is None else method(*arguments)
            state = gotos[stack[-1]][origin]
            if state >= 0:
                push(state)
                push_value(value)
            else:
                state = stack[-1]
            if terminal == "$END" and state == final:
                return values[-1]
