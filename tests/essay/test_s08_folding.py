"""S8: the multiplication and the addition fold into one kernel."""

from __future__ import annotations

import numpy as np
import pytest
from support.cuda import need_simulator

from dlir.frontends.symbolic import Constant, Variable, compile

ARRAYS = {"A": np.ones(10), "B": np.ones(10) * 2}


def graph():
    c = Variable("B") * Variable("A")
    return c, c + Constant(1)


@pytest.mark.parametrize("backend", ["cpu", "cuda-sim"])
def test_two_launches_become_one(backend, measured):
    if backend == "cuda-sim":
        need_simulator()
    _, d = graph()
    unfused = compile(d, level="O1", backend=backend).lower(**ARRAYS)
    fused = compile(d, backend=backend).lower(**ARRAYS)
    assert (unfused.kernels, fused.kernels) == (2, 1)
    measured(f"{backend}: {unfused.kernels} launches -> {fused.kernels}")
    assert np.array_equal(unfused(ARRAYS["B"], ARRAYS["A"])[0], fused(ARRAYS["B"], ARRAYS["A"])[0])


def test_the_cuda_source_has_one_kernel():
    from dlir.backends.compiler import lower_module
    from dlir.backends.registry import emit_source

    module = compile(graph()[1]).lower(**ARRAYS).module
    assert emit_source(lower_module(module, "cuda"), "main", "cuda").count("__global__") == 1
    assert emit_source(lower_module(module, "cuda", "O1"), "main", "cuda").count("__global__") == 2


def test_an_output_is_not_folded_away():
    c, d = graph()
    got_c, got_d = compile([c, d])(**ARRAYS)
    assert np.array_equal(got_c, np.full(10, 2.0)) and np.array_equal(got_d, np.full(10, 3.0))
