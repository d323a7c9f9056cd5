"""differentiate: what `diff` ops become, and what is said of those that cannot become anything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.gradients import function_of, gradient, jvp, run

from dlir.backends.compiler import compile_module
from dlir.ir.errors import DlirError
from dlir.ir.op import Op, Tensor
from dlir.ir.ops import diff, nd, nn
from dlir.ir.traversal import clone, structurally_equal
from dlir.ir.types import F64, I32
from dlir.passes.manager import PassManager
from dlir.textir import parse, to_text

RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))


def after(text: str, passes: str = "differentiate") -> Any:
    module = parse(text, "p.dlir")
    PassManager.from_text(passes).run(module)
    return module


def evaluated(text: str, *arrays: np.ndarray) -> list[np.ndarray]:
    return run(after(text, "inline,differentiate").symbol("main"), *arrays)


def error_of(text: str, passes: str = "inline,differentiate") -> Any:
    with pytest.raises(DlirError) as caught:
        after(text, passes)
    return caught.value.diagnostics[0]


# ---------------------------------------------------------------- what it makes


def test_a_gradient_becomes_ordinary_ops_in_its_place() -> None:
    module = after("""
func.func @main(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
  %p = nd.mul %x, %y
  %e = nd.exp %p
  %gx = diff.gradient %e, %x
  return %gx
}""")
    assert to_text(module) == (
        "module {\n"
        "  func.func @main(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {\n"
        "    %p = nd.mul %x, %y : tensor<4xf32>\n"
        "    %e = nd.exp %p : tensor<4xf32>\n"
        "    %0 = nd.constant {value = dense<1.000000e+00> : tensor<4xf32>} : tensor<4xf32>\n"
        "    %1 = nd.mul %0, %e : tensor<4xf32>\n"
        "    %gx = nd.mul %1, %y : tensor<4xf32>\n"
        "    return %gx\n"
        "  }\n"
        "}"
    )


def test_without_diff_ops_nothing_changes() -> None:
    module = parse("func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> { %s = nn.sigmoid %x return %s }")
    again = clone(module)
    PassManager.from_text("differentiate").run(again)
    assert structurally_equal(module, again)


def test_the_text_form_is_one_output_and_its_inputs() -> None:
    text = "%gx, %gy = diff.gradient %s, %x, %y : tensor<3x4xf64>, tensor<3x4xf64>"
    main = f"func.func @main(%x: tensor<3x4xf64>, %y: tensor<3x4xf64>) {{ %s = nd.mul %x, %y {text} return }}"
    module = parse(main)
    assert text in to_text(module)
    assert structurally_equal(parse(to_text(module)), module)
    several = "%g = diff.gradient %s, %x, %x {operandSegmentSizes = array<i32: 1, 1, 1>} : tensor<3x4xf64>"
    module = parse(f"func.func @main(%x: tensor<3x4xf64>) {{ %s = nd.mul %x, %x {several} return }}")
    assert several in to_text(module)


def test_of_a_composite_op_without_a_rule_its_parts_are_differentiated() -> None:
    def build(x: Any) -> Any:
        loss = nn.group_norm(x, groups=2)
        return gradient(loss, nd.mul(x, x), x)

    text = to_text(function_of(build, [RNG.normal(size=(2, 4, 3))]))
    assert "nn.group_norm" not in text


def test_layers_beside_the_path_stay() -> None:
    def build(x: Any, y: Any) -> Any:
        return gradient(nd.mul(x, nn.group_norm(y, groups=2)), (), x)

    text = to_text(function_of(build, [RNG.normal(size=(2, 4, 3))] * 2))
    assert "nn.group_norm" in text


def test_what_only_the_gradient_named_goes() -> None:
    def build(x: Any) -> Any:
        return gradient(nd.sum(nd.mul(x, x)), (), x)

    assert "nd.sum" not in to_text(function_of(build, [X]))


def test_the_group_of_a_layer_is_handed_on() -> None:
    module = after("""
