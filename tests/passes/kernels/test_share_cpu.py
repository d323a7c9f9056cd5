"""Large kernels of few work items: their loops are shared out in chunks, and what these give is combined in order."""

import numpy as np
import pytest

from dlir.backends.compiler import compile_module
from dlir.ir.ops import nd

BEFORE = "fuse,schedule,bufferize,plan-memory,lower-kernels"
LARGE = 1 << 20


def shared_out(module):
    """The functions that do parts of loops."""
    symbols = [op.get("sym_name") for op in module.body.ops]
    return [name for name in symbols if name.count("_") == 2]


def softmax(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


CASES = [
    (lambda x: nd.sum(x), lambda x: x.sum(), 1),
    (lambda x: nd.max(x), lambda x: x.max(), 1),
    (lambda x: nd.mean(nd.mul(x, x)), lambda x: (x * x).mean(), 1),
    (lambda x: nd.softmax(x), softmax, 3),
    (lambda x: nd.sum(nd.exp(nd.sub(x, nd.max(x)))), lambda x: np.exp(x - x.max()).sum(), 2),
]


@pytest.mark.parametrize(("body", "wanted", "loops"), CASES)
@pytest.mark.parametrize("shape", [(1, 1000), (1, 16), (1, 1009)])
def test_one_item(tools, body, wanted, loops, shape):
    x = np.random.default_rng(0).standard_normal(shape)
    lowered = tools.passes(tools.make(body, x), f"{BEFORE},map{{threshold=0}}")
    assert len(shared_out(lowered)) == loops
    np.testing.assert_allclose(tools.run(lowered, [x])[0], wanted(x), rtol=1e-9)


@pytest.mark.parametrize("rows", [2, 15])
def test_few_items_of_long_rows(tools, rows):
    x = np.random.default_rng(0).standard_normal((rows, 500))
    lowered = tools.passes(tools.make(lambda x: nd.softmax(x), x), f"{BEFORE},map{{threshold=0}}")
    assert len(shared_out(lowered)) == 3
    np.testing.assert_allclose(tools.run(lowered, [x])[0], softmax(x), rtol=1e-9)


def test_many_items_are_shared_out_themselves(tools):
    x = np.zeros((16, 500))
    assert not shared_out(tools.passes(tools.make(lambda x: nd.softmax(x), x), f"{BEFORE},map{{threshold=0}}"))


def test_few_items_of_short_rows_are_shared_out_themselves(tools):
    x = np.zeros((8, 3000), np.float32)
    assert not shared_out(tools.passes(tools.make(lambda x: nd.softmax(x), x), f"{BEFORE},map"))


def test_booleans_and_integers(tools):
    x = np.random.default_rng(0).integers(-100, 100, 1000)
    lowered = tools.passes(
        tools.make(lambda x: (nd.sum(x), nd.min(x), nd.any(nd.equal(x, 77))), x), f"{BEFORE},map{{threshold=0}}"
    )
    assert shared_out(lowered)
    tools.assert_same(tools.run(lowered, [x]), [x.sum(), x.min(), (x == 77).any()])


def test_results_do_not_depend_on_the_number_of_threads(tools):
    x = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    module = tools.make(lambda x: nd.sum(x), x)
    found = {
        tools.run(tools.passes(module, f"{BEFORE},map{{threshold=0 threads={threads}}}"), [x])[0].item()
        for threads in (0, 1, 2, 5)
    }
    assert len(found) == 1


def test_not_a_number_is_found_in_any_chunk(tools):
    for place in (0, 500, 999):
        x = np.zeros(1000, np.float32)
        x[place] = np.nan
        lowered = tools.passes(tools.make(lambda x: nd.max(x), x), f"{BEFORE},map{{threshold=0}}")
        assert np.isnan(tools.run(lowered, [x])[0])


def test_a_long_sum_is_as_accurate_as_torch(tools):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).random(4 * LARGE, dtype=np.float32)
    program = compile_module(tools.make(lambda x: nd.sum(x), x))
    (found,) = program(x)
    exact = x.sum(dtype=np.float64)
    assert program.kernels == 1
    assert abs(found - exact) <= 4 * abs(torch.from_numpy(x).sum().item() - exact) + 1e-6 * exact


def test_mapping_again_changes_nothing(tools):
    from dlir.textir import to_text

    x = np.zeros(4 * LARGE, np.float32)
    lowered = tools.passes(tools.make(lambda x: nd.sum(x), x), f"{BEFORE},map")
    assert shared_out(lowered)
    assert to_text(tools.passes(lowered, "inline,fuse,schedule,bufferize,plan-memory,lower-kernels,map")) == to_text(
        lowered
    )
