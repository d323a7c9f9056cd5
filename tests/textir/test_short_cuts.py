"""The driver, lark itself, and the grammar without its short-cuts read the same language."""

from __future__ import annotations

import random
import re

import pytest
from support.random_text import RandomText
from support.stock_lark import StockParser

from dlir.ir.builder import InsertionPoint, insertion_point
from dlir.ir.core import Block
from dlir.ir.errors import DlirError
from dlir.ir.location import UNKNOWN
from dlir.ir.traversal import difference
from dlir.textir import parse
from dlir.textir.build.module import ModuleActions
from dlir.textir.driver import Parser, SyntaxFailure
from dlir.textir.grammar import grammar_text, load_tables
from dlir.textir.make_tables import make_tables
from dlir.textir.source import Source


def test_the_tables_belong_to_the_grammar():
    assert load_tables() == make_tables(grammar_text()), "run python -m dlir.textir.make_tables"


@pytest.fixture(scope="module")
def stock() -> list[StockParser]:
    return [StockParser(short_cuts=True), StockParser(short_cuts=False)]


@pytest.mark.parametrize("seed", range(100, 130))
def test_lark_builds_the_same_module(stock, seed):
    text = RandomText(seed).module()
    module = parse(text)
    places = [str(op.location) for op in module.walk()]
    for parser in stock:
        other = parser.parse(text)
        assert difference(module, other) is None
        assert [str(op.location) for op in other.walk()] == places


_TOKEN = re.compile(r'"[^"\n]*"|[%@#!^]?[\w$.-]+|\s+|\S')
_TOKENS = (
    '%x %0 ^bb0 @f #a !t "s" { } ( ) [ ] < > : , = -> <{ }> {-# #-} tensor<4xf32> f32 i1 1 1.0 - 0x1F loc module func.func'
    ' return dense< attributes true tst.add nd.add d.x "d.op" 99999999999999999999 %x:0 %x:99999 \\ " // é ?x 4x i0'
).split()


def mutated(seed: int) -> str:
    """A random module with some tokens changed."""
    choose = random.Random(seed)
    tokens = _TOKEN.findall(RandomText(seed % 50).module())
    for _ in range(choose.randrange(1, 4)):
        place = choose.randrange(len(tokens))
        change = choose.randrange(4)
        if change == 0:
            del tokens[place]
        elif change == 1:
            tokens.insert(place, choose.choice(_TOKENS))
        elif change == 2:
            tokens[place] = choose.choice(_TOKENS)
        else:
            tokens[place:place] = tokens[place : place + 5]
    return "".join(tokens)


def outcome_in_small_tokens(text: str):
    """The module, "syntax", or the diagnostics that the driver gives without short-cuts."""
    point = InsertionPoint(Block(), None, UNKNOWN)
    actions = ModuleActions(Source("<input>", text), point)
    try:
        with insertion_point(point):
            Parser(text, actions, short_cuts=False).parse()
            module = actions.finish()
    except SyntaxFailure:
        return "syntax"
    return sorted(map(str, actions.diagnostics)) or module


@pytest.mark.parametrize("block", range(8))
def test_wrong_texts_are_wrong_in_the_same_way(block):
    for seed in range(block * 40, block * 40 + 40):
        text = mutated(seed)
        small = outcome_in_small_tokens(text)
        try:
            module = parse(text)
        except DlirError as error:
            assert small == "syntax" or small == sorted(map(str, error.diagnostics)), (seed, str(error))
        else:
            assert not isinstance(small, str | list) and difference(module, small) is None, seed
