"""Conversion patterns: how an op that may not stay becomes ops that may."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dlir.ir.core import Value
from dlir.ir.location import UNKNOWN, Location
from dlir.passes.conversion.types import TypeConverter

if TYPE_CHECKING:
    from dlir.passes.conversion.rewriter import ConversionRewriter


@dataclass(frozen=True, slots=True)
class NoMatch:
    """Returned by a pattern that does not take an op, with the reason in words: it stands in the error if nobody does."""

    reason: str


class _Modified:
    def __repr__(self) -> str:
        return "MODIFIED"


#: Returned by a pattern that made the op legal where it stands, between `rewriter.modify(op)` and its return.
MODIFIED: Final = _Modified()

#: What takes the place of an op's results: one value, or a sequence with one for each result, or with several values (or
#: none) where the result's type became several (or none).  Or one of the answers above.
Answer = Value | Sequence[Value | Sequence[Value]] | NoMatch | _Modified | None


@dataclass(frozen=True, slots=True)
class ConversionPattern:
    """A conversion of the ops called `ops` (of all if that is empty).

    ``apply(op, operands, rewriter)`` makes new ops with the builders, which go just before `op` unless it says ``with
    at_end(block)``, and returns what takes the place of its results.  `operands` are the op's operands as they are now,
    converted by `converter` if there is one; with `one_to_n` each of them is a tuple, of the values that it became.  Of
    several patterns the one with the largest `benefit` is tried first.
    """

    name: str
    ops: tuple[str, ...]
    apply: Callable[[Any, Sequence[Any], ConversionRewriter], Answer]
    converter: TypeConverter | None = None
    benefit: int = 1
    location: Location = UNKNOWN
    one_to_n: bool = False


def conversion(
    *ops: str, converter: TypeConverter | None = None, benefit: int = 1, one_to_n: bool = False
) -> Callable[[Callable[[Any, Sequence[Any], ConversionRewriter], Answer]], ConversionPattern]:
    """Make a ConversionPattern of the decorated function, for ops with these names; for all ops if none is given."""

    def made(function: Callable[[Any, Sequence[Any], ConversionRewriter], Answer]) -> ConversionPattern:
        name = function.__name__.replace("_", "-").strip("-")
        return ConversionPattern(name, ops, function, converter, benefit, one_to_n=one_to_n)

    return made
