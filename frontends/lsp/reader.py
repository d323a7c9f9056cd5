"""Reads a text into its outline, whatever is wrong with it.

A statement starts where an op may start; brackets that are open there were forgotten if it stands first on its line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dlir.frontends.lsp import outline
from dlir.frontends.lsp.definitions import Definitions
from dlir.frontends.lsp.names import Resolver
from dlir.frontends.lsp.outline import Key, Outline, Region, Statement, full_name
from dlir.frontends.lsp.tokens import (
    ATTR_ALIAS,
    BLOCK,
    RESOURCES,
    STRING,
    SYMBOL,
    TYPE_ALIAS,
    VALUE,
    WORD,
    Token,
    string_value,
)

_KEYWORDS = ("return", "module", "func", "func.func")
_CLOSES = {")": "(", "]": "[", "}": "{", "}>": "{"}
_OPENS = {"(": "(", "[": "[", "{": "{", "<{": "{"}
_NO_START = ("attributes", "loc")
#: After these something of the same statement must come.
_CONTINUES = (",", ":", "->", "=", "attributes", "private", "public", "nested")
_DOTTED_STRING = re.compile(r'"[\w$]+(?:\.[\w$]+)+"', re.ASCII).fullmatch
#: What follows a word that is the name of an attribute, not of an op.
_AFTER_KEY = ("=", ",", "}", "}>", ":", "<", "(", "]", ")")


def read(text: str) -> Outline:
    """The outline of `text`."""
    reader = _Reader(text)
    reader.run()
    Resolver(reader.outline).resolve()
    return reader.outline


@dataclass(slots=True)
class _Frame:
    """An open bracket, or the body of a region (kind "region"; "regions" is the paren around several)."""

    kind: str
    region: Region | None = None
    #: The dictionary of the op itself, not one inside it.
    is_own: bool = False
    #: The arguments of a function or block: values are defined here.
    defines: bool = False


class _Reader(Definitions):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.frames = [_Frame("region", self.region)]
        #: The entry in hand of the op's dictionary.
        self.key: Key | None = None
        self.previous = Token("", "", 0)

    def run(self) -> None:
        """Read all tokens."""
        while self.index < len(self.tokens):
            token = self.tokens[self.index]
            if self._recovers(token):
                self._close_to_region()
            if self.frames[-1].kind != "region" or not self._starts(token):
                self._part(token)
            self.previous = self.tokens[self.index]
            self.index += 1
        for frame in self.frames:
            if frame.region is not None:
                frame.region.end = len(self.outline.text)
                if frame.region.owner is not None:
                    frame.region.owner.end = self.previous.end

    # ------------------------------------------------------------ where statements start

    def _recovers(self, token: Token) -> bool:
        """Whether a statement certainly starts here, so that the brackets open in this region were forgotten."""
        if self.frames[-1].kind == "region" or not self.is_first_on_line(token):
            return False
        following = self.peek().text
        match token.kind:
            case "value":
                return self.results_ahead() > 0
            case "word":
                return (token.text in _KEYWORDS or "." in token.text) and following not in _AFTER_KEY
            case "string":
                return following == "(" and _DOTTED_STRING(token.text) is not None
            case "block":
                return following in (":", "(")
        return False

    def _starts(self, token: Token) -> bool:
        """Begin a statement or block at `token`, or close the region, if it is the place for it."""
        if token.text == "}":
            self._close_region(token)
            return True
        if token.kind == BLOCK:
            self._label(token)
            return True
        if token.kind == RESOURCES:
            self._begin(token)
            self._end_statement()
            return True
        may_start = self.statement is None or self.previous.text not in _CONTINUES
        if token.kind == VALUE and (may_start or self.is_first_on_line(token)):
            count = self.results_ahead()
            if count:
                self._results(token, count)
                return True
            if self.is_first_on_line(token) and not self._takes_operand():
                self._begin(token)
        if token.kind in (ATTR_ALIAS, TYPE_ALIAS) and self.peek().text == "=":
            statement = self._begin(token)
            statement.name_start = statement.name_end = token.start
            self.outline.aliases.setdefault(token.text, self.defined(self.alias(token)))
            return True
        names_op = self.statement is not None and self.statement.name_start < 0 and self.previous.text == "="
        if token.kind in (WORD, STRING) and (names_op or (may_start and self._is_op_name(token))):
            self._name(token, begins=not names_op)
            return True
        return False

    def _takes_operand(self) -> bool:
        """Whether a value may come next in the statement in hand."""
        statement, previous = self.statement, self.previous
        at_head = statement is not None and (previous.end == statement.name_end or previous.kind == SYMBOL)
        return at_head or previous.text == ","

    def _is_op_name(self, token: Token) -> bool:
        if token.kind == STRING or token.text in _NO_START:
            return token.kind == STRING
        return self.statement is None or "." in token.text or token.text in _KEYWORDS or self.is_first_on_line(token)

    # ------------------------------------------------------------ statements

    def _begin(self, token: Token) -> Statement:
        self._end_statement()
        statement = Statement(self.region, token.start, token.end, name_start=-1)
        self.region.statements.append(statement)
        self.outline.statement_starts[self.index] = statement
        self.statement = statement
        self.key = None
        return statement

    def _end_statement(self) -> None:
        if self.statement is not None:
            self.statement.end = max(self.statement.end, self.previous.end)
            self.statement = None

    def _results(self, token: Token, count: int) -> None:
        """``%a, %b:2 =``"""
        statement = self._begin(token)
        for _ in range(count):
            item = self.tokens[self.index]
            if item.kind == VALUE:
                number = self.peek(2).text if self.peek().text == ":" else "1"
                definition = self.define_value(item, int(number) if number.isdigit() and len(number) < 6 else 1)
                definition.results_start = statement.start
                statement.results.append(definition)
            self.index += 1

    def _name(self, token: Token, begins: bool) -> None:
        statement = self._begin(token) if begins else self.statement
        assert statement is not None
        statement.is_generic = token.kind == STRING
        statement.name = string_value(token.text) if statement.is_generic else full_name(token.text)
        statement.name_start, statement.name_end = token.start, token.end

    # ------------------------------------------------------------ regions and blocks

    def _open_region(self, token: Token) -> None:
        statement = self.statement
        assert statement is not None
        region = Region(statement, token.end)
        statement.regions.append(region)
        if statement.has_own_form:
            self.take_arguments(statement, region)
        self.outline.braces[self.index] = None
        self.frames.append(_Frame("region", region))
        self.region, self.statement = region, None

    def _close_region(self, token: Token) -> None:
        if len(self.frames) == 1:
            return
        self._end_statement()
        closed = self.frames.pop().region
        assert closed is not None and closed.owner is not None
        closed.end = token.start
        self.outline.braces[self.index] = None
        self.region = closed.owner.region
        self.statement = closed.owner
        self.statement.end = token.end
        if self.frames[-1].kind == "region" and self.peek().text != "loc":
            self.statement = None

    def _close_to_region(self) -> None:
        while self.frames[-1].kind != "region":
            self.frames.pop()
        self.key = None

    def _label(self, token: Token) -> None:
        self._end_statement()
        self.outline.labels[self.index] = None
        place = self.occurrence(outline.BLOCK, token.text[1:], token.start, token.end)
        self.region.blocks.setdefault(place.name, self.defined(place))
        if self.peek().text == "(":
            self.index += 1
            self.frames.append(_Frame("(", defines=True))

    # ------------------------------------------------------------ parts of statements

    def _part(self, token: Token) -> None:
        frame = self.frames[-1]
        text = token.text
        if token.kind == VALUE:
            if frame.defines and self.peek().text == ":":
                self.define_argument(token)
            else:
                self.use_value(token)
        elif token.kind == SYMBOL:
            self.symbol(token, is_in_head=frame.kind == "region")
        elif token.kind == BLOCK:
            self.occurrence(outline.BLOCK, text[1:], token.start, token.end)
        elif token.kind in (ATTR_ALIAS, TYPE_ALIAS):
            self.alias(token)
        elif text in _OPENS:
            self._open(token, frame)
        elif text in _CLOSES:
            self._close(token)
        elif frame.is_own:
            self._entry(token)
        if self.key is not None and self.frames[-1].is_own and text not in (",", "="):
            self.key.value_end = token.end
        if self.statement is not None and frame.kind != "regions":
            self.statement.end = max(self.statement.end, token.end)

    def _open(self, token: Token, frame: _Frame) -> None:
        kind = _OPENS[token.text]
        statement = self.statement
        in_head = frame.kind == "region" and statement is not None
        has_own_form = in_head and statement is not None and statement.has_own_form
        if kind == "{" and (frame.kind == "regions" or (has_own_form and self.previous.text != "attributes")):
            self._open_region(token)
        elif in_head and kind == "(" and self.peek().text == "{":
            self.frames.append(_Frame("regions"))
        else:
            defines = has_own_form and kind == "(" and self.previous.kind == SYMBOL
            self.frames.append(_Frame(kind, is_own=in_head and kind == "{", defines=defines))

    def _close(self, token: Token) -> None:
        wanted = _CLOSES[token.text]
        for depth in range(len(self.frames) - 1, 0, -1):
            frame = self.frames[depth]
            if frame.kind == "region":
                break
            if frame.kind == wanted or (frame.kind == "regions" and wanted == "("):
                if frame.is_own:
                    self.key = None
                del self.frames[depth:]
                if frame.kind == "regions" and self.statement is not None:
                    self.statement.end = token.end
                return
        if token.text == "}":
            self._close_to_region()
            self._close_region(token)

    def _entry(self, token: Token) -> None:
        """A token of an op's own dictionary, outside the brackets in it."""
        statement, before = self.statement, self.previous.text
        if statement is not None and before in ("{", "<{", ",") and token.kind in (WORD, STRING):
            name = string_value(token.text) if token.kind == STRING else token.text
            self.key = Key(name, token.start, token.end, token.end)
            statement.keys.append(self.key)
        elif token.text == "=" and self.key is not None:
            self.key.value_end = token.end
        elif before == "=" and self.key is not None and self.key.name == "sym_name" and token.kind == STRING:
            place = self.occurrence(outline.SYMBOL, string_value(token.text), token.start + 1, token.end - 1)
            if statement is not None:
                self.define_symbol(statement, place)
