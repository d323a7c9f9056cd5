"""The rewrite driver: which pattern is tried first, and how one that does not end is found."""

from __future__ import annotations

import time

import pytest

from dlir.ir.errors import DlirError
from dlir.ir.ops import nd
from dlir.passes.patterns import parse_patterns
from dlir.passes.rewriter import pattern, rewrite
from dlir.textir import to_text

BODY = "%n = nd.neg %x\nreturn %n"


def test_the_largest_benefit_is_tried_first(program):
    rules = """
    pattern @small { match nd.neg(%x) rewrite nd.abs(%x) }
    pattern @large benefit 5 { match nd.neg(%x) rewrite nd.exp(%x) }
    pattern @also_small { match nd.neg(%x) rewrite nd.tanh(%x) }
    """
    assert rewrite(program(BODY), parse_patterns(rules)) == {"large": 1}
    python = pattern("nd.neg", benefit=9)(lambda op: nd.sin(op.operands[0]))
    assert rewrite(program(BODY), [*parse_patterns(rules), python])["<lambda>"] == 1
    # Of equal ones, the first.
    assert rewrite(program(BODY), [p for p in parse_patterns(rules) if p.benefit == 1])["small"] == 1


def test_a_pattern_that_matches_what_it_makes_is_named(program):
    rule = parse_patterns("\npattern @again { match nd.neg(%x) rewrite nd.neg(nd.abs(%x)) }", "my.dlir")
    with pytest.raises(DlirError, match="rewriting does not end: pattern 'again' matches what it makes") as caught:
        rewrite(program(BODY), rule)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.location.file == "a.dlir" and "final form" in diagnostic.hint
    assert [(note.location.file, note.location.line) for note in diagnostic.notes] == [("my.dlir", 2)]


def test_patterns_that_undo_each_other_are_named_and_others_are_not(program):
    rules = """
    pattern @there { match nd.neg(%x) rewrite nd.sub(0.0, %x) }
    pattern @back { match nd.sub(0.0, %x) rewrite nd.neg(%x) }
    pattern @innocent { match nd.exp(nd.log(%x)) rewrite %x }
    """
    body = "%l = nd.log %x\n%e = nd.exp %l\n%n = nd.neg %e\nreturn %n"
    with pytest.raises(DlirError, match="patterns 'there' and 'back' undo each other, and fired"):
        rewrite(program(body), parse_patterns(rules))


def test_a_loop_is_found_soon_in_a_large_program(program):
    lines = [f"%v{i} = nd.exp %{'x' if i == 0 else f'v{i - 1}'}" for i in range(4000)]
    module = program("\n".join([*lines, "%n = nd.neg %v3999\nreturn %n"]))
    start = time.process_time()
    with pytest.raises(DlirError, match="pattern 'flip' matches what it makes"):
        rewrite(
            module,
            parse_patterns("pattern @flip { match nd.neg(%x) rewrite nd.neg(nd.abs(nd.neg(%x))) where rank(%x) == 1 }"),
        )
    assert time.process_time() - start < 60  # 64 firings an op would be a quarter of a million


def test_max_rewrites_is_a_limit(program):
    body = "\n".join(f"%v{i} = nd.neg %x" for i in range(5)) + "\nreturn " + ", ".join(f"%v{i}" for i in range(5))
    rule = parse_patterns("pattern @a { match nd.neg(%x) rewrite nd.abs(%x) }")
    assert rewrite(program(body), rule, max_rewrites=5)["a"] == 5
    with pytest.raises(DlirError, match="rewriting does not end"):
        rewrite(program(body), rule, max_rewrites=4)


def test_a_long_chain_that_ends_is_no_loop(program):
    lines = [f"%v{i} = nd.transpose %{'x' if i == 0 else f'v{i - 1}'}" for i in range(3000)]
    module = program("\n".join([*lines, "return %v2999"]), "%x: tensor<2x3xf32>")
    rule = """
    pattern @twice {
      match nd.transpose(nd.transpose(%x) {perm = $q}) {perm = $p}
      rewrite nd.transpose(%x) {perm = compose(permutation($q, %x), permutation($p, %x))}
    }
    """
    assert rewrite(module, parse_patterns(rule))["twice"] == 2999
    assert to_text(module).count("transpose") == 1


def test_a_pattern_of_another_type_is_an_error(program):
    shrink = pattern("nd.neg")(lambda op: nd.sum(op.operands[0]))
    with pytest.raises(DlirError, match=r"replaces the tensor<4xf32> of 'nd.neg' by tensor<f32>"):
        rewrite(program(BODY), [shrink])
