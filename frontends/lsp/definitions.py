"""The names that a text defines and uses, noted while it is read."""

from __future__ import annotations

from dlir.frontends.lsp import outline
from dlir.frontends.lsp.outline import Definition, Occurrence, Outline, Region, Statement, op_class
from dlir.frontends.lsp.tokens import ATTR_ALIAS, COMMENT, NUMBER, SYMBOL_PART, VALUE, Token, string_value, tokens


class Definitions:
    """The outline that is being made, and where in it the reader is."""

    def __init__(self, text: str) -> None:
        everything = list(tokens(text))
        self.tokens = [token for token in everything if token.kind != COMMENT]
        comments = [token for token in everything if token.kind == COMMENT]
        self.region = Region(None, 0, len(text))
        self.outline = Outline(text, self.tokens, comments, self.region)
        #: The statement in hand; None between statements, and in the label of a block.
        self.statement: Statement | None = None
        self.index = 0

    def peek(self, distance: int = 1) -> Token:
        """The token so far from the one in hand; an empty one behind the end."""
        index = self.index + distance
        return self.tokens[index] if index < len(self.tokens) else Token("", "", len(self.outline.text))

    def is_first_on_line(self, token: Token) -> bool:
        """Whether only blanks stand in front of a token."""
        text = self.outline.text
        return not text[text.rfind("\n", 0, token.start) + 1 : token.start].strip()

    def results_ahead(self) -> int:
        """How many tokens there are up to the "=" behind a list of results that starts here; 0 if there is none."""
        distance = 0
        while self.peek(distance).kind == VALUE:
            distance += 1
            if self.peek(distance).text == ":" and self.peek(distance + 1).kind == NUMBER:
                distance += 2
            if self.peek(distance).text == "=":
                return distance
            if self.peek(distance).text != ",":
                return 0
            distance += 1
        return 0

    # ------------------------------------------------------------ names

    def occurrence(self, kind: str, name: str, start: int, end: int) -> Occurrence:
        """Note a name."""
        found = Occurrence(kind, name, start, end, self.region, self.statement)
        self.outline.occurrences.append(found)
        return found

    def defined(self, place: Occurrence, count: int = 1) -> Definition:
        """Note that a name is defined at `place`."""
        definition = Definition(place, count, place.start)
        definition.occurrences.append(place)
        place.definition = definition
        return definition

    def alias(self, token: Token) -> Occurrence:
        """Note the name of an alias, or of a dialect's own attribute or type."""
        kind = outline.ATTR_ALIAS if token.kind == ATTR_ALIAS else outline.TYPE_ALIAS
        return self.occurrence(kind, token.text[1:], token.start, token.end)

    # ------------------------------------------------------------ values

    def define_value(self, token: Token, count: int = 1) -> Definition:
        """Note the definition of a value in the region in hand."""
        definition = self.defined(self.occurrence(outline.VALUE, token.text[1:], token.start, token.end), count)
        self.region.values.setdefault(definition.name, definition)
        return definition

    def use_value(self, token: Token) -> None:
        """Note the use of a value."""
        name, _, number = token.text[1:].partition("#")
        place = self.occurrence(outline.VALUE, name, token.start, token.end)
        place.number = int(number[:9]) if number else None
        if self.statement is not None:
            self.statement.operands.append(place)

    def define_argument(self, token: Token) -> None:
        """Note an argument of a block, or of a function, whose region is not there yet."""
        if self.statement is None:
            self.define_value(token)
            return
        place = self.occurrence(outline.VALUE, token.text[1:], token.start, token.end)
        self.defined(place)
        self.statement.operands.append(place)

    def take_arguments(self, statement: Statement, region: Region) -> None:
        """Move the arguments in the head of a function to its region."""
        for place in statement.operands:
            if place.definition is not None:
                place.region = region
                region.values.setdefault(place.name, place.definition)
        statement.operands = []

    # ------------------------------------------------------------ symbols

    def symbol(self, token: Token, is_in_head: bool) -> None:
        """Note ``@a`` or ``@a::@b``, which an op that defines a symbol names in its head."""
        outer: Occurrence | None = None
        for match in SYMBOL_PART.finditer(token.text):
            name = match[1] or string_value(match[0][1:])
            place = self.occurrence(outline.SYMBOL, name, token.start + match.start(), token.start + match.end())
            place.outer = outer
            outer = place
        statement = self.statement
        if statement is None or outer is None:
            return
        if is_in_head and _defines_symbol(statement):
            self.define_symbol(statement, outer)
        statement.symbols.append(outer)

    def define_symbol(self, statement: Statement, place: Occurrence) -> None:
        """Note the symbol that an op defines."""
        if statement.symbol is not None:
            return
        definition = self.defined(place)
        definition.is_string = not self.outline.text.startswith("@", place.start)
        statement.symbol = definition
        next(self.region.tables()).symbols.setdefault(place.name, definition)


def _defines_symbol(statement: Statement) -> bool:
    """Whether the next ``@name`` behind an op's name is what it defines."""
    cls = op_class(statement.name)
    specs = cls.schema().symbols if cls is not None and not statement.is_generic else []
    number = len(statement.symbols)
    return number < len(specs) and specs[number].kind == "symbol"
