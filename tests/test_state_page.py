"""The examples of docs/state.md run."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from dlir.backends.compiler import compile_module
from dlir.ir.errors import DlirError
from dlir.textir import parse, print_module


@pytest.fixture(scope="module")
def page(repo_root):
    return (repo_root / "docs" / "state.md").read_text()


def test_the_programs_run_and_round_trip(page):
    examples = re.findall(r"```mlir\n(.*?)```", page, re.DOTALL)
    assert examples
    for example in examples:
        module = parse(example)
        assert print_module(parse(print_module(module))) == print_module(module)
        assert compile_module(module).variables.names


def test_the_script_runs(page, tmp_path):
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    path = tmp_path / "page.py"
    path.write_text(script)
    subprocess.run([sys.executable, path], check=True, timeout=120)


def test_the_message_is_the_one_that_is_shown(page):
    text = "\n" * 11 + "  %l = nd.log %x"
    program = f"func.func @main(%x: tensor<1xf32>) -> tensor<1xf32> {{{text}\nreturn %l }}"
    with pytest.raises(DlirError) as caught:
        compile_module(parse(program, "net.dlir"), check_numerics=True)([0.0])
    assert str(caught.value) in page
