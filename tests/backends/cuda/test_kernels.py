"""Every shape of kernel, compiled by NVRTC and run by cuda-sim in three orders of threads (and on a GPU where there is
one), against NumPy."""

import numpy as np
import pytest

from dlir.backends.cuda import nvrtc
from dlir.backends.cuda.emit import emit_kernels
from dlir.ir.dialects.gpu import GPUFunc
from dlir.ir.ops import nd
from dlir.ir.types import BF16, F16, F64, I1, I32

rng = np.random.default_rng(1)


def f32(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def check(runs, *want, rtol=2e-5, atol=1e-5):
    """Each way of running gave these results."""
    for found in runs:
        assert len(found) == len(want)
        for array, exact in zip(found, want):
            exact = np.asarray(exact)
            assert array.dtype == exact.dtype and array.shape == exact.shape
            np.testing.assert_allclose(array.astype(np.float64), exact.astype(np.float64), rtol=rtol, atol=atol)


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True, initial=-np.inf))
    return e / e.sum(axis, keepdims=True)


def block_sizes(module):
    """The number of threads to a block, by kernel."""
    return [op.get("known_block_size")[0] for op in module.walk() if isinstance(op, GPUFunc)]


# ---------------------------------------------------------------- pointwise

SHAPES = [(), (1,), (3, 0), (5, 33), (4, 1, 100)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pointwise(compiled, shape):
    x, y = f32(*shape), f32(*shape)
    _, runs = compiled(lambda x, y: nd.mul(nd.tanh(x), nd.add(y, 1.0)), x, y)
    check(runs, np.tanh(x) * (y + 1))


def test_pointwise_of_more_elements_than_threads(compiled):
    x = rng.integers(-100, 100, 1_100_000).astype(np.int8)
    _, runs = compiled(lambda x: nd.neg(x), x)
    check(runs, -x, rtol=0, atol=0)


@pytest.mark.parametrize(
    "shapes", [((5, 33), (33,)), ((5, 33), (5, 1)), ((4, 1, 3), (2, 1)), ((3,), ()), ((0, 4), (4,))]
)
def test_broadcasting(compiled, shapes):
    x, y = f32(*shapes[0]), f32(*shapes[1])
    _, runs = compiled(lambda x, y: nd.sub(x, y), x, y)
    check(runs, x - y, rtol=0, atol=0)


def test_exact_arithmetic_gives_the_bits_of_numpy(compiled):
    x, y = f32(999), f32(999)
    _, runs = compiled(lambda x, y: nd.sqrt(nd.abs(nd.add(nd.mul(x, y), nd.div(x, y)))), x, y)
    check(runs, np.sqrt(np.abs(x * y + x / y)), rtol=0, atol=0)


def test_special_values(compiled):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 3e38], np.float32)
    y = x[::-1].copy()
    _, runs = compiled(lambda x, y: (nd.maximum(x, y), nd.mul(x, 2.0), nd.less(x, y), nd.exp(x)), x, y)
    with np.errstate(all="ignore"):
        check(runs, np.maximum(x, y), x * 2, x < y, np.exp(x))


@pytest.mark.parametrize("dtype", [F16, BF16, F64, I32, I1], ids=str)
def test_element_types(compiled, dtype):
    x = rng.integers(-3, 4, (6, 11)).astype(dtype.numpy)
    _, runs = compiled(lambda x: (nd.add(x, x), nd.sum(x, axes=(1,)), nd.max(x, axes=(0,))), x)
    check(runs, x + x, x.sum(1).astype(dtype.numpy) if dtype is not I1 else x.sum(1), x.max(0), rtol=0)


def test_movement(compiled):
    x, y = f32(6, 10), f32(6, 4)

    def compute(x, y):
        joined = nd.concat(nd.transpose(x, perm=(1, 0)), nd.transpose(y, perm=(1, 0)), axis=0)
        return nd.pad(nd.slice(joined, start=(1, 0), stop=(13, 6), step=(2, 1)), low=(1, 0), high=(0, 2), value=7.0)

    want = np.pad(np.concatenate([x.T, y.T])[1:13:2], ((1, 0), (0, 2)), constant_values=7.0)
    _, runs = compiled(compute, x, y)
    check(runs, want, rtol=0, atol=0)


