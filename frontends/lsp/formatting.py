"""Laying a text out as the canonical printer does, without losing what only the writer knows.

Every token and every comment stays: the printer itself would write out inferred types, broadcasts and aliases, and drop
comments.  What the printer printed is not changed.  Line breaks inside an op stay too; such a line is indented further.
"""

from __future__ import annotations

from dlir.frontends.lsp.document import Document, Range
from dlir.frontends.lsp.outline import Outline
from dlir.frontends.lsp.tokens import (
    BLOCK,
    BODY,
    COMMENT,
    NUMBER,
    PUNCTUATION,
    STRING,
    SYMBOL,
    VALUE,
    WORD,
    Token,
    tokens,
)
from dlir.ir.errors import DlirError

_OPENERS = ("(", "[", "{", "<{", "<")
_CLOSERS = (")", "]", "}", "}>")
#: Words whose bracket follows without a blank.
_TIGHT = {"(": ("loc", "callsite"), "[": ("fused", "distinct")}


def formatted(document: Document) -> str:
    """The text in the printer's layout; DlirError if it does not parse."""
    if not document.is_complete:
        raise DlirError("a text with syntax errors is not formatted")
    new = _Layout(document.outline).text()
    if "\r\n" in document.text:
        new = new.replace("\r\n", "\n").replace("\n", "\r\n")
    if _content(new) != _content(document.text):
        raise DlirError("this text cannot be formatted without changing it")
    return ("\ufeff" if document.has_mark else "") + new


def format_edit(document: Document) -> tuple[Range, str] | None:
    """What to replace, by what, to format the text; None if it is formatted."""
    old, new = document.text, formatted(document)
    if document.has_mark:
        new = " " + new[1:]
    if old == new:
        return None
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    start = old.rfind("\n", 0, start) + 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    return (start, len(old) - end), new[start : len(new) - end]


def _content(text: str) -> list[tuple[str, str]]:
    """The tokens of a text, as far as layout must leave them alone."""
    return [(token.kind, _plain(token)) for token in tokens(text)]


def _plain(token: Token) -> str:
    return token.text.rstrip() if token.kind == COMMENT else token.text.replace("\r\n", "\n")


