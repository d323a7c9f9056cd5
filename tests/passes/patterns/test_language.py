"""The language of rules: what it says, and what a mistake is told."""

from __future__ import annotations

import lark
import pytest

from dlir.ir.errors import DlirError
from dlir.ir.location import FileLoc
from dlir.passes.patterns import load_patterns, parse_patterns
from dlir.passes.patterns.parser import grammar
from dlir.passes.patterns.syntax import App, Call, Compare, Entry, Is, Number, Uses, Variable, walk
from dlir.textir.diagnostics import render

EVERYTHING = """
// the equation,
// on two lines
pattern @everything benefit 3 {
  match   %r = nd.mul(nd.layer_norm(%x, none, ...) {axes = $a, epsilon = _}, %two = 2.0)   // a remark
  rewrite nd.mul(%x, %two)
  where   rank(%x) == 2, $a is not none, type(%r) is f32 or f64, %r has one use, %x has 3 uses,
          trailing($a, %x), shape(%x) != [2, -1], type(%x) == tensor<4x?xf32>, value(%two) <= 1e3
  ignores signed zero, nan
}
"""


def test_a_rule_says_what_it_says():
    (pattern,) = parse_patterns(EVERYTHING)
    rule = pattern.rule
    assert (pattern.name, pattern.ops, pattern.benefit, pattern.depth) == ("everything", ("nd.mul",), 3, 2)
    assert pattern.equation == "the equation,\non two lines"
    assert rule.ignores == ("signed zero", "nan")
    assert rule.match.names == ("r",)
    norm, two = rule.match.args
    assert isinstance(norm, App) and [entry.name for entry in norm.attributes] == ["axes", "epsilon"]
    assert two == Number(2.0, "two")
    assert rule.rewrite == (App("nd.mul", (Variable("x"), Variable("two"))),)
    assert rule.where[0] == Compare("==", Call("rank", (Variable("x"),)), Number(2))
    assert rule.where[2] == Is(Call("type", (Variable("r"),)), False, ("f32", "f64"))
    assert rule.where[3:5] == (Uses("r", 1), Uses("x", 3))


def test_every_phrase_knows_its_place():
    (pattern,) = parse_patterns(EVERYTHING)
    places = [EVERYTHING[node.start : node.end] for node in walk(pattern.rule) if isinstance(node, Entry | Uses)]
    assert places == ["axes = $a", "epsilon = _", "%r has one use", "%x has 3 uses"]
    assert isinstance(pattern.location, FileLoc) and pattern.location.line == 4


def test_the_grammar_has_no_conflicts():
    class NoLexer(lark.lexer.Lexer):
        __future_interface__ = 2

        def __init__(self, conf):
            pass

        def lex(self, *args):
            raise TypeError

    lark.Lark(grammar(), parser="lalr", lexer=NoLexer, strict=True)


def test_an_empty_file_has_no_rules():
    assert parse_patterns("") == [] and parse_patterns("// nothing\n") == []


def errors(text):
    with pytest.raises(DlirError) as caught:
        parse_patterns(text, "my.rules")
    return caught.value.diagnostics


SYNTAX = [
    ("pattern @a { match nd.neg(%x) rewite %x }", "unexpected 'rewite', expected one of: '#', '{', 'rewrite'"),
    ("pattern @a { match nd.neg(%x rewrite %x }", "unexpected 'rewrite', expected"),
    ("pattern a { match nd.neg(%x) rewrite %x }", "unexpected 'a', expected a name such as @my_rule"),
    ("pattern @a { match %x rewrite %x }", "unexpected 'rewrite', expected ',' or '='"),
    ("pattern @a { match nd.neg(%x) rewrite %x", "unexpected end of the rule"),
    ("pattern @a { match nd.neg(1.2.3) rewrite %x }", "unexpected '1.2.3'"),
    ("pattern @a { match nd.neg(%x) rewrite %x where %x has 3 }", "unexpected '}', expected 'uses'"),
    ("pattern @a { match nd.neg(%x) rewrite %x where __import__('os') }", "unexpected '''"),
    ("rule @a { match nd.neg(%x) rewrite %x }", "unexpected 'rule', expected"),
]


@pytest.mark.parametrize(("text", "message"), SYNTAX)
def test_what_is_no_rule(text, message):
    (problem,) = errors(text)
    assert problem.message.startswith(message)
    assert isinstance(problem.location, FileLoc) and problem.location.end is not None


