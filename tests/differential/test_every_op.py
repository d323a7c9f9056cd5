"""Every op of `nd`, `nn` and plugins, on samples that it draws itself: text, reference and compiled code agree.

A new op is tested here without a line being added.
"""

from __future__ import annotations

import numpy as np
import pytest
from support.cuda import need_simulator
from support.registered import sampled_ops

from dlir.backends.compiler import compile_module
from dlir.ir.builder import at_end
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.op import spread_groups
from dlir.ir.ops import func
from dlir.ir.traversal import difference
from dlir.ir.types import BF16, F16, TensorType, dtype_from_numpy
from dlir.ir.verifier import verify
from dlir.textir import parse, to_text

OPS = sampled_ops()
#: Relative tolerance by element type; exact for what is not a float.
TOLERANCE = {"f16": 4e-3, "bf16": 3e-2, "f32": 3e-5, "f64": 1e-11}


def make_program(cls, seed: int, count: int):
    """A function that applies the op to `count` samples, with the inputs and the answers of ``eval``."""
    rng = np.random.default_rng(seed)
    samples = [cls.sample(rng) for _ in range(count)]
    inputs = [np.asarray(a) for arrays, _ in samples for a in flat(arrays) if a is not None]
    types = [TensorType(a.shape, dtype_from_numpy(a.dtype)) for a in inputs]
    module = Module.empty()
    function = Func.make("main", types, names=[f"x{i}" for i in range(len(types))])
    module.body.append(function)
    rest = iter(function.body.args)
    wanted, results = [], []
    with at_end(function.body):
        for arrays, attributes in samples:
            operands = [
                tuple(next(rest) for _ in a) if isinstance(a, tuple | list) else a if a is None else next(rest)
                for a in arrays
            ]
            made = cls.build(*operands, **attributes)
            results += made if isinstance(made, tuple) else [made]
            op = results[-1].owner
            with np.errstate(all="ignore"):
                found = cls.eval(*spread_groups(cls.schema(), group(cls, arrays)), **op.keywords)
            wanted += found if isinstance(found, tuple) else [found]
        func.return_(*results)
    function.update_type()
    return module, inputs, wanted


def flat(arrays):
    for item in arrays:
        yield from item if isinstance(item, tuple | list) else [item]


def group(cls, arrays):
    """Sampled arrays in the op's operand groups: they come one by one for a group declared as ``*xs``."""
    specs = cls.schema().operands
    if specs and specs[-1].spread:
        fixed = len(specs) - 1
        return [*arrays[:fixed], tuple(arrays[fixed:])]
    return [*arrays, *[None] * (len(specs) - len(arrays))]


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
    module, _, _ = make_program(OPS[name], seed=1, count=12)
    assert not verify(module)
    for generic in (False, True):
        assert difference(module, parse(to_text(module, generic=generic))) is None


@pytest.mark.parametrize("name", OPS)
def test_the_reference_gives_what_eval_gives(name):
    module, inputs, wanted = make_program(OPS[name], seed=2, count=12)
    agree(name, compile_module(module, backend="ref")(*inputs), wanted, module)


@pytest.mark.parametrize("name", OPS)
def test_machine_code_gives_what_eval_gives(name):
    module, inputs, wanted = make_program(OPS[name], seed=3, count=8)
    agree(name, compile_module(module)(*inputs), wanted, module)


@pytest.mark.parametrize("name", OPS)
def test_cuda_kernels_give_what_eval_gives(name):
    need_simulator()
    module, inputs, wanted = make_program(OPS[name], seed=4, count=3)
    agree(name, compile_module(module, backend="cuda-sim")(*inputs), wanted, module)
