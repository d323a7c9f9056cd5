"""Texts made to exhaust something: nesting, sizes, aliases that double."""

from __future__ import annotations

import time

import pytest

from dlir.ir.errors import DlirError
from dlir.ir.traversal import difference
from dlir.textir import parse, to_text


def nested_regions(depth: int) -> str:
    return '"t.a"() ({\n' * depth + '"t.b"() : () -> ()\n' + "}) : () -> ()\n" * depth


def attribute(text: str) -> str:
    return f'"t.a"() {{a = {text}}} : () -> ()'


def test_4096_nested_regions_are_read_printed_and_compared():
    module = parse(nested_regions(4096))
    again = parse(to_text(module, generic=True))
    assert difference(module, again) is None


@pytest.mark.parametrize(
    "text",
    [
        nested_regions(100_000),
        "module {" * 100_000,
        attribute("[" * 5000 + "]" * 5000),
        attribute("{a = " * 5000 + "1" + "}" * 5000),
        attribute("tuple<" * 5000 + "i32" + ">" * 5000),
        attribute("#d.x<" + "[" * 5000 + "]" * 5000 + ">"),
        attribute("(" * 5000 + ") -> ()" * 5000),
        '"t.a"() : () -> () loc(' + '"a"(' * 5000 + '"b"' + ")" * 5001,
    ],
    ids=["regions", "modules", "arrays", "dictionaries", "types", "text", "functions", "locations"],
)
def test_deeper_nesting_is_refused_with_the_limit(text):
    start = time.monotonic()
    with pytest.raises(DlirError, match="nested more than 4096 deep"):
        parse(text)
    assert time.monotonic() - start < 60


@pytest.mark.parametrize("opening,closing", [("[", "]"), ("{a = ", "}"), ("tuple<", ">"), ("#d.x<", ">")])
def test_attributes_nested_4000_deep_round_trip(opening, closing):
    inner = "i32" if opening == "tuple<" else "1"
    module = parse(attribute(opening * 4000 + inner + closing * 4000))
    assert difference(module, parse(to_text(module))) is None


@pytest.mark.parametrize(
    "start,step,message",
    [
        ("#a0 = [1, 1]", "#a{} = [#a{}, #a{}]", "aliases stand for more than"),
        ("#a0 = {x = 1}", "#a{} = {{x = #a{}, y = #a{}}}", "aliases stand for more than"),
        ("!a0 = tuple<i32>", "!a{} = tuple<!a{}, !a{}>", "the text of this type has more than"),
        ("!a0 = i32", "!a{} = (!a{}) -> (!a{}, i32, i32)", None),
        ('#a0 = loc("x")', "#a{} = loc(callsite(#a{} at #a{}))", "a location has more than"),
    ],
)
def test_aliases_that_double(start, step, message):
    lines = [start, *(step.format(i + 1, i, i) for i in range(80))]
    if message is None:
        parse("\n".join(lines[:12]))
        return
    with pytest.raises(DlirError, match=message):
        parse("\n".join(lines))


def test_huge_shapes_cost_nothing():
    module = parse(attribute("dense<1.0> : tensor<1048576x1048576xf32>"))
    (op,) = module.body.ops
    assert op.attributes["a"].type.nbytes == 4 << 40
    assert difference(module, parse(to_text(module))) is None
    with pytest.raises(DlirError, match="a dimension is less than 2\\^63"):
        parse('"t.a"() : () -> tensor<9223372036854775808xi8>')


def test_numbers_with_thousands_of_digits():
    digits = "9" * 10_000
    for text in (digits, f"array<i64: {digits}>", f"dense<{digits}> : tensor<i64>", f"1 : i{digits}"):
        with pytest.raises(DlirError):
            parse(attribute(text))
    with pytest.raises(DlirError, match="more are named"):
        parse(f'%x:{digits} = "t.a"() : () -> i32')


def test_long_strings_are_read_in_linear_time():
    text = attribute('"' + "x" * 5_000_000 + '"')
    (op,) = parse(text).body.ops
    assert len(op.get("a")) == 5_000_000
    with pytest.raises(DlirError, match="not closed"):
        parse(text[:-13])