def test_a_mistake_in_one_rule_does_not_hide_those_in_others():
    found = errors("\n".join(text for text, _ in SYNTAX[:5]) + "\npattern @b { match nd.ng(%x) rewrite %x }")
    assert [problem.location.line for problem in found] == [1, 2, 3, 4, 5, 6]
    assert found[-1].message == "unknown op 'nd.ng'"


# What is marked with ^ is what the error must point at; after the arrow its message, and a part of its hint.
MEANING = """
match nd.ad(%x, 1) rewrite %x                               ^nd.ad -> unknown op 'nd.ad' | did you mean
match ndd.add(%x, 1) rewrite %x                             ^ndd -> unknown dialect 'ndd'
match nd.neg(%x, %y) rewrite nd.add(%x, %y)                 ^nd.neg(%x, %y) -> 'nd.neg' takes 1 operand (x), got 2
match nd.add(%x) rewrite %x                                 ^nd.add(%x) -> 'nd.add' takes 2 operands (a, b), got 1 | '...'
match nd.add(..., %x) rewrite %x                            ^... -> '...' stands for all further operands
match nd.add(none, %x) rewrite %x                           ^none -> operand 'a' is not optional
match nd.neg(%x) rewrite nd.relu(...)                       ^... -> '...' can only be matched
match nd.neg(%xs) rewrite %x                                ^%x  -> '%x' is not bound by the match | did you mean '%xs'
match nd.neg(%x) rewrite nd.relu(%_)                        ^%_ -> '%_' stands for nothing in particular
match nd.neg(%_ = nd.neg(%x)) rewrite %x                    ^nd.neg(%x)) -> '%_' is for an operand that does not matter
match nd.add(%x, %x = nd.neg(%y)) rewrite %y                ^nd.neg(%y) -> '%x' is the name of something else
match nd.add(%x, %y) rewrite %x                             ^%y) -> '%y' is never used | '%_'
match nd.sum(%x) {axes = $a} rewrite nd.relu(%x)            ^$a -> '$a' is never used | '_'
match nd.neg(%t = nd.neg(%x)) rewrite %x                    ^nd.neg(%x) -> '%t' is never used | no name
match nd.sum(%x) {axis = 0} rewrite %x                      ^axis = 0 -> 'nd.sum' has no attribute 'axis' | 'axes'
match nd.sum(%x) {axes = 0} rewrite %x                      ^0 -> attribute 'axes' must be a list of integers
match nd.sum(%x) {axes = [0.5]} rewrite %x                  ^[0.5] -> attribute 'axes' must be a list of integers
match nd.sum(%x) {keepdims = 1} rewrite %x                  ^1 -> attribute 'keepdims' must be a bool
match nd.softmax(%x) {axis = true} rewrite %x               ^true -> attribute 'axis' must be an integer
match nd.softmax(%x) {axis = none} rewrite %x               ^none -> attribute 'axis' cannot be none
match nd.sum(%x) {axes = _, axes = _} rewrite %x            ^axes = _} -> attribute 'axes' is given twice
match nd.cast(%x) rewrite %x                                ^nd.cast(%x) -> 'nd.cast' needs attribute 'dtype' | dtype = _
match nd.neg(%x) rewrite nd.cast(%x) {dtype = f33}          ^f33 -> unknown type 'f33' | did you mean 'f32'
match nd.neg(%x) rewrite nd.cast(%x) {dtype = _}            ^_} -> '_' can only be matched
match nd.neg(%x) rewrite nd.cast(%x) {dtype = rank(%x)}     ^rank(%x) -> attribute 'dtype' must be a scalar type
match nd.neg(%x) rewrite nd.sum(%x) {axes = $a}             ^$a -> '$a' is not bound by the match
match nd.neg(%x) rewrite %x where tipe(%x) is float         ^tipe -> unknown function 'tipe' | did you mean 'type'
match nd.neg(%x) rewrite %x where type(%x) is flot          ^type(%x) is flot -> unknown predicate 'flot' | 'float'
match nd.neg(%x) rewrite %x where %x is float               ^%x is float -> 'float' is said of a type | type(%x) is float
match nd.neg(%x) rewrite %x where rank(%x, 1) == 2          ^rank(%x, 1) -> 'rank' takes 1 argument, got 2 | rank(value)
match nd.neg(%x) rewrite %x where rank(2) == 2              ^2) -> 'rank' takes a value here, and this is an integer
match nd.neg(%x) rewrite %x where rank(%x)                  ^rank(%x) -> 'rank' gives an integer, not a condition
match nd.add(%x, %y) rewrite %x where %x == %y              ^%x == %y -> values cannot be compared | the same name twice
match nd.neg(%x) rewrite %x where type(%x) == 3             ^type(%x) == 3 -> a type is never an integer
match nd.neg(%x) rewrite %x where shape(%x) > 3             ^shape(%x) > 3 -> '>' compares numbers
match nd.neg(%x) rewrite %x where %y has one use            ^%y has one use -> '%y' is not bound by the match
match nd.neg(%x) rewrite %x where %x has 0 uses             ^%x has 0 uses -> uses are counted from 1 on
match nd.neg(%x) rewrite %x where rank(%x) == _             ^_  -> '_' can only be the whole value of an attribute
match nd.neg(%x) rewrite %x where type(%x) == tensor<4,f32> ^tensor<4,f32> -> 'tensor<4,f32>' is not a tensor type
match nd.neg(%x) rewrite nd.neg(%x)                         ^nd.neg(%x) -> the rule replaces an op by itself
match nd.neg(%x) rewrite nn.relu(%x)                        ^nn.relu -> a rule must not raise the level: it makes layers of
match arith.negf(%x) rewrite nd.neg(%x)                     ^nd.neg -> a rule must not raise the level: it makes arrays of
match func.call(%x) {callee = _} rewrite %x                 ^func.call -> 'func.call' does more than compute its results
match nd.neg(%x) rewrite memref.alloc()                     ^memref.alloc() -> 'memref.alloc' does more than compute
match scf.for(%x) rewrite %x                                ^scf.for -> 'scf.for' cannot stand in a rule: it has regions
match nd.neg(%x)#0 rewrite %x                               ^nd.neg(%x)#0 -> a rule matches a whole op
match nd.neg(%x) rewrite %x ignores zeros                   ^zeros -> a rule cannot ignore 'zeros' | signed zero
match nd.exp(99999999999999999999) rewrite 1                ^99999999999999999999 -> no integer type holds
match nd.where(%x, %x, %x) rewrite %x                       ^nd.where -> unknown op 'nd.where' | 'nd.select'
match nd.neg(%x) rewrite nd.add(%x, %one = 1)               ^1 -> a number needs no name here
match nd.neg(%x) rewrite nd.add(%x = nd.relu(%x), 1)        ^nd.relu(%x) -> '%x' is the name of something else
match nd.neg(%x) rewrite rules_test.divmod(%x, 1)#0         ^1)#0 -> 'rules_test.divmod' does not take numbers
match nd.neg(%x) rewrite none                               ^none -> unexpected 'none'
"""


