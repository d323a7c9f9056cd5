"""What a rule of text matches, and what it makes."""

from __future__ import annotations

import itertools

import pytest

from dlir.passes.patterns import parse_patterns
from dlir.passes.rewriter import rewrite

SIGMOID = """
pattern @sigmoid {
  match   nd.div(1.0, nd.add(1.0, nd.exp(nd.neg(%x))))
  rewrite nd.sigmoid(%x)
  where   type(%x) is float
}
"""


def test_commuted_operands_match_at_any_depth(apply):
    for sum in ("nd.add 1.0, %e", "nd.add %e, 1.0"):
        body = f"%n = nd.neg %x\n%e = nd.exp %n\n%d = {sum}\n%s = nd.div 1.0, %d\nreturn %s"
        assert apply(SIGMOID, body) == ["%s = nd.sigmoid %x", "return %s"]


@pytest.mark.parametrize(
    "change",
    [
        ("nd.div 1.0", "nd.div 2.0"),
        ("nd.neg %x", "nd.abs %x"),
        ("nd.add 1.0", "nd.add -1.0"),
        ("nd.div 1.0, %d", "nd.div %d, 1.0"),
    ],
)
def test_what_only_looks_alike_stays(apply, change):
    body = "%n = nd.neg %x\n%e = nd.exp %n\n%d = nd.add 1.0, %e\n%s = nd.div 1.0, %d\nreturn %s"
    assert "sigmoid" not in str(apply(SIGMOID, body.replace(*change)))


def test_every_order_of_nested_commutative_operands_is_tried(apply):
    rule = """
    pattern @distribute {
      match   nd.add(nd.mul(%a, %b), nd.mul(%a, %c))
      rewrite nd.mul(%a, nd.add(%b, %c))
      where   rank(%a) == 1
    }
    """
    for one, two, swap in itertools.product(["%x, %y", "%y, %x"], ["%x, %z", "%z, %x"], [False, True]):
        first, second = ("%q", "%p") if swap else ("%p", "%q")
        body = f"%p = nd.mul {one}\n%q = nd.mul {two}\n%s = nd.add {first}, {second}\nreturn %s"
        lines = apply(rule, body, "%x: tensor<4xf32>, %y: tensor<4xf32>, %z: tensor<4xf32>")
        assert lines in (
            ["%0 = nd.add %y, %z", "%s = nd.mul %x, %0", "return %s"],
            ["%0 = nd.add %z, %y", "%s = nd.mul %x, %0", "return %s"],
        )


def test_a_condition_that_fails_lets_the_other_order_be_tried(apply):
    rule = """
    pattern @a {
      match   nd.add(%c, %x)
      rewrite nd.sub(%x, %c)
      where   %c is constant, %x is not constant
    }
    """
    for line in ("nd.add %x, 2.0", "nd.add 2.0, %x"):
        assert apply(rule, f"%s = {line}\nreturn %s")[0] == "%s = nd.sub %x, %num0"


def test_the_same_name_means_the_same_value(apply):
    rule = "pattern @a { match nd.mul(%a, %a) rewrite nd.abs(%a) }"
    assert apply(rule, "%s = nd.mul %x, %x\nreturn %s") == ["%s = nd.abs %x", "return %s"]
    assert apply(rule, "%s = nd.mul %x, %y\nreturn %s")[0].startswith("%s = nd.mul")


LITERALS = [
    # literal, constant, whether it matches
    ("0.0", "dense<0.0> : tensor<4xf32>", True),
    ("0.0", "dense<-0.0> : tensor<4xf32>", False),
    ("-0.0", "dense<-0.0> : tensor<4xf32>", True),
    ("0", "dense<0.0> : tensor<4xf32>", True),
    ("0", "dense<-0.0> : tensor<4xf32>", False),
    ("0", "dense<0> : tensor<4xi32>", True),
    ("0", "dense<false> : tensor<4xi1>", True),
    ("1", "dense<1> : tensor<4xi8>", True),
    ("1", "dense<1.0> : tensor<4xbf16>", True),
    ("1", "dense<true> : tensor<4xi1>", True),
    ("true", "dense<true> : tensor<4xi1>", True),
    ("true", "dense<1> : tensor<4xi32>", False),
    ("false", "dense<true> : tensor<4xi1>", False),
    ("1.0", "dense<1> : tensor<4xi32>", False),
    ("1.0", "dense<1.0> : tensor<4xf16>", True),
    ("0.1", "dense<0.1> : tensor<4xf32>", True),
    ("0.1", "dense<0.1> : tensor<4xf64>", True),
    ("0.1", "dense<0.1> : tensor<4xbf16>", True),
    ("0.1", "dense<0.2> : tensor<4xf32>", False),
    ("-1", "dense<255> : tensor<4xui8>", False),
    ("255", "dense<255> : tensor<4xui8>", True),
    ("inf", "dense<0x7F800000> : tensor<4xf32>", True),
    ("-inf", "dense<0x7F800000> : tensor<4xf32>", False),
    ("nan", "dense<0x7FC00000> : tensor<4xf32>", True),
    ("nan", "dense<1.0> : tensor<4xf32>", False),
    ("1", "dense<[1.0, 1.0, 1.0, 2.0]> : tensor<4xf32>", False),
]