# ---------------------------------------------------------------- rows

ROWS = [(1, 1), (5, 3), (3, 257), (1, 5000), (40, 32), (7, 1), (0, 5), (2, 3, 70)]


@pytest.mark.parametrize("shape", ROWS, ids=str)
def test_row_reductions(compiled, shape):
    x = f32(*shape)
    _, runs = compiled(lambda x: (nd.sum(x, axes=(-1,)), nd.max(x, axes=(-1,))), x)
    check(runs, x.sum(-1), x.max(-1, initial=-np.inf), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (6, 50), (3, 257), (40, 32), (0, 5)], ids=str)
def test_softmax(compiled, shape):
    x = f32(*shape)
    _, runs = compiled(lambda x: nd.softmax(x), x)
    check(runs, softmax(x))


@pytest.mark.parametrize("shape", [(1, 1), (6, 50), (3, 257)], ids=str)
def test_layer_norm(compiled, shape):
    x, scale, bias = f32(*shape), f32(shape[-1]), f32(shape[-1])
    _, runs = compiled(lambda x, s, b: nd.layer_norm(x, s, b), x, scale, bias)
    centred = x - x.mean(-1, keepdims=True)
    check(runs, centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + bias, rtol=1e-4, atol=1e-4)


def test_reductions_whose_threads_share_results_across_warps(compiled):
    x = f32(3, 3000)
    module, runs = compiled(lambda x: nd.softmax(nd.mul(x, 3.0)), x)
    assert max(block_sizes(module)) > 32
    check(runs, softmax(x * 3))


def test_reduction_over_nothing(compiled):
    x = f32(4, 0)
    _, runs = compiled(lambda x: nd.sum(x, axes=(1,)), x)
    check(runs, np.zeros(4, np.float32))


@pytest.mark.parametrize("size", [1, 31, 1000, 5000])
def test_full_reduction(compiled, size):
    x = f32(size)
    _, runs = compiled(lambda x: nd.sum(x), x)
    check(runs, x.sum(dtype=np.float64).astype(np.float32), rtol=1e-4, atol=1e-4)


def test_reduction_that_is_padded_afterwards_stays_inside_of_its_rows(compiled):
    x = f32(3, 20)
    _, runs = compiled(lambda x: nd.pad(nd.max(x, axes=(1,), keepdims=True), low=(2, 0), high=(1, 1), value=0.5), x)
    check(runs, np.pad(x.max(1, keepdims=True), ((2, 1), (0, 1)), constant_values=0.5))


def test_argmax(compiled):
    x = np.round(f32(9, 300), 1)
    x[2, 5] = np.nan
    _, runs = compiled(lambda x: nd.argmax(x, axis=1), x)
    check(runs, x.argmax(1))


@pytest.mark.parametrize("shape", [(33, 200), (5000, 3), (2, 1), (300, 128)], ids=str)
def test_column_reduction(compiled, shape):
    x = f32(*shape)
    _, runs = compiled(lambda x: nd.mean(x, axes=(0,)), x)
    check(runs, x.mean(0), rtol=1e-3, atol=1e-5)


def test_wide_column_reductions_give_neighbouring_threads_neighbouring_columns(mapped):
    wide, narrow = (
        mapped(lambda x: nd.sum(x, axes=(0,)), f32(64, 300)),
        mapped(lambda x: nd.sum(x, axes=(1,)), f32(64, 300)),
    )
    assert not any(op.name == "gpu.shuffle" for op in wide.walk())
    assert any(op.name == "gpu.shuffle" for op in narrow.walk())


LONG = [((70001,), None), ((2, 3, 9001), (1, 2)), ((3, 20011), (1,)), ((6007, 24), (0,)), ((1500, 70), (0,))]


