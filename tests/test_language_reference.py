"""Every example of docs/language.md is right, and every wrong one is told what stands below it."""

from __future__ import annotations

import re

import pytest

from dlir.ir.errors import DlirError
from dlir.ir.traversal import difference
from dlir.ir.verifier import verified
from dlir.textir import parse, print_module
from dlir.textir.build.base import MAX_DEPTH
from dlir.textir.diagnostics import render
from dlir.textir.parser import parse_source
from dlir.textir.source import Source


@pytest.fixture(scope="module")
def page(repo_root):
    return (repo_root / "docs" / "language.md").read_text()


def test_examples_parse_verify_and_round_trip(page):
    examples = re.findall(r"```mlir\n(.*?)```", page, re.DOTALL)
    assert len(examples) >= 14
    for example in examples:
        module, blobs = parse_source(Source("language.md", example))
        verified(module)
        for generic in (False, True):
            for locations in (False, True):
                text = print_module(module, generic, locations, blobs)
                again, same = parse_source(Source("again", text))
                assert difference(module, again) is None and blobs == same
                assert print_module(again, generic, locations, same) == text


def test_wrong_examples_get_the_message_below_them(page):
    wrong = re.findall(r"```mlir-error\n(.*?)```\n\n```\n(.*?)```", page, re.DOTALL)
    assert len(wrong) == page.count("```mlir-error") >= 7
    for text, message in wrong:
        with pytest.raises(DlirError) as caught:
            verified(parse(text, "net.dlir"))
        assert render(caught.value, {"net.dlir": text}) == message.rstrip()


def test_the_limit_of_nesting_is_the_one_stated(page):
    assert f"nested {MAX_DEPTH:,} deep" in page and f"types | {MAX_DEPTH:,} |" in page
