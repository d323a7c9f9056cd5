"""What a text is made of: regions of statements, and the names that they define and use."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from dlir.frontends.lsp.tokens import Token
from dlir.ir.errors import DlirError
from dlir.ir.op import Op
from dlir.ir.registry import find_op

#: What names can stand for, and the character in front of each.
VALUE, BLOCK, SYMBOL, ATTR_ALIAS, TYPE_ALIAS = "value", "block", "symbol", "attribute alias", "type alias"
SIGILS = {VALUE: "%", BLOCK: "^", SYMBOL: "@", ATTR_ALIAS: "#", TYPE_ALIAS: "!"}

_SHORT_NAMES = {"module": "builtin.module", "func": "func.func", "return": "func.return"}


@dataclass(eq=False, repr=False, slots=True)
class Occurrence:
    """A name where it stands in the text; `name` is without its sigil, ``r#1`` is an occurrence of ``r``."""

    kind: str
    name: str
    start: int
    end: int
    region: Region
    #: The statement that it is a part of; None for a label and its arguments.
    statement: Statement | None
    #: What defines the name; None if nothing does.
    definition: Definition | None = None
    #: The number of a result, as in ``%r#1``.
    number: int | None = None
    #: The part in front, in a path of symbols such as ``@kernels::@add``.
    outer: Occurrence | None = None


@dataclass(eq=False, repr=False, slots=True)
class Definition:
    """A definition, with all that refers to it (itself first)."""

    place: Occurrence
    #: The number of results that the name stands for.
    count: int = 1
    #: Where the op's result list starts; with the name it tells values apart.
    results_start: int = -1
    #: The name is the value of a ``sym_name`` attribute: it has no sigil.
    is_string: bool = False
    occurrences: list[Occurrence] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.place.name

    @property
    def kind(self) -> str:
        return self.place.kind


@dataclass(slots=True)
class Key:
    """An entry of an op's attribute dictionary; `value_end` is the end of its value, or of a unit's name."""

    name: str
    start: int
    end: int
    value_end: int


@dataclass(eq=False, repr=False, slots=True)
class Statement:
    """An operation (or the definition of an alias, without a name)."""

    region: Region
    start: int
    end: int = 0
    #: The op's full name, and where it is written.
    name: str = ""
    name_start: int = 0
    name_end: int = 0
    is_generic: bool = False
    results: list[Definition] = field(default_factory=list)
    #: Uses of values, in order: the operands.
    operands: list[Occurrence] = field(default_factory=list)
    symbols: list[Occurrence] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    #: The symbol that the op defines.
    symbol: Definition | None = None

    @property
    def has_own_form(self) -> bool:
        """Whether the region follows the head without parentheses: a function or module."""
        return self.name in ("func.func", "builtin.module") and not self.is_generic

    @property
    def head_end(self) -> int:
        """The end of what stands before the regions."""
        return self.regions[0].start if self.regions else self.end


@dataclass(eq=False, repr=False, slots=True)
class Region:
    """A region; `start` and `end` are just inside its braces."""

    owner: Statement | None
    start: int
    end: int = 0
    statements: list[Statement] = field(default_factory=list)
    values: dict[str, Definition] = field(default_factory=dict)
    blocks: dict[str, Definition] = field(default_factory=dict)
    #: What is defined in this region, if it is a symbol table.
    symbols: dict[str, Definition] = field(default_factory=dict)

    @property
    def parent(self) -> Region | None:
        return None if self.owner is None else self.owner.region

    @property
    def is_isolated(self) -> bool:
        return self.owner is None or bool(getattr(op_class(self.owner.name), "is_isolated", False))

    @property
    def is_symbol_table(self) -> bool:
        return self.owner is None or bool(getattr(op_class(self.owner.name), "is_symbol_table", False))

    def visible(self) -> Iterator[Region]:
        """This region and those around it whose values can be used here."""
        region: Region | None = self
        while region is not None:
            yield region
            region = None if region.is_isolated else region.parent

    def tables(self) -> Iterator[Region]:
        """The symbol tables around (or at) this region, innermost first."""
        region: Region | None = self
        while region is not None:
            if region.is_symbol_table:
                yield region
            region = region.parent

    def nested(self) -> Iterator[Region]:
        """The regions inside this one, at any depth."""
        stack = [self]
        while stack:
            inner = [region for statement in stack.pop().statements for region in statement.regions]
            yield from inner
            stack += inner


@dataclass(eq=False, repr=False, slots=True)
class Outline:
    """A text, read as far as it can be."""

    text: str
    #: All tokens but comments.
    tokens: list[Token]
    comments: list[Token]
    root: Region
    #: All names in the order of the text.
    occurrences: list[Occurrence] = field(default_factory=list)
    aliases: dict[str, Definition] = field(default_factory=dict)
    #: Tokens (by number) that start a statement, are the label of a block, or the braces of a region.
    statement_starts: dict[int, Statement] = field(default_factory=dict)
    labels: dict[int, None] = field(default_factory=dict)
    braces: dict[int, None] = field(default_factory=dict)

    def occurrence_at(self, offset: int) -> Occurrence | None:
        """The name at or just before the character at `offset`."""
        index = bisect_right(self.occurrences, offset, key=lambda occurrence: occurrence.start) - 1
        found = self.occurrences[index] if index >= 0 else None
        return found if found is not None and offset <= found.end else None

    def token_at(self, offset: int) -> Token | None:
        """The token at or just before the character at `offset`; not a comment."""
        index = bisect_right(self.tokens, offset, key=lambda token: token.start) - 1
        found = self.tokens[index] if index >= 0 else None
        return found if found is not None and offset <= found.end else None

    def in_comment(self, offset: int) -> bool:
        index = bisect_right(self.comments, offset - 1, key=lambda token: token.start) - 1
        return index >= 0 and self.comments[index].start < offset <= self.comments[index].end

    def region_at(self, offset: int) -> Region:
        """The innermost region around `offset`."""
        region = self.root
        while True:
            statement = last_before(region, offset)
            inner = [] if statement is None else [r for r in statement.regions if r.start <= offset <= r.end]
            if not inner:
                return region
            region = inner[0]

    def statement_at(self, offset: int) -> Statement | None:
        """The innermost statement whose text covers `offset`."""
        statement = last_before(self.region_at(offset), offset)
        if statement is not None and offset <= statement.end:
            return statement
        return self.region_at(offset).owner


def last_before(region: Region, offset: int) -> Statement | None:
    """The last statement of a region that starts at or before `offset`."""
    index = bisect_right(region.statements, offset, key=lambda statement: statement.start) - 1
    return region.statements[index] if index >= 0 else None


def op_class(name: str) -> type[Op] | None:
    """The class of the op with this full name; None if it is not registered."""
    try:
        return find_op(name)
    except DlirError:  # a plugin that cannot be imported; reading the text reports it
        return None


def full_name(word: str) -> str:
    """``func.func`` for ``func``, and so on."""
    return _SHORT_NAMES.get(word, word)
