"""Tuning: what is tried, kept and written into the text."""

import numpy as np
import pytest

from dlir.backends.artifact_cache import ArtifactCache
from dlir.backends.compiler import compile_module
from dlir.backends.cpu import tune
from dlir.ir.builder import at_end
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.kernel import KernelRegion
from dlir.ir.ops import func, nd
from dlir.ir.traversal import clone
from dlir.ir.types import F32, TensorType
from dlir.passes.manager import PassManager


@pytest.fixture
def product():
    module = Module.empty()
    function = Func.make("main", [TensorType((40, 30), F32), TensorType((30, 100), F32)], names=["x", "w"])
    module.body.append(function)
    with at_end(function.body):
        func.return_(nd.relu(nd.matmul(*function.body.args)))
    function.update_type()
    return module


def region_of(module):
    (found,) = [op for op in module.walk() if isinstance(op, KernelRegion)]
    return found


def scheduled(module):
    PassManager.from_text("fuse,schedule").run(module)
    return module


@pytest.fixture
def slow_but_one(monkeypatch):
    """As if one tile were the fastest; the tiles that were tried."""
    tried = []

    def seconds_of(region, tile):
        tried.append(tile)
        return 1.0 if tile == tune.candidates(region)[-1] else 2.0

    monkeypatch.setattr(tune, "seconds_of", seconds_of)
    return tried


def test_the_fastest_tile_is_written_into_the_text(product, slow_but_one, tmp_path):
    module = scheduled(product)
    wanted = tune.candidates(region_of(module))
    seen = []
    tuner = tune.Tuner(lambda done, total: seen.append((done, total)), ArtifactCache("tune", tmp_path))
    assert tuner.tune(module) == 1
    assert region_of(module)["tile"] == wanted[-1]
    assert slow_but_one[: len(wanted)] == wanted
    assert seen[-1] == (len(wanted), len(wanted))


def test_what_was_measured_is_remembered(product, slow_but_one, tmp_path):
    tiles = []
    for _ in range(2):
        PassManager.from_text("fuse,schedule").run(copy := clone(product))
        tune.Tuner(cache=ArtifactCache("tune", tmp_path)).tune(copy)
        tiles.append(region_of(copy)["tile"])
        measured = len(slow_but_one)
        slow_but_one.clear()
    assert tiles[0] == tiles[1]
    assert not measured


def test_the_same_kernel_is_measured_once(product, slow_but_one, tmp_path):
    module = Module.empty()
    function = Func.make("main", [TensorType((40, 40), F32)])
    module.body.append(function)
    with at_end(function.body):
        value = function.body.args[0]
        for _ in range(3):
            value = nd.matmul(value, value)
        func.return_(value)
    function.update_type()
    module = scheduled(module)
    regions = [op for op in module.walk() if isinstance(op, KernelRegion)]
    once = tune.candidates(regions[0])
    assert tune.Tuner(cache=ArtifactCache("tune", tmp_path)).tune(module) == len(regions)
    assert slow_but_one[: len(once)] == once
    assert len(slow_but_one) < 2 * len(once)


def test_a_tuned_program_computes_the_same(product, monkeypatch, tmp_path):
    monkeypatch.setattr(tune, "SECONDS", 0.0)
    monkeypatch.setattr(tune, "candidates", lambda region: [region["tile"], (3, *region["tile"][1:]), (5, 7, 4)])
    tuner = tune.Tuner(cache=ArtifactCache("tune", tmp_path))
    program = compile_module(product, after=tuner.after)
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((40, 30)).astype(np.float32), rng.standard_normal((30, 100)).astype(np.float32)
    np.testing.assert_allclose(program(x, w)[0], np.maximum(x @ w, 0), rtol=1e-4, atol=1e-4)