@pytest.mark.parametrize("line", MEANING.strip().splitlines())
def test_what_makes_no_sense_is_told_with_its_place(line):
    rule, _, expected = line.partition("^")
    marked, _, words = expected.partition(" -> ")
    message, _, hint = words.partition(" | ")
    text = f"pattern @a {{ {rule.strip()} }}"
    problem = errors(text)[0]
    assert message in problem.message
    assert hint in (problem.hint or "")
    start = text.rindex(marked) if marked in ("%x ", "%y)", "_ ", "2)") else text.index(marked)
    assert problem.location.column == start + 1


def test_names_that_are_taken_twice():
    one = "pattern @a { match nd.neg(%x) rewrite nd.relu(%x) }\n"
    (problem,) = errors(one + one)
    assert problem.message == "pattern '@a' is defined twice" and problem.notes[0].location.line == 1
    (problem,) = errors(one.replace("@a", "@a benefit 0"))
    assert problem.message == "a benefit is a whole number from 1 on"


def test_a_file_is_read_and_its_mistakes_are_shown_in_it(tmp_path):
    path = tmp_path / "my.dlir"
    path.write_text("pattern @a {\n  match nd.neg(%x)\n  rewrite %xs\n}\n")
    sources: dict[str, str] = {}
    with pytest.raises(DlirError) as caught:
        load_patterns(path, sources)
    assert render(caught.value, sources).splitlines() == [
        f"{path}:3:11: error: '%xs' is not bound by the match",
        "    3 |   rewrite %xs",
        "      |           ^~~",
        "  hint: did you mean '%x'?",
    ]
    with pytest.raises(DlirError, match="cannot read"):
        load_patterns(tmp_path / "missing")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DlirError, match="not UTF-8"):
        load_patterns(path)


def test_a_rule_that_is_nested_too_deeply_is_an_error():
    deep = "nd.neg(" * 5000 + "%x" + ")" * 5000
    with pytest.raises(DlirError, match="nested too deeply"):
        parse_patterns(f"pattern @a {{ match {deep} rewrite %x }}")
