"""Every op of `nd`, `nn` and plugins, on samples that it draws itself: text, reference and compiled code agree.

A new op is tested here without a line being added.
"""

from __future__ import annotations

import numpy as np
import pytest
from support.cuda import need_simulator
from support.registered import sample_program, sampled_ops

from dlir.backends.compiler import compile_module
from dlir.ir.traversal import difference
from dlir.ir.types import BF16, F16, dtype_from_numpy
from dlir.ir.verifier import verify
from dlir.textir import parse, to_text

OPS = sampled_ops()
#: Relative tolerance by element type; exact for what is not a float.
TOLERANCE = {"f16": 4e-3, "bf16": 3e-2, "f32": 3e-5, "f64": 1e-11}


def agree(name, got, want, module) -> None:
    for index, (g, w) in enumerate(zip(got, want, strict=True)):
        w = np.asarray(w)
        assert g.shape == w.shape and g.dtype == w.dtype, f"{name}, result {index}"
        dtype = dtype_from_numpy(w.dtype)
        tolerance = TOLERANCE.get(str(dtype), 0)
        if dtype in (F16, BF16):
            g, w = g.astype(np.float32), w.astype(np.float32)
        with np.errstate(all="ignore"):
            close = np.isclose(g, w, rtol=tolerance, atol=tolerance, equal_nan=True)
        assert close.all(), f"{name}, result {index}: want {w}, got {g}\n{to_text(module)}"


@pytest.mark.parametrize("name", OPS)
def test_text_reads_back(name):
    module, _, _ = sample_program(OPS[name], seed=1, count=12)
    assert not verify(module)
    for generic in (False, True):
        assert difference(module, parse(to_text(module, generic=generic))) is None


@pytest.mark.parametrize("name", OPS)
def test_the_reference_gives_what_eval_gives(name):
    module, inputs, wanted = sample_program(OPS[name], seed=2, count=12)
    agree(name, compile_module(module, backend="ref")(*inputs), wanted, module)


@pytest.mark.parametrize("name", OPS)
def test_machine_code_gives_what_eval_gives(name):
    module, inputs, wanted = sample_program(OPS[name], seed=3, count=8)
    agree(name, compile_module(module)(*inputs), wanted, module)


@pytest.mark.parametrize("name", OPS)
def test_cuda_kernels_give_what_eval_gives(name):
    need_simulator()
    module, inputs, wanted = sample_program(OPS[name], seed=4, count=3)
    agree(name, compile_module(module, backend="cuda-sim")(*inputs), wanted, module)
