"""Conditions, and what a rule makes of what it matched."""

from __future__ import annotations

import random

import pytest

from dlir.ir.errors import DlirError
from dlir.passes.patterns import parse_patterns
from dlir.passes.rewriter import rewrite

SIGMOID = """
pattern @sigmoid {
  match   nd.div(1.0, nd.add(1.0, nd.exp(nd.neg(%x))))
  rewrite nd.sigmoid(%x)
}
"""


def test_uses_are_counted(apply):
    rule = "pattern @a { match nd.neg(%e = nd.exp(%x)) rewrite nd.abs(%x) where %e has one use }"
    body = "%e = nd.exp %x\n%n = nd.neg %e\nreturn %n"
    assert apply(rule, body)[0] == "%n = nd.abs %x"
    assert len(apply(rule, body.replace("return %n", "return %n, %e"))) == 3
    # A use that goes away counts from then on.
    body = "%e = nd.exp %x\n%dead = nd.tanh %e\n%n = nd.neg %e\nreturn %n"
    assert apply(rule, body) == ["%n = nd.abs %x", "return %n"]


CONDITIONS = [
    ("type(%x) is float", True),
    ("type(%x) is integer", False),
    ("type(%x) is not integer", True),
    ("type(%x) is f16 or f32", True),
    ("type(%x) is not f16 or f32", False),
    ("type(%x) is bool", False),
    ("type(%x) is static", True),
    ("type(%x) == tensor<2x3xf32>", True),
    ("type(%x) == tensor<?x3xf32>", False),
    ("dtype(%x) == f32", True),
    ("shape(%x) == [2, 3]", True),
    ("shape(%x) == [2]", False),
    ("rank(%x) == 2", True),
    ("rank(%x) != 2", False),
    ("size(%x) >= 6", True),
    ("size(%x) < 6", False),
    ("dim(%x, 1) == 3", True),
    ("dim(%x, -1) == 3", True),
    ("dim(%x, 2) == 3", False),
    ("dim(%x, 2) != 3", False),
    ("axes(none, %x) == [0, 1]", True),
    ("axes([-1, 0, 1], %x) == [0, 1]", True),
    ("axes(-1, %x) == [1]", True),
    ("axes([7], %x) == [7]", False),
    ("extents([-1], %x) == [3]", True),
    ("count(none, %x) == 6", True),
    ("trailing([-1], %x)", True),
    ("trailing([0], %x)", False),
    ("permutation(none, %x) == [1, 0]", True),
    ("permutation([0, -1], %x) == [0, 1]", True),
    ("permutation([0, 0], %x) == [0, 0]", False),
    ("compose([2, 0, 1], [1, 2, 0]) == [0, 1, 2]", True),
    ("range(3) == [0, 1, 2]", True),
    ("full(2, true) == [true, true]", True),
    ("full(2, 1) == [true, true]", False),
    ("length(shape(%x)) == 2", True),
    ("only([4]) == 4", True),
    ("only([4, 5]) == 4", False),
    ("value(%x) == 0", False),
    ("widens(f16, f32)", True),
    ("widens(f16, bf16)", False),
    ("widens(i32, f32)", False),
    ("widens(i16, f32)", True),
    ("widens(i32, f64)", True),
    ("widens(ui8, i8)", False),
    ("widens(ui8, i16)", True),
    ("widens(i8, ui16)", False),
    ("widens(i1, f16)", True),
    ("widens(f32, i64)", False),
    ("widens(bf16, f32)", True),
    ("%x is constant", False),
    ("%x is not splat", True),
    ('"a" == "a"', True),
    ("2.5 > 2", True),
]


@pytest.mark.parametrize(("condition", "holds"), CONDITIONS)
def test_conditions(apply, condition, holds):
    rule = f"pattern @a {{ match nd.neg(%x) rewrite nd.abs(%x) where {condition} }}"
    found = apply(rule, "%n = nd.neg %x\nreturn %n", "%x: tensor<2x3xf32>")
    assert (found[0] == "%n = nd.abs %x") is holds


def test_what_has_no_answer_does_not_match(apply):
    for condition in ("shape(%x) == [4]", "shape(%x) != [4]", "size(%x) > 0", "dim(%x, 0) == 4", "type(%x) is static"):
        rule = f"pattern @a {{ match nd.neg(%x) rewrite nd.abs(%x) where {condition} }}"
        assert apply(rule, "%n = nd.neg %x\nreturn %n", "%x: tensor<?xf32>")[0] == "%n = nd.neg %x"
    rule = "pattern @a { match nd.neg(%x) rewrite nd.reshape(%x) {shape = shape(%x)} }"
    assert apply(rule, "%n = nd.neg %x\nreturn %n", "%x: tensor<?xf32>")[0] == "%n = nd.neg %x"