func.func @main(%x: tensor<2x4x3xf32>) -> (tensor<2x4x3xf32>, tensor<2x4x3xf32>) {
  %y = nn.group_norm %x {groups = 2, dlir.fuse = "norm"}
  %g = diff.gradient %y, %x
  return %y, %g
}""")
    norm = next(op for op in module.walk() if op.name == "nd.layer_norm")
    assert norm.get("dlir.fuse") == "norm"


# ---------------------------------------------------------------- what it computes


def test_several_outputs_with_cotangents_add_up() -> None:
    def build(x: Any, y: Any, c: Any, d: Any) -> Any:
        return gradient([nd.mul(x, y), nd.sin(x)], [c, d], [x, y])

    c, d = RNG.normal(size=(2, 3, 4))
    gx, gy = run(function_of(build, [X, Y, c, d]), X, Y, c, d)
    np.testing.assert_allclose(gx, c * Y + d * np.cos(X))
    np.testing.assert_allclose(gy, c * X)


def test_several_scalars_need_no_cotangents() -> None:
    def build(x: Any) -> Any:
        return gradient([nd.sum(x), nd.sum(nd.mul(x, x))], (), x)

    np.testing.assert_allclose(run(function_of(build, [X]), X)[0], 1 + 2 * X)


def test_one_output_of_any_shape_counts_with_ones() -> None:
    np.testing.assert_allclose(run(function_of(lambda x: gradient(nd.mul(x, x), (), x), [X]), X)[0], 2 * X)


def test_with_regard_to_what_does_not_matter_it_is_zero() -> None:
    def build(x: Any, y: Any) -> Any:
        return gradient(nd.mul(x, x), (), [y, x])

    zero, slope = run(function_of(build, [X, Y[0]]), X, Y[0])
    assert zero.shape == (4,) and not zero.any()
    np.testing.assert_allclose(slope, 2 * X)


def test_an_output_that_is_an_input_hands_its_cotangent_on() -> None:
    found = run(function_of(lambda x, y: gradient(x, y, [x, x]), [X, Y]), X, Y)
    np.testing.assert_array_equal(found, [Y, Y])


def test_with_regard_to_a_value_on_the_way_and_to_what_it_is_made_of() -> None:
    def build(x: Any) -> Any:
        h = nd.mul(x, x)
        return gradient(nd.mul(h, nd.add(h, x)), (), [h, x])

    gh, gx = run(function_of(build, [X]), X)
    np.testing.assert_allclose(gh, 2 * X**2 + X)
    np.testing.assert_allclose(gx, 4 * X**3 + 3 * X**2)


def test_broadcasts_are_undone() -> None:
    def build(x: Any, b: Any, s: Any) -> Any:
        return gradient(nd.mul(nd.add(x, b), s), (), [b, s])

    b, s = RNG.normal(size=(3, 1)), np.array(2.0)
    gb, gs = run(function_of(build, [X, b, s]), X, b, s)
    np.testing.assert_allclose(gb, np.full((3, 1), 8.0))
    np.testing.assert_allclose(gs, np.sum(X + b))


def test_a_value_used_often_gathers_all_its_cotangents() -> None:
    def build(x: Any) -> Any:
        return gradient(nd.add(nd.mul(x, nd.mul(x, x)), nd.add(x, x)), (), x)

    np.testing.assert_allclose(run(function_of(build, [X]), X)[0], 3 * X**2 + 2)


def test_nothing_goes_through_integers_and_steps() -> None:
    def build(x: Any) -> Any:
        steps = nd.add(nd.floor(x), nd.cast(nd.cast(x, dtype=I32), dtype=F64))
        mask = nd.cast(nd.greater(x, 0.0), dtype=F64)
        return gradient(nd.add(nd.mul(steps, x), mask), (), x)

    np.testing.assert_allclose(run(function_of(build, [X]), X)[0], np.floor(X) + np.trunc(X))


def test_all_reads_of_a_variable_are_one_value() -> None:
    found = evaluated_state("""
state.variable @w {init = dense<3.0> : tensor<2xf64>}
func.func @main() -> (tensor<2xf64>, tensor<2xf64>) {
  %a = state.read @w
  %b = state.read @w
  %c = state.read @w
  %y = nd.mul %a, %b
  %ga, %gc = diff.gradient %y, %a, %c
  return %ga, %gc
}""")
    np.testing.assert_array_equal(found, np.full((2, 2), 6.0))


def evaluated_state(text: str) -> Any:
    return compile_module(parse(text, "p.dlir"), backend="ref")()


def test_gradients_of_gradients_of_gradients() -> None:
    text = """