class _Layout:
    def __init__(self, outline: Outline) -> None:
        self.source = outline.text
        self.outline = outline
        self.out: list[str] = []
        #: How many regions are open.
        self.depth = 0
        #: The brackets open in the statement in hand: "(" or what stands in it.
        self.brackets: list[str] = []
        self.previous: Token | None = None
        #: The label of a block has begun, and its colon is not there yet.
        self.in_label = False
        #: The last token was the brace of a region.
        self.after_brace = False
        self.index = 0

    def text(self) -> str:
        """The whole text, laid out."""
        comments = iter(self.outline.comments)
        comment = next(comments, None)
        for index, token in enumerate(self.outline.tokens):
            while comment is not None and comment.start < token.start:
                self._comment(comment, index)
                comment = next(comments, None)
            self.index = index
            self._token(token)
        while comment is not None:
            self._comment(comment, len(self.outline.tokens))
            comment = next(comments, None)
        return "".join(self.out) + "\n" * bool(self.out)

    # ------------------------------------------------------------ lines

    def _breaks(self, token: Token) -> int:
        """The line breaks in the source before a token."""
        return 0 if self.previous is None else self.source.count("\n", self.previous.end, token.start)

    def _line(self, token: Token, indent: int, is_new: bool) -> None:
        """Start a line for `token`; an empty line in front stays, except at the ends of regions."""
        if self.previous is not None:
            is_empty = is_new and self._breaks(token) > 1 and not self._opened() and token.text != "}"
            self.out.append("\n\n" if is_empty else "\n")
        self.out.append("  " * indent)

    def _opened(self) -> bool:
        return self.after_brace and self.previous is not None and self.previous.text == "{"

    def _comment(self, comment: Token, index: int) -> None:
        """A comment in front of token number `index`."""
        if self._breaks(comment) == 0 and self.previous is not None:
            gap = self.source[self.previous.end : comment.start]
            self.out.append(gap or " ")
        else:
            starts = index == len(self.outline.tokens) or self._starts_line(index)
            dedent = index in self.outline.labels
            self._line(comment, self.depth - dedent if starts else self.depth + 2, starts)
        self.out.append(comment.text.rstrip())
        self.previous = comment

    def _starts_line(self, index: int) -> bool:
        outline = self.outline
        closes = index in outline.braces and outline.tokens[index].text == "}"
        return index in outline.statement_starts or index in outline.labels or closes

    def _token(self, token: Token) -> None:
        is_brace = self.index in self.outline.braces
        if is_brace and token.text == "}":
            self.depth -= 1
        if self._starts_line(self.index):
            is_label = self.index in self.outline.labels
            if not is_brace:
                self.brackets, self.in_label = [], is_label
            self._line(token, self.depth - is_label, not is_brace)
        elif self._keeps_break(token, is_brace):
            self._continue(token)
        elif self.previous is not None and self._has_gap(self.previous, token):
            self.out.append(" ")
        self.out.append(token.text)
        self._track(token, is_brace)
        self.previous, self.after_brace = token, is_brace

    def _continue(self, token: Token) -> None:
        self._line(token, self.depth if token.text in (*_CLOSERS, ">") else self.depth + 2, False)

    def _keeps_break(self, token: Token, is_brace: bool) -> bool:
        """Whether a line break inside an op stays in front of `token`."""
        if self.previous is not None and self.previous.kind == COMMENT:
            return True
        at_region = is_brace or self.after_brace or self._before_brace(token)
        return not at_region and self._breaks(token) > 0

    def _before_brace(self, token: Token) -> bool:
        """Whether this is the paren or comma before a region."""
        return token.text in ("(", ",") and self.index + 1 in self.outline.braces

    def _track(self, token: Token, is_brace: bool) -> None:
        """Keep the open brackets."""
        if is_brace:
            self.depth += token.text == "{"
        elif token.text in _OPENERS and token.kind == PUNCTUATION:
            self.brackets.append(self._kind_of(token))
        elif token.text in _CLOSERS and self.brackets:
            self.brackets.pop()

    def _kind_of(self, token: Token) -> str:
        """What an opening bracket holds: "arguments" of a function or block, a "loc", or anything."""
        previous = self.previous
        if token.text == "(" and previous is not None:
            if previous.kind == BLOCK or (previous.kind == SYMBOL and self.index + 1 not in self.outline.braces):
                return "arguments"
        if "loc" in self.brackets[-1:] or (previous is not None and previous.text == "loc"):
            return "loc"
        return token.text

    # ------------------------------------------------------------ blanks

    def _has_gap(self, left: Token, right: Token) -> bool:
        """Whether the printer puts a blank between two tokens of an op."""
        if right.kind == BODY or right.text in (",", "<", *_CLOSERS):
            return False
        if left.text in _OPENERS and left.kind == PUNCTUATION:
            return False
        if ":" in (left.text, right.text):
            return self._colon_gap(left, right)
        if right.text == "(":
            is_regions = self.index + 1 in self.outline.braces
            return not (
                left.kind in (STRING, BLOCK) or left.text in _TIGHT["("] or (left.kind == SYMBOL and not is_regions)
            )
        if right.text == "[":
            after_operands = left.text == ")" and not self.brackets and not self.after_brace
            return not (after_operands or left.text in _TIGHT["["] or (left.kind == BODY and "loc" in self.brackets))
        return True

    def _colon_gap(self, left: Token, right: Token) -> bool:
        inside = self.brackets[-1] if self.brackets else ""
        if inside == "loc":
            return right.text == ":" and left.kind == WORD
        if right.text == ":":
            in_results = left.kind == VALUE and not inside and self._next_is_count()
            is_argument = inside == "arguments" and left.kind == VALUE
            return not (is_argument or in_results or (self.in_label and not inside))
        return not (right.kind == NUMBER and not inside and self._after_result())

    def _next_is_count(self) -> bool:
        """Whether the colon at hand stands between a result and its number."""
        after = self.outline.tokens[self.index + 1 : self.index + 3]
        return len(after) == 2 and after[0].kind == NUMBER and after[1].text in ("=", ",")

    def _after_result(self) -> bool:
        return self.index >= 2 and self.outline.tokens[self.index - 2].kind == VALUE
