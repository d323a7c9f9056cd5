"""S11: the gradient of a symbolic program is a symbolic program: it compiles, prints, and has gradients itself."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends.symbolic import Constant, Variable, compile, jvp, nd, nn

ARRAYS = {"A": np.ones(10), "B": np.ones(10) * 2}


def graph():
    a, b = Variable("A"), Variable("B")
    return a, b, b * a + Constant(1)


@pytest.mark.parametrize("backend", ["ref", "cpu"])
@pytest.mark.parametrize("level", ["O0", "O1", "O2"])
def test_the_essays_gradients(level, backend, measured):
    a, b, d = graph()
    by_a, by_b = compile(d.grad(wrt=[a, b]), level=level, backend=backend)(**ARRAYS)
    assert np.array_equal(by_a, np.full(10, 2.0)) and np.array_equal(by_b, np.ones(10))
    measured(f"gA = {by_a[0]:g} * ones, gB = {by_b[0]:g} * ones")


def test_the_backward_graph_prints_and_the_forward_addition_is_gone(measured):
    a, b, d = graph()
    f = compile(d.grad([a, b]))
    assert "diff.gradient(" in str(d.grad(a))
    program = f.lower(**ARRAYS)
    assert "nd.add" in program.as_text("source")
    for stage in ("differentiated", "fused"):
        assert "nd.add" not in program.as_text(stage)
        assert "diff." not in program.as_text(stage)
    assert program.kernels == 0, "gA is B, and gB is A"
    measured("the backward graph prints; it has no addition: gA is B and gB is A")


def test_a_gradient_has_gradients(measured):
    x = Variable("x")
    first = nd.sum(x**4.0).grad(x)
    second = nd.sum(first).grad(x)
    third = nd.sum(second).grad(x)
    at = np.linspace(-2, 2, 9)
    found = compile([first, second, third])(at)
    for got, want in zip(found, (4 * at**3, 12 * at**2, 24 * at), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    measured("gradients of gradients to the third order")


def test_a_jacobian_times_a_vector():
    x = Variable("x")
    at, along = np.linspace(0.1, 1, 5), np.arange(5.0)
    np.testing.assert_allclose(
        compile(jvp(nd.sin(x) * x, x, Variable("v")))(x=at, v=along), (np.cos(at) * at + np.sin(at)) * along
    )


def test_a_network_agrees_with_finite_differences_in_all_its_weights(measured):
    rng = np.random.default_rng(0)
    names = {"w1": (5, 7), "b1": (7,), "w2": (7, 3), "g": (7,), "b": (7,)}
    v = {name: Variable(name) for name in [*names, "x", "labels"]}
    hidden = nn.layer_norm(nn.dense(v["x"], v["w1"], v["b1"], activation="tanh"), v["g"], v["b"])
    loss = nn.cross_entropy(nd.matmul(hidden, v["w2"]), v["labels"])
    arrays = {name: rng.standard_normal(shape) for name, shape in names.items()}
    arrays.update(x=rng.standard_normal((4, 5)), labels=rng.integers(0, 3, 4))
    value = compile(loss)
    worst = 0.0
    for name, found in zip(names, compile(loss.grad([v[name] for name in names]))(**arrays), strict=True):
        direction = rng.standard_normal(arrays[name].shape)
        up, down = ({**arrays, name: arrays[name] + step * direction} for step in (1e-6, -1e-6))
        slope = (value(**up) - value(**down)) / 2e-6
        worst = max(worst, abs(float(slope - (found * direction).sum())))
    assert worst < 1e-8
    measured(f"finite differences agree within {worst:.0e} (every op: tests/passes/autodiff)")


def test_what_does_not_matter_has_the_gradient_zero():
    a, b = Variable("A"), Variable("B")
    assert np.array_equal(compile((a * 2.0).grad([b])[0] + 0.0 * b)(**ARRAYS), np.zeros(10))


def test_a_cotangent_weighs_the_outputs():
    a, _, d = graph()
    weights = np.arange(10.0)
    assert np.array_equal(compile(d.grad(a, cotangent=weights))(**ARRAYS), 2 * weights)
    assert np.array_equal(compile(d.grad(a, cotangent=3.0))(**ARRAYS), np.full(10, 6.0))
