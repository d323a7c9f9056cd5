"""What is being typed at a place: an op's name, an attribute, a type, ..."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass

from dlir.frontends.lsp.document import Document
from dlir.frontends.lsp.outline import Region, Statement, last_before
from dlir.frontends.lsp.tokens import ATTR_ALIAS, BLOCK, STRING, SYMBOL, TYPE_ALIAS, VALUE, WORD, Token

#: What can be typed besides the names that their first character tells (the kinds of tokens of those are kinds here too).
OP, GENERIC_OP, OPERAND, KEY, ATTRIBUTE, TYPE = "op", "generic op", "operand", "key", "attribute", "type"
ELEMENT_TYPE, NOTHING = "element type", "nothing"

_NAMES = (VALUE, SYMBOL, BLOCK, TYPE_ALIAS, ATTR_ALIAS)
_CONTINUES = (",", ":", "->", "=", "attributes")
_OPENS, _CLOSES = ("(", "[", "{", "<{"), (")", "]", "}", "}>")
_IN_SHAPE = re.compile(
    r"\b(?:tensor|memref|vector)<(?:(?:\d+|\?|\*|\[\d+\])x)*([a-z]\w*)?$|\b(?:array|complex)<(\w*)$", re.ASCII
)


@dataclass(slots=True)
class Context:
    """A place: what is typed there, in which statement and region, and the range that a choice replaces."""

    kind: str
    region: Region
    #: The statement in which something is typed; None for one that starts here.
    statement: Statement | None
    start: int
    end: int
    #: What has been typed of it.
    prefix: str
    #: The attribute whose value is typed.
    key: str | None = None


def context_at(document: Document, offset: int) -> Context:
    """What is typed at `offset`."""
    outline = document.outline
    token = outline.token_at(offset - 1) if offset else None
    if token is not None and (token.end < offset or token.kind not in (*_NAMES, WORD, STRING)):
        token = None
    start, end = (offset, offset) if token is None else (token.start, token.end)
    region = outline.region_at(start)
    found = Context(NOTHING, region, last_before(region, start), start, end, document.text[start:offset])
    if outline.in_comment(offset):
        return found
    if token is not None and token.kind in _NAMES:
        found.kind = token.kind
        return found
    shape = _IN_SHAPE.search(document.text, max(document.text.rfind("\n", 0, offset), 0), offset)
    if shape is not None:
        typed = shape[1] or shape[2] or ""
        found.kind, found.prefix, found.start, found.end = ELEMENT_TYPE, typed, offset - len(typed), offset
    else:
        _Place(document, found, token).decide()
    return found


class _Place:
    """A place and the tokens in front of it, from the start of its statement (or of the block's label) on."""

    def __init__(self, document: Document, found: Context, token: Token | None) -> None:
        self.found = found
        self.is_string = token is not None and token.kind == STRING
        statement = found.statement
        self.brackets: list[str] = []
        self.in_label = False
        #: A colon or arrow stands in front: types follow.
        self.has_colon = False
        self.last: Token | None = None
        start = found.region.start if statement is None else statement.start
        if statement is not None and statement.regions and found.start > statement.regions[-1].end:
            start = statement.regions[-1].end
        tokens = document.outline.tokens
        low = bisect_left(tokens, start, key=lambda item: item.start)
        for item in tokens[low : bisect_left(tokens, found.start, key=lambda item: item.start)]:
            self._read(item)
        self.is_new_line = self.last is not None and "\n" in document.text[self.last.end : found.start]

    def _read(self, item: Token) -> None:
        if item.text in _OPENS:
            self.brackets.append(item.text)
        elif item.text in _CLOSES:
            del self.brackets[-1:]
        elif not self.brackets:
            self.in_label = self.in_label or item.kind == BLOCK
            self.has_colon = self.has_colon or item.text in (":", "->")
        self.last = item

    def decide(self) -> None:
        """Set the kind of the context."""
        found, last = self.found, self.last
        statement = found.statement
        if self._starts_statement():
            found.kind = GENERIC_OP if self.is_string else OP
        elif self.brackets and self.brackets[-1] in ("{", "<{"):
            self._in_dictionary()
        elif last is not None and (last.text in (":", "->") or (self.has_colon and last.text in ("(", ","))):
            found.kind = TYPE
        elif statement is not None and not statement.name:
            found.kind = TYPE if last is not None and last.text == "=" else NOTHING
        elif not self.brackets or (len(self.brackets) == 1 and statement is not None and statement.is_generic):
            found.kind = NOTHING if self.has_colon or self.is_string else OPERAND

    def _starts_statement(self) -> bool:
        """Whether the name of an op is typed."""
        statement, last = self.found.statement, self.last
        if self.brackets:
            return False
        if last is None or (self.in_label and last.text == ":"):
            self.found.statement = None
            return True
        if statement is None:
            return False
        if last.text == "=":
            return statement.name_start < 0 or statement.name_start >= self.found.start
        if self.is_new_line and last.text not in _CONTINUES:
            self.found.statement = None
            return True
        return False

    def _in_dictionary(self) -> None:
        found = self.found
        before = "" if self.last is None else self.last.text
        if before in ("{", "<{", ","):
            found.kind = KEY
        elif before == ":":
            found.kind = TYPE
        elif before == "=":
            found.kind = ATTRIBUTE
            keys = [] if found.statement is None else [k for k in found.statement.keys if k.start < found.start]
            found.key = keys[-1].name if keys else None
