"""The Pygments lexer and the TextMate grammar colour what the texts hold.

The outline that the language server reads, which is checked against the parser, says what stands where.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from support.editor import FILES, ROOT
from support.random_text import RandomText

from dlir.frontends.lsp.outline import Outline
from dlir.frontends.lsp.reader import read
from dlir.frontends.lsp.tokens import STRING, VALUE
from dlir.ir.registry import DIALECTS, dialect_ops
from dlir.textir import parse, to_text

VSCODE = ROOT / "frontends" / "editors" / "vscode"
TYPES = "tensor memref vector complex tuple index none i1 si8 ui32 i64 f16 bf16 tf32 f32 f64 f8E4M3FN".split()

#: A place and what colours it.
Span = tuple[int, int, str]


def texts() -> Iterator[str]:
    for path in FILES:
        yield path.read_text()
        yield to_text(parse(path.read_text()), generic=True)
    for seed in range(10):
        module = parse(RandomText(seed).module())
        yield from (to_text(module, locations=True), to_text(module, generic=True))


# ---------------------------------------------------------------- Pygments


def pygments_spans(text: str) -> list[Span]:
    """The tokens of Pygments, by their types' names."""
    pytest.importorskip("pygments")
    from dlir.frontends.editors.pygments_lexer import DlirLexer

    found = list(DlirLexer().get_tokens_unprocessed(text))
    return [(start, start + len(part), str(kind).removeprefix("Token.")) for start, kind, part in found]


def test_pygments_finds_the_lexer():
    pytest.importorskip("pygments")
    from importlib.metadata import entry_points

    from pygments.lexers import get_lexer_by_name, get_lexer_for_filename, get_lexer_for_mimetype

    if not any(point.name == "dlir" for point in entry_points(group="pygments.lexers")):
        pytest.skip("dlir is not installed, so nobody can find its lexer")
    for lexer in (get_lexer_by_name("dlir"), get_lexer_for_filename("a.dlir"), get_lexer_for_mimetype("text/x-dlir")):
        assert lexer.name == "dlir"


def test_nothing_in_a_text_is_an_error_to_pygments():
    for text in (*texts(), *(RandomText(seed).module() for seed in range(10))):
        spans = pygments_spans(text)
        assert not [text[start:end] for start, end, kind in spans if kind == "Error"]
        assert "".join(text[start:end] for start, end, _ in spans) == text


def test_what_is_no_text_is_an_error_to_pygments():
    assert [kind for _, _, kind in pygments_spans("nd.add é")][-1] == "Error"


# ---------------------------------------------------------------- TextMate


