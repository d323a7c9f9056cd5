"""S7: what is not an output is not kept, and keeping it costs its bytes."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends.symbolic import Constant, Variable, compile
from dlir.ir.errors import DlirError


def test_an_intermediate_is_invisible_after_compiling():
    c = Variable("B") * Variable("A")
    f = compile(c + Constant(1))
    with pytest.raises(DlirError, match="not an output"):
        f.position_of(c)


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_asking_for_it_returns_both_and_costs_its_bytes(level, measured):
    c = Variable("B") * Variable("A")
    d = c + Constant(1)
    arrays = {"A": np.ones(10), "B": np.ones(10) * 2}
    both, one = compile([c, d], level=level), compile(d, level=level)
    got_c, got_d = both(**arrays)
    assert both.position_of(d) == 1
    assert np.array_equal(got_c, np.full(10, 2.0)) and np.array_equal(got_d, np.full(10, 3.0))
    more = both.lower(**arrays).memory.planned - one.lower(**arrays).memory.planned
    assert more == 80
    measured(f"asking for C is an error; compile([C, D]) costs {more} bytes more")
