"""Random programs give the same on every backend and at every optimisation level.

DLIR_FUZZ_PROGRAMS=N runs N programs of each kind instead of the few that fit a quick test run.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from support import programs
from support.cuda import need_simulator

from dlir.backends.compiler import compile_module
from dlir.ir.traversal import clone, difference
from dlir.ir.verifier import verify
from dlir.passes.manager import PassManager
from dlir.textir import parse, to_text

COUNT = int(os.environ.get("DLIR_FUZZ_PROGRAMS", "25"))


def reference(program, inputs):
    return compile_module(program.module, backend="ref")(*inputs)


def report(seed, level, program, want, got, index) -> str:
    return f"seed {seed}, {level}, result {index}: want {want}, got {got}\n{to_text(program.module)}"


@pytest.mark.parametrize("seed", range(COUNT))
def test_exact_programs_are_bit_equal(seed):
    program = programs.make_program(seed, exact=True)
    inputs = programs.make_inputs(program, seed)
    kept = [array.copy() for array in inputs]
    want = reference(program, inputs)
    for level in ("O0", "O2"):
        got = compile_module(program.module, level=level)(*inputs)
        for index, (w, g) in enumerate(zip(want, got, strict=True)):
            assert w.dtype == g.dtype and w.shape == g.shape
            assert np.array_equal(w, g), report(seed, level, program, w, g, index)
    assert all(np.array_equal(a, b) for a, b in zip(inputs, kept, strict=True)), "an input was overwritten"


@pytest.mark.parametrize("seed", range(1000, 1000 + COUNT))
@pytest.mark.parametrize("special", [False, True], ids=["normal", "special"])
def test_float_programs_agree(seed, special):
    program = programs.make_program(seed, exact=False)
    inputs = programs.make_inputs(program, seed, special)
    with np.errstate(all="ignore"):
        want = reference(program, inputs)
    for level in ("O0", "O2"):
        got = compile_module(program.module, level=level)(*inputs)
        for index, (w, g) in enumerate(zip(want, got, strict=True)):
            tolerance = 2e-4 if w.dtype == np.float32 else 1e-9
            close = np.isclose(g, w, rtol=tolerance, atol=tolerance, equal_nan=True)
            assert close.all(), report(seed, level, program, w, g, index)


@pytest.mark.parametrize("seed", range(2000, 2000 + COUNT))
def test_every_pass_keeps_the_module_valid_readable_and_equal(seed):
    """After each pass the module verifies, prints, reads back the same, and a second run of the pass changes nothing."""
    program = programs.make_program(seed, exact=True)
    module = clone(program.module)
    pipeline = "lower-nn,canonicalize{seed=3},cse,dce,fuse,schedule,bufferize,plan-memory,lower-kernels,map"
    for item in PassManager.from_text(pipeline).passes:
        PassManager([item]).run(module)
        assert not verify(module)
        text = to_text(module)
        assert difference(module, parse(text)) is None
        again = clone(module)
        PassManager([item]).run(again)
        assert to_text(again) == text, f"{item} is not idempotent"


@pytest.mark.parametrize("seed", range(3000, 3000 + max(4, COUNT // 5)))
def test_cuda_kernels_agree_in_any_thread_order(seed):
    need_simulator()
    program = programs.make_program(seed, exact=True, size=5)
    inputs = programs.make_inputs(program, seed)
    want = reference(program, inputs)
    got = compile_module(program.module, backend="cuda-sim")(*inputs)
    for index, (w, g) in enumerate(zip(want, got, strict=True)):
        assert np.array_equal(w, g), report(seed, "cuda-sim", program, w, g, index)
