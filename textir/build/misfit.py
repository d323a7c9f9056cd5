"""Where in the text of ``dense<...>`` its mistake stands."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dlir.ir.errors import count

_COMMENT = re.compile(r"//[^\n]*")
_PAIR = re.compile(r"\([^()]*\)")
_TOKEN = re.compile(r"[\[\]]|[^\[\],\s]+")
_TOKEN_OR_COMMA = re.compile(r"[\[\],]|[^\[\],\s]+")


class ElementsError(ValueError):
    """Wrong elements; `span` is where in their text, None for all of it."""

    def __init__(self, message: str, span: tuple[int, int] | None = None) -> None:
        super().__init__(message)
        self.span = span


def _plain(body: str) -> str:
    """`body` with as many characters, without what is between the tokens, and with a pair as one word."""
    body = _COMMENT.sub(lambda match: " " * len(match[0]), body)
    return _PAIR.sub(lambda match: "c" * len(match[0]), body)


def leaf_span(body: str, index: int) -> tuple[int, int] | None:
    """Where element number `index` stands."""
    leaves = (match.span() for match in _TOKEN.finditer(_plain(body)) if match[0] not in "[]")
    return next((span for number, span in enumerate(leaves) if number == index), None)


def misfit(body: str, shape: Sequence[int], type: object) -> ElementsError:
    """What keeps the lists in `body` from having `shape`: a bracket or comma that is missing or too many, the first list of a
    wrong length, or what is nested wrongly."""
    malformed = _malformed(_plain(body))
    if malformed is not None:
        return malformed
    rank = len(shape)
    #: Start and number of items of each open list, outermost first.
    lists: list[list[int]] = []
    for match in _TOKEN.finditer(_plain(body)):
        depth = len(lists)
        if match[0] == "]":
            start, length = lists.pop()
            if length != shape[depth - 1]:
                message = f"{type} takes {_counted(shape, depth - 1)} here, and the list has {length}"
                if rank == 1:
                    given = "1 is given" if length == 1 else f"{length} are given"
                    message = f"{type} has {count(shape[0], 'element')}, and {given}"
                return ElementsError(message, (start, match.end()))
            continue
        if lists:
            lists[-1][1] += 1
        if match[0] != "[" and depth == rank:
            continue
        if depth == rank:
            return ElementsError(f"{type} takes an element here, not a list", match.span())
        if match[0] != "[":
            return ElementsError(f"{type} takes a list of {_counted(shape, depth)} here, not an element", match.span())
        lists.append([match.start(), 0])
    other = next(
        (match for match in _TOKEN.finditer(_plain(body)) if match[0] not in "[]" and match[0][0] != "c"), None
    )
    if other is not None:
        return ElementsError("an element is written (real, imaginary), as the others are", other.span())
    return ElementsError(f"{type} has elements, and none are given")


def _malformed(body: str) -> ElementsError | None:
    """The first bracket or comma that makes `body` no list of lists."""
    opened: list[tuple[int, int]] = []
    previous = ""
    for match in _TOKEN_OR_COMMA.finditer(body):
        token, ends_item = match[0], previous not in ("", "[", ",")
        if token == "]" and not opened:
            return ElementsError("this ']' closes nothing", match.span())
        if token in (",", "]") and not ends_item and not (token == "]" and previous == "["):
            return ElementsError(f"an element is missing before '{token}'", match.span())
        if token not in (",", "]") and ends_item:
            return ElementsError(f"expected ',' before '{token[:40]}'", match.span())
        if token == "[":
            opened.append(match.span())
        elif token == "]":
            opened.pop()
        previous = token
    return ElementsError("this '[' is never closed", opened[-1]) if opened else None


def _counted(shape: Sequence[int], depth: int) -> str:
    return count(shape[depth], "list" if depth + 1 < len(shape) else "element")
