"""Checking rules: wrong ones are refused, right ones are not, and a refusal can be understood."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.ir.builder import at_end
from dlir.ir.ops import nd
from dlir.ir.types import F32
from dlir.passes.patterns import parse_patterns
from dlir.passes.patterns.proof import check_patterns, prove, prove_all
from dlir.passes.patterns.proof.compare import difference
from dlir.passes.patterns.proof.examples import example_of
from dlir.passes.patterns.proof.inputs import random_input
from dlir.passes.patterns.proof.maker import Maker
from dlir.passes.rewriter import pattern

PLANTED = {
    "match nd.add(%x, 0.0) rewrite %x": "0.0 becomes -0.0",
    "match nd.mul(%_, 0) rewrite 0": "becomes 0.0",
    "match nd.sub(%x, %x) rewrite 0": "nan becomes 0.0",
    "match nd.div(%x, %x) rewrite 1.0": "nan becomes 1.0",
    "match nd.sub(0.0, %x) rewrite nd.neg(%x)": "0.0 becomes -0.0",
    "match nd.neg(nd.sub(%x, %y)) rewrite nd.sub(%y, %x) where type(%x) is float": "becomes",
    "match nd.logical_not(nd.less(%x, %y)) rewrite nd.greater_equal(%x, %y)": "True becomes False",
    "match nd.exp(nd.log(%x)) rewrite %x": "becomes",
    "match nd.sqrt(nd.mul(%x, %x)) rewrite nd.abs(%x)": "becomes",
    "match nd.floor_divide(nd.mul(%x, 2), 2) rewrite %x where type(%x) is integer": "becomes",
    "match nd.floor_divide(%x, 1) rewrite %x": "becomes",
    "match nd.select(nd.greater(%x, 0), %x, 0) rewrite nd.relu(%x) where type(%x) is float": "becomes",
    "match nd.maximum(%x, 0) rewrite nd.relu(%x)": "'nd.relu' takes integers or floats, got i1",
    "match nd.div(%x, 3.0) rewrite nd.mul(%x, 0.3333333333333333)": "becomes",
    "match nd.sum(nd.sum(%x) {axes = $a}) {axes = $b} rewrite nd.sum(%x) {axes = $a} where $b is not none": "in place of",
    "match nd.cast(nd.cast(%x) {dtype = _}) {dtype = $d} rewrite nd.cast(%x) {dtype = $d}": "becomes",
    "match nd.transpose(nd.transpose(%x) {perm = $p}) {perm = _} rewrite %x where $p is none": "in place of|becomes",
    "match nd.slice(%x) {start = $s, stop = _, step = _} rewrite %x where $s == full(rank(%x), 0)": "in place of",
    "match nd.concat(%x, ...) {axis = _} rewrite %x": "in place of",
    "match nd.max(%x) {axes = $a, keepdims = $k} rewrite nd.min(%x) {axes = $a, keepdims = $k}": "becomes",
    "match nd.div(%x, %c) rewrite nd.mul(%x, nd.div(1.0, %c)) where %c is constant": "becomes",
    "match nd.add(nd.add(%x, %y), %z) rewrite nd.add(%x, nd.add(%y, %z)) where type(%x) is float": "becomes|does not end",
    "match arith.addf(%x, 0.0) rewrite %x": "0.0 becomes -0.0",
    # One of each kind: overflow of integers, dtypes, empty arrays, and a type that is not what was captured.
    "match nd.greater(nd.add(%x, 1), %x) rewrite true where type(%x) is integer": "False becomes True",
    "match nd.greater_equal(nd.abs(%x), 0) rewrite true where type(%x) is integer": "False becomes True",
    "match nd.neg(nd.neg(nd.add(%x, %y))) rewrite nd.sub(%x, nd.sub(0, %y))": "becomes|takes",
    "match nd.minimum(nd.maximum(%x, %a), %b) rewrite nd.maximum(nd.minimum(%x, %b), %a)": "becomes",
    "match nd.equal(%x, %x) rewrite true": "False becomes True",
    "match nd.mean(%x) {axes = none, keepdims = false} rewrite nd.div(nd.sum(%x), 1.0) where type(%x) is f32": "becomes",
    "match nd.sum(%x) {axes = $a, keepdims = true} rewrite %x where count($a, %x) < 2, type(%x) is i32": "in place of|becomes",
    "match nd.cast(%x) {dtype = _} rewrite %x": "in place of",
    "match nd.reshape(%x) {shape = $s} rewrite %x where length($s) == rank(%x)": "in place of|becomes",
    "match nd.select(%_, %x, %_) rewrite %x": "becomes",
    "match nd.mul(nd.exp(%a), nd.exp(%b)) rewrite nd.exp(nd.add(%a, %b)) where type(%a) is f32 ignores rounding": "becomes",
    "match nd.cast(nd.cast(%x) {dtype = f16}) {dtype = f32} rewrite %x where type(%x) is f32": "becomes",
    "match nd.floor_divide(nd.mul(%x, %y), %y) rewrite %x where type(%x) is integer": "becomes",
    "match nd.sigmoid(%x) rewrite nd.div(1.0, nd.add(1.0, nd.exp(nd.neg(%x))))": "becomes",
}


@pytest.mark.parametrize("rule", PLANTED)
@pytest.mark.parametrize("seed", [0, 1])
def test_wrong_rules_are_refused(rule, seed):
    (found,) = parse_patterns(f"pattern @wrong {{ {rule} }}")
    verdict = prove(found, seed=seed)
    assert not verdict.ok
    text = verdict.problem.message + str(verdict.problem.hint)
    assert any(part in text for part in PLANTED[rule].split("|")), text


RIGHT = [
    "match nd.mul(%x, nd.add(%y, %z)) rewrite nd.add(nd.mul(%x, %y), nd.mul(%x, %z)) where type(%x) is integer",
    "match nd.add(%x, 0.0) rewrite %x ignores signed zero",
    "match nd.mul(%_, 0) rewrite 0 ignores nan, inf, signed zero",
    "match nd.sub(%x, %x) rewrite 0 ignores nan",
    "match nd.div(%x, %x) rewrite 1 ignores nan",
    "match nd.div(%x, 3.0) rewrite nd.mul(%x, 0.3333333333333333) ignores rounding",
    "match nd.exp(nd.log(nd.abs(%x))) rewrite nd.abs(%x) ignores rounding, inf",
    "match nd.log(nd.exp(%x)) rewrite %x ignores rounding, inf, signed zero",
    "match nd.matmul(nd.transpose(%a), %b) rewrite nd.matmul(%a, %b) {transpose_a = true} where rank(%a) == 2 ignores rounding",
    "match nd.sum(nd.neg(%x)) {axes = $a, keepdims = $k} rewrite nd.neg(nd.sum(%x) {axes = $a, keepdims = $k}) "
    "ignores signed zero",
    "match nd.relu(nd.max_pool(%x) {kernel = $k, stride = $s}) rewrite nd.max_pool(nd.relu(%x)) {kernel = $k, stride = $s}",
    "match arith.subi(%x, %x) rewrite 0",
    "match nn.relu(nn.relu(%x)) rewrite nn.relu(%x)",
    "match nn.sigmoid(%x) rewrite nd.sigmoid(%x)",
    "match rules_test.divmod(%x, 1) rewrite %x, nd.sub(%x, %x) where type(%x) is integer",
]


@pytest.mark.parametrize("rule", RIGHT)
def test_right_rules_pass(rule):
    (found,) = parse_patterns(f"pattern @right {{ {rule} }}")
    verdict = prove(found, programs=40)
    assert verdict.ok, verdict.problem
    assert verdict.runs >= 40


def test_ignoring_one_thing_does_not_excuse_another():
    for rule in (
        "match nd.add(%x, 0.0) rewrite %x ignores nan, inf, rounding",
        "match nd.sub(%x, %x) rewrite 0 where type(%x) is float ignores inf, signed zero, rounding",
        "match nd.mul(%x, 0) rewrite nd.mul(%x, 1) ignores nan, inf, signed zero, rounding",
        "match nd.log(nd.exp(%x)) rewrite %x ignores inf, nan, signed zero",
    ):
        assert not prove_all(parse_patterns(f"pattern @wrong {{ {rule} }}")).ok, rule


def test_a_refusal_tells_what_where_and_how(tmp_path):
    path = tmp_path / "my.dlir"
    path.write_text(
        "pattern @fine { match nd.neg(nd.neg(%x)) rewrite %x }\n\npattern @off { match nd.add(%x, 0.0) rewrite %x }\n"
    )
    sources: dict[str, str] = {}
    report = check_patterns(path, sources=sources)
    assert not report.ok and sources[str(path)].startswith("pattern")
    assert [verdict.ok for verdict in report.verdicts] == [True, False]
    lines = str(report).splitlines()
    assert lines[0].startswith("ok      fine: 60 programs, ") and lines[1] == "REFUSED off"
    assert {"f32", "bf16", "i8"} <= set(report.verdicts[0].dtypes)
    (problem,) = report.problems
    assert problem.message == "pattern 'off' changes the result: 0.0 becomes -0.0"
    assert (problem.location.file, problem.location.line) == (str(path), 3)
    assert "ignores signed zero" in problem.hint
    assert problem.notes[0].message == "with %x = -0.0"
    assert "%1 = nd.add %x" in problem.notes[1].message


def test_what_a_refusal_advises_is_enough():
    """Bits and both zeros and overflow: the first difference alone would not be."""
    (rule,) = parse_patterns("pattern @log_exp { match nd.log(nd.exp(%x)) rewrite %x }")
    hint = prove(rule).problem.hint
    words = hint.partition("'ignores ")[2].partition("'")[0]
    assert set(words.split(", ")) == {"signed zero", "rounding", "inf"}
    (excused,) = parse_patterns(f"pattern @log_exp {{ match nd.log(nd.exp(%x)) rewrite %x ignores {words} }}")
    assert prove(excused).ok
    # What is no matter of floats has nothing to be ignored, even where an infinity is in the way.
    (other,) = parse_patterns("pattern @t { match nd.transpose(%x) {perm = _} rewrite %x where rank(%x) == 2 }")
    assert "ignores" not in prove(other).problem.hint


def test_a_counterexample_is_small_and_holds_nothing_else():
    (rule,) = parse_patterns("pattern @equal { match nd.equal(%x, %_) rewrite nd.equal(%x, %x) where type(%x) is f32 }")
    problem = prove(rule).problem
    given = problem.notes[0].message
    # The names are those of the program below it, also of what the rule does not name.
    assert given.startswith("with %x = ") and ", %0 = " in given and given.count("[") == 0, given
    assert "func.func @main(%x: tensor<f32>, %0: tensor<f32>)" in problem.notes[1].message


def test_rules_that_undo_each_other_are_refused_together(tmp_path):
    path = tmp_path / "my.dlir"
    path.write_text(
        "pattern @double { match nd.mul(%x, 2.0) rewrite nd.add(%x, %x) }\n"
        "pattern @twice { match nd.add(%x, %x) rewrite nd.mul(%x, 2.0) where type(%x) is float }\n"
        "pattern @other { match nd.neg(nd.neg(%x)) rewrite %x }\n"
    )
    report = check_patterns(path)
    assert [verdict.ok for verdict in report.verdicts] == [False, True, True]
    (problem,) = report.problems
    assert "'twice' and 'double' undo each other" in problem.message.replace(
        "'double' and 'twice'", "'twice' and 'double'"
    )
    assert {note.location.line for note in problem.notes[:2]} == {1, 2}


def test_a_rule_that_undoes_one_of_dlirs_own_is_refused(tmp_path):
    path = tmp_path / "my.dlir"
    path.write_text(
        "pattern @back { match nd.abs(nd.abs(%x)) rewrite nd.abs(nd.abs(nd.neg(nd.neg(%x)))) where type(%x) is f32 }\n"
    )
    (problem,) = check_patterns(path).problems
    assert "does not end" in problem.message + str(problem.hint)


def test_a_rule_that_matches_nothing_cannot_be_checked(monkeypatch):
    monkeypatch.setattr("dlir.passes.patterns.proof.trial.TRIES", 500)
    (found,) = parse_patterns(
        "pattern @never { match nd.neg(%x) rewrite %x where type(%x) is float, type(%x) is integer }"
    )
    verdict = prove(found)
    assert "cannot be checked: 0 programs" in verdict.problem.message


def test_a_rule_that_does_not_end_is_refused():
    (found,) = parse_patterns("pattern @loop { match nd.add(%x, %y) rewrite nd.add(%y, %x) }")
    problem = prove(found).problem
    assert problem.message == "pattern 'loop' does not end"
    assert problem.hint.startswith("rewriting does not end: pattern 'loop' matches what it makes")


def test_the_same_seed_finds_the_same():
    (found,) = parse_patterns("pattern @a { match nd.neg(nd.neg(%x)) rewrite %x }")
    one, two, other = prove(found), prove(found), prove(found, seed=7)
    assert (one.runs, one.dtypes) == (two.runs, two.dtypes)
    assert other.ok and other.dtypes != one.dtypes


def test_programs_hold_the_shapes_and_numbers_that_break_rules():
    """What a rule is tried on: rank 0, extents 0 and 1, dynamic dimensions, and every special number."""
    shapes, rng = set(), np.random.default_rng(0)
    (found,) = parse_patterns("pattern @a { match nd.neg(nd.neg(%x)) rewrite %x where type(%x) is f32 }")
    for _ in range(300):
        maker = Maker(rng)
        with at_end(maker.block):
            shapes.add(example_of(found.rule)(maker).shape)
    assert (
        () in shapes and any(0 in s for s in shapes) and any(1 in s for s in shapes) and any(None in s for s in shapes)
    )
    drawn = random_input(rng, (500,), F32, "special")
    assert np.isnan(drawn).any() and np.isposinf(drawn).any() and np.isneginf(drawn).any()
    assert ((drawn == 0) & np.signbit(drawn)).any() and ((drawn == 0) & ~np.signbit(drawn)).any()
    assert np.finfo(np.float32).max in drawn and np.finfo(np.float32).smallest_subnormal in drawn


def test_comparison_is_of_bits_but_for_nan():
    zero, nan, one = np.float32(0.0), np.float32(np.nan), np.float32(1.0)
    assert difference(nan, -nan, (), ()) is None
    assert difference(zero, -zero, (), ()) is not None
    assert difference(zero, -zero, ("signed zero",), ()) is None
    near = np.nextafter(one, np.float32(2.0))
    assert difference(one, near, (), ()) is not None
    assert difference(one, near, ("rounding",), ()) is None
    assert difference(one, np.float32(1.01), ("rounding",), ()) is not None
    # What came up on the way says how much the last bits are.
    assert difference(one, np.float32(1.01), ("rounding",), [np.float32(1e6)]) is None
    assert difference(np.float32(np.inf), one, ("rounding",), [np.float32(1e30)]) is not None
    assert difference(np.int32(1), np.int32(2), ("rounding", "nan", "inf", "signed zero"), ()) is not None


# ---------------------------------------------------------------- rules written in Python


@pattern("nd.exp")
def exp_of_log(op):
    """exp(log(x)) -> x, which is not true."""
    source = op.operands[0].defining_op
    return source.operands[0] if source is not None and source.name == "nd.log" else None


def test_a_rule_in_python_is_checked_with_an_example():
    verdict = prove(exp_of_log, lambda maker: nd.exp(nd.log(maker.input())))
    assert not verdict.ok and "changes the result" in verdict.problem.message
