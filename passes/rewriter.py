"""The rewrite driver, for patterns written in Python.

A pattern is a function of one op that returns what replaces the op's results, or None when it does not match:

    @pattern("nd.neg")
    def fold_double_negation(op):
        '''neg(neg(x)) -> x.'''
        inner = defined_by(op.operands[0], "nd.neg")
        return inner.operands[0] if inner else None

Ops that it builds go just before the matched op and take its location.  The docstring is the equation.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dlir.ir.builder import before
from dlir.ir.core import Operation, Value
from dlir.ir.effects import is_removable
from dlir.ir.errors import DlirError


@dataclass(frozen=True, slots=True)
class Pattern:
    """A rewrite for the ops called `ops`; `apply` returns a value, a sequence of values (one per result) or None."""

    name: str
    ops: tuple[str, ...]
    apply: Callable[[Any], Value | Sequence[Value] | None]


def pattern(*ops: str) -> Callable[[Callable[[Any], Any]], Pattern]:
    """Make a Pattern of the decorated function, for ops with these names."""
    return lambda function: Pattern(function.__name__.replace("_", "-"), ops, function)


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

    Returns how often each fired.  More than `max_rewrites` firings (None: 64 per op) are a DlirError that names the pattern
    which fired most: it undoes another one or itself.  `shuffle` takes the ops in a random order, for tests.
    """
    by_op: dict[str, list[Pattern]] = {}
    for item in patterns:
        for name in item.ops:
            by_op.setdefault(name, []).append(item)
    worklist = _Worklist(root, shuffle)
    budget = 64 * max(1, len(worklist)) if max_rewrites is None else max_rewrites
    fired: Counter[str] = Counter()
    while (op := worklist.pop()) is not None:
        if op.parent is None:
            continue
        if not op.is_used and is_removable(op):
            worklist.add_definers(op)
            op.erase()
            fired["dead"] += 1
            continue
        for item in by_op.get(op.name, ()):
            if _fire(item, op, worklist):
                fired[item.name] += 1
                if sum(fired.values()) - fired["dead"] > budget:
                    guilty = max((n for n in fired if n != "dead"), key=lambda n: fired[n])
                    raise DlirError(f"rewriting does not end: pattern '{guilty}' fired {fired[guilty]} times")
                break
    return fired


def _fire(item: Pattern, op: Operation, worklist: _Worklist) -> bool:
    previous = op.previous
    with before(op):
        replacement = item.apply(op)
    if replacement is None:
        return False
    values = [replacement] if isinstance(replacement, Value) else list(replacement)
    worklist.add_users(op)
    worklist.add_definers(op)
    new = op.previous
    while new is not None and new is not previous:
        worklist.add(new)
        new = new.previous
    op.replace_by(values)
    return True


class _Worklist:
    """Ops still to be looked at, each once."""

    def __init__(self, root: Operation, shuffle: random.Random | None) -> None:
        ops = [op for op in root.walk() if op is not root]
        self.shuffle = shuffle
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

    def add_users(self, op: Operation) -> None:
        for result in op.results:
            for user in result.users:
                self.add(user)

    def add_definers(self, op: Operation) -> None:
        for value in op.operands:
            definition = value.defining_op
            if definition is not None:
                self.add(definition)
