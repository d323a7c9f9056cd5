"""The command options for rules: --patterns and --check-patterns."""

from __future__ import annotations

import argparse

import pytest

from dlir.frontends.cli import rules
from dlir.ir.errors import DlirError
from dlir.passes.manager import PassManager
from dlir.textir import to_text

GOOD = "pattern @mine { match nd.exp(nd.log(%x)) rewrite %x ignores rounding, nan, inf, signed zero }\n"
BAD = "pattern @off { match nd.add(%x, 0.0) rewrite %x }\n"
BODY = "%l = nd.log %x\n%e = nd.exp %l\nreturn %e"


@pytest.fixture
def file(tmp_path):
    def write(text, name="my.dlir"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def test_the_options_are_there():
    parser = argparse.ArgumentParser()
    rules.add_options(parser)
    args = parser.parse_args(["--patterns", "a", "--patterns", "b", "--check-patterns", "c"])
    assert (args.patterns, args.check_patterns) == (["a", "b"], ["c"])
    assert parser.parse_args([]).patterns == []


@pytest.mark.parametrize("pipeline", ["canonicalize", "cse,func(canonicalize{max-rewrites=9})"])
def test_canonicalize_applies_the_rules_as_well(file, program, pipeline):
    manager = PassManager.from_text(pipeline)
    rules.use_patterns(manager, [file(GOOD)], {})
    module = program(BODY)
    manager.run(module)
    assert "return %x" in to_text(module)
    # Other managers do not know them.
    module = program(BODY)
    PassManager.from_text(pipeline).run(module)
    assert "nd.exp" in to_text(module)
    assert str(manager) == pipeline


def test_rules_without_a_pass_to_apply_them_are_an_error(file):
    with pytest.raises(DlirError, match="which no pass here is"):
        rules.use_patterns(PassManager.from_text("cse"), [file(GOOD)], {})
    rules.use_patterns(PassManager.from_text("cse"), [], {})


def test_mistakes_are_shown_in_the_file(file):
    sources: dict[str, str] = {}
    path = file("pattern @a { match nd.nge(%x) rewrite %x }")
    with pytest.raises(DlirError, match="unknown op 'nd.nge'"):
        rules.use_patterns(PassManager.from_text("canonicalize"), [path], sources)
    assert path in sources


def test_checking_prints_a_line_for_each_rule(file, capsys):
    assert rules.check([file(GOOD), file(GOOD.replace("mine", "also"), "two.dlir")], {}) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["ok      mine", "ok      also"]
    sources: dict[str, str] = {}
    with pytest.raises(DlirError, match="pattern 'off' changes the result"):
        rules.check([file(GOOD + BAD)], sources)
    assert capsys.readouterr().out.splitlines()[1].startswith("REFUSED off")
    assert list(sources.values()) == [GOOD + BAD]
