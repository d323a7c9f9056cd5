"""S6: planning turns 320 bytes into 240, and into 160 when the inputs may be overwritten."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends.symbolic import Constant, Variable, compile


def graph():
    return Variable("B") * Variable("A") + Constant(1)


def inputs():
    return {"A": np.ones(10), "B": np.ones(10) * 2}


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_without_donation_one_buffer_is_saved_and_the_inputs_are_untouched(level, measured):
    f = compile(graph(), level=level)
    arrays = inputs()
    memory = f.lower(**arrays).memory
    assert (memory.naive, memory.planned) == (320, 240)
    measured(f"naive {memory.naive} bytes, planned {memory.planned}")
    assert np.array_equal(f(**arrays), np.full(10, 3.0))
    assert np.array_equal(arrays["B"], np.ones(10) * 2) and np.array_equal(arrays["A"], np.ones(10))


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_with_donated_inputs_the_result_lives_in_bs_buffer(level, measured):
    f = compile(graph(), donate=["A", "B"], level=level)
    arrays = inputs()
    memory = f.lower(**arrays).memory
    assert (memory.naive, memory.planned) == (320, 160)
    measured(f"{memory.planned} with donated inputs, D in B's buffer")
    result = f(**arrays)
    assert np.array_equal(result, np.full(10, 3.0))
    assert np.shares_memory(result, arrays["B"])