def test_a_number_in_place_of_the_op_is_a_constant_of_its_type(apply):
    rule = "pattern @a { match nd.sub(%x, %x) rewrite 0 }"
    body = "%n = nd.sub %x, %x\nreturn %n"
    assert apply(rule, body)[0] == "%n = nd.constant {value = dense<0.000000e+00>"
    assert apply(rule, body, "%x: tensor<?xf32>")[0] == "%n = nd.sub %x, %x"
    integer = apply("pattern @a { match arith.subi(%x, %x) rewrite 0 }", "%n = arith.subi %x, %x\nreturn %n", "%x: i32")
    assert integer[0].endswith(" = arith.constant {value = 0") and len(integer) == 2


def test_numbers_in_scalar_ops(apply):
    rule = "pattern @a { match arith.addi(%x, 1) rewrite arith.subi(%x, -1) }"
    body = "%c = arith.constant {value = 1 : i32}\n%n = arith.addi %x, %c\nreturn %n"
    lines = apply(rule, body, "%x: i32")
    assert "{value = -1" in lines[0] and lines[1].startswith("%n = arith.subi %x, ")


def test_new_ops_take_the_place_the_location_and_the_name(program):
    module = program("%n = nd.neg %x\n%m = nd.exp %n\nreturn %m")
    old = next(op for op in module.walk() if op.name == "nd.neg")
    rewrite(module, parse_patterns("pattern @a { match nd.neg(%x) rewrite nd.abs(nd.relu(%x)) }"))
    made = [op for op in module.walk() if op.name in ("nd.abs", "nd.relu")]
    assert [op.location for op in made] == [old.location] * 2
    assert made[1].result.name == "n" and made[1].next.name == "nd.exp"


def test_a_name_for_a_new_op_is_made_once(apply):
    rule = "pattern @a { match nd.neg(%x) rewrite nd.mul(%t = nd.exp(%x), %t) }"
    assert apply(rule, "%n = nd.neg %x\nreturn %n") == ["%0 = nd.exp %x", "%n = nd.mul %0, %0", "return %n"]


def test_a_rewrite_that_does_not_fit_names_the_rule(program):
    body = "%n = nd.neg %x\nreturn %n"
    misfit = parse_patterns("pattern @my_rule { match nd.neg(%x) rewrite nd.transpose(%x) {perm = [1, 0]} }", "my.dlir")
    with pytest.raises(
        DlirError, match=r"pattern 'my-rule' cannot make its rewrite of this 'nd.neg': 'nd.transpose'"
    ) as found:
        rewrite(program(body), misfit)
    diagnostic = found.value.diagnostics[0]
    assert diagnostic.location.line == 2 and diagnostic.notes[0].location.file == "my.dlir"
    smaller = parse_patterns("pattern @my_rule { match nd.neg(%x) rewrite nd.sum(%x) }")
    with pytest.raises(DlirError, match=r"pattern 'my-rule' replaces the tensor<4xf32> of 'nd.neg' by tensor<f32>"):
        rewrite(program(body), smaller)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_ops_does_not_matter(seed, program):
    body = "%n = nd.neg %x\n%e = nd.exp %n\n%d = nd.add 1.0, %e\n%s = nd.div 1.0, %d\n%m = nd.neg %s\n%k = nd.neg %m\n"
    module = program(f"{body}return %k")
    rules = parse_patterns(SIGMOID + "pattern @n { match nd.neg(nd.neg(%x)) rewrite %x }")
    fired = rewrite(module, rules, shuffle=random.Random(seed))
    assert fired["sigmoid"] == fired["n"] == 1
    assert [op.name for op in module.body.first.body.ops] == ["nd.sigmoid", "func.return"]


@pytest.mark.parametrize("seed", range(8))
def test_a_change_far_below_lets_a_deep_rule_be_tried_again(seed, program):
    # In many an order the division is looked at before there is a negation.
    module = program("%n = nd.sub -0.0, %x\n%e = nd.exp %n\n%d = nd.add 1.0, %e\n%s = nd.div 1.0, %d\nreturn %s")
    rules = parse_patterns("pattern @n { match nd.sub(-0.0, %x) rewrite nd.neg(%x) }" + SIGMOID)
    assert rewrite(module, rules, shuffle=random.Random(seed))["sigmoid"] == 1
