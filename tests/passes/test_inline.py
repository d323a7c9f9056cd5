"""inline: calls become bodies, private functions go, recursion is named."""

from __future__ import annotations

import pytest

from dlir.ir.errors import DlirError
from dlir.ir.location import CallSiteLoc, file_location
from dlir.ir.traversal import clone, structurally_equal
from dlir.passes.inline import Inline
from dlir.passes.manager import PassManager
from dlir.textir import parse, to_text

PROGRAM = """
func.func private @twice(%a: tensor<4xf32>) -> tensor<4xf32> {
  %s = nd.add %a, %a
  return %s
}
func.func private @both(%a: tensor<4xf32>, %b: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %d = func.call @twice %a : tensor<4xf32>
  return %d, %b
}
func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %y = func.call @twice %x : tensor<4xf32>
  %r:2 = func.call @both %y, %x : tensor<4xf32>, tensor<4xf32>
  return %r#0, %r#1
}
"""


def inline(text):
    module = parse(text, "p.dlir")
    manager = PassManager([Inline()])
    manager.run(module)
    return module, manager.passes[0].stats


def test_calls_become_bodies_and_private_callees_go():
    module, stats = inline(PROGRAM)
    assert to_text(module) == (
        "module {\n"
        "  func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {\n"
        "    %y = nd.add %x, %x : tensor<4xf32>\n"
        "    %r = nd.add %y, %y : tensor<4xf32>\n"
        "    return %r, %x\n"
        "  }\n"
        "}"
    )
    assert stats == {"inlined": 3, "erased": 2}


def test_an_inlined_op_tells_the_callee_and_the_caller():
    module, _ = inline(PROGRAM)
    first = module.body.first.body.first
    assert isinstance(first.location, CallSiteLoc)
    assert file_location(first.location.callee).line == 3
    assert file_location(first.location.caller).line == 11


def test_public_functions_stay():
    module, _ = inline(PROGRAM.replace("private ", ""))
    assert [op.get("sym_name") for op in module.body.ops] == ["twice", "both", "main"]
    assert not any(op.name == "func.call" for op in module.walk())


def test_a_second_run_changes_nothing():
    module, _ = inline(PROGRAM)
    again = clone(module)
    PassManager([Inline()]).run(again)
    assert structurally_equal(module, again)


def test_a_private_function_that_nobody_called_is_not_touched():
    module, _ = inline("func.func private @f(%a: tensor<4xf32>) -> tensor<4xf32> { return %a }")
    assert module.symbol("f") is not None


def test_recursion_names_the_cycle_and_its_calls():
    text = """
func.func @main(%x: tensor<f32>) -> tensor<f32> {
  %y = func.call @f %x : tensor<f32>
  return %y
}
func.func private @f(%x: tensor<f32>) -> tensor<f32> {
  %y = func.call @g %x : tensor<f32>
  return %y
}
func.func private @g(%x: tensor<f32>) -> tensor<f32> {
  %y = func.call @f %x : tensor<f32>
  return %y
}
"""
    with pytest.raises(DlirError) as caught:
        inline(text)
    (problem,) = caught.value.diagnostics
    assert problem.message == "recursion cannot be compiled: @f -> @g -> @f"
    assert file_location(problem.location).line == 6
    assert [(n.message, file_location(n.location).line) for n in problem.notes] == [
        ("@f calls @g here", 7),
        ("@g calls @f here", 11),
    ]


def test_a_function_that_calls_itself_is_recursive_even_if_nobody_calls_it():
    text = "func.func @f(%x: tensor<f32>) -> tensor<f32> { %y = func.call @f %x : tensor<f32> return %y }"
    with pytest.raises(DlirError, match="@f -> @f"):
        inline(text)


def test_kernels_and_functions_over_buffers_are_left():
    text = """
func.func private @kernel_0(%a: memref<4xf32>) attributes {dlir.kernel} { return }
func.func private @helper(%a: memref<4xf32>) { return }
func.func private @outside(%a: tensor<4xf32>) -> tensor<4xf32>
func.func @main(%x: memref<4xf32>, %t: tensor<4xf32>) -> tensor<4xf32> {
  func.call @kernel_0 %x
  func.call @helper %x
  %u = func.call @outside %t : tensor<4xf32>
  return %u
}
"""
    module, stats = inline(text)
    assert sum(op.name == "func.call" for op in module.walk()) == 3
    assert not stats


def test_a_chain_of_thousands_of_calls_is_no_problem():
    parts = ["func.func @f0(%x: tensor<f32>) -> tensor<f32> { return %x }"]
    for i in range(1, 3000):
        body = f"%y = func.call @f{i - 1} %x : tensor<f32> return %y"
        parts.append(f"func.func private @f{i}(%x: tensor<f32>) -> tensor<f32> {{ {body} }}")
    parts.append("func.func @main(%x: tensor<f32>) -> tensor<f32> { %y = func.call @f2999 %x : tensor<f32> return %y }")
    module, stats = inline("\n".join(reversed(parts)))
    assert stats["inlined"] == 3000
    assert module.symbol("main").body.terminator.operands == tuple(module.symbol("main").body.args)
