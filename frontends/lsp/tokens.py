"""The tokens of a text, whether it is right or not: every character but blanks is in one.

The parser's own tokens depend on its state, and it has none in a text that is being typed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

COMMENT, STRING, VALUE, BLOCK, SYMBOL = "comment", "string", "value", "block", "symbol"
ATTR_ALIAS, TYPE_ALIAS, NUMBER, WORD, BODY = "attr_alias", "type_alias", "number", "word", "body"
RESOURCES, PUNCTUATION = "resources", "punctuation"


class Token(NamedTuple):
    """One token: its kind, its text and the offset of its first character."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


_STRING = r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+'
_TOKEN = re.compile(
    rf"""
      (?P<comment>    //[^\n]*+)
    | (?P<string>     {_STRING}"?)
    | (?P<value>      %[\w$.-]*+(?:\#\d++)?)
    | (?P<block>      \^[\w$.-]*+)
    | (?P<symbol>     @(?:[A-Za-z_$][\w$.]*+|{_STRING}")?(?:::@(?:[A-Za-z_$][\w$.]*+|{_STRING}")?)*+)
    | (?P<resources>  \{{-\#(?s:.*?)\#-\}})
    | (?P<attr_alias> \#[A-Za-z_][\w$.-]*+)
    | (?P<type_alias> ![A-Za-z_][\w$.-]*+)
    | (?P<number>     [-+]?\d++\.\d*+(?:[eE][-+]?\d++)? | -?0x[0-9a-fA-F]++ | -?\d++)
    | (?P<word>       [A-Za-z_][\w$.]*+)
    | (?P<punctuation>-> | <\{{ | \}}> | [<>=]= | \S)
    """,
    re.ASCII | re.VERBOSE,
)

#: A part of a symbol's path: ``@name`` or ``@"name"``.
SYMBOL_PART = re.compile(rf'@(?:([A-Za-z_$][\w$.]*+)|{_STRING}"|)', re.ASCII)

#: What matters inside angle brackets.  Values never stand there, nor does an op start there.
_IN_BODY = re.compile(
    rf'{_STRING}"|//[^\n]*+|->|[<>=]=|(?P<open><)|(?P<close>>)|(?P<end>%|\n\s*+(?:return|func)\b)', re.ASCII
)


def tokens(text: str) -> Iterator[Token]:
    """The tokens of `text` in order.

    What stands between matching angle brackets (a shape, the elements of a constant, the body of a dialect's own type) is
    one token: blanks may matter in it.
    """
    position = 0
    while (match := _TOKEN.search(text, position)) is not None:
        kind = match.lastgroup
        assert kind is not None
        position = match.end()
        if match[0] == "<":
            end = _body_end(text, position)
            if end > 0:
                kind, position = BODY, end
        yield Token(kind, text[match.start() : position], match.start())


def _body_end(text: str, position: int) -> int:
    """The offset behind the bracket that closes a body; -1 if none does."""
    depth = 1
    for match in _IN_BODY.finditer(text, position):
        if match["open"]:
            depth += 1
        elif match["close"]:
            depth -= 1
            if depth == 0:
                return match.end()
        elif match["end"]:
            break
    return -1


def string_value(text: str) -> str:
    """What a string token stands for, as far as it can be told."""
    from dlir.textir.build.base import unquote

    if len(text) < 2 or not text.endswith('"'):
        return text[1:]
    try:
        return unquote(text)
    except ValueError:
        return text[1:-1]
