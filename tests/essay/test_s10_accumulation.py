"""S10: gradients of d = b * a + 1 are 2 and 1, and a value that is used twice gets both shares (symbolic side).

The eager side comes with eager arrays.
"""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends.symbolic import Constant, Parameter, Variable, compile, nd

BACKENDS = ["ref", "cpu"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_essays_gradients_by_name(backend, measured):
    a, b = Variable("a"), Variable("b")
    d = b * a + 1
    found = compile(d.grad([a, b], 1), backend=backend)(a=1.0, b=2.0)
    gradients = {node.name: float(value) for node, value in zip((a, b), found, strict=True)}
    assert gradients == {"a": 2, "b": 1}
    measured(f"d.grad([a, b], 1) is {gradients}")


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_used_twice_gets_both_shares(backend, measured):
    a = Variable("a")
    assert compile((a * a).grad(a), backend=backend)(3.0) == 6
    measured("(a * a).grad(a) at 3 is 6")
    # Along two ways of different lengths, and through a parameter that two layers share.
    w = Parameter("w", np.array([1.0, 2.0]))
    y = nd.sum(nd.tanh(w * a) * w + w)
    at = np.array([0.5, -1.0])
    slope = compile(y.grad(w), backend=backend)(at)
    u = w.value * at
    np.testing.assert_allclose(slope, np.tanh(u) + w.value * at / np.cosh(u) ** 2 + 1, rtol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_several_calls_do_not_accumulate(backend):
    """A gradient is a value: nothing is left of it for the next call."""
    a = Variable("a")
    f = compile((a * a).grad(a), backend=backend)
    assert [float(f(3.0)) for _ in range(3)] == [6, 6, 6]


def test_leaves_without_a_name_do_not_get_in_the_way(measured):
    a = Variable("a")
    y = nd.sum(Constant(2.0) * a * np.array([1.0, 2.0, 3.0]) + 4)
    assert np.array_equal(compile(y.grad(a))(np.ones(3)), [2.0, 4.0, 6.0])
    measured("unnamed leaves do not raise")