@pytest.mark.parametrize(("literal", "constant", "matches"), LITERALS)
def test_a_number_matches_a_constant_bit_for_bit(program, literal, constant, matches):
    type = constant.partition(" : ")[2]
    body = f"%c = nd.constant {{value = {constant}}}\n%s = nd.concat %x, %c {{axis = 0}}"
    module = program(f"{body}\nreturn %s", f"%x: {type}")
    rule = f"pattern @a {{ match nd.concat(%x, {literal}) {{axis = 0}} rewrite nd.concat(%x, %x) {{axis = 0}} }}"
    assert bool(rewrite(module, parse_patterns(rule))["a"]) is matches


def test_a_number_matches_through_broadcast_to(apply):
    rule = "pattern @a { match nd.mul(%a, %two = 2.0) rewrite nd.add(%a, %two) }"
    body = "%c = nd.constant {value = dense<2.0> : tensor<f32>}\n%b = nd.broadcast_to %c {shape = [4]}\n"
    assert apply(rule, body + "%s = nd.mul %x, %b\nreturn %s")[-2:] == ["%s = nd.add %x, %b", "return %s"]
    like = "%b = nd.broadcast_to %c, %x {shape = [-1]}\n"
    body = body.replace("%b = nd.broadcast_to %c {shape = [4]}\n", like)
    assert "%s = nd.add %x, %b" in apply(rule, body + "%s = nd.mul %x, %b\nreturn %s", "%x: tensor<?xf32>")


def test_an_attribute_that_is_not_written_has_its_default(apply):
    rule = "pattern @a { match nd.sum(%x) rewrite nd.mean(%x) }"
    header = "%x: tensor<4x4xf32>"
    assert apply(rule, "%s = nd.sum %x\nreturn %s", header)[0] == "%s = nd.mean %x"
    assert apply(rule, "%s = nd.sum %x {axes = [0]}\nreturn %s", header)[0] == "%s = nd.sum %x {axes = [0]}"
    assert apply(rule, "%s = nd.sum %x {keepdims = true}\nreturn %s", header)[0].startswith("%s = nd.sum")
    rule = "pattern @a { match nd.sum(%x) {axes = $a, keepdims = $k} rewrite nd.mean(%x) {axes = $a, keepdims = $k} }"
    assert apply(rule, "%s = nd.sum %x\nreturn %s", header)[0] == "%s = nd.mean %x"
    line = "%s = nd.sum %x {axes = [-1], keepdims = true}\nreturn %s"
    assert apply(rule, line, header)[0] == "%s = nd.mean %x {axes = [-1], keepdims = true}"


def test_attributes_are_compared_and_computed(apply):
    rule = """
    pattern @same { match nd.sub(nd.max(%x) {axes = $a}, nd.min(%x) {axes = $a}) rewrite nd.sum(%x) {axes = $a} }
    pattern @turned {
      match   nd.transpose(nd.transpose(%x) {perm = $p}) {perm = compose($p, $p)}
      rewrite nd.transpose(%x) {perm = compose($p, compose($p, $p))}
      where   $p is not none
    }
    """
    header = "%x: tensor<2x2x2xf32>"
    for one, two, fires in [("[0]", "[0]", True), ("[0]", "[1]", False), ("[2]", "[-1]", False)]:
        body = f"%a = nd.max %x {{axes = {one}}}\n%b = nd.min %x {{axes = {two}}}\n%s = nd.sub %a, %b\nreturn %s"
        assert (apply(rule, body, header)[0] == f"%s = nd.sum %x {{axes = {one}}}") is fires
    body = "%a = nd.transpose %x {perm = [1, 2, 0]}\n%s = nd.transpose %a {perm = [2, 0, 1]}\nreturn %s"
    assert apply(rule, body, header)[0] == "%s = nd.transpose %x {perm = [0, 1, 2]}"
    assert len(apply(rule, body.replace("[2, 0, 1]", "[1, 2, 0]"), header)) == 3


