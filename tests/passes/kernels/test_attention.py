"""Attention is one kernel on every backend, computes what its decomposition does, and keeps no matrix of scores."""

import numpy as np
import pytest

from dlir.backends.compiler import compile_module
from dlir.ir.errors import DlirError
from dlir.ir.ops import nd
from dlir.ir.traversal import clone
from dlir.ir.types import F32, TensorType
from dlir.passes.manager import PassManager

#: Queries, keys, features, features of values.
SIZES = [(5, 5, 4, 4), (70, 70, 8, 16), (3, 50, 4, 7), (33, 1, 2, 3), (17, 65, 1, 70), (1, 40, 16, 16)]


def arrays_for(size, batch=(2,), dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    queries, keys, features, outputs = size
    shapes = [(queries, features), (keys, features), (keys, outputs)]
    return [rng.normal(size=(*batch, *shape)).astype(dtype) for shape in shapes]


def formula(q, k, v, mask=None, causal=False, scale=None):
    """Attention in f64, with NumPy alone."""
    q, k, v = (np.asarray(item, np.float64) for item in (q, k, v))
    scores = q @ k.swapaxes(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    largest = scores.max(-1, keepdims=True)
    powers = np.exp(scores - np.where(largest == -np.inf, 0, largest))
    total = powers.sum(-1, keepdims=True)
    return powers / np.where(total == 0, 1, total) @ v


def computed(tools, backend, arrays, level="O2", **attributes):
    module = tools.make(lambda *args: nd.attention(*args, **attributes), *arrays)
    program = compile_module(module, backend=backend, level=level)
    assert program.kernels == (backend != "ref")
    return program(*arrays)[0]


@pytest.fixture(params=["cpu", "cuda-sim", "ref"])
def backend(request):
    return request.param


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("causal", [False, True])
def test_plain_and_causal(tools, backend, size, causal):
    arrays = arrays_for(size)
    found = computed(tools, backend, arrays, causal=causal)
    np.testing.assert_allclose(found, formula(*arrays, causal=causal), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("shape", [(20, 37), (2, 1, 37), (1, 20, 1), (2, 20, 37)], ids=str)
@pytest.mark.parametrize("kind", ["bool", "float"])
@pytest.mark.parametrize("causal", [False, True])
def test_masks(tools, backend, shape, kind, causal):
    rng = np.random.default_rng(1)
    mask = rng.random(shape) < 0.5 if kind == "bool" else rng.normal(size=shape).astype(np.float32)
    arrays = [*arrays_for((20, 37, 4, 5)), mask]
    found = computed(tools, backend, arrays, causal=causal)
    np.testing.assert_allclose(found, formula(*arrays, causal=causal), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("kind", ["bool", "float"])
@pytest.mark.parametrize("keys", [96, 110, 97])
@pytest.mark.parametrize("causal", [False, True])
def test_masks_over_several_blocks(tools, backend, kind, keys, causal):
    """Blocks of keys that are whole, and one with what is left; queries that fill their blocks, and some that do not."""
    rng = np.random.default_rng(4)
    arrays = arrays_for((keys, keys, 8, 13))
    mask = rng.random((2, keys, keys)) < 0.5 if kind == "bool" else rng.normal(size=(keys, keys)).astype(np.float32)
    found = computed(tools, backend, [*arrays, mask], causal=causal)
    np.testing.assert_allclose(found, formula(*arrays, mask, causal=causal), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(("queries", "together"), [(512, 64), (96, 48), (64, 64), (197, 32), (16, 16)])
def test_blocks_of_queries_leave_few_lanes_empty(tools, queries, together):
    """In vectors of 16 lanes."""
    module = tools.make(lambda *args: nd.attention(*args), *arrays_for((queries, queries, 8, 8)))
    PassManager.from_text("fuse,schedule{vector-bytes=64}").run(module)
    (region,) = (op for op in module.walk() if op.name == "kernel.region")
    assert region["tile"][0] == together


def test_a_query_that_sees_nothing_gives_0_and_others_do_not_mind(tools, backend):
    mask = np.ones((20, 60), bool)
    mask[3], mask[7, :50] = False, False
    arrays = [*arrays_for((20, 60, 4, 5)), mask]
    found = computed(tools, backend, arrays)
    assert not found[:, 3].any()
    np.testing.assert_allclose(found, formula(*arrays), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float16, 2e-3), (np.float64, 1e-12)])
def test_other_dtypes(tools, backend, dtype, tolerance):
    arrays = arrays_for((20, 37, 4, 5), dtype=dtype)
    found = computed(tools, backend, arrays, causal=True)
    assert found.dtype == dtype
    np.testing.assert_allclose(found.astype(float), formula(*arrays, causal=True), rtol=tolerance, atol=tolerance)


def test_batches_broadcast_and_scales_are_kept(tools, backend):
    q, k, v = arrays_for((10, 12, 4, 5), batch=(2, 1))
    v = np.concatenate([v[0], v[1], v[0]])
    found = computed(tools, backend, [q, k[:1], v], scale=2.0)
    assert found.shape == (2, 3, 10, 5)
    np.testing.assert_allclose(found, formula(q, k[:1], v, scale=2.0), rtol=5e-5, atol=5e-6)


@pytest.mark.parametrize("size", [(0, 5, 4, 4), (5, 0, 4, 4), (5, 5, 4, 0)], ids=str)
def test_without_queries_keys_or_features(tools, backend, size):
    arrays = arrays_for(size)
    module = tools.make(nd.attention, *arrays)
    found = compile_module(module, backend=backend)(*arrays)[0]
    assert found.shape == (2, size[0], size[3]) and not found.any()


def test_large_scores_do_not_overflow(tools, backend):
    arrays = [100 * item for item in arrays_for((9, 70, 4, 5))]
    np.testing.assert_allclose(computed(tools, backend, arrays), formula(*arrays), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("level", ["O0", "O1"])
def test_it_is_one_kernel_without_fusion_too(tools, backend, level):
    arrays = arrays_for((20, 37, 4, 5))
    np.testing.assert_allclose(computed(tools, backend, arrays, level=level), formula(*arrays), rtol=2e-5, atol=2e-6)


def split_heads(x, heads):
    """[T, 3 * heads * d] -> q, k, v [heads, T, d], all views."""
    length, width = x.shape
    parts = nd.transpose(nd.reshape(x, shape=(length, 3, heads, width // heads // 3)), perm=(1, 2, 0, 3))
    full = (heads, length, width // heads // 3)
    return [nd.reshape(nd.slice(parts, start=(i, 0, 0, 0), stop=(i + 1, *full)), shape=full) for i in range(3)]


def test_views_of_operands_and_pointwise_ops_on_the_result_join(tools, backend):
    def body(x, rest):
        found = nd.attention(*split_heads(x, 2), causal=True)
        found = nd.transpose(found, perm=(1, 0, 2))
        return nd.relu(nd.add(found, rest))

    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in ((19, 24), (19, 2, 4))]
    program = compile_module(tools.make(body, *arrays), backend=backend)
    assert program.kernels == (backend != "ref")
    q, k, v = arrays[0].reshape(19, 3, 2, 4).transpose(1, 2, 0, 3)
    want = np.moveaxis(formula(q, k, v, causal=True), 0, 1) + arrays[1]
    np.testing.assert_allclose(program(*arrays)[0], np.maximum(want, 0), rtol=2e-5, atol=2e-6)


def test_written_out_it_is_the_same_kernel(tools):
    def written(q, k, v):
        scores = nd.mul(nd.matmul(q, nd.transpose(k, perm=(0, 2, 1))), 0.5)
        scores = nd.select(np.tril(np.ones((9, 9), bool)), scores, -1e30)
        powers = nd.exp(nd.sub(scores, nd.max(scores, axes=(-1,), keepdims=True)))
        return nd.matmul(nd.div(powers, nd.sum(powers, axes=(-1,), keepdims=True)), v)

    arrays = arrays_for((9, 9, 4, 5))
    one = compile_module(tools.make(written, *arrays))
    two = compile_module(tools.make(lambda *args: nd.attention(*args, causal=True), *arrays))
    assert one.source() == two.source()
    np.testing.assert_allclose(one(*arrays)[0], formula(*arrays, causal=True), rtol=2e-5, atol=2e-6)


def test_memory_does_not_grow_with_the_square_of_the_length(tools):
    def planned(length):
        types = [TensorType((1, length, 8), F32)] * 3
        return compile_module(tools.make(nd.attention, *types)).memory.planned

    assert planned(2048) == 2 * planned(1024) == 2 * 4 * 1024 * 8 * 4


def test_what_feeds_it_is_a_kernel_of_its_own(tools):
    def body(q, k, v):
        return nd.attention(nd.exp(q), k, v)

    types = [TensorType((2, 5, 4), F32)] * 3
    assert [tools.ops_of(r) for r in tools.regions(tools.passes(tools.make(body, *types), "fuse"))] == [
        ["exp"],
        ["attention"],
    ]


@pytest.mark.parametrize("tile", [(16, 8, 4, 4), (8, 6, 6, 8), (32, 32, 2, 16)])
def test_any_tile_that_fits(tools, tile):
    arrays = arrays_for((21, 37, 4, 5))
    module = tools.passes(tools.make(lambda *args: nd.attention(*args, causal=True), *arrays), "fuse,schedule")
    tools.regions(module)[0].set("tile", tile)
    found = compile_module(module)(*arrays)[0]
    np.testing.assert_allclose(found, formula(*arrays, causal=True), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("tile", "message"), [((12, 8, 4, 8), "no multiple of 8 lanes"), ((16, 9, 4, 8), "no multiple of 4 rows")]
)
def test_a_tile_that_does_not_fit_is_refused(tools, tile, message):
    module = tools.passes(tools.make(nd.attention, *arrays_for((5, 5, 4, 4))), "fuse,schedule")
    tools.regions(module)[0].set("tile", tile)
    with pytest.raises(DlirError, match=message):
        PassManager.from_text("bufferize,lower-kernels").run(clone(module))
