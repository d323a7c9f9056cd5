"""docs/rules.md: its rules are read and checked, its tables are those of the language, and what it calls wrong is refused."""

from __future__ import annotations

import contextlib
import io
import re

import pytest

from dlir.ir.errors import DlirError
from dlir.passes.patterns import parse_patterns
from dlir.passes.patterns.conditions import signature
from dlir.passes.patterns.proof import prove_all
from dlir.passes.patterns.vocabulary import ADJECTIVES, FUNCTIONS, STANCES


@pytest.fixture(scope="module")
def page(repo_root):
    return (repo_root / "docs" / "rules.md").read_text()


def blocks(page):
    """Each block of rules, with what it is refused for (or nothing)."""
    return re.findall(r"(?:<!-- refused: (.*?) -->\n)?```mlir\n(.*?)```", page, re.DOTALL)


def test_what_the_page_shows_as_right_is_right(page):
    right = [text for reason, text in blocks(page) if not reason]
    assert len(right) >= 3
    for text in right:
        report = prove_all(parse_patterns(text, "docs/rules.md"))
        assert report.verdicts and report.ok, report.problems


def test_what_the_page_shows_as_wrong_is_refused_for_the_reason_given(page):
    wrong = [(reason, text) for reason, text in blocks(page) if reason]
    assert len(wrong) >= 8
    for reason, text in wrong:
        try:
            problems = prove_all(parse_patterns(text, "docs/rules.md")).problems
        except DlirError as error:
            problems = error.diagnostics
        assert problems and reason in f"{problems[0].message} {problems[0].hint}", text


def test_the_tables_are_complete(page):
    for name, function in FUNCTIONS.items():
        assert f"| `{signature(name)}` | {function.result} | {function.help} |" in page
    for name, help in STANCES.items():
        assert f"| `{name}` | {help} |" in page
    for name in ADJECTIVES:
        assert re.search(rf"^\|.*`{name}`.*\|$", page, re.MULTILINE), name


def test_the_python_on_the_page_runs_and_is_told_what_it_forgot(page):
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "docs/rules.md", "exec"), {})
    assert "-0.0 becomes 0.0" in printed.getvalue() and "`-0.0 becomes 0.0`" in page