@pytest.mark.parametrize(("shape", "axes"), LONG, ids=str)
def test_long_reductions_of_few_items_are_split_over_blocks(compiled, shape, axes):
    x = f32(*shape)
    module, runs = compiled(lambda x: (nd.sum(x, axes=axes), nd.max(x, axes=axes)), x)
    launches = [op for op in module.walk() if op.name == "gpu.launch_func"]
    assert len(launches) >= 2 and max(op.grid[0].owner.get("value") for op in launches) > 4
    check(runs, x.sum(axes, dtype=np.float64).astype(np.float32), x.max(axes), rtol=1e-4, atol=1e-3)


def test_the_order_of_a_split_reduction_is_fixed(compiled):
    x = f32(50000)
    _, runs = compiled(lambda x: nd.sum(x), x)
    assert len({found[0].tobytes() for found in runs}) == 1


def test_a_long_softmax_is_split_everywhere(compiled):
    x = f32(2, 20000)
    module, runs = compiled(lambda x: nd.softmax(x), x)
    grids = [op.grid[0].owner.get("value") for op in module.walk() if op.name == "gpu.launch_func"]
    assert len(grids) == 3 and min(grids) >= 8
    check(runs, softmax(x), rtol=1e-4)


def test_columns_are_split_with_neighbouring_threads_on_neighbouring_columns(mapped):
    module = mapped(lambda x: nd.sum(x, axes=(0,)), f32(20000, 64))
    first, _ = (op for op in module.walk() if isinstance(op, GPUFunc))
    assert not any(op.name == "gpu.shuffle" for op in first.walk())


# ---------------------------------------------------------------- contractions and windows

PRODUCTS = [
    (1, 1, 1),
    (33, 70, 45),
    (64, 16, 64),
    (130, 5, 200),
    (1, 64, 100),
    (100, 64, 1),
    (50, 300, 10),
    (16, 0, 16),
]


