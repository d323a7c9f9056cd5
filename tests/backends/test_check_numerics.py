"""The opt-in check for NaN and infinity: it names the op that made the first one, and no variable is changed."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from support.cuda import need_simulator

from dlir.backends.compiler import compile_module
from dlir.ir.errors import DlirError
from dlir.passes.manager import PassManager
from dlir.textir import parse
from dlir.textir.diagnostics import render
from dlir.textir.printer import print_module

STEP = """
state.variable @w {init = dense<1.0> : tensor<3x3xf32>, type = tensor<3x3xf32>}
state.variable @steps {init = dense<0> : tensor<i32>, type = tensor<i32>}
func.func @main(%x: tensor<2x3xf32>) -> (tensor<2x3xf32>, tensor<f32>) {
  %w = state.read @w
  %n = state.read @steps
  %one = nd.constant {value = dense<1> : tensor<i32>}
  %m = nd.add %n, %one
  state.write @steps, %m
  %y = nd.matmul %x, %w
  %e = nd.exp %y
  %l = nd.log %e
  %s = nd.sum %l
  %g = diff.gradient %s, %w
  %v = nd.sub %w, %g
  state.write @w, %v
  return %l, %s
}
"""


@pytest.fixture(params=[("ref", "O2"), ("cpu", "O0"), ("cpu", "O2"), ("cuda-sim", "O2")], ids="-".join)
def compiled(request):
    backend, level = request.param
    if backend == "cuda-sim":
        need_simulator()
    return lambda text: compile_module(parse(text), backend=backend, level=level, check_numerics=True)


def message(program, *arrays):
    with pytest.raises(DlirError) as caught:
        program(*arrays)
    return render(caught.value, {})


def function(body, arguments="%x: tensor<4xf32>", results="tensor<4xf32>"):
    return f"func.func @main({arguments}) -> {results} {{\n{body}\n}}"


def test_a_step_that_goes_wrong_is_not_taken(compiled):
    program = compiled(STEP)
    good = np.array([[1, 2, 3], [0.5, 0, -1]], np.float32)
    first, _ = program(good)
    np.testing.assert_allclose(first, good @ np.ones((3, 3)), rtol=1e-5, atol=1e-6)
    before = program.variables.snapshot()
    assert before["steps"] == 1
    # The weights are negative now.  What overflows makes the gradient wrong, too, but later.
    assert "<input>:11:3: error: 'nd.exp' (%e) is the first op that makes a NaN or an infinity" in message(
        program, -400 * np.abs(good)
    )
    assert "<input>:12:3: error: 'nd.log' (%l)" in message(program, 400 * np.abs(good))
    assert "error: argument '%x' holds a NaN" in message(program, good * np.float32(np.nan))
    found = program.variables.snapshot()
    assert found["steps"] == 1
    np.testing.assert_array_equal(found["w"], before["w"])
    program(good)
    assert program.variables["steps"] == 2


def test_a_variable_that_holds_a_nan_is_named(compiled):
    program = compiled(STEP)
    program.variables["w"] = np.full((3, 3), np.nan, np.float32)
    assert "<input>:5:3: error: variable '@w' holds a NaN before the call" in message(
        program, np.ones((2, 3), np.float32)
    )


def test_infinities_that_are_given_may_go_on_until_they_make_a_nan(compiled):
    body = """
      %low = nd.constant {value = dense<0xFF800000> : tensor<4xf32>}
      %zero = nd.constant {value = dense<0.0> : tensor<4xf32>}
      %keep = nd.greater %x, %zero
      %masked = nd.select %keep, %x, %low
      %p = nn.softmax %masked
      return %p"""
    program = compiled(function(body))
    x = np.float32([1, -1, 2, -2])
    (found,) = program(x)
    np.testing.assert_allclose(found.sum(), 1, rtol=1e-6)
    assert found[1] == found[3] == 0
    program(np.float32([np.inf, -np.inf, 1, 2])[[1, 2, 3, 1]])
    # A row of which nothing is kept.
    assert "'nn.softmax' (%p)" in message(program, -np.abs(x))


def test_what_is_made_and_lost_again_is_found(compiled):
    body = "%r = nd.div %x, %y\n%c = nd.minimum %r, %x\nreturn %c"
    program = compiled(function(body, "%x: tensor<4xf32>, %y: tensor<4xf32>"))
    x = np.float32([1, 2, 3, 4])
    np.testing.assert_array_equal(program(x, x)[0], np.ones(4))
    assert "<input>:2:1: error: 'nd.div' (%r)" in message(program, x, np.float32([1, 0, 1, 1]))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_every_float_type_is_looked_at(compiled, dtype):
    name = {"float16": "f16", "bfloat16": "bf16", "float64": "f64"}[np.dtype(dtype).name]
    body = "%t = nd.transpose %x {perm = [1, 0]}\n%y = nd.mul %t, %t\nreturn %y"
    program = compiled(function(body, f"%x: tensor<2x3x{name}>", f"tensor<3x2x{name}>"))
    x = np.arange(6).reshape(2, 3).astype(dtype)
    np.testing.assert_array_equal(program(x)[0], (x * x).T)
    x[1, 2] = 1e200 if dtype is np.float64 else 3e38 if name == "bf16" else 60000
    assert "'nd.mul' (%y)" in message(program, x)


def test_results_go_where_they_are_wanted_only_if_they_are_right(compiled):
    program = compiled(function("%y = nd.sqrt %x\nreturn %y"))
    assert len(program.executable.signature.results) == 1
    out = np.zeros(4, np.float32)
    (found,) = program(np.float32([1, 4, 9, 16]), out=[out])
    assert found is out and list(out) == [1, 2, 3, 4]
    with pytest.raises(DlirError, match="nd.sqrt"):
        program(np.float32([1, -1, 1, 1]), out=[out])
    assert list(out) == [1, 2, 3, 4]
    with pytest.raises(DlirError, match="needs float32 of shape"):
        program(out, out=[np.zeros(5, np.float32)])
    with pytest.raises(DlirError, match="gives 1 results, got 2"):
        program(out, out=[out, out])


def test_ops_in_loops_are_the_loops(compiled):
    body = """
      %zero = arith.constant {value = 0 : index}
      %one = arith.constant {value = 1 : index}
      %many = arith.constant {value = 8 : index}
      %y = scf.for %zero, %many, %one, %x ({
      ^bb0(%i: index, %v: tensor<4xf32>):
        %m = nd.mul %v, %v
        scf.yield %m
      }) : tensor<4xf32>
      return %y"""
    program = compiled(function(body))
    np.testing.assert_array_equal(program(np.ones(4, np.float32))[0], np.ones(4))
    assert "'scf.for' (%y)" in message(program, np.full(4, 3, np.float32))


def test_called_functions_are_looked_into(compiled):
    text = "func.func private @f(%v: tensor<4xf32>) -> tensor<4xf32> {\n%r = nd.rsqrt %v\nreturn %r\n}\n"
    program = compiled(text + function("%y = func.call @f %x\n%z = nd.neg %y\nreturn %z"))
    assert "<input>:2:1: error: 'nd.rsqrt'" in message(program, np.zeros(4, np.float32))


def test_the_text_carries_its_checks():
    """As a pass by itself: the text may be cut anywhere behind it."""
    module = PassManager.from_text("inline,check-numerics,lower-nn,fuse,schedule,bufferize").run(
        parse(function("%y = nd.log %x\nreturn %y"))
    )
    program = compile_module(parse(print_module(module)))
    np.testing.assert_array_equal(program(np.ones(4, np.float32))[0], np.zeros(4))
    assert "'nd.log' (%y)" in message(program, np.zeros(4, np.float32))


def test_the_pass_runs_once_and_leaves_initialisers_alone():
    text = "state.variable @b {type = tensor<4xf32>}\n"
    text += "func.func private @first() -> tensor<4xf32> attributes {dlir.initializes = [@b]} {\n"
    text += "%c = nd.constant {value = dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>}\n%e = nd.exp %c\nreturn %e\n}\n"
    text += function("%b = state.read @b\n%y = nd.add %b, %x\nreturn %y")
    once = PassManager.from_text("check-numerics").run(parse(text))
    assert print_module(PassManager.from_text("check-numerics").run(parse(print_module(once)))) == print_module(once)
    first = next(op for op in once.body.ops if op.get("sym_name") == "first")
    assert [op.name for op in first.body.ops] == ["nd.constant", "nd.exp", "func.return"]
    empty = PassManager.from_text("check-numerics").run(parse("func.func @main(%n: tensor<i32>) { return }"))
    program = compile_module(empty)
    assert program(np.int32(1)) == ()
