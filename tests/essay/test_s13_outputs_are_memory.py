"""S13: declaring outputs declares memory: what nobody asks for is not kept."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends.symbolic import Variable, compile, nd


def graph():
    """A value and its gradients."""
    a, b = Variable("A"), Variable("B")
    d = nd.tanh(a * b)
    return d, *d.grad([a, b])


def memory(outputs, level):
    arrays = {"A": np.linspace(0, 1, 1000), "B": np.linspace(1, 2, 1000)}
    return compile(outputs, level=level).lower(**arrays).memory


@pytest.mark.parametrize("level", ["O0", "O1", "O2"])
def test_one_output_needs_less_than_three(level, measured):
    d, by_a, by_b = graph()
    one, three = memory([d], level), memory([d, by_a, by_b], level)
    assert one.planned < three.planned
    assert one.results == 8000
    assert three.results == 3 * 8000
    measured(f"-{level}: [D] {one.planned:,} bytes, [D, gA, gB] {three.planned:,}")


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_an_intermediate_value_costs_memory_only_when_it_is_an_output(level):
    x = Variable("A")
    middle = nd.tanh(x * Variable("B"))
    last = nd.exp(middle)
    alone, both = memory([last], level), memory([last, middle], level)
    assert alone.planned == 3 * 8000, "two inputs and a result"
    assert both.planned == 4 * 8000


def test_the_gradients_are_right():
    a, b = np.linspace(0, 1, 1000), np.linspace(1, 2, 1000)
    _, by_a, by_b = compile(list(graph()))(A=a, B=b)
    slope = 1 - np.tanh(a * b) ** 2
    np.testing.assert_allclose(by_a, slope * b, rtol=1e-12)
    np.testing.assert_allclose(by_b, slope * a, rtol=1e-12)
