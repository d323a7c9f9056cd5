"""S35: optimisation can be limited: an op, a layer or a whole function says "no fusion here"; a group says what to fuse."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.backends.compiler import compile_module
from dlir.ir.errors import DlirError
from dlir.textir import parse

CHAIN = """
func.func @main(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {{
  %a = nd.exp %x {0}
  %b = nd.tanh %a {1}
  %c = nd.sqrt %x {2}
  %d = nd.add %b, %c {3}
  return %d
}}
"""
X = np.random.default_rng(0).random((4, 8), np.float32)
WANT = np.tanh(np.exp(X)) + np.sqrt(X)


def group(name):
    return f'{{dlir.fuse = "{name}"}}' if name else ""


def kernels(text, level="O2", backend="cpu"):
    program = compile_module(parse(text), level=level, backend=backend)
    return program.kernels, program(X)[0]


@pytest.mark.parametrize(
    ("groups", "count"),
    [
        (("", "", "", ""), 1),
        (("none", "", "", ""), 2),
        (("", "none", "", ""), 3),
        (("none", "none", "none", "none"), 4),
        (("one", "one", "", ""), 2),
        (("one", "one", "two", "two"), 2),
    ],
)
@pytest.mark.parametrize("backend", ["cpu", "cuda-sim"])
def test_ops_say_which_kernel_they_are_in(groups, count, backend, measured):
    found, result = kernels(CHAIN.format(*map(group, groups)), backend=backend)
    measured(f"groups {' '.join(name or '-' for name in groups)}: {found} kernels")
    assert found == count
    np.testing.assert_allclose(result, WANT, rtol=1e-6)


def test_a_function_says_no_fusion_here():
    text = CHAIN.format("", "", "", "").replace(" {\n", ' attributes {dlir.fuse = "none"} {\n', 1)
    found, result = kernels(text)
    assert found == 4
    np.testing.assert_allclose(result, WANT, rtol=1e-6)


def test_a_formula_that_is_kept_apart_is_not_recognised():
    text = """
    func.func @main(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
      %one = nd.constant {value = dense<1.0> : tensor<f32>} : tensor<f32>
      %n = nd.neg %x
      %e = nd.exp %n {dlir.fuse = "none"}
      %d = nd.add %one, %e
      %y = nd.div %one, %d
      return %y
    }
    """
    found, result = kernels(text)
    assert found == 3
    np.testing.assert_allclose(result, 1 / (1 + np.exp(-X)), rtol=1e-6)


def test_a_layer_hands_it_on():
    text = """
    func.func @main(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
      %s = nn.sigmoid %x {dlir.fuse = "none"}
      %y = nd.neg %s
      return %y
    }
    """
    found, result = kernels(text)
    assert found == 2
    np.testing.assert_allclose(result, -1 / (1 + np.exp(-X)), rtol=1e-6)


PRODUCT = """
func.func @main(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {{
  %a = nd.exp %x {0}
  %b = nd.matmul %a, %a {1}
  %c = nd.add %b, %a {2}
  return %c
}}
"""


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (("g", "", "g"), "'nd.matmul' stands between"),
        (("g", "other", "g"), "'nd.matmul' stands between"),
        (("g", "g", ""), "computed again for each tile"),
    ],
)
def test_contradictory_groups_are_refused_with_a_place(groups, message):
    module = parse(PRODUCT.format(*map(group, groups)), "a.dlir")
    with pytest.raises(DlirError, match="cannot be one kernel") as caught:
        compile_module(module)
    (problem,) = caught.value.diagnostics
    assert message in problem.message and problem.location.line == 3 and problem.notes


def test_nonsense_is_refused():
    module = parse(CHAIN.format("{dlir.fuse = false}", "", "", ""), "a.dlir")
    with pytest.raises(DlirError, match="'dlir.fuse' must be a name, got false"):
        compile_module(module)