@pytest.mark.parametrize("sizes", PRODUCTS, ids=str)
def test_matmul(compiled, sizes):
    m, k, n = sizes
    a, b = f32(m, k), f32(k, n)
    _, runs = compiled(lambda a, b: nd.matmul(a, b), a, b)
    check(runs, a @ b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("flags", [(True, False), (False, True), (True, True)], ids=str)
def test_batched_matmul_with_epilogue(compiled, flags):
    a, b, c = f32(3, 20, 33), f32(33, 40), f32(40)
    left = a.swapaxes(1, 2).copy() if flags[0] else a
    right = b.T.copy() if flags[1] else b

    def compute(a, b, c):
        return nd.relu(nd.add(nd.matmul(a, b, transpose_a=flags[0], transpose_b=flags[1]), c))

    module, runs = compiled(compute, left, right, c)
    assert len(block_sizes(module)) == 1
    check(runs, np.maximum(a @ b + c, 0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tile", [(128, 128, 8), (64, 64, 16), (32, 32, 16), (16, 16, 16)], ids=str)
def test_every_tile_of_a_matmul(compiled, monkeypatch, tile):
    from dlir.passes.targets import cuda

    monkeypatch.setattr(cuda, "tile_for", lambda roles, blocks: tile)
    a, b = rng.integers(-8, 8, (150, 37)).astype(np.float32), rng.integers(-8, 8, (37, 140)).astype(np.float32)
    _, runs = compiled(lambda a, b: nd.matmul(a, b), a, b)
    check(runs, a @ b, rtol=0, atol=0)


def test_operands_that_begin_anywhere_are_moved_to_where_vectors_can_be_read(mapped, load_sim):
    a, b = np.zeros(16 * 16 + 1, np.float32), f32(16, 16)
    left = a[1:].reshape(16, 16)
    left[...] = f32(16, 16)
    module = mapped(lambda a, b: nd.matmul(a, b), left, b)
    assert any(op.name == "vector.load" for op in module.walk())
    np.testing.assert_allclose(load_sim(module)(left, b)[0], left @ b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [F16, BF16, F64, I32], ids=str)
def test_matmul_of_other_types(compiled, dtype):
    a, b = (rng.integers(-3, 4, shape).astype(dtype.numpy) for shape in ((20, 30), (30, 18)))
    _, runs = compiled(lambda a, b: nd.matmul(a, b), a, b)
    check(runs, (a.astype(np.float64) @ b.astype(np.float64)).astype(dtype.numpy), rtol=0)


@pytest.mark.parametrize(
    ("shape", "kernel", "options"),
    [
        ((2, 5, 13, 11), (18, 5, 3, 3), {"padding": (1, 1)}),
        ((2, 5, 13, 11), (18, 5, 3, 3), {"stride": (2, 2)}),
        ((1, 1, 6, 6), (1, 1, 3, 3), {}),
        ((2, 6, 9, 9), (4, 3, 3, 3), {"groups": 2}),
        ((3, 4, 20), (10, 4, 5), {"dilation": (2,), "padding": (3,)}),
    ],
)
def test_convolution_with_epilogue(compiled, shape, kernel, options):
    torch = pytest.importorskip("torch")
    x, w, b = f32(*shape), f32(*kernel), f32(kernel[0], *[1] * (len(kernel) - 2))
    function = getattr(torch.nn.functional, f"conv{len(shape) - 2}d")
    want = torch.relu(function(torch.tensor(x), torch.tensor(w), **options) + torch.tensor(b)).numpy()
    _, runs = compiled(lambda x, w, b: nd.relu(nd.add(nd.conv(x, w, **options), b)), x, w, b)
    check(runs, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options", [{"kernel": (2, 2)}, {"kernel": (5, 5), "padding": (2, 2)}, {"kernel": (3, 2), "stride": (1, 2)}]
)
def test_pooling(compiled, options):
    torch = pytest.importorskip("torch")
    x = f32(2, 3, 9, 8)
    names = {"kernel": "kernel_size", "stride": "stride", "padding": "padding"}
    arguments = {"stride": (1, 1), **{names[name]: value for name, value in options.items()}}
    if "stride" not in options:
        options = {**options, "stride": (1, 1)}
    want = [
        getattr(torch.nn.functional, name)(torch.tensor(x), **arguments).numpy()
        for name in ("max_pool2d", "avg_pool2d")
    ]
    _, runs = compiled(lambda x: (nd.max_pool(x, **options), nd.avg_pool(x, **options)), x)
    check(runs, *want)


# ---------------------------------------------------------------- whole functions


@pytest.mark.parametrize("arch", ["sm_90", "sm_100", "sm_120"])
def test_newer_architectures(mapped, needs_nvrtc, arch):
    def compute(x, w):
        return nd.softmax(nd.matmul(x, w)), nd.sum(nd.exp(x), axes=(0,)), nd.cast(x, dtype=F16)

    usage = nvrtc.compile_cubin(emit_kernels(mapped(compute, f32(200, 300), f32(300, 500))).text, arch).usage
    assert len(usage) >= 3 and all(kernel.spill_stores == 0 for kernel in usage)


@pytest.mark.parametrize("level", ["O0", "O1", "O2"])
def test_a_network_with_temporaries_at_every_level(compiled, level):
    x, w1, b1, w2 = f32(10, 20), f32(20, 30), f32(30), f32(30, 8)

    def compute(x, w1, b1, w2):
        hidden = nd.tanh(nd.add(nd.matmul(x, w1), b1))
        return nd.softmax(nd.matmul(hidden, w2)), nd.sum(hidden)

    hidden = np.tanh(x @ w1 + b1)
    _, runs = compiled(compute, x, w1, b1, w2, level=level)
    check(runs, softmax(hidden @ w2), hidden.sum(), rtol=1e-4, atol=1e-4)


def test_an_input_that_is_returned_is_copied(compiled):
    x = f32(5)
    _, runs = compiled(lambda x: (x, nd.add(x, x)), x)
    check(runs, x, x + x)
    assert all(found[0] is not x for found in runs)
