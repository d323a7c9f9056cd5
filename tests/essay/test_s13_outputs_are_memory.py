"""S13: declaring outputs declares memory: what nobody asks for is not kept."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends.symbolic import Variable, compile, nd


def graph():
    """A value, and what its derivatives by A and B are, written out."""
    a, b = Variable("A"), Variable("B")
    d = nd.tanh(a * b)
    slope = 1.0 - d * d
    return d, slope * b, slope * a


def memory(outputs, level):
    arrays = {"A": np.linspace(0, 1, 1000), "B": np.linspace(1, 2, 1000)}
    return compile(outputs, level=level).lower(**arrays).memory


@pytest.mark.parametrize("level", ["O0", "O1", "O2"])
def test_one_output_needs_less_than_three(level):
    d, by_a, by_b = graph()
    one, three = memory([d], level), memory([d, by_a, by_b], level)
    assert one.planned < three.planned
    assert one.results == 8000
    assert three.results == 3 * 8000


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_an_intermediate_value_costs_memory_only_when_it_is_an_output(level):
    x = Variable("A")
    middle = nd.tanh(x * Variable("B"))
    last = nd.exp(middle)
    alone, both = memory([last], level), memory([last, middle], level)
    assert alone.planned == 3 * 8000, "two inputs and a result"
    assert both.planned == 4 * 8000