def test_bools_numbers_and_strings_are_told_apart(apply):
    rule = """
    pattern @a { match rules_test.sums(%x) {mode = "odd", scale = 2, flag = true} rewrite nd.neg(%x) }
    """
    for attributes, fires in [
        ('{mode = "odd", scale = 2.0, flag = true}', True),
        ('{mode = "even", scale = 2.0, flag = true}', False),
        ('{mode = "odd", scale = 1.0, flag = true}', False),
        ('{mode = "odd", scale = 2.0}', False),
    ]:
        found = apply(rule, f"%s = rules_test.sums %x {attributes}\nreturn %s")
        assert (found[0] == "%s = nd.neg %x") is fires


def test_operands_that_may_be_there_or_not(apply):
    header = "%x: tensor<4x4xf32>, %s: tensor<4xf32>"
    makers = {"": "", ", %s": "scale", ", %s, %s": "both"}
    rules = {
        "match nd.layer_norm(%x)": [""],
        "match nd.layer_norm(%x, none, none)": [""],
        "match nd.layer_norm(%x, %_)": ["scale"],
        "match nd.layer_norm(%x, %s, %s)": ["both"],
        "match nd.layer_norm(%x, ...)": ["", "scale", "both"],
        "match nd.layer_norm(%x, %_, ...)": ["scale", "both"],
    }
    for match, names in rules.items():
        for operands, name in makers.items():
            rule = f"pattern @a {{ {match} rewrite nd.neg(%x) }}"
            fired = apply(rule, f"%r = nd.layer_norm %x{operands}\nreturn %r", header)[0] == "%r = nd.neg %x"
            assert fired is (name in names), (match, operands)


def test_any_number_of_operands(apply):
    one = "pattern @a { match rules_test.sums(%a, %b) rewrite nd.add(%a, %b) }"
    open_end = "pattern @a { match rules_test.sums(%a, %b, ...) rewrite nd.add(%a, %b) }"
    for count in range(1, 5):
        body = f"%s = rules_test.sums {', '.join(['%x', '%y', '%x', '%y'][:count])}\nreturn %s"
        assert (apply(one, body)[0] == "%s = nd.add %x, %y") is (count == 2)
        assert (apply(open_end, body)[0] == "%s = nd.add %x, %y") is (count >= 2)
    made = apply(
        "pattern @a { match nd.sub(%a, %b) rewrite rules_test.sums(%a, %b, %a) }", "%s = nd.sub %x, %y\nreturn %s"
    )
    assert made[0] == "%s = rules_test.sums %x, %y, %x"


def test_several_results_have_a_name_each(apply):
    body = "%q, %r = rules_test.divmod %x, %y\nreturn %q, %r"
    rule = "pattern @a { match %q, %r = rules_test.divmod(%a, %b) rewrite nd.div(%a, %b), nd.mod(%a, %b)"
    for condition, fires in [("%q has one use, %r has one use", True), ("%r has 2 uses, type(%q) is float", False)]:
        assert apply(f"{rule} where {condition} }}", body)[0].startswith("%q = nd.div") is fires
    assert len(apply(f"{rule.replace('%q, %r =', '%q =')} where %q has one use }}", body)) == 2


def test_several_results_are_replaced_each(apply):
    body = "%q, %r = rules_test.divmod %x, %y\nreturn %q, %r"
    rule = "pattern @a { match rules_test.divmod(%a, %b) rewrite nd.div(%a, %b), nd.mod(%a, %b) }"
    assert apply(rule, body) == ["%q = nd.div %x, %y", "%r = nd.mod %x, %y", "return %q, %r"]
    swapped = "pattern @a { match rules_test.divmod(%a, 2.0) rewrite rules_test.divmod(%a, %a) }"
    found = apply(swapped, "%q, %r = rules_test.divmod %x, %c\nreturn %q, %r".replace("%c", "2.0"))
    assert found[-2:] == ["%q, %r = rules_test.divmod %x, %x", "return %q, %r"]


def test_one_of_several_results(apply):
    body = "%q, %r = rules_test.divmod %x, %y\n%n = nd.neg %{}\nreturn %n"
    rule = "pattern @a { match nd.neg(rules_test.divmod(%a, %b)#1) rewrite nd.abs(rules_test.divmod(%b, %a)#0) }"
    assert "%n = nd.neg %q" in apply(rule, body.format("q"))
    lines = apply(rule, body.format("r"))
    assert lines[0].endswith("rules_test.divmod %y, %x") and lines[1].startswith("%n = nd.abs %0")
