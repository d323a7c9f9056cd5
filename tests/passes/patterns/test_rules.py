"""The rules in passes/rules: each holds, and the files say what is stored of them."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest
from support.programs import make_inputs, make_program

from dlir.ir.core import Value
from dlir.ir.ops import nd
from dlir.ir.verifier import verified
from dlir.passes.patterns import TextPattern, load_rules, parse_patterns, store
from dlir.passes.patterns.make_store import rule_files, stored_text
from dlir.passes.patterns.proof import prove
from dlir.passes.patterns.proof.maker import Unfit
from dlir.passes.rewriter import rewrite
from dlir.passes.rules import canonical_rules
from dlir.passes.rules.folding import FOLDING
from dlir.textir import parse, to_text

FILES = rule_files()
RULES = [pytest.param(rule, id=f"{name}-{rule.name}") for name in FILES for rule in load_rules(name)]


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_holds_on_random_programs(rule):
    verdict = prove(rule, programs=20)
    assert verdict.ok, verdict.problem


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_its_equation_and_no_excuse(rule):
    assert "->" in rule.equation
    assert rule.ignores == () or rule.location.file.endswith("formulas.pattern")


def test_no_two_rules_have_one_name():
    names = [rule.values[0].name for rule in RULES]
    assert len(names) == len(set(names))


def _folded(maker) -> Value:
    makers = [nd.add, nd.mul, nd.maximum, nd.equal]
    return maker.pick(makers)(maker.constant(maker.pick([0.0, -0.0, 1.5, 3]), shape=()), maker.constant(2, shape=()))


def _to_the_right(maker) -> Value:
    op = maker.pick([nd.add, nd.mul, nd.maximum, nd.minimum])
    return op(maker.constant(maker.pick([0.0, -0.0, 1, np.nan]), shape=()), maker.input())


def _moved_splat(maker) -> Value:
    value = maker.constant(maker.pick([0.0, -0.0, 3]))
    if value.defining_op.name != "nd.constant":
        raise Unfit
    match maker.pick(["reshape", "broadcast_to", "transpose", "slice"]):
        case "reshape":
            return nd.reshape(value, shape=(value.type.size,))
        case "broadcast_to":
            return nd.broadcast_to(value, shape=(2, *value.shape))
        case "transpose":
            return nd.transpose(value)
    ends = tuple(int(maker.rng.integers(0, 3)) for _ in value.shape)
    return nd.slice(value, start=(0,) * value.rank, stop=ends)


EXAMPLES = {"constant-to-the-right": _to_the_right, "move-a-splat": _moved_splat, "fold-constants": _folded}


def test_every_rule_in_python_has_an_example_and_holds():
    python = [rule for rule in canonical_rules(parse("")) if not isinstance(rule, TextPattern)]
    assert {rule.name for rule in python} == set(EXAMPLES)
    for rule in python:
        verdict = prove(rule, EXAMPLES[rule.name], programs=20)
        assert verdict.ok, verdict.problem


# ---------------------------------------------------------------- what is stored


def test_the_store_holds_what_the_files_say(repo_root):
    stored = (repo_root / "passes" / "rules" / store.STORE).read_text()
    assert stored == stored_text(), "run 'python -m dlir.passes.patterns.make_store'"


@pytest.mark.parametrize("name", FILES)
def test_text_and_store_give_the_same_rules(name):
    text = store.rule_text(name)
    file = f"dlir/passes/rules/{name}.pattern"
    for one, two in zip(load_rules(name), parse_patterns(text, file), strict=True):
        assert (one.name, one.rule, one.location) == (two.name, two.rule, two.location)


def test_a_text_that_was_changed_is_read(monkeypatch):
    monkeypatch.setattr(store, "rule_text", lambda name: "pattern @new { match nd.neg(nd.neg(%x)) rewrite %x }")
    assert [rule.name for rule in load_rules("arithmetic")] == ["new"]
    monkeypatch.setattr(store, "_stored", dict)
    assert [rule.name for rule in load_rules("arithmetic")] == ["new"]


def test_lark_is_not_needed_for_the_own_rules(repo_root):
    import subprocess

    code = (
        "import dlir.passes.canonicalize as c, sys; c.canonical_rules(c.Operation('a.b')); print('lark' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr


# ---------------------------------------------------------------- all rules together


def evaluate(module, inputs):
    function = module.body.first
    known = dict(zip(function.body.args, inputs, strict=True))
    for op in function.body.ops:
        if op.is_terminator:
            return [np.asarray(known[value]) for value in op.operands]
        known.update(zip(op.results, op.evaluate([known[value] for value in op.operands]), strict=True))
    raise AssertionError("no terminator")


@pytest.mark.parametrize("seed", range(25))
def test_random_programs_compute_the_same_bits_afterwards(seed):
    program = make_program(seed, exact=False, size=14)
    text = to_text(program.module)
    inputs = make_inputs(program, seed, special=True)
    before = evaluate(program.module, inputs)
    shuffle = random.Random(seed) if seed % 2 else None
    rules = [rule for rule in canonical_rules(program.module)]
    rewrite(program.module, rules, shuffle=shuffle)
    verified(program.module)
    for one, two in zip(before, evaluate(program.module, inputs), strict=True):
        same = (one == two) & (np.signbit(one) == np.signbit(two)) | ((one != one) & (two != two))
        assert same.all(), text


def test_rules_do_not_fire_for_ever_and_come_to_rest():
    for seed in range(10):
        program = make_program(seed, exact=seed % 2 == 0, size=20)
        rewrite(program.module, canonical_rules(program.module))
        assert not rewrite(program.module, canonical_rules(program.module))


def test_folding_takes_part():
    assert FOLDING[0] in canonical_rules(parse(""))


@pytest.mark.parametrize(("shape", "is_written"), [((5,), True), ((4, 6), True), ((1, 900), True), ((30, 65), False)])
def test_numbers_along_a_dimension_are_not_written_down_for_all_others(shape, is_written):
    """A loss that compares its labels with them would hold a table as large as what it is the loss of."""
    made = f"nd.iota {{axis = {len(shape) - 1}, dtype = i32, shape = {list(shape)}}}"
    module = parse(
        f"func.func @main() -> tensor<{'x'.join(map(str, shape))}xi32> {{\n  %0 = {made}\n  func.return %0\n}}"
    )
    rewrite(module, canonical_rules(module))
    assert ("nd.constant" in [op.name for op in module.walk()]) == is_written
