"""What a conversion must arrive at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dlir.ir.core import Operation

#: Whether an op is legal as it stands; None: nothing is known of it.
Test = Callable[[Operation], bool | None]


@dataclass(frozen=True, slots=True)
class _Rule:
    """True, False, or a test; and the words for why an op is not legal."""

    legal: bool | Test
    why: str

    def holds(self, op: Operation) -> bool | None:
        return self.legal if isinstance(self.legal, bool) else self.legal(op)


@dataclass
class ConversionTarget:
    """Which ops are legal.  What is said of an op goes before what is said of its dialect; the last word counts.

    An op of which nothing is said is *unknown*: a partial conversion tries the patterns on it and lets it stand, a full one
    does not let it stand.
    """

    _ops: dict[str, _Rule] = field(default_factory=dict)
    _dialects: dict[str, _Rule] = field(default_factory=dict)
    _unknown: _Rule | None = None
    _recursive: dict[str, bool | Test] = field(default_factory=dict)

    def add_legal_dialect(self, *names: str) -> None:
        """All ops of these dialects are legal."""
        self._dialects.update((name, _Rule(True, "")) for name in names)

    def add_illegal_dialect(self, *names: str, why: str = "") -> None:
        """No op of these dialects may stay; `why` is what a person is told of one that does."""
        self._dialects.update((name, _Rule(False, why or f"no op of dialect '{name}' may stay")) for name in names)

    def add_dynamically_legal_dialect(self, *names: str, legal: Test, why: str = "") -> None:
        """An op of these dialects is legal if `legal` says so, and unknown if that gives None."""
        for name in names:
            self._dialects[name] = _Rule(legal, why or f"this op of dialect '{name}' is not legal as it stands")

    def add_legal_op(self, *names: str) -> None:
        """The ops with these names are legal."""
        self._ops.update((name, _Rule(True, "")) for name in names)

    def add_illegal_op(self, *names: str, why: str = "") -> None:
        """No op with one of these names may stay."""
        self._ops.update((name, _Rule(False, why or f"no '{name}' may stay")) for name in names)

    def add_dynamically_legal_op(self, *names: str, legal: Test, why: str = "") -> None:
        """An op with one of these names is legal if `legal` says so, and unknown if that gives None."""
        for name in names:
            self._ops[name] = _Rule(legal, why or f"this '{name}' is not legal as it stands")

    def mark_unknown_op_dynamically_legal(self, legal: Test, why: str = "") -> None:
        """An op of which nothing else is said is legal if `legal` says so, and illegal otherwise."""
        self._unknown = _Rule(legal, why or "it is not legal as it stands")

    def mark_op_recursively_legal(self, *names: str, legal: Test | None = None) -> None:
        """Where an op with one of these names is legal, and `legal` does not deny it, so is all that stands in it: nothing
        there is looked at."""
        self._recursive.update((name, legal or True) for name in names)

    def is_legal(self, op: Operation) -> bool | None:
        """Whether `op` is legal; None if it is unknown."""
        rule = self._rule(op)
        return None if rule is None else rule.holds(op)

    def is_recursively_legal(self, op: Operation) -> bool:
        """Whether what stands in `op`, which is legal, is legal with it."""
        found = self._recursive.get(op.name, False)
        return found if isinstance(found, bool) else found(op) is not False

    def why_not(self, op: Operation) -> str:
        """Why an op that is illegal or unknown may not stay."""
        rule = self._rule(op)
        return "nothing says that it is legal" if rule is None or rule.holds(op) is None else rule.why

    def _rule(self, op: Operation) -> _Rule | None:
        return self._ops.get(op.name) or self._dialects.get(op.name.partition(".")[0]) or self._unknown
