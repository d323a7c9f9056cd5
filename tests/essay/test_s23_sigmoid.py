"""S23: a sigmoid written in small ops is one kernel, and safe far from zero."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends.symbolic import Node, Variable, compile, nd


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
def test_four_launches_become_one(spelling):
    node = spellings()[spelling]
    x = np.linspace(-5, 5, 33, dtype=np.float32)
    unfused, fused = compile(node, level="O1").lower(x=x), compile(node).lower(x=x)
    assert (unfused.kernels, fused.kernels) == (4, 1)
    want = 1 / (1 + np.exp(-x.astype(np.float64)))
    np.testing.assert_allclose(fused(x)[0], want, rtol=1e-6)
    np.testing.assert_allclose(unfused(x)[0], want, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_safe_far_from_zero(dtype):
    x = np.array([-1000, -100, 0, 100, 1000], dtype)
    got = compile(spellings()["operators"])(x=x)
    assert np.array_equal(got[[0, 2, 4]], np.array([0, 0.5, 1], dtype))
    assert np.isfinite(got).all() and got.dtype == dtype