func.func @main(%x: tensor<3x4xf64>) -> (tensor<3x4xf64>, tensor<3x4xf64>, tensor<3x4xf64>) {
  %s = nd.sin %x
  %y = nd.mul %s, %x
  %g = diff.gradient %y, %x
  %h = diff.gradient %g, %x
  %k = diff.gradient %h, %x
  return %g, %h, %k
}"""
    g, h, k = evaluated(text, X)
    np.testing.assert_allclose(g, X * np.cos(X) + np.sin(X))
    np.testing.assert_allclose(h, 2 * np.cos(X) - X * np.sin(X))
    np.testing.assert_allclose(k, -3 * np.sin(X) - X * np.cos(X))


def test_third_order_through_a_network_is_that_of_jax() -> None:
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    w = RNG.normal(size=(4, 4))

    def by_jax(w: Any, x: Any) -> Any:
        return jnp.sum(jax.nn.softmax(jnp.tanh(x @ w) @ w) ** 2)

    def build(w: Any, x: Any) -> Any:
        hidden = nn.dense(x, w, activation="tanh")
        total = nd.sum(nd.pow(nn.dense(hidden, w, activation="softmax"), 2.0))
        for _ in range(2):
            (slope,) = gradient(total, (), w)
            total = nd.sum(nd.mul(slope, slope))
        return gradient(total, (), w)

    with jax.enable_x64(True):

        def squared(f: Any) -> Any:
            return lambda w, x: jnp.sum(jax.grad(f)(w, x) ** 2)

        wanted = jax.grad(squared(squared(by_jax)))(w, X)
    np.testing.assert_allclose(run(function_of(build, [w, X]), w, X)[0], wanted, 1e-8, 1e-8)


def test_jvp_is_the_product_of_the_jacobian_and_the_tangents() -> None:
    def build(x: Any, y: Any, tx: Any, ty: Any) -> Any:
        return jvp([nd.matmul(x, y, transpose_b=True), nd.sum(nd.exp(x))], [x, y], [tx, ty])

    tx, ty = RNG.normal(size=(2, 3, 4))
    main = function_of(build, [X, Y, tx, ty])
    product, total = run(main, X, Y, tx, ty)
    np.testing.assert_allclose(product, tx @ Y.T + X @ ty.T)
    np.testing.assert_allclose(total, np.sum(np.exp(X) * tx))
    # Nothing is left of the cotangents that the two gradients were made with.
    assert not any(op.name == "nd.constant" for op in main.body.ops)


def test_jvp_of_a_gradient_is_a_product_with_the_hessian() -> None:
    def build(x: Any, t: Any) -> Any:
        (slope,) = gradient(nd.sum(nd.mul(nd.mul(x, x), x)), (), x)
        return jvp(slope, x, t)

    np.testing.assert_allclose(run(function_of(build, [X, Y]), X, Y)[0], 6 * X * Y)


def test_gradients_go_through_calls() -> None:
    text = """
func.func private @square(%a: tensor<3x4xf64>) -> tensor<3x4xf64> {
  %s = nd.mul %a, %a
  return %s
}
func.func private @slope(%a: tensor<3x4xf64>) -> tensor<3x4xf64> {
  %s = func.call @square %a : tensor<3x4xf64>
  %g = diff.gradient %s, %a
  return %g
}
func.func @main(%x: tensor<3x4xf64>) -> tensor<3x4xf64> {
  %g = func.call @slope %x : tensor<3x4xf64>
  %y = func.call @square %g : tensor<3x4xf64>
  %h = diff.gradient %y, %x
  return %h
}"""
    np.testing.assert_allclose(evaluated(text, X)[0], 8 * X)


@pytest.mark.parametrize("level", ["O0", "O1", "O2"])
def test_every_pipeline_differentiates(level: str) -> None:
    text = """
func.func @main(%x: tensor<3x4xf64>, %w: tensor<4x4xf64>) -> (tensor<f64>, tensor<4x4xf64>) {
  %h = nn.dense %x, %w {activation = "tanh"}
  %l = nd.mean %h
  %g = diff.gradient %l, %w
  return %l, %g
}"""
    w = RNG.normal(size=(4, 4))
    loss, slope = compile_module(parse(text), level=level)(X, w)
    np.testing.assert_allclose(loss, np.mean(np.tanh(X @ w)))
    np.testing.assert_allclose(slope, X.T @ (1 - np.tanh(X @ w) ** 2) / 12)


# ---------------------------------------------------------------- mistakes


class NoRule(Op, name="autodiff_test.no_rule"):
    """An op that says nothing of its gradient."""

    @staticmethod
    def infer(x: Tensor) -> Tensor:
        return x


def test_an_op_without_a_rule_is_named_with_its_place_and_where_it_was_asked() -> None:
    found = error_of("""
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = autodiff_test.no_rule %x
  %z = nd.exp %y
  %g = diff.gradient %z, %x
  return %g
}""")
    assert found.message == "cannot differentiate 'autodiff_test.no_rule': it has no gradient rule"
    assert found.location.line == 3
    assert found.notes[0].location.line == 5
    assert "vjp" in found.hint


def test_an_op_without_a_rule_beside_the_path_is_no_matter() -> None:
    module = after("""
