"""The outline of a text says what the parser says, and says it of texts too that the parser refuses."""

from __future__ import annotations

import contextlib
import random
import re
from typing import Any

import pytest
from support.editor import FILES, PROGRAM, with_cursor
from support.random_text import RandomText

from dlir.frontends.lsp.completion import complete
from dlir.frontends.lsp.document import Document
from dlir.frontends.lsp.formatting import format_edit
from dlir.frontends.lsp.hover import hover
from dlir.frontends.lsp.outline import Outline, Region, Statement
from dlir.frontends.lsp.reader import read
from dlir.frontends.lsp.rename import rename
from dlir.frontends.lsp.symbols import document_symbols
from dlir.frontends.lsp.tokens import tokens
from dlir.frontends.lsp.values import Recorder
from dlir.ir.builder import InsertionPoint, insertion_point
from dlir.ir.core import Block, Operation
from dlir.ir.errors import DlirError
from dlir.ir.location import UNKNOWN
from dlir.textir import parse, to_text
from dlir.textir.driver import Parser
from dlir.textir.source import Source, TextLoc


def statements(region: Region) -> list[Statement]:
    """All ops in the order of the text."""
    found = []
    for statement in region.statements:
        found += [statement] if statement.name else []
        for inner in statement.regions:
            found += statements(inner)
    return found


def parsed(text: str) -> tuple[list[Operation], dict[Any, set[tuple[int, str]]]]:
    """The ops as they are written, and where and as what each value is defined: the parser's word."""
    point = InsertionPoint(Block(), None, UNKNOWN)
    recorder = Recorder(Source("t", text), point)
    with insertion_point(point):
        Parser(text, recorder).parse()
        module = recorder.finish()
    places: dict[Any, set[tuple[int, str]]] = {}
    for place, value in recorder.found.items():
        places.setdefault(value, set()).add(place)
    ops = [op for op in module.walk() if not is_inserted(op)]
    return ops, places


def is_inserted(op: Operation) -> bool:
    """Whether the parser made the op for the one behind it (a cast or broadcast), which has the same place."""
    following = op.next
    if following is None or not isinstance(op.location, TextLoc):
        return op.name == "tst.cast"
    return op.location == following.location or op.name == "tst.cast"


def assert_same(text: str) -> int:
    """Compare outline and parser; returns the number of uses."""
    outline = read(text)
    ops, places = parsed(text)
    written = statements(outline.root)
    if len(ops) > len(written):
        ops = ops[1:]  # the module that the parser puts around a text
    assert [op.name for op in ops] == [statement.name for statement in written]
    count = 0
    for op, statement in zip(ops, written, strict=True):
        assert len(op.operands) == len(statement.operands)
        assert [len(region.blocks) > 0 for region in op.regions][: len(statement.regions)] == [
            bool(region.statements or region.blocks or region.values) for region in statement.regions
        ] or op.name in ("func.func", "builtin.module")
        assert op.get("sym_name") == (statement.symbol.name if statement.symbol else None)
        for value, place in zip(op.operands, statement.operands, strict=True):
            while value not in places:
                value = value.owner.operands[0]  # what was inserted takes the written value
            definition = place.definition
            assert definition is not None
            name = (
                definition.name
                if definition.count == 1 or place.number is None
                else f"{definition.name}#{place.number}"
            )
            assert (definition.results_start, name) in places[value]
            count += 1
    return count


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_are_read_as_the_parser_reads_them(path):
    text = path.read_text()
    assert_same(text)
    assert_same(to_text(parse(text), generic=True))


def test_random_texts_are_read_as_the_parser_reads_them():
    assert sum(assert_same(RandomText(seed).module()) for seed in range(40)) > 400


@pytest.mark.parametrize("seed", range(3))
def test_no_character_is_lost(seed):
    text = RandomText(seed).module()
    joined = "".join(re.sub(r"\s", "", token.text) for token in tokens(text))
    assert joined == re.sub(r"\s", "", text)


# ---------------------------------------------------------------- texts with errors


def line_of(outline: Outline, name: str) -> list[str]:
    """The names of the ops in the region of the value `name`."""
    (definition,) = {o.definition for o in outline.occurrences if o.name == name and o.definition is not None}
    return [statement.name for statement in definition.place.region.statements]


