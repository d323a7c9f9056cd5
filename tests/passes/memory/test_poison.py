"""plan-memory{poison=true}: a right plan does not notice that freed memory is overwritten, a wrong one does."""

from __future__ import annotations

import numpy as np
import pytest
from support import programs

from dlir.backends.registry import find_backend
from dlir.ir.traversal import clone
from dlir.passes import plan_memory
from dlir.passes.manager import PassManager
from dlir.passes.memory.packing import Packing
from dlir.textir import parse

#: %a and %b are needed until the end: they and %c need places of their own.
DIAMOND = """
func.func @main(%x: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %a = nd.matmul %x, %x
  %b = nd.matmul %a, %x
  %c = nd.matmul %a, %b
  %d = nd.matmul %c, %a
  %e = nd.matmul %d, %b
  return %e
}
"""
OPS = "lower-nn,fuse{max-ops=1},schedule,bufferize,plan-memory{poison=true},lower-kernels,map"
FUSED = "lower-nn,fuse,schedule,bufferize,plan-memory{poison=true},lower-kernels,map"


def run(module, pipeline, backend, arrays):
    """The results of `module` lowered by `pipeline`, and how many fills there were."""
    manager = PassManager.from_text(pipeline)
    lowered = manager.run(clone(module))
    fills = sum(item.stats["poisoned"] for item in manager.passes)
    return find_backend(backend).load(lowered, "main", None)(*arrays), fills


@pytest.mark.parametrize("backend", ["ref", "cpu"])
@pytest.mark.parametrize("pipeline", [OPS, FUSED], ids=["ops", "fused"])
def test_results_do_not_change(backend, pipeline):
    total = 0
    for seed in range(12):
        program = programs.make_program(seed, exact=True, size=16)
        arrays = programs.make_inputs(program, seed)
        wanted = find_backend("ref").load(program.module, "main", None)(*arrays)
        found, fills = run(program.module, pipeline, backend, arrays)
        total += fills
        for got, want in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(got, want)
    assert total > 10, "the programs must have temporaries"


@pytest.mark.parametrize("backend", ["ref", "cpu"])
def test_a_wrong_plan_gives_nan(backend, monkeypatch):
    x = np.full((8, 8), 0.1, np.float32)
    module = parse(DIAMOND)
    (right,), fills = run(module, OPS, backend, [x])
    assert fills >= 4
    assert np.isfinite(right).all()

    def everything_at_zero(items, **options):
        return Packing([0] * len(items), [None] * len(items), max(item.size for item in items), 0)

    monkeypatch.setattr(plan_memory, "pack", everything_at_zero)
    monkeypatch.setattr(plan_memory, "conflicts", lambda items, packing: [])
    (wrong,), _ = run(module, OPS, backend, [x])
    assert np.isnan(wrong).any()


def test_a_wrong_plan_does_not_pass_the_checker(monkeypatch):
    def everything_at_zero(items, **options):
        return Packing([0] * len(items), [None] * len(items), max(item.size for item in items), 0)

    monkeypatch.setattr(plan_memory, "pack", everything_at_zero)
    with pytest.raises(AssertionError, match="the memory plan of '@main' is wrong"):
        PassManager.from_text(OPS).run(parse(DIAMOND))
