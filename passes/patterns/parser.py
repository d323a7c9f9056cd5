"""From text to syntax, with lark."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any

import lark
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken, VisitError

from dlir.ir.errors import Diagnostic, DlirError, did_you_mean
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
_KEYWORDS = "pattern benefit match rewrite where ignores is has one use uses or not none".split()


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
        return _Actions(source, start).transform(_parser().parse(source.text[start:end]))
    except VisitError as error:
        raise error.orig_exc from None
    except RecursionError:
        raise DlirError("a rule is nested too deeply", source.location(start)) from None


def _diagnostic(source: Source, start: int, end: int, error: UnexpectedInput) -> Diagnostic:
    if isinstance(error, UnexpectedToken):
        expected, offset = error.accepts or error.expected, error.token.start_pos
    else:
        assert isinstance(error, UnexpectedCharacters)
        expected, offset = error.allowed, error.pos_in_stream
    offset = len(source.text[start:end].rstrip()) if offset is None or error.token_is_end else offset  # type: ignore
    return Diagnostic("", source.location(start + offset))
