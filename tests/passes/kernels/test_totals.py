"""Reductions of everything that need reductions of rows: one kernel on a CPU, against NumPy."""

import numpy as np
import pytest

from dlir.backends.compiler import compile_module
from dlir.backends.cuda import simulated
from dlir.ir.ops import nd

LOWER = "schedule,bufferize,plan-memory,lower-kernels"


def cross_entropy(x, labels):
    below = nd.sub(x, nd.max(x, axes=(-1,), keepdims=True))
    logs = nd.sub(below, nd.log(nd.sum(nd.exp(below), axes=(-1,), keepdims=True)))
    return nd.neg(nd.mean(nd.sum(nd.mul(logs, labels), axes=(-1,))))


def log_softmax(x):
    below = x - x.max(-1, keepdims=True)
    return below - np.log(np.exp(below).sum(-1, keepdims=True))


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def check(tools):
    """`check(body, arrays, wanted, kernels)`: equal on every backend; with so many kernels on a CPU."""

    def run(body, arrays, wanted, kernels=1, tolerance=1e-5):
        module = tools.make(body, *arrays)
        for backend in ("cpu", "ref", "cuda-sim"):
            program = compile_module(module, backend=backend)
            if backend == "cpu":
                assert program.kernels == kernels
            for got, want in zip(program(*arrays), wanted, strict=True):
                np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
        for threshold in (0, 10**9):
            fused = tools.passes(module, f"fuse,{LOWER},map{{threshold={threshold}}}")
            for got, want in zip(tools.run(fused, arrays), wanted, strict=True):
                np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)

    return run


@pytest.mark.parametrize("shape", [(64, 50), (5, 300), (1, 20), (40, 1), (3, 30000)])
def test_cross_entropy(check, rng, shape):
    x = rng.standard_normal(shape, dtype=np.float32)
    labels = rng.random(shape, dtype=np.float32)
    check(cross_entropy, [x, labels], [-(log_softmax(x.astype(np.float64)) * labels).sum(-1).mean()])


def test_mean_over_the_elements_of_rows(check, rng):
    x = rng.standard_normal((4, 9, 33), dtype=np.float32)
    wanted = np.exp(log_softmax(x.astype(np.float64)) / 2).mean()
    check(lambda x: nd.mean(nd.sqrt(nd.softmax(x))), [x], [wanted])


def test_results_of_rows_beside_totals_of_two_kinds(check, rng):
    x = rng.standard_normal((20, 70), dtype=np.float32)

    def body(x):
        logs = nd.log_softmax(x)
        most = nd.max(logs, axes=(1,))
        return nd.min(logs), logs, nd.sub(nd.sum(most), nd.mean(x)), most

    logs = log_softmax(x.astype(np.float64))
    check(body, [x], [logs.min(), logs, logs.max(1).sum() - x.mean(dtype=np.float64), logs.max(1)])


def test_shapes_of_one_element(check, rng):
    x = rng.standard_normal((6, 8), dtype=np.float32)

    def body(x):
        return nd.sum(nd.max(x, axes=(1,), keepdims=True), axes=(0,), keepdims=True)

    check(body, [x], [x.max(1).sum().reshape(1, 1)])


def test_integers_and_bools(check, rng):
    x = rng.integers(-9, 9, (30, 7), dtype=np.int32)
    check(lambda x: nd.max(nd.sum(x, axes=(1,))), [x], [x.sum(1).max()], tolerance=0)


def test_half_precision_accumulates_in_single(check, rng):
    x = rng.standard_normal((500, 20)).astype(np.float16)
    check(lambda x: nd.sum(nd.max(x, axes=(1,))), [x], [x.max(1).sum(dtype=np.float32)], tolerance=2e-3)


def test_the_total_of_what_needs_a_total_is_not_one_pass(check, rng):
    """The variance of the rows' largest elements needs their mean first."""
    x = rng.standard_normal((50, 30), dtype=np.float32)

    def body(x):
        most = nd.max(x, axes=(1,))
        centred = nd.sub(most, nd.mean(most))
        return nd.mean(nd.mul(centred, centred))

    check(body, [x], [x.max(1).astype(np.float64).var()], kernels=2)


def test_a_reduction_of_everything_is_not_done_for_each_row(tools, rng):
    def body(x):
        return nd.sub(nd.sub(x, nd.mean(x)), nd.max(x, axes=(1,), keepdims=True))

    x = rng.standard_normal((40, 50), dtype=np.float32)
    module = tools.passes(tools.make(body, x), "fuse")
    assert len(tools.regions(module)) == 2


def test_rows_across_memory_keep_their_own_kernel(tools, rng):
    """They are computed side by side, which a total that goes over one row after another could not."""
    x = rng.standard_normal((50, 400), dtype=np.float32)
    module = tools.passes(tools.make(lambda x: nd.sum(nd.max(x, axes=(0,))), x), "fuse,schedule")
    assert [region["schedule"] for region in tools.regions(module)] == ["rows", "row"]


def test_a_gpu_combines_rows_in_a_kernel_of_its_own(tools, rng):
    x = rng.standard_normal((50, 400), dtype=np.float32)
    module = tools.make(lambda x: nd.sum(nd.max(x, axes=(1,))), x)
    assert len(tools.regions(tools.passes(module, "fuse{target=cuda}"))) == 2
    # Where the text says that it is one kernel, it is.
    fused = tools.passes(module, "fuse,schedule{target=cuda},bufferize,plan-memory,lower-kernels,map{target=cuda}")
    (found,) = simulated.load(fused, "main", None)(x)
    np.testing.assert_allclose(found, x.max(1).sum(), rtol=1e-5)
