"""docs/conversion.md: its code runs, and gives what the page shows."""

from __future__ import annotations

import re

import pytest

from dlir.ir.errors import DlirError
from dlir.ir.types import F32, F64, TensorType
from dlir.passes.conversion import ConversionTarget, NoMatch, apply_partial_conversion, conversion
from dlir.textir import parse, to_text
from dlir.textir.diagnostics import render

PRELUDE = """
from dlir.ir.ops import nd
from dlir.passes.conversion import *
"""


@pytest.fixture(scope="module")
def blocks(repo_root):
    text = (repo_root / "docs" / "conversion.md").read_text()
    return re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL)


def test_the_code_makes_of_the_first_text_the_second(blocks):
    (code,) = [text for language, text in blocks if language == "python"]
    before, after = [text for language, text in blocks if language == "mlir"]
    module = parse(before)
    names = {"module": module, "COMPLEX": TensorType((4,), F64), "PART": TensorType((4,), F32)}
    exec(compile(PRELUDE + code, "docs/conversion.md", "exec"), names)
    assert to_text(module) == to_text(parse(after))


def test_the_message_is_what_the_page_shows(blocks):
    (message,) = [text for language, text in blocks if not language]
    before = next(text for language, text in blocks if language == "mlir")

    @conversion("cx.mul")
    def real_multiply(op, operands, rewriter):
        return NoMatch("the operands are complex")

    target = ConversionTarget()
    target.add_illegal_dialect("cx")
    with pytest.raises(DlirError) as caught:
        apply_partial_conversion(parse(before, "cx.dlir"), target, [real_multiply])
    assert render(caught.value, {"cx.dlir": before}) == message.rstrip("\n")
