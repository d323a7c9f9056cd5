"""What is wrong with a text that does not parse: all its syntax errors, each with what was expected.

The automaton runs once more, without actions; from the first error on it reads the smallest tokens.  At an error it goes on
with the next line that looks like an operation, in the innermost region that can take one, so that one mistake does not
hide or cause others.  A region that the broken operation opens at the end of its line is read as one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from dlir.ir.errors import Diagnostic, Note
from dlir.textir.driver import Driver, driver
from dlir.textir.expected import describe
from dlir.textir.gap import Gap
from dlir.textir.grammar import STAY
from dlir.textir.habits import Spot
from dlir.textir.source import Source

#: More errors than this are not looked for.
MAX_ERRORS = 1000

#: The start of a line that an operation, a block or the end of a region may stand on.
_RESUME = re.compile(
    r'\n[ \t]*(?=%[\w$.#-]+[^\n]*=|"[\w.]+"\s*\(|\^|\}|(?:func|module|return|[a-zA-Z_]\w*\.[\w.]+)(?![\w$]))', re.ASCII
)
#: A string, a comment, or a brace; the last one is at the end of its line.
_BRACE = re.compile(r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"?|//[^\n]*|[{}]')
_AT_LINE_END = re.compile(r"[ \t]*(?://[^\n]*)?(?:\n|$)")
#: What follows the end of a region that a broken operation opened.
_REST = re.compile(r"\}[^\S\n]*$")
_CULPRIT = re.compile(r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"?|->|[%@#!^]?[\w$.-]+|\{-#|#-\}|/[/*]|\S')


class Bracket(NamedTuple):
    """A bracket that is open: its sign, that which closes it, where it stands, and whether a region begins with it."""

    start: str
    end: str
    place: int
    is_region: bool


#: What opens and closes a bracket, by the terminal that opens it.
BRACKETS = {"LBRACE": ("{", "}"), "LPAR": ("(", ")"), "LSQB": ("[", "]"), "LESSTHAN": ("<", ">")}
_CLOSING = ("RBRACE", "RPAR", "RSQB", "CLOSE")
_ENDS = ("}", ")", "]", ">")

#: Tokens that open a region, as those of an operation that could not be read.
OPENING = (("MODULE", "module"), ("LBRACE", "{"))


def syntax_errors(
    source: Source, failed: int, go_on: Callable[[Gap, list[int]], None] | None = None
) -> list[Diagnostic]:
    """The syntax errors of a text, in order, the first of which was noticed at offset `failed`.

    `go_on` is called with each gap that is made in the text, and the states that are left.
    """
    return [found for found in _Recovery(source, failed, go_on).errors() if found is not None]


class _Recovery:
    def __init__(self, source: Source, failed: int, go_on: Callable[[Gap, list[int]], None] | None) -> None:
        self.source = source
        self.go_on = go_on
        self.text = source.text
        self.driver: Driver = driver(short_cuts=False)
        #: The states and rules of both drivers are the same, and up to this offset the text is known to be right.
        self.short_cuts: Driver = driver()
        self.right_until = failed
        self.stack = [self.driver.start["start"]]
        #: Where the first token of each state on the stack stands; ~place if it does not stand in the text.
        self.places = [0]
        self.regions = {row["region_open"] for row in self.driver.gotos if "region_open" in row}
        self.heads = {state for row in self.driver.gotos for name, state in row.items() if name.endswith("_head")}
        #: The terminal by which a state is come to, of those that open or close a bracket.
        self.brackets = {
            state: name
            for row in self.driver.actions
            for name in (*BRACKETS, *_CLOSING)
            if (state := row.get(name, -1)) >= 0
        } | dict.fromkeys(self.regions, "LBRACE")
        #: Where the last token in front of an error ends.
        self.read_until = 0
        #: How many regions are read, or were read last, whose operation has an error.
        self.opened = 0

    def errors(self) -> Iterator[Diagnostic | None]:
        """Each error; None for what only follows from an earlier one."""
        position = 0
        previous = -1
        for _ in range(MAX_ERRORS):
            failed = self._run(position)
            if failed is None:
                return
            is_new = failed != previous and not (previous >= 0 and self._is_left_over(failed))
            yield self._diagnostic(failed) if is_new else None
            position = self._resume_at(failed, again=failed == previous)
            if position < 0:
                return
            previous = failed
        message = f"more than {MAX_ERRORS} syntax errors: what follows is not read"
        yield Diagnostic(message, self.source.location(position))

    def _is_left_over(self, failed: int) -> bool:
        """Whether what stands there ends something that an earlier error kept from being begun."""
        line = self.text[self.text.rfind("\n", 0, failed) + 1 : failed]
        if self.opened and _REST.search(line):
            self.opened -= 1
            return True
        is_outside = not any(state in self.regions for state in self.stack[1:])
        return is_outside and not line.strip() and self.text.startswith("}", failed)

    def _run(self, position: int) -> int | None:
        """Read on from `position`; the offset of the first token that does not fit, or None at the end."""
        table, text, stack, places = self.driver, self.text, self.stack, self.places
        start = position
        while True:
            rule = table.defaults[stack[-1]]
            if rule is None:
                found, names = self._scan(stack[-1], position)
                if found is not None:
                    group = found.lastindex or 0
                    terminal, start, after = names[group], found.start(group), found.end()
                else:
                    start = after = table.blanks(text, position).end()  # type: ignore[union-attr]
                    self.read_until = position
                    if start < len(text):
                        return start
                    if stack[-1] == table.end["start"]:
                        return None
                    terminal = "$END"
                action = table.actions[stack[-1]].get(terminal)
                if action is None:
                    self.read_until = position
                    return start
                if action >= 0:
                    stack.append(action)
                    places.append(start)
                    position = after
                    continue
                rule = ~action
            self._reduce(stack, rule, places)

    def _scan(self, state: int, position: int) -> tuple[re.Match[str] | None, list[str]]:
        """The next token, and the terminals by its groups."""
        if position < self.right_until:
            scan, names = self.short_cuts.scanners[state] or self.short_cuts.scanner(state)
            found = scan(self.text, position)
            if found is not None and found.end() <= self.right_until:
                return found, names
            self.right_until = 0
        scan, names = self.driver.scanners[state] or self.driver.scanner(state)
        return scan(self.text, position), names

    def _reduce(self, stack: list[int], rule: int, places: list[int] | None = None) -> None:
        size, origin, _, _ = self.driver.rules[rule]
        del stack[-size:]
        target = self.driver.gotos[stack[-1]][origin]
        if places is not None:
            del places[len(stack) + (target != STAY) :]
        if target != STAY:
            stack.append(target)

    # ------------------------------------------------------------ what was expected

    def _accepts(self, stack: list[int], terminal: str) -> bool:
        """Whether `terminal` can really come next (the tables of LALR say so a little too often)."""
        # No chain of reductions is longer than what is kept of the stack here.
        is_cut = len(stack) > 64
        stack = list(stack[-64:])
        while True:
            rule = self.driver.defaults[stack[-1]]
            if rule is None:
                action = self.driver.actions[stack[-1]].get(terminal)
                if action is None:
                    return terminal == "$END" and stack[-1] == self.driver.end["start"]
                if action >= 0 or (is_cut and len(stack) < 8):
                    return True
                rule = ~action
            self._reduce(stack, rule)

    def _expected(self) -> set[str]:
        row = self.driver.actions[self.stack[-1]]
        return {
            name for name in row if name in self.driver.terminals or name == "$END" if self._accepts(self.stack, name)
        }

    def _diagnostic(self, offset: int) -> Diagnostic:
        found = _CULPRIT.match(self.text, offset)
        word = found[0] if found else ""
        expected = self._expected()
        notes = []
        start, end = offset, offset + max(len(word), 1)
        if not word:
            opened = next((p for s, p in zip(reversed(self.stack), reversed(self.places)) if s in self.regions), None)
            if opened is not None:
                opened = opened if opened >= 0 else self.text.rfind("{", 0, ~opened)
                notes.append(Note("the region that is not closed starts here", self.source.location(opened)))
        before = self.read_until
        line = self.text[self.text.rfind("\n", 0, before) + 1 : before]
        at_line_end = "\n" in self.text[before:offset] and "OPNAME" not in expected
        if not word or at_line_end:
            # Something is missing at the end, or in front of a new line: point just behind what it should have followed.
            start, end = before, before + 1
        else:
            line = self.text[self.text.rfind("\n", 0, offset) + 1 : offset]
        rest = self.text[offset + len(word) :].partition("\n")[0]
        spot = Spot(expected, word, line[-400:], rest, at_line_end and bool(word))
        bracket = self._innermost_bracket()
        wanted_end = bracket.end if bracket is not None and word in _ENDS and word != bracket.end else None
        message, hint = describe(spot, wanted_end, nothing_open=bracket is None)
        is_wanted = wanted_end is not None and message.endswith(f"expected '{wanted_end}'")
        if bracket is not None and (is_wanted or self._may_be_forgotten(bracket)):
            place = self.source.location(bracket.place)
            notes.append(Note(f"the '{bracket.start}' that is open stands here", place))
        return Diagnostic(message, self.source.location(start, end), notes=notes, hint=hint)

    def _innermost_bracket(self) -> Bracket | None:
        closed = 0
        for state, place in zip(reversed(self.stack), reversed(self.places)):
            name = self.brackets.get(state)
            if name in _CLOSING:
                closed += 1
            elif name is not None and closed:
                closed -= 1
            elif name is not None and place >= 0:
                return Bracket(*BRACKETS[name], place, state in self.regions)
        return None

    def _may_be_forgotten(self, bracket: Bracket) -> bool:
        """Whether a reader may not see any more that this bracket is open: it is of an earlier line."""
        return not bracket.is_region and "\n" in self.text[bracket.place : self.read_until + 1]

    # ------------------------------------------------------------ going on

    def _resume_at(self, failed: int, again: bool) -> int:
        """Where to read on after an error, with the stack made to fit; -1 if nowhere.

        That is the place of the error itself if a line starts there, but not `again`.
        """
        found = _RESUME.search(self.text, failed if again else max(self.text.rfind("\n", 0, failed), 0))
        if found is not None and found.end() < failed:
            found = _RESUME.search(self.text, failed)
        is_whole = "\n" in self.text[self.read_until : failed]
        while found is not None and failed < len(self.text):
            end = found.end()
            wanted = {"}": "RBRACE", "^": "BLOCK_ID"}.get(self.text[end], "RESULTS")
            opens = self._opens(failed, end)
            if opens and wanted == "RBRACE":
                wanted = "RESULTS"
            most = self._outside(failed)
            depth = self._depth(wanted, is_whole, most)
            if depth:
                self._go_on(depth, failed, end, is_closed=most < len(self.stack))
                return end
            if wanted != "RBRACE":
                return -1
            # No region is open for this brace.
            found = _RESUME.search(self.text, end)
        return -1

    def _outside(self, failed: int) -> int:
        """How much of the stack can stay at most: not a region, the brace of which is missing in front of a parenthesis."""
        bracket = self._innermost_bracket()
        is_end = self.text.startswith(")", failed) and self.text[self.read_until - 1 : self.read_until] != "}"
        if bracket is None or not bracket.is_region or not is_end:
            return len(self.stack)
        is_list = self.text[max(bracket.place - 200, 0) : bracket.place].rstrip().endswith(("(", ","))
        return self.places.index(bracket.place) if is_list else len(self.stack)

    def _depth(self, wanted: str, is_whole: bool, most: int) -> int:
        """How much of the stack, `most` at most, can stay if `wanted` comes next; all of it, with the op in hand, if that
        `is_whole`."""
        for depth in range(most, 0, -1):
            row = self.driver.actions[self.stack[depth - 1]]
            is_between = row.get("RESULTS", -1) >= 0
            is_end = is_whole and depth == len(self.stack) and "RESULTS" in row
            if wanted in row and (is_between or is_end) and self._accepts(self.stack[:depth], wanted):
                return depth
        return 0

    def _go_on(self, depth: int, failed: int, end: int, is_closed: bool) -> None:
        """Cut the stack to `depth`, and put what the text up to `end` opens in the place of the rest, unless it `is_closed`."""
        start = self.places[depth] if depth < len(self.stack) else failed
        start = failed if start < 0 else min(start, failed)
        del self.stack[depth:], self.places[depth:]
        regions = sum(state in self.regions for state in self.stack)
        heads = sum(state in self.heads for state in self.stack)
        gap = Gap(depth, start, end, regions, heads, 0 if is_closed else self._opens(start, end))
        kept = list(self.stack)
        self.opened += gap.opens
        for terminal, _ in OPENING * gap.opens:
            self._feed(terminal, ~end)
        if self.go_on is not None:
            self.go_on(gap, kept)

    def _feed(self, terminal: str, place: int) -> None:
        """Read a token that does not stand in the text."""
        while True:
            rule = self.driver.defaults[self.stack[-1]]
            if rule is None:
                action = self.driver.actions[self.stack[-1]][terminal]
                if action >= 0:
                    self.stack.append(action)
                    self.places.append(place)
                    return
                rule = ~action
            self._reduce(self.stack, rule, self.places)

    def _opens(self, start: int, end: int) -> int:
        """How many regions the text in between opens, at the ends of lines, and does not close."""
        opened: list[bool] = []
        closed = 0
        for match in _BRACE.finditer(self.text, start, end):
            if match[0] == "{":
                opened.append(_AT_LINE_END.match(self.text, match.end()) is not None)
            elif match[0] == "}" and opened:
                opened.pop()
            elif match[0] == "}":
                closed += 1
        return max(sum(opened) - closed, 0)
