"""What a rule's text says: one class for each kind of phrase.

Every node knows the offsets of its text, which do not count when nodes are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Node:
    """A phrase: text[start:end] of its file."""

    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


# ---------------------------------------------------------------- terms


@dataclass(frozen=True)
class Variable(Node):
    """``%x``; the name is ``_`` for what may be anything."""

    name: str


@dataclass(frozen=True)
class Number(Node):
    """``1.0``, ``0``, ``-inf``, ``true``, perhaps with a name: ``%zero = 0``.  A constant, or a number in an expression."""

    value: int | float | bool
    name: str | None = None


@dataclass(frozen=True)
class Entry(Node):
    """``axis = -1``."""

    name: str
    value: Expression


@dataclass(frozen=True)
class App(Node):
    """``%names = op(args) {attributes} #result``; several names only for the op that is matched."""

    op: str
    args: tuple[Term, ...]
    attributes: tuple[Entry, ...] = ()
    result: int | None = None
    names: tuple[str, ...] = ()

    def apps(self) -> Iterator[App]:
        """This op and those in its operands, outer before inner."""
        yield self
        for arg in self.args:
            if isinstance(arg, App):
                yield from arg.apps()

    @property
    def depth(self) -> int:
        """How many ops stand in one another."""
        return 1 + max((arg.depth for arg in self.args if isinstance(arg, App)), default=0)


@dataclass(frozen=True)
class Rest(Node):
    """``...``: whatever other operands there are."""


@dataclass(frozen=True)
class Absent(Node):
    """``none``: an optional operand that is not there."""


Term = Variable | Number | App | Rest | Absent


# ---------------------------------------------------------------- expressions


@dataclass(frozen=True)
class Capture(Node):
    """``$p``: the value of an attribute."""

    name: str


@dataclass(frozen=True)
class Anything(Node):
    """``_``: any value of an attribute."""


@dataclass(frozen=True)
class Plain(Node):
    """``"text"`` or ``none``."""

    value: str | None


@dataclass(frozen=True)
class TypeName(Node):
    """``f32`` or ``tensor<4xf32>``."""

    text: str


@dataclass(frozen=True)
class List(Node):
    """``[0, $a]``."""

    items: tuple[Expression, ...]


@dataclass(frozen=True)
class Call(Node):
    """``shape(%x)``."""

    function: str
    args: tuple[Expression, ...]


Expression = Variable | Number | Capture | Anything | Plain | TypeName | List | Call


# ---------------------------------------------------------------- conditions


@dataclass(frozen=True)
class Compare(Node):
    """``rank(%x) == 2``."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Is(Node):
    """``type(%x) is not f16 or bf16``."""

    subject: Expression
    negated: bool
    adjectives: tuple[str, ...]


@dataclass(frozen=True)
class Uses(Node):
    """``%t has one use``."""

    name: str
    count: int


@dataclass(frozen=True)
class Holds(Node):
    """``widens(dtype(%x), $d)``."""

    call: Call


Condition = Compare | Is | Uses | Holds


# ---------------------------------------------------------------- rules


@dataclass(frozen=True)
class Rule(Node):
    """One pattern.  `equation` is the comment above it; `ignores` holds the words of its stance."""

    name: str
    match: App
    rewrite: tuple[Term, ...]
    where: tuple[Condition, ...] = ()
    ignores: tuple[str, ...] = ()
    benefit: int = 1
    equation: str = ""


def children(node: Node) -> Iterator[Node]:
    """The nodes directly inside `node`, in the order of the text."""
    for value in vars(node).values():
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            yield from (item for item in value if isinstance(item, Node))


def walk(node: Node) -> Iterator[Any]:
    """`node` and all inside it, outer before inner."""
    yield node
    for child in children(node):
        yield from walk(child)