func.func @main(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
  %a = autodiff_test.no_rule %y
  %z = nd.mul %a, %x
  %g = diff.gradient %z, %x
  return %g
}""")
    assert not any(op.name.startswith("diff.") for op in module.walk())


def test_a_loop_on_the_path_is_named() -> None:
    found = error_of("""
func.func @main(%x: tensor<4xf32>, %n: index) -> tensor<4xf32> {
  %c0 = arith.constant {value = 0 : index} : index
  %c1 = arith.constant {value = 1 : index} : index
  %y = scf.for %c0, %n, %c1, %x ({
  ^bb0(%i: index, %a: tensor<4xf32>):
    %b = nd.mul %a, %x
    scf.yield %b
  }) : tensor<4xf32>
  %g = diff.gradient %y, %x
  return %g
}""")
    assert found.message == "cannot differentiate 'scf.for': only straight-line code is differentiated"
    assert found.location.line == 5


@pytest.mark.parametrize(
    "operands, message, hint",
    [
        ("%i, %x", "'diff.gradient' differentiates floats, and output 0 is tensor<4xi32>", "made from"),
        ("%x, %i", "'diff.gradient' differentiates floats, and input 0 is tensor<4xi32>", "cast it to a float"),
        (
            "%x, %s, %x {operandSegmentSizes = array<i32: 2, 0, 1>}",
            "'diff.gradient' has 2 outputs without cotangents, and one is no scalar but tensor<4xf32>",
            "give a cotangent for each output",
        ),
        (
            "%x, %s, %x {operandSegmentSizes = array<i32: 1, 1, 1>}",
            "'diff.gradient' needs a cotangent of the output's type: cotangent 0 is tensor<f32>, and the output tensor<4xf32>",
            None,
        ),
        (
            "%x, %s, %s, %x {operandSegmentSizes = array<i32: 1, 2, 1>}",
            "'diff.gradient' needs one cotangent for each output: got 2 for 1",
            None,
        ),
        (
            "%x {operandSegmentSizes = array<i32: 0, 0, 1>}",
            "'diff.gradient' needs an output, the value to differentiate",
            None,
        ),
    ],
)
def test_questions_without_an_answer(operands: str, message: str, hint: str | None) -> None:
    found = error_of(
        "func.func @main(%x: tensor<4xf32>, %s: tensor<f32>, %i: tensor<4xi32>) {\n"
        f"  %g = diff.gradient {operands}\n"
        "  return\n}"
    )
    assert found.message == message
    assert found.location.line == 2
    assert (found.hint or "").count(hint or "") >= 1


def test_a_tangent_for_each_input() -> None:
    found = error_of(
        "func.func @main(%x: tensor<4xf32>, %s: tensor<f32>) {\n  %g = diff.jvp %x, %x, %s\n  return\n}",
    )
    assert "needs a tangent of the input's type" in found.message


def test_builders_take_numbers_as_cotangents() -> None:
    def build(x: Any) -> Any:
        return diff.gradient((nd.sum(x),), (2.0,), (x,))

    np.testing.assert_array_equal(run(function_of(build, [X]), X)[0], np.full((3, 4), 2.0))


def test_a_rule_that_gives_another_type_is_found_out() -> None:
    class Wrong(Op, name="autodiff_test.wrong"):
        @staticmethod
        def infer(x: Tensor) -> Tensor:
            return x

        def vjp(self, cotangents: Any, needs: Any) -> Any:
            return [nd.sum(cotangents[0])]

    with pytest.raises(TypeError, match=r"autodiff_test.wrong.*tensor<f64>.*tensor<3x4xf64>"):
        function_of(lambda x: gradient(Wrong.build(x), (), x), [X])


def test_shapes_may_be_bound_after_it() -> None:
    module = after(
        """
func.func @main(%x: tensor<?x4xf64>, %b: tensor<4xf64>) -> (tensor<?x4xf64>, tensor<4xf64>) {
  %s = nd.add %x, %b
  %y = nd.mul %s, %s
  %gx, %gb = diff.gradient %y, %x, %b
  return %gx, %gb
}""",
        "differentiate,bind-shapes{batch=3}",
    )
    gx, gb = run(module.symbol("main"), X, Y[0])
    np.testing.assert_allclose(gx, 2 * (X + Y[0]))
    np.testing.assert_allclose(gb, gx.sum(0))
