"""``--patterns`` and ``--check-patterns``: rules of one's own."""

from __future__ import annotations

import pytest
from support.cli import run

PROGRAM = """func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %a = nd.ceil %x
  %b = nd.tanh %a
  %c = nd.floor %a
  %d = nd.add %b, %c
  return %d
}
"""
GOOD = """// floor(ceil(x)) -> ceil(x)
pattern @floor_of_ceil {
  match   nd.floor(%a = nd.ceil(%_))
  rewrite %a
}
"""
WRONG = GOOD.replace("%a = nd.ceil(%_)", "nd.ceil(%x)").replace("rewrite %a", "rewrite %x")


@pytest.fixture
def files(tmp_path):
    program, rules = tmp_path / "p.dlir", tmp_path / "my.pattern"
    program.write_text(PROGRAM)
    rules.write_text(GOOD)
    return program, rules


def test_a_rule_of_ones_own_is_applied_by_canonicalize(files):
    program, rules = files
    done = run("dlir-opt", program, "-p", "canonicalize", "--patterns", rules)
    assert done.code == 0 and "nd.floor" not in done.out, done.err
    assert "nd.floor" in run("dlir-opt", program, "-p", "canonicalize").out


def test_without_canonicalize_there_is_nobody_to_apply_it(files):
    program, rules = files
    done = run("dlir-opt", program, "-p", "cse", "--patterns", rules)
    assert done.code == 1 and "canonicalize" in done.err


def test_a_right_rule_is_proved_and_a_wrong_one_refused(files):
    _, rules = files
    assert run("dlir-opt", "--check-patterns", rules).code == 0
    rules.write_text(WRONG)
    done = run("dlir-opt", "--check-patterns", rules)
    assert done.code == 1 and "'floor-of-ceil' changes the result" in done.err and f"{rules}:2:" in done.err


def test_a_looping_rule_is_named(files):
    program, rules = files
    rules.write_text("pattern @back_and_forth {\n  match nd.floor(%x)\n  rewrite nd.floor(nd.floor(%x))\n}\n")
    done = run("dlir-opt", program, "-p", "canonicalize", "--patterns", rules)
    assert done.code == 1 and "back" in done.err and "does not end" in done.err
    assert "Traceback" not in done.err