@pytest.mark.parametrize(
    "broken",
    [
        "%b = nd.add %a, ",
        "%b = nd.sum %a {axes = [0",
        "%b = nd.sum %a {axes = ",
        '"d.op"(%a',
        "%b = ",
        "%b",
        "nd.",
        'nn.dense %a {activation = "re',
        "%b = nd.exp %a : tensor<4x",
        "scf.if %a ({",
        "}}",
    ],
)
def test_what_stands_around_a_mistake_is_read(broken):
    text = f"func.func @f(%x: tensor<4xf32>) {{\n  %a = nd.exp %x\n  {broken}\n  %c = nd.neg %a\n  return %c\n}}\n"
    document = Document(text)
    uses = [o for o in document.outline.occurrences if o.name == "c"]
    assert len(uses) == 2 and uses[1].definition is uses[0].definition is not None
    if broken != "}}":  # which ends the function
        assert {"nd.exp", "nd.neg"} & set(line_of(document.outline, "c"))
        after = next(o for o in document.outline.occurrences if o.start == text.index("%a\n  return"))
        assert after.definition is not None and after.definition.place.start == text.index("%a")
        if not broken.endswith((", ", "({")):  # where the parser takes what follows for a part of it
            assert str(document.type_at(uses[1])) == "tensor<4xf32>"


def test_types_of_a_text_with_errors_come_from_what_can_be_read_else_from_the_last_good_version():
    good = Document(PROGRAM)
    assert good.problems == []
    text = PROGRAM.replace("{dense<0.0>", "{").replace('{activation = "relu"}', "{activation = ").replace("%s = ", "")
    document = Document(text, previous=Document(PROGRAM + "\nmodule {", previous=good))
    types = {o.name: str(document.type_at(o)) for o in document.outline.occurrences if o.kind == "value"}
    assert types["w"] == "tensor<4x3xf32>" and types["two"] == "tensor<2x3xf32>"
    assert types["h"] == "tensor<2x3xf32>"  # its op does not parse now
    assert Document(text).type_at(next(o for o in document.outline.occurrences if o.name == "h")) is None


_TOKEN = re.compile(r'"[^"\n]*"|[%@#!^]?[\w$.-]+|\s+|\S')
_STRAY = (
    '%x %0 ^bb0 @f #a !t "s" { } ( ) [ ] < > : , = -> <{ }> {-# #-} tensor< f32 1 loc module d.x "d.op" \\ " // 😀'
    ' \ud800 \0 \r @" % ^ @'
).split(" ")


def mutated(seed: int) -> str:
    """A text with some tokens changed, cut short now and then."""
    choose = random.Random(seed)
    parts = _TOKEN.findall(RandomText(seed % 20).module() if seed % 3 else PROGRAM)
    for _ in range(choose.randrange(1, 6)):
        place = choose.randrange(len(parts))
        parts[place : place + choose.randrange(2)] = choose.choice(([], [choose.choice(_STRAY)]))
    text = "".join(parts)
    return text if seed % 7 else text[: choose.randrange(len(text))]


def test_no_text_is_too_wrong_for_any_question():
    for seed in range(80):
        document = Document(mutated(seed))
        choose = random.Random(seed)
        assert isinstance(document.problems, list)
        document_symbols(document)
        for _ in range(6):
            offset = choose.randrange(len(document.text) + 1)
            assert document.positions.offset(document.positions.position(offset)) in (offset, offset - 1)
            hover(document, offset)
            assert all(item.start <= offset <= item.end for item in complete(document, offset))
            with contextlib.suppress(DlirError):
                rename(document, offset, "q")
        try:
            format_edit(document)
        except DlirError as refusal:
            assert "without changing" not in refusal.message


def test_the_cursor_may_stand_on_either_side_of_a_name():
    for text in ("%a = d.x ¦%b", "%a = d.x %b¦", "%a = d.x %¦b"):
        document, offset = with_cursor(text)
        found = document.outline.occurrence_at(offset)
        assert found is not None and found.name == "b"
    document, offset = with_cursor("%a = d.x¦ %b")
    assert document.outline.occurrence_at(offset) is None


# ---------------------------------------------------------------- positions


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_columns_count_code_units(encoding):
    line = 'é"😀"x'
    document = Document(f"// one\r\n{line}\r// three\n", encoding=encoding)
    size = {"utf-8": 1, "utf-16": 2, "utf-32": 4}[encoding]
    for index in range(len(line) + 1):
        column = len(line[:index].encode(encoding + "-le" * (size > 1))) // size
        assert document.positions.position(8 + index) == (1, column)
        assert document.positions.offset((1, column)) == 8 + index
    assert document.positions.position(8 + len(line) + 1) == (2, 0)
    assert document.positions.offset((1, 99)) == 8 + len(line)
    assert document.positions.offset((99, 0)) == len(document.text)
