"""The rewrite driver, and patterns written in Python.

A pattern is a function of one op that returns what replaces the op's results, or None when it does not match:

    @pattern("nd.neg")
    def fold_double_negation(op):
        '''neg(neg(x)) -> x.'''
        inner = defined_by(op.operands[0], "nd.neg")
        return inner.operands[0] if inner else None

Ops that it builds go just before the matched op and take its location.  The docstring is the equation.  Patterns written as
text come from `dlir.passes.patterns`; docs/rules.md holds the laws for both.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dlir.ir.builder import before
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.kernel import FUSE
from dlir.ir.effects import is_removable
from dlir.ir.errors import DlirError, Note
from dlir.ir.location import UNKNOWN, Location


@dataclass(frozen=True)
class Pattern:
    """A rewrite for the ops called `ops`; `apply` returns a value, a sequence of values (one per result) or None.

    Of the patterns for an op the one with the largest `benefit` is tried first.  `depth` is how many ops deep it looks, the
    matched one included; a change that far below lets it be tried again.  `ignores` says what it does not keep, as for rules of
    text.
    """

    name: str
    ops: tuple[str, ...]
    apply: Callable[[Any], Value | Sequence[Value] | None]
    benefit: int = 1
    depth: int = 2
    location: Location = UNKNOWN
    ignores: tuple[str, ...] = ()


def pattern(
    *ops: str, benefit: int = 1, depth: int = 2, ignores: tuple[str, ...] = ()
) -> Callable[[Callable[[Any], Any]], Pattern]:
    """Make a Pattern of the decorated function, for ops with these names."""
    return lambda function: Pattern(function.__name__.replace("_", "-"), ops, function, benefit, depth, ignores=ignores)


def defined_by(value: Value, name: str) -> Any:
    """The op called `name` whose result `value` is, or None."""
    op = value.defining_op
    return op if op is not None and op.name == name else None


def rewrite(
    root: Operation,
    patterns: Iterable[Pattern],
    max_rewrites: int | None = None,
    shuffle: random.Random | None = None,
) -> Counter[str]:
    """Apply `patterns` inside `root` until none matches, and remove what becomes unused.

    Returns how often each fired.  DlirError if that does not end: after `max_rewrites` firings (None: 64 per op), or when an op
    comes from a chain of firings that is longer than the program explains; it names the patterns that go round in circles.
    `shuffle` takes the ops in a random order, for tests.
    """
    return _Rewriting(root, patterns, max_rewrites, shuffle).run()


class _Rewriting:
    def __init__(
        self, root: Operation, patterns: Iterable[Pattern], max_rewrites: int | None, shuffle: random.Random | None
    ) -> None:
        self.by_op: dict[str, list[Pattern]] = {}
        self.depth = 2
        for item in sorted(patterns, key=lambda item: -item.benefit):
            self.depth = max(self.depth, item.depth)
            for name in item.ops:
                self.by_op.setdefault(name, []).append(item)
        self.worklist = _Worklist(root, shuffle)
        size = max(1, len(self.worklist))
        self.budget = 64 * size if max_rewrites is None else max_rewrites
        #: An op made of one that was made ... this many times: no program needs that.
        self.longest_chain = 256 + 2 * size
        self.chains: dict[Operation, int] = {}
        self.fired: Counter[str] = Counter()
        self.rewrites = 0
        #: The effects of ops with regions, as long as nothing is rewritten.
        self.effects: dict[Operation, frozenset[str]] = {}
        self.recent: deque[Pattern] = deque(maxlen=64)

    def run(self) -> Counter[str]:
        while (op := self.worklist.pop()) is not None:
            if op.parent is None:
                continue
            if not op.is_used and is_removable(op, self.effects):
                self._erase(op)
                self.fired["dead"] += 1
                continue
            candidates = self.by_op.get(op.name)
            if candidates:
                self._try(candidates, op)
        return self.fired

    def _try(self, candidates: Sequence[Pattern], op: Operation) -> None:
        """Replace `op` by what the first pattern that matches gives for it."""
        previous = op.previous
        with before(op):
            for item in candidates:
                replacement = item.apply(op)
                if replacement is not None:
                    break
            else:
                return
        values = [replacement] if isinstance(replacement, Value) else list(replacement)
        if [value.type for value in values] != list(op.result_types):
            _refuse(item, op, values)
        self._count(item, op)
        self.worklist.add_users(op, self.depth - 1)
        self.worklist.add_definers(op)
        chain = self.chains.pop(op, 0) + 1
        group = op.attributes.get(FUSE)
        new = op.previous
        while new is not None and new is not previous:
            self.worklist.add(new)
            self.chains[new] = chain
            if group is not None:
                new.attributes.setdefault(FUSE, group)
            new = new.previous
        op.replace_by(values)

    def _erase(self, op: Operation) -> None:
        values = op.operands
        self.worklist.add_definers(op)
        self.chains.pop(op, None)
        op.erase()
        for value in values:
            # Some patterns only take what has one use.
            if value.has_one_use:
                self.worklist.add(value.users[0])

    def _count(self, item: Pattern, op: Operation) -> None:
        self.fired[item.name] += 1
        self.rewrites += 1
        self.effects.clear()
        self.recent.append(item)
        if self.rewrites > self.budget or self.chains.get(op, 0) > self.longest_chain:
            raise self._endless(op)

    def _endless(self, op: Operation) -> DlirError:
        """The error for rewriting that goes round in circles."""
        guilty = list(dict.fromkeys(reversed(self.recent)))[::-1]
        listed = " and ".join(f"'{item.name}'" for item in guilty[:4])
        if len(guilty) == 1:
            what = f"pattern {listed} matches what it makes, and fired {self.fired[guilty[0].name]} times"
        else:
            what = f"patterns {listed} undo each other, and fired {self.rewrites} times in all"
        notes = [
            Note(f"pattern '{item.name}' stands here", item.location) for item in guilty[:4] if item.location != UNKNOWN
        ]
        hint = "every rule must bring an op nearer to one final form"
        return DlirError(f"rewriting does not end: {what}", op.location, notes=notes, hint=hint)


def _refuse(item: Pattern, op: Operation, values: Sequence[Value]) -> None:
    found = ", ".join(str(value.type) for value in values) or "nothing"
    wanted = ", ".join(map(str, op.result_types)) or "nothing"
    notes = [Note("the pattern stands here", item.location)] if item.location != UNKNOWN else []
    message = f"pattern '{item.name}' replaces the {wanted} of '{op.name}' by {found}"
    raise DlirError(message, op.location, notes=notes)


class _Worklist:
    """Ops still to be looked at, each once."""

    def __init__(self, root: Operation, shuffle: random.Random | None) -> None:
        ops = [op for op in root.walk() if op is not root]
        if shuffle is None:
            ops.reverse()
        else:
            shuffle.shuffle(ops)
        self.waiting: dict[Operation, None] = dict.fromkeys(ops)

    def __len__(self) -> int:
        return len(self.waiting)

    def pop(self) -> Operation | None:
        return self.waiting.popitem()[0] if self.waiting else None

    def add(self, op: Operation) -> None:
        self.waiting[op] = None

    def add_users(self, op: Operation, levels: int) -> None:
        """Add the users of `op`, and theirs in turn, so many levels up."""
        found = {op: None}
        for _ in range(levels):
            found = {user: None for below in found for result in below.results for user in result.users}
            self.waiting.update(found)

    def add_definers(self, op: Operation) -> None:
        for value in op.operands:
            definition = value.defining_op
            if definition is not None:
                self.add(definition)
