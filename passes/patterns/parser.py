"""From text to syntax, with lark."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

import lark
from lark import Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from dlir.ir.errors import Diagnostic, DlirError, did_you_mean
from dlir.ir.registry import find_op, load_dialect
from dlir.passes.patterns import syntax
from dlir.textir.source import Source

#: Where a rule starts; after a mistake reading goes on with the next one.
_RULE = re.compile(r"^[ \t]*pattern\b", re.MULTILINE)
_COMMENTS = re.compile(r"((?:^[ \t]*//[^\n]*\n)+)\Z", re.MULTILINE)
_WORD = re.compile(r"[%@$]?\w[\w.]*|->|==|\S")

_NAMES = {
    "SYMBOL": "a name such as @my_rule",
    "VALUE": "a value such as %x",
    "CAPTURE": "an attribute's value such as $p",
    "OPNAME": "an op such as nd.add",
    "NAME": "a name",
    "TENSOR": "a type",
    "NUMBER": "a number",
    "SPECIAL": "a number",
    "TRUE": "a number",
    "FALSE": "a number",
    "NONE": "'none'",
    "NOT": "'not'",
    "STRING": "a string",
    "COMPARISON": "a comparison such as '=='",
    "$END": "the end of the text",
    "LBRACE": "'{'",
    "RBRACE": "'}'",
    "LPAR": "'('",
    "RPAR": "')'",
    "LSQB": "'['",
    "RSQB": "']'",
    "COMMA": "','",
    "EQUAL": "'='",
    "HASH": "'#'",
    "UNDERSCORE": "'_'",
    "__ANON_0": "'...'",
}


def grammar() -> str:
    """The text of ``pattern.lark``."""
    return (files("dlir.passes.patterns") / "pattern.lark").read_text("utf-8")


@cache
def _parser() -> Any:
    return lark.Lark(grammar(), parser="lalr", propagate_positions=True, maybe_placeholders=True)


def parse_rules(source: Source) -> tuple[list[syntax.Rule], list[Diagnostic]]:
    """The rules of a text, and the mistakes in those that cannot be read: at most one a rule."""
    try:
        return _read(source, 0, len(source.text)), []
    except UnexpectedInput:
        pass
    rules: list[syntax.Rule] = []
    problems: list[Diagnostic] = []
    starts = [found.start() for found in _RULE.finditer(source.text)]
    for start, end in zip([0, *starts], [*starts, len(source.text)]):
        try:
            rules += _read(source, start, end)
        except UnexpectedInput as error:
            problems.append(_diagnostic(source, start, end, error))
    return rules, problems


def _read(source: Source, start: int, end: int) -> list[syntax.Rule]:
    try:
        return _Actions(source.text, start).transform(_parser().parse(source.text[start:end]))
    except RecursionError:
        raise DlirError("a rule is nested too deeply", source.location(start)) from None


def _diagnostic(source: Source, start: int, end: int, error: UnexpectedInput) -> Diagnostic:
    """What is wrong with text[start:end], in words."""
    if isinstance(error, UnexpectedToken):
        expected = error.interactive_parser.accepts() if error.interactive_parser else error.expected
        at_end = error.token.type == "$END"
        offset = len(source.text[start:end].rstrip()) if at_end else error.token.start_pos
    else:
        assert isinstance(error, UnexpectedCharacters)
        expected, at_end, offset = error.allowed, False, error.pos_in_stream
    offset += start
    found = None if at_end else _WORD.match(source.text, offset)
    word = found[0] if found else ""
    names = list(dict.fromkeys(_NAMES.get(name, f"'{name.lower()}'") for name in sorted(expected)))
    listed = " or ".join(names) if len(names) < 3 else "one of: " + ", ".join(names)
    what = f"'{word}'" if word else "end of the rule"
    hint = _hint(word, expected) or did_you_mean(word, (name.strip("'") for name in names if name.strip("'").isalpha()))
    return Diagnostic(
        f"unexpected {what}, expected {listed}", source.location(offset, offset + len(word or " ")), hint=hint
    )


def _hint(word: str, expected: Iterable[str]) -> str | None:
    """Help for a slip that has a name; `expected` holds terminals."""
    wanted = set(expected)
    if "OPNAME" in wanted and re.fullmatch(r"[a-zA-Z]\w*", word):
        home = next((name for name in ("nd", "nn", "arith") if load_dialect(name) and find_op(f"{name}.{word}")), None)
        return f"did you mean '{home}.{word}'?" if home else f"did you mean '%{word}'?" if "VALUE" in wanted else None
    if word == '"' and "OPNAME" in wanted:
        return "the name of an op stands without quotes"
    if word.startswith("%") and wanted == {"LPAR"}:
        return f"operands stand in parentheses: nd.exp({word})"
    if word in ("->", "=>", "where") and "REWRITE" in wanted:
        return "what takes its place comes next, behind the word 'rewrite'"
    if word in (";", ":"):
        return "no sign stands between the parts of a rule"
    if word in ("module", "builtin.module", "func.func") and "PATTERN" in wanted:
        return "this is a module; a file of rules holds 'pattern @name { ... }'"
    return None


@v_args(meta=True)
class _Actions(Transformer):
    """Builds the nodes of a text that starts at `offset` of its file."""

    def __init__(self, text: str, offset: int) -> None:
        super().__init__()
        self.text = text
        self.offset = offset

    def _span(self, meta: Any) -> dict[str, Any]:
        return {"start": self.offset + meta.start_pos, "end": self.offset + meta.end_pos}

    def start(self, meta: Any, rules: list[Any]) -> list[syntax.Rule]:
        return rules

    def rule(self, meta: Any, parts: list[Any]) -> syntax.Rule:
        name, benefit, match, rewrite, where, ignores = parts
        span = self._span(meta)
        comment = _COMMENTS.search(self.text, 0, span["start"])
        lines = comment[1].splitlines() if comment else []
        equation = "\n".join(line.strip().removeprefix("//").strip() for line in lines)
        return syntax.Rule(
            name[1:], match, rewrite, where or (), ignores or (), 1 if benefit is None else benefit, equation, **span
        )

    def benefit(self, meta: Any, parts: list[Any]) -> Any:
        return _number(parts[0])

    # ------------------------------------------------------------ terms

    def root(self, meta: Any, parts: list[Any]) -> syntax.App:
        names, app = parts
        return replace(app, names=names or ())

    def results(self, meta: Any, parts: list[Any]) -> tuple[str, ...]:
        return tuple(value[1:] for value in parts)

    def variable(self, meta: Any, parts: list[Any]) -> syntax.Variable:
        return syntax.Variable(parts[0][1:], **self._span(meta))

    def bound_app(self, meta: Any, parts: list[Any]) -> syntax.App:
        return replace(parts[1], names=() if parts[0] is None else (parts[0][1:],))

    def bound_number(self, meta: Any, parts: list[Any]) -> syntax.Number:
        return replace(parts[1], name=None if parts[0] is None else parts[0][1:])

    def number(self, meta: Any, parts: list[Any]) -> syntax.Number:
        return syntax.Number(_number(parts[0]), **self._span(meta))

    def app(self, meta: Any, parts: list[Any]) -> syntax.App:
        op, args, attributes, result = parts
        number = None if result is None else _number(result)
        return syntax.App(str(op), args or (), attributes or (), number, **self._span(meta))

    def rest(self, meta: Any, parts: list[Any]) -> syntax.Rest:
        return syntax.Rest(**self._span(meta))

    def absent(self, meta: Any, parts: list[Any]) -> syntax.Absent:
        return syntax.Absent(**self._span(meta))

    def entry(self, meta: Any, parts: list[Any]) -> syntax.Entry:
        return syntax.Entry(str(parts[0]), parts[1], **self._span(meta))

    def _tuple(self, meta: Any, parts: list[Any]) -> tuple[Any, ...]:
        return tuple(parts)

    terms = args = attributes = conditions = stances = _tuple

    # ------------------------------------------------------------ expressions

    def capture(self, meta: Any, parts: list[Any]) -> syntax.Capture:
        return syntax.Capture(parts[0][1:], **self._span(meta))

    def anything(self, meta: Any, parts: list[Any]) -> syntax.Anything:
        return syntax.Anything(**self._span(meta))

    def string(self, meta: Any, parts: list[Any]) -> syntax.Plain:
        return syntax.Plain(parts[0][1:-1], **self._span(meta))

    def nothing(self, meta: Any, parts: list[Any]) -> syntax.Plain:
        return syntax.Plain(None, **self._span(meta))

    def type_name(self, meta: Any, parts: list[Any]) -> syntax.TypeName:
        return syntax.TypeName(str(parts[0]), **self._span(meta))

    def items(self, meta: Any, parts: list[Any]) -> syntax.List:
        return syntax.List(tuple(item for item in parts if item is not None), **self._span(meta))

    def call(self, meta: Any, parts: list[Any]) -> syntax.Call:
        return syntax.Call(str(parts[0]), tuple(item for item in parts[1:] if item is not None), **self._span(meta))

    # ------------------------------------------------------------ conditions

    def compare(self, meta: Any, parts: list[Any]) -> syntax.Compare:
        left, operator, right = parts
        return syntax.Compare(str(operator), left, right, **self._span(meta))

    def is_a(self, meta: Any, parts: list[Any]) -> syntax.Is:
        subject, negation, *adjectives = parts
        return syntax.Is(subject, negation is not None, tuple(map(str, adjectives)), **self._span(meta))

    def one_use(self, meta: Any, parts: list[Any]) -> syntax.Uses:
        return syntax.Uses(parts[0][1:], 1, **self._span(meta))

    def uses(self, meta: Any, parts: list[Any]) -> syntax.Uses:
        return syntax.Uses(parts[0][1:], _number(parts[1]), **self._span(meta))

    def holds(self, meta: Any, parts: list[Any]) -> syntax.Holds:
        return syntax.Holds(parts[0], **self._span(meta))

    def stance(self, meta: Any, parts: list[Any]) -> str:
        return " ".join(parts)


def _number(token: str) -> Any:
    if token in ("true", "false"):
        return token == "true"
    return int(token) if re.fullmatch(r"-?\d+", token) else float(token)
