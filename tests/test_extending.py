"""The code of docs/extending.md runs and does what the page says."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from dlir.backends.compiler import compile_module
from dlir.ir import registry
from dlir.ir.builder import at_end
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.ops import diff, func, nd, nn
from dlir.ir.types import F32, TensorType
from dlir.passes.manager import PassManager
from dlir.passes.rewriter import rewrite

PRELUDE = """
from dataclasses import dataclass
import numpy as np
from dlir.backends.compiler import compile_module
from dlir.ir import registry
from dlir.ir.dialects.func import find_function
from dlir.backends.executable import numpy_dtype, signature_of
from dlir.ir.builder import at_end
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.nd.arithmetic import Binary
from dlir.ir.dialects.nd.gradients import of_each
from dlir.ir.dialects.nn.base import Layer
from dlir.ir.op import Tensor
from dlir.ir.ops import arith, func, math, nd
from dlir.ir.types import F32, TensorType
from dlir.passes.manager import Pass, option
from dlir.passes.rewriter import defined_by, pattern
"""


@pytest.fixture(scope="module")
def page(repo_root) -> Iterator[dict[str, Any]]:
    text = (repo_root / "docs" / "extending.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 6
    module = types.ModuleType("extending")
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setitem(sys.modules, "extending", module)  # where dataclasses look their module up
    names = vars(module)
    for block in [PRELUDE, *blocks]:
        exec(compile(block, "docs/extending.md", "exec"), names)
    yield names
    monkeypatch.undo()
    for name in [name for name, cls in registry._OPS.items() if cls.__module__ == "extending"]:
        del registry._OPS[name]  # other tests go through all ops there are


def function_of(build, *types):
    module = Module.empty()
    function = Func.make("main", types)
    module.body.append(function)
    with at_end(function.body):
        func.return_(build(*function.body.args))
    function.update_type()
    return module


T = TensorType((5,), F32)


def test_the_op_compiles_broadcasts_and_computes(page):
    module = function_of(lambda a, b: nd.hypot(a, b), T, TensorType((), F32))
    x = np.linspace(-2, 2, 5, dtype=np.float32)
    got = compile_module(module)(x, np.array(3, np.float32))[0]
    np.testing.assert_allclose(got, np.hypot(x, 3), rtol=1e-6)


def test_the_op_has_a_gradient(page):
    module = function_of(lambda a, b: diff.gradient((nd.sum(nd.hypot(a, b)),), (), (b,)), T, T)
    x = np.linspace(-2, 2, 5, dtype=np.float32)
    np.testing.assert_allclose(compile_module(module)(x, x + 3)[0], (x + 3) / np.hypot(x, x + 3), rtol=1e-6)


def test_the_layer_lowers_to_its_decomposition(page):
    module = function_of(nn.swish, T)
    x = np.linspace(-2, 2, 5, dtype=np.float32)
    np.testing.assert_allclose(compile_module(module)(x)[0], x / (1 + np.exp(-x)), rtol=1e-5)


def test_the_rule_fires_where_it_may(page):
    for build, fires in [(lambda x: nd.exp(nd.log(nd.abs(x))), 1), (lambda x: nd.exp(nd.log(x)), 0)]:
        module = function_of(build, T)
        assert rewrite(module, [page["exp_of_log"]])["exp-of-log"] == fires


def test_the_pass_counts(page):
    item = page["CountOps"](only="nd")
    PassManager([item]).run(function_of(lambda x: nd.exp(nd.neg(x)), T))
    assert item.stats == {"nd": 2} and str(item) == "count-ops{only=nd}"


def test_the_backend_answers(page):
    got = page["load"](function_of(nd.exp, T), "main", None)(np.ones(5, np.float32))
    assert np.array_equal(got[0], np.zeros(5, np.float32))


def test_the_frontend_computes_polynomials(page):
    x = np.linspace(-1, 1, 7, dtype=np.float32)
    np.testing.assert_allclose(page["polynomial"]([1, 2, 3], 7)(x)[0], 1 + 2 * x + 3 * x * x, rtol=1e-6)
