"""S23: a sigmoid written in small ops is one kernel, its gradient is one, and both are safe far from zero."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends.symbolic import Node, Variable, compile, nd, sorted_nodes


def ExpLayer(x: Node) -> Node:
    return nd.exp(x)


def AddScalarLayer(x: Node, scalar: float) -> Node:
    return x + scalar


def EWiseDivisionLayer(a: float, b: Node) -> Node:
    return a / b


def spellings():
    x = Variable("x")
    return {
        "operators": 1.0 / (1.0 + nd.exp(-x)),
        "layers": EWiseDivisionLayer(1.0, AddScalarLayer(ExpLayer(-x), 1.0)),
    }


@pytest.mark.parametrize("spelling", ["operators", "layers"])
def test_four_launches_become_one(spelling, measured):
    node = spellings()[spelling]
    x = np.linspace(-5, 5, 33, dtype=np.float32)
    unfused, fused = compile(node, level="O1").lower(x=x), compile(node).lower(x=x)
    assert (unfused.kernels, fused.kernels) == (4, 1)
    measured(f"{unfused.kernels} launches -> {fused.kernels}")
    want = 1 / (1 + np.exp(-x.astype(np.float64)))
    np.testing.assert_allclose(fused(x)[0], want, rtol=1e-6)
    np.testing.assert_allclose(unfused(x)[0], want, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_safe_far_from_zero(dtype):
    x = np.array([-1000, -100, 0, 100, 1000], dtype)
    got = compile(spellings()["operators"])(x=x)
    assert np.array_equal(got[[0, 2, 4]], np.array([0, 0.5, 1], dtype))
    assert np.isfinite(got).all() and got.dtype == dtype


@pytest.mark.parametrize("spelling", ["operators", "layers"])
def test_the_gradient_is_one_kernel_too(spelling, measured):
    node = spellings()[spelling]
    x = np.linspace(-5, 5, 33)
    (leaf,) = [item for item in sorted_nodes([node]) if item.op == "variable"]
    program = compile([node, node.grad(leaf)]).lower(x=x)
    assert program.kernels == 1
    value, slope = program(x)
    want = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(value, want, rtol=1e-12)
    np.testing.assert_allclose(slope, want * (1 - want), rtol=1e-10)
    measured(f"with the gradient: {program.kernels} kernel")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spelling", ["operators", "layers"])
def test_the_gradient_is_safe_far_from_zero(spelling, dtype):
    node = spellings()[spelling]
    (leaf,) = [item for item in sorted_nodes([node]) if item.op == "variable"]
    got = compile(node.grad(leaf))(x=np.array([-1000, -100, 0, 100, 1000], dtype))
    assert np.isfinite(got).all() and got.dtype == dtype
    np.testing.assert_allclose(got, [0, 0, 0.25, 0, 0], atol=1e-40)
