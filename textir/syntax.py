"""What is wrong with a text that does not parse: all its syntax errors, each with what was expected.

The automaton runs once more, without actions; from the first error on it reads the smallest tokens.  At an error it goes on
with the next line that looks like an operation, in the innermost region that can take one, so that one mistake does not
hide or cause others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dlir.ir.errors import Diagnostic, Note
from dlir.textir.driver import Driver, driver
from dlir.textir.expected import describe
from dlir.textir.grammar import STAY
from dlir.textir.habits import Spot
from dlir.textir.source import Source

#: More errors than this are not looked for.
MAX_ERRORS = 20

#: The start of a line that an operation, a block or the end of a region may stand on.
_RESUME = re.compile(
    r'\n[ \t]*(?=%[\w$.#-]+[^\n]*=|"[\w.]+"\s*\(|\^|\}|(?:func|module|return|[a-zA-Z_]\w*\.[\w.]+)(?![\w$]))', re.ASCII
)
_CULPRIT = re.compile(r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"?|[%@#!^]?[\w$.-]+|->|\{-#|#-\}|/[/*]|\S')


def syntax_errors(source: Source, failed: int) -> list[Diagnostic]:
    """The syntax errors of a text, in order, the first of which was noticed at offset `failed`."""
    return list(_Recovery(source, failed).errors())


class _Recovery:
    def __init__(self, source: Source, failed: int) -> None:
        self.source = source
        self.text = source.text
        self.driver: Driver = driver(short_cuts=False)
        #: The states and rules of both drivers are the same, and up to this offset the text is known to be right.
        self.short_cuts: Driver = driver()
        self.right_until = failed
        self.stack = [self.driver.start["start"]]
        #: Where the first token of each state on the stack stands.
        self.places = [0]
        self.regions = {row["region_open"] for row in self.driver.gotos if "region_open" in row}

    def errors(self) -> Iterator[Diagnostic]:
        position = 0
        previous = -1
        for _ in range(MAX_ERRORS):
            failed = self._run(position)
            if failed is None:
                return
            if failed != previous and not (previous >= 0 and self._is_left_over(failed)):
                yield self._diagnostic(failed)
            position = self._resume_at(failed, again=failed == previous)
            if position < 0:
                return
            previous = failed

    def _is_left_over(self, failed: int) -> bool:
        """Whether a brace outside of all regions closes what an earlier error kept from being opened."""
        line = self.text[self.text.rfind("\n", 0, failed) + 1 : failed]
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
                    if start < len(text):
                        return start
                    if stack[-1] == table.end["start"]:
                        return None
                    terminal = "$END"
                action = table.actions[stack[-1]].get(terminal)
                if action is None:
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
                notes.append(Note("the region that is not closed starts here", self.source.location(opened)))
        before = len(self.text[:offset].rstrip())
        line = self.text[self.text.rfind("\n", 0, before) + 1 : before]
        at_line_end = "\n" in self.text[before:offset] and "OPNAME" not in expected and "//" not in line
        if not word or at_line_end:
            # Something is missing at the end, or in front of a new line: point just behind what it should have followed.
            start, end = before, before + 1
        else:
            line = self.text[self.text.rfind("\n", 0, offset) + 1 : offset]
        rest = self.text[offset + len(word) :].partition("\n")[0]
        message, hint = describe(Spot(expected, word, line[-400:], rest, at_line_end and bool(word)))
        return Diagnostic(message, self.source.location(start, end), notes=notes, hint=hint)

    # ------------------------------------------------------------ going on

    def _resume_at(self, failed: int, again: bool) -> int:
        """Where to read on after an error, with the stack made to fit; -1 if nowhere.

        That is the place of the error itself if a line starts there, but not `again`.
        """
        found = _RESUME.search(self.text, failed if again else max(self.text.rfind("\n", 0, failed), 0))
        if found is not None and found.end() < failed:
            found = _RESUME.search(self.text, failed)
        while found is not None and failed < len(self.text):
            wanted = {"}": "RBRACE", "^": "BLOCK_ID"}.get(self.text[found.end()], "RESULTS")
            for depth in range(len(self.stack), 0, -1):
                row = self.driver.actions[self.stack[depth - 1]]
                if wanted in row and "RESULTS" in row and self._accepts(self.stack[:depth], wanted):
                    del self.stack[depth:], self.places[depth:]
                    return found.end()
            if wanted != "RBRACE":
                return -1
            # No region is open for this brace.
            found = _RESUME.search(self.text, found.end())
        return -1
