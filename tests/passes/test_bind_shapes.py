"""bind-shapes: `?` becomes a number, and everything follows or says why it cannot."""

from __future__ import annotations

import pytest

from dlir.ir.errors import DlirError
from dlir.ir.location import file_location
from dlir.ir.traversal import clone, structurally_equal
from dlir.ir.types import F32, F64, TensorType
from dlir.passes.bind_shapes import bind_shapes
from dlir.passes.manager import PassManager
from dlir.textir import parse, to_text

PROGRAM = """
func.func @main(%x: tensor<?x64xf32>, %y: tensor<?x64xf32>, %b: tensor<64xf32>) -> tensor<?x8x8xf32> {
  %s = nd.add %x, %y
  %t = nd.add %s, %b
  %u = nd.reshape %t {shape = [-1, 8, 8]}
  return %u
}
"""


def run(text, options):
    module = parse(text, "p.dlir")
    PassManager.from_text(f"bind-shapes{{{options}}}").run(module)
    return module


def test_every_shape_follows_from_the_batch_size():
    text = to_text(run(PROGRAM, "batch=32"))
    assert "?" not in text
    assert "@main(%x: tensor<32x64xf32>, %y: tensor<32x64xf32>, %b: tensor<64xf32>) -> tensor<32x8x8xf32>" in text


def test_a_broadcast_that_took_its_size_at_run_time_states_it():
    module = run(PROGRAM, "batch=32")
    assert "%0 = nd.broadcast_to %b {shape = [32, 64]} : tensor<32x64xf32>" in to_text(module)


def test_dims_name_an_argument_and_an_axis():
    module = run(PROGRAM, "dims=x.0=5;y.0=5")
    assert str(module.body.first.type.results[0]) == "tensor<5x8x8xf32>"
    assert structurally_equal(module, run(PROGRAM, "batch=5"))


def test_an_argument_may_be_named_by_its_attribute():
    text = "func.func @f(%x: tensor<?xf32> {dlir.name = 'a.b'}) -> tensor<?xf32> { return %x }".replace("'", '"')
    module = run(text, "dims=a.b.0=3 entry=f")
    assert str(module.body.first.type) == "(tensor<3xf32>) -> tensor<3xf32>"


def test_a_partial_binding_leaves_the_rest_unknown():
    text = "func.func @main(%x: tensor<?x?xf32>) -> tensor<?x?xf32> { %y = nd.exp %x return %y }"
    module = run(text, "dims=x.1=7")
    assert str(module.body.first.type) == "(tensor<?x7xf32>) -> tensor<?x7xf32>"


def test_without_options_and_when_all_is_known_nothing_changes():
    module = parse(PROGRAM)
    again = clone(module)
    PassManager.from_text("bind-shapes").run(again)
    assert structurally_equal(module, again)
    bound = run(PROGRAM, "batch=4")
    again = clone(bound)
    PassManager.from_text("bind-shapes{batch=4 dims=x.0=4}").run(again)
    assert structurally_equal(bound, again)


def test_dimensions_that_must_be_equal_are_checked():
    with pytest.raises(DlirError) as caught:
        run(PROGRAM, "dims=x.0=5;y.0=6")
    (problem,) = caught.value.diagnostics
    assert "nd.add" in problem.message and file_location(problem.location).line == 3
    assert problem.notes[0].message == (
        "'@main' is bound to (%x: tensor<5x64xf32>, %y: tensor<6x64xf32>, %b: tensor<64xf32>)"
    )


@pytest.mark.parametrize(
    "options, message",
    [
        ("dims=x.1=32", r"argument '%x' \(tensor<\?x64xf32>\) cannot be tensor<\?x32xf32>: its axis 1 is 64"),
        ("dims=x.7=32", r"argument '%x' \(tensor<\?x64xf32>\) has no axis 7"),
        ("dims=z.0=32", "'@main' has no argument 'z'"),
        ("dims=x=32", "cannot read 'x=32'"),
        ("dims=x.0=-3", "cannot read 'x.0=-3'"),
        ("batch=2 entry=mian", "no function '@mian'"),
    ],
)
def test_what_cannot_be_bound_is_said(options, message):
    with pytest.raises(DlirError, match=message):
        run(PROGRAM, options)


def test_types_of_arrays_bind_from_python():
    module = parse(PROGRAM)
    batch = TensorType((3, 64), F32)
    assert bind_shapes(module, "main", [batch, batch, TensorType((64,), F32)]) == 2
    assert bind_shapes(module, "main", [batch, batch, TensorType((64,), F32)]) == 0
    assert module.body.first.type.results == (TensorType((3, 8, 8), F32),)


@pytest.mark.parametrize("types", [[], [TensorType((3, 64), F64)], [TensorType((3,), F32)]])
def test_types_that_do_not_fit_are_refused(types):
    module = parse("func.func @main(%x: tensor<?x64xf32>) -> tensor<?x64xf32> { return %x }")
    with pytest.raises(DlirError, match=r"takes 1 arguments|cannot be tensor"):
        bind_shapes(module, "main", types)


def test_an_op_whose_shape_does_not_follow_is_named():
    text = """
func.func private @f(%x: tensor<?xf32>) -> tensor<?xf32> { return %x }
func.func @main(%x: tensor<?xf32>) -> tensor<?xf32> {
  %y = func.call @f %x : tensor<?xf32>
  return %y
}
"""
    with pytest.raises(DlirError, match=r"'func.call' gives tensor<\?xf32>") as caught:
        run(text, "batch=3")
    assert "inline" in caught.value.diagnostics[0].hint