class Grammar:
    """As much of TextMate as ours needs: matches with captures, and begin/end pairs that do not nest."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.rules = list(self._flat(data["patterns"]))

    def _flat(self, patterns: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for rule in patterns:
            if "include" in rule:
                found = self.data["repository"][rule["include"].removeprefix("#")]
                yield from self._flat(
                    found.get("patterns", []) if "begin" not in found and "match" not in found else [found]
                )
            else:
                yield rule

    def spans(self, text: str) -> list[Span]:
        """What is coloured, line by line."""
        found: list[Span] = []
        offset = 0
        for line in text.split("\n"):
            found += [(offset + start, offset + end, name) for start, end, name in self._line(line)]
            offset += len(line) + 1
        return found

    def _line(self, line: str) -> Iterator[Span]:
        position = 0
        while position <= len(line):
            matches = [
                (re.compile(r.get("match") or r["begin"], re.ASCII).search(line, position), r) for r in self.rules
            ]
            first = min((m.start() for m, _ in matches if m is not None), default=None)
            if first is None:
                return
            match, rule = next((m, r) for m, r in matches if m is not None and m.start() == first)
            end = match.end()
            if "begin" in rule:
                end = self._end(line, end, rule)
            if "name" in rule:
                yield match.start(), end, rule["name"]
            for number, capture in rule.get("captures", {}).items():
                yield match.start(int(number)), match.end(int(number)), capture["name"]
            position = max(end, position + 1)

    def _end(self, line: str, position: int, rule: dict[str, Any]) -> int:
        """The end of what a begin/end pair holds, which its own patterns may step over."""
        while True:
            end = re.compile(rule["end"]).search(line, position)
            inner = [re.compile(pattern["match"]).search(line, position) for pattern in rule.get("patterns", [])]
            nearest = min((m for m in inner if m is not None), key=lambda m: m.start(), default=None)
            assert end is not None
            if nearest is None or nearest.start() >= end.start():
                return end.end()
            position = nearest.end()


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return Grammar(json.loads((VSCODE / "syntaxes" / "dlir.tmLanguage.json").read_text()))


def test_every_rule_of_the_grammar_is_used(grammar):
    used = re.findall(r'"include": "#([\w-]+)"', (VSCODE / "syntaxes" / "dlir.tmLanguage.json").read_text())
    assert sorted(used) == sorted(grammar.data["repository"])


def test_the_extension_names_files_that_are_there():
    package = json.loads((VSCODE / "package.json").read_text())
    contributed = package["contributes"]
    (language,), (syntax,) = contributed["languages"], contributed["grammars"]
    for path in (package["main"], language["configuration"], syntax["path"]):
        assert (VSCODE / path).is_file()
    assert syntax["scopeName"] == "source.dlir" and language["extensions"] == [".dlir"]
    json.loads((VSCODE / "language-configuration.json").read_text())
    for name in re.findall(r'settings\.get\("(\w+)"\)', (VSCODE / "extension.js").read_text()):
        assert f"dlir.server.{name}" in contributed["configuration"]["properties"]


# ---------------------------------------------------------------- both


def wanted(outline: Outline) -> Iterator[tuple[int, int, str]]:
    """Places and what stands there."""
    for statement in outline.statement_starts.values():
        word = outline.text[statement.name_start : statement.name_end]
        if word.strip('"') not in ("", "module", "func.func", "func", "return", "builtin.module"):
            yield statement.name_start, statement.name_end, "op"
        elif word:
            yield statement.name_start, statement.name_end, "op" if word.startswith('"') else "keyword"
        yield from ((key.start, key.end, "key") for key in statement.keys if outline.text[key.start] != '"')
    for token in outline.tokens:
        if token.kind == VALUE:
            yield token.start, token.end, "value"
        elif token.kind == STRING and not re.match(r"\s*+\(", outline.text[token.end :]):
            yield token.start, token.end, "string"
    yield from ((token.start, token.end, "comment") for token in outline.comments)


#: What stands somewhere -> how a highlighter's name for it starts.
PYGMENTS = {
    "op": ("Name.Builtin", "Name.Namespace", "Punctuation"),
    "keyword": ("Keyword",),
    "key": ("Name.Attribute", "Name", "Keyword"),
    "value": ("Name.Variable",),
    "string": ("Literal.String",),
    "comment": ("Comment",),
}
TEXTMATE = {
    "op": ("support.function.op.",),
    "keyword": ("keyword.control.",),
    "key": ("entity.other.attribute-name.", "keyword.", "storage.", "constant.language", "nothing"),
    "value": ("variable.other.",),
    "string": ("string.quoted.",),
    "comment": ("comment.line.",),
}


def colours(spans: list[Span], length: int) -> list[str]:
    """What each character is coloured as."""
    found = ["nothing"] * length
    for start, end, name in spans:
        found[start:end] = [name] * (end - start)
    return found


@pytest.mark.parametrize("name", ["pygments", "textmate"])
def test_ops_keys_values_strings_and_comments_are_told_apart(name, grammar):
    expected = PYGMENTS if name == "pygments" else TEXTMATE
    count = 0
    for text in texts():
        found = colours(pygments_spans(text) if name == "pygments" else grammar.spans(text), len(text))
        for start, end, kind in wanted(read(text)):
            assert all(colour.startswith(expected[kind]) for colour in found[start:end]), (
                text[start:end],
                kind,
                found[start:end],
            )
            count += 1
    assert count > 1000


@pytest.mark.parametrize("name", ["pygments", "textmate"])
def test_every_op_and_type_is_known(name, grammar):
    words = {op: "op" for dialect in DIALECTS for op in dialect_ops(dialect)}
    words |= dict.fromkeys(TYPES, "type")
    for word, kind in words.items():
        text = f"%x = {word} %y" if kind == "op" else f"%x = d.op : {word}\n"
        found = colours(pygments_spans(text) if name == "pygments" else grammar.spans(text), len(text))
        at = text.index(word)
        if kind == "type":
            assert all(c.startswith(("Keyword.Type", "storage.type")) for c in found[at : at + len(word)]), (
                word,
                found,
            )
        elif word not in ("builtin.module", "func.func"):
            last = found[at + len(word) - 1]
            assert last.startswith(("Name.Builtin", "support.function.op")), (word, last)


@pytest.mark.parametrize("name", ["pygments", "textmate"])
def test_dimensions_are_numbers_and_element_types_are_types(name, grammar):
    text = "d.op : tensor<0xf32>, memref<?x16xbf16>, vector<[4]x2xi1>, tensor<*xindex>"
    found = colours(pygments_spans(text) if name == "pygments" else grammar.spans(text), len(text))
    for dimensions, element in (("0x", "f32"), ("?x16x", "bf16"), ("[4]x2x", "i1"), ("*x", "index")):
        at = text.index(dimensions + element)
        middle, end = at + len(dimensions), at + len(dimensions + element)
        assert all(c.startswith(("Literal.Number", "constant.numeric")) for c in found[at:middle]), (
            dimensions,
            found[at:middle],
        )
        assert all(c.startswith(("Keyword.Type", "storage.type")) for c in found[middle:end]), (
            element,
            found[middle:end],
        )
