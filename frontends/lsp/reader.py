"""Reads a text into its outline, whatever is wrong with it.

A statement starts where an op may start; brackets that are open there were forgotten if it stands first on its line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dlir.frontends.lsp import outline
from dlir.frontends.lsp.names import Resolver
from dlir.frontends.lsp.outline import Definition, Key, Occurrence, Outline, Region, Statement, full_name, op_class
from dlir.frontends.lsp.tokens import (
    ATTR_ALIAS,
    BLOCK,
    COMMENT,
    NUMBER,
    RESOURCES,
    STRING,
    SYMBOL,
    SYMBOL_PART,
    TYPE_ALIAS,
    VALUE,
    WORD,
    Token,
    string_value,
    tokens,
)

_KEYWORDS = ("return", "module", "func", "func.func")
_CLOSES = {")": "(", "]": "[", "}": "{", "}>": "{"}
_OPENS = {"(": "(", "[": "[", "{": "{", "<{": "{"}
_NO_START = ("attributes", "loc")
#: After these something of the same statement must come.
_CONTINUES = (",", ":", "->", "=", "attributes", "private", "public", "nested")
_DOTTED_STRING = re.compile(r'"[\w$]+(?:\.[\w$]+)+"', re.ASCII).fullmatch
_OWN_REGION = ("func.func", "builtin.module")


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
    #: The statement in hand, when the frame is a region's.
    statement: Statement | None = None
    region: Region | None = None
    #: The dictionary of the op itself, not one inside it.
    is_own: bool = False
    #: The arguments of a function or block: values are defined here.
    defines: bool = False


class _Reader:
    def __init__(self, text: str) -> None:
        everything = list(tokens(text))
        self.tokens = [token for token in everything if token.kind != COMMENT]
        comments = [token for token in everything if token.kind == COMMENT]
        root = Region(None, 0, len(text))
        self.outline = Outline(text, self.tokens, comments, root)
        self.region = root
        self.statement: Statement | None = None
        self.frames = [_Frame("region", region=root)]
        self.key: Key | None = None
        self.index = 0
        self._previous: Token | None = None

    def run(self) -> None:
        """Read all tokens."""
        while self.index < len(self.tokens):
            token = self.tokens[self.index]
            if self._recovers(token):
                self._close_to_region()
            if self.frames[-1].kind != "region" or not self._starts(token):
                self._part(token)
            self.index += 1
            self._previous = self.tokens[self.index - 1]
        self._finish()

    def _finish(self) -> None:
        """Close what is open at the end of the text."""
        for frame in reversed(self.frames):
            if frame.region is not None:
                frame.region.end = len(self.outline.text)
            if frame.statement is not None:
                frame.statement.end = max(frame.statement.end, self._previous.end if self._previous else 0)

    # ------------------------------------------------------------ where statements start

    def _peek(self, distance: int = 1) -> Token:
        index = self.index + distance
        return self.tokens[index] if index < len(self.tokens) else Token("", "", len(self.outline.text))

    def _is_first_on_line(self, token: Token) -> bool:
        text = self.outline.text
        return not text[text.rfind("\n", 0, token.start) + 1 : token.start].strip()

    def _recovers(self, token: Token) -> bool:
        """Whether a statement certainly starts here, so that the brackets open in this region were forgotten."""
        if self.frames[-1].kind == "region" or not self._is_first_on_line(token):
            return False
        following = self._peek().text
        match token.kind:
            case "value":
                return self._results_end() > 0
            case "word":
                is_name = token.text in _KEYWORDS or "." in token.text
                return is_name and following not in ("=", ",", "}", ":", "<", "(", "]", ")", "}>")
            case "string":
                return following == "(" and _DOTTED_STRING(token.text) is not None
            case "block":
                return following in (":", "(")
        return False

    def _results_end(self) -> int:
        """How many tokens there are up to the "=" behind a list of results that starts here; 0 if there is none."""
        distance = 0
        while self._peek(distance).kind == VALUE:
            distance += 1
            if self._peek(distance).text == ":" and self._peek(distance + 1).kind == NUMBER:
                distance += 2
            if self._peek(distance).text == "=":
                return distance
            if self._peek(distance).text != ",":
                return 0
            distance += 1
        return 0

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
        may_start = self.statement is None or self._previous is None or self._previous.text not in _CONTINUES
        if token.kind == VALUE and (may_start or self._is_first_on_line(token)):
            count = self._results_end()
            if count:
                self._results(token, count)
                return True
        if token.kind in (ATTR_ALIAS, TYPE_ALIAS) and self._peek().text == "=":
            self._alias(token)
            return True
        names_op = self.statement is not None and self.statement.name_start < 0 and self._peek(-1).text == "="
        if names_op or (may_start and self._is_op_name(token)):
            if token.kind in (WORD, STRING):
                self._name(token, begins=not names_op)
                return True
        return False

    def _is_op_name(self, token: Token) -> bool:
        if token.kind == STRING:
            return True
        if token.kind != WORD or token.text in _NO_START:
            return False
        return self.statement is None or "." in token.text or token.text in _KEYWORDS or self._is_first_on_line(token)

    # ------------------------------------------------------------ statements

    def _begin(self, token: Token) -> Statement:
        self._end_statement()
        statement = Statement(self.region, token.start, token.end, name_start=-1)
        self.region.statements.append(statement)
        self.outline.statement_starts[self.index] = statement
        self.statement = self.frames[-1].statement = statement
        self.key = None
        return statement

    def _end_statement(self) -> None:
        if self.statement is not None:
            assert self._previous is not None
            self.statement.end = max(self.statement.end, self._previous.end)
            self.statement = self.frames[-1].statement = None

    def _results(self, token: Token, count: int) -> None:
        """``%a, %b:2 =``"""
        statement = self._begin(token)
        for _ in range(count):
            item = self.tokens[self.index]
            if item.kind == VALUE:
                number = self._peek(2).text if self._peek().text == ":" else "1"
                definition = self._define(item, statement, int(number) if len(number) < 6 else 1)
                definition.results_start = statement.start
                statement.results.append(definition)
            self.index += 1

    def _alias(self, token: Token) -> None:
        statement = self._begin(token)
        statement.name_start = statement.name_end = token.start
        kind = outline.ATTR_ALIAS if token.kind == ATTR_ALIAS else outline.TYPE_ALIAS
        place = self._occurrence(kind, token.text[1:], token.start, token.end)
        self.outline.aliases.setdefault(token.text, self._defined(place))
        self.index += 1

    def _name(self, token: Token, begins: bool) -> None:
        statement = self._begin(token) if begins else self.statement
        assert statement is not None
        statement.is_generic = token.kind == STRING
        statement.name = string_value(token.text) if statement.is_generic else full_name(token.text)
        statement.name_start, statement.name_end = token.start, token.end

    def _define(self, token: Token, statement: Statement | None, count: int = 1) -> Definition:
        """The definition of a value, in the region in hand."""
        place = self._occurrence(outline.VALUE, token.text[1:], token.start, token.end, statement)
        definition = self._defined(place, count)
        self.region.values.setdefault(place.name, definition)
        return definition

    def _defined(self, place: Occurrence, count: int = 1) -> Definition:
        definition = Definition(place, count, place.start)
        definition.occurrences.append(place)
        place.definition = definition
        return definition

    def _occurrence(
        self, kind: str, name: str, start: int, end: int, statement: Statement | None = None
    ) -> Occurrence:
        found = Occurrence(kind, name, start, end, self.region, statement or self.statement)
        self.outline.occurrences.append(found)
        return found

    # ------------------------------------------------------------ regions and blocks

    def _open_region(self, token: Token) -> None:
        statement = self.statement
        assert statement is not None
        region = Region(statement, token.end)
        statement.regions.append(region)
        if statement.name in _OWN_REGION and not statement.is_generic:
            # The arguments in the head are those of the region.
            for occurrence in statement.operands:
                if occurrence.definition is not None:
                    occurrence.region = region
                    region.values.setdefault(occurrence.name, occurrence.definition)
            statement.operands = []
        self.outline.braces[self.index] = None
        self.frames.append(_Frame("region", region=region))
        self.region, self.statement = region, None

    def _close_region(self, token: Token) -> None:
        if len(self.frames) == 1:
            return
        self._end_statement()
        closed = self.frames.pop()
        assert closed.region is not None and closed.region.owner is not None
        closed.region.end = token.start
        self.outline.braces[self.index] = None
        self.region = closed.region.owner.region
        self.statement = closed.region.owner
        self.statement.end = token.end
        if self.frames[-1].kind == "region" and self._peek().text != "loc":
            self._previous = token
            self._end_statement()

    def _close_to_region(self) -> None:
        while self.frames[-1].kind != "region":
            self.frames.pop()
        self.key = None

    def _label(self, token: Token) -> None:
        self._end_statement()
        self.outline.labels[self.index] = None
        place = self._occurrence(outline.BLOCK, token.text[1:], token.start, token.end)
        self.region.blocks.setdefault(place.name, self._defined(place))
        if self._peek().text == "(":
            self.index += 1
            self.frames.append(_Frame("(", defines=True))

    # ------------------------------------------------------------ parts of statements

    def _part(self, token: Token) -> None:
        frame = self.frames[-1]
        text = token.text
        if token.kind == VALUE:
            self._value(token, frame)
        elif token.kind == SYMBOL:
            self._symbol(token)
        elif token.kind == BLOCK:
            self._occurrence(outline.BLOCK, text[1:], token.start, token.end)
        elif token.kind in (ATTR_ALIAS, TYPE_ALIAS):
            kind = outline.ATTR_ALIAS if token.kind == ATTR_ALIAS else outline.TYPE_ALIAS
            self._occurrence(kind, text[1:], token.start, token.end)
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

    def _value(self, token: Token, frame: _Frame) -> None:
        if frame.defines and self._peek().text == ":":
            if self.statement is None:
                self._define(token, None)
                return
            # The region of a function comes later; until then its arguments stand among the operands.
            place = self._occurrence(outline.VALUE, token.text[1:], token.start, token.end)
            self._defined(place)
            self.statement.operands.append(place)
            return
        name, _, number = token.text[1:].partition("#")
        place = self._occurrence(outline.VALUE, name, token.start, token.end)
        place.number = int(number[:9]) if number else None
        if self.statement is not None:
            self.statement.operands.append(place)

    def _symbol(self, token: Token) -> None:
        outer: Occurrence | None = None
        for match in SYMBOL_PART.finditer(token.text):
            name = match[1] or string_value(match[0][1:])
            place = self._occurrence(outline.SYMBOL, name, token.start + match.start(), token.start + match.end())
            place.outer = outer
            outer = place
        statement = self.statement
        if statement is None or outer is None:
            return
        if self.frames[-1].kind == "region" and statement.symbol is None and self._defines_symbol(statement):
            self._define_symbol(statement, outer)
        statement.symbols.append(outer)

    def _defines_symbol(self, statement: Statement) -> bool:
        """Whether the next ``@name`` behind the op's name is the one that the op defines."""
        cls = op_class(statement.name)
        specs = cls.schema().symbols if cls is not None and not statement.is_generic else []
        number = len(statement.symbols)
        return number < len(specs) and specs[number].kind == "symbol"

    def _define_symbol(self, statement: Statement, place: Occurrence) -> None:
        definition = self._defined(place)
        definition.is_string = place.kind == outline.SYMBOL and not self.outline.text.startswith("@", place.start)
        statement.symbol = definition
        table = next(self.region.tables())
        table.symbols.setdefault(place.name, definition)

    # ------------------------------------------------------------ brackets and dictionaries

    def _open(self, token: Token, frame: _Frame) -> None:
        kind = _OPENS[token.text]
        statement, previous = self.statement, self._previous
        in_head = frame.kind == "region" and statement is not None
        if frame.kind == "regions" and kind == "{":
            self._open_region(token)
            return
        if in_head and kind == "(" and self._peek().text == "{":
            self.frames.append(_Frame("regions"))
            return
        is_own_form = in_head and statement is not None and statement.name in _OWN_REGION and not statement.is_generic
        if is_own_form and kind == "{" and (previous is None or previous.text != "attributes"):
            self._open_region(token)
            return
        defines = is_own_form and kind == "(" and previous is not None and previous.kind == SYMBOL
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
        statement = self.statement
        before = self._previous.text if self._previous is not None else ""
        if statement is not None and before in ("{", "<{", ",") and token.kind in (WORD, STRING):
            name = string_value(token.text) if token.kind == STRING else token.text
            self.key = Key(name, token.start, token.end, token.end, token.end)
            statement.keys.append(self.key)
        elif token.text == "=" and self.key is not None:
            self.key.value_start = self.key.value_end = token.end
        elif before == "=" and self.key is not None and self.key.name == "sym_name" and token.kind == STRING:
            place = self._occurrence(outline.SYMBOL, string_value(token.text), token.start + 1, token.end - 1)
            if statement is not None and statement.symbol is None:
                self._define_symbol(statement, place)
