"""Contractions in register tiles, with every kind of remainder, against NumPy; small integers make sums exact."""

import numpy as np
import pytest

from dlir.ir.errors import DlirError
from dlir.ir.ops import nd
from dlir.ir.types import F32
from dlir.passes.kernels import contraction

AFTER = "bufferize,plan-memory,lower-kernels,map{threshold=0}"


def integers(rng, shape, dtype=np.float32):
    return rng.integers(-4, 5, shape).astype(dtype)


def tiled(tools, module, tile):
    """`module` fused into one kernel, in tiles of this size."""
    fused = tools.passes(module, "fuse")
    (region,) = tools.regions(fused)
    region.set("schedule", "contraction")
    region.set("tile", tile)
    return fused


@pytest.fixture(params=[(1 << 18, 32), (1 << 18, 1), (1024, 8)], ids=["whole", "one block", "parts"])
def limits(request, monkeypatch):
    """Small panels, so that a sum goes in parts, and different numbers of blocks."""
    monkeypatch.setattr(contraction, "PANEL_BYTES", request.param[0])
    monkeypatch.setattr(contraction, "ITEMS", request.param[1])
    monkeypatch.setattr(contraction, "BLOCK_ROWS", 4)


@pytest.mark.parametrize("seed", range(8))
def test_matrix_products_of_any_size_and_layout(tools, limits, seed):
    rng = np.random.default_rng(seed)
    m, k, n = (int(v) for v in rng.integers(2, 26, 3))
    flags = {"transpose_a": bool(rng.integers(2)), "transpose_b": bool(rng.integers(2))}
    dtype = [np.float32, np.float64, np.float16, np.int32][seed % 4]
    batch = [(), (2,), (2, 3)][int(rng.integers(3))]
    a = integers(rng, (*batch, *((k, m) if flags["transpose_a"] else (m, k))), dtype)
    b = integers(rng, (*batch[: int(rng.integers(3))], *((n, k) if flags["transpose_b"] else (k, n))), dtype)
    bias = integers(rng, (n,), dtype)
    if b.ndim > 2 and b.shape[:-2] != batch[-(b.ndim - 2) :]:
        b = b[0] if b.ndim == 3 else b[0, 0]

    def body(a, b, bias):
        found = nd.relu(nd.add(nd.matmul(a, b, **flags), bias))
        return nd.transpose(found) if seed % 3 == 0 else found

    lanes = int(rng.choice([2, 4]))
    tile = (int(rng.integers(1, 6)), lanes * int(rng.integers(1, 4)), lanes)
    module = tiled(tools, tools.make(body, a, b, bias), tile)
    one = a.swapaxes(-1, -2) if flags["transpose_a"] else a
    two = b.swapaxes(-1, -2) if flags["transpose_b"] else b
    want = np.maximum(np.matmul(one.astype(np.float64), two.astype(np.float64)) + bias, 0).astype(dtype)
    (found,) = tools.run(tools.passes(module, AFTER), [a, b, bias])
    np.testing.assert_array_equal(found, want.T if seed % 3 == 0 else want)


@pytest.mark.parametrize("seed", range(12))
def test_convolutions_of_any_kind(tools, limits, seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(100 + seed)
    groups = 2 if seed % 4 == 3 else 1
    rank = 1 + seed % 2
    channels, outputs = groups * int(rng.integers(1, 4)), groups * int(rng.integers(2, 6))
    kernel = [int(v) for v in rng.integers(1, 4, rank)]
    spatial = [int(v) for v in rng.integers(6, 10, rank)]
    stride, padding = ([int(v) for v in rng.integers(low, low + 2, rank)] for low in (1, 0))
    x = integers(rng, (int(rng.integers(1, 3)), channels, *spatial))
    w = integers(rng, (outputs, channels // groups, *kernel))
    bias = integers(rng, (outputs, *[1] * rank))

    def body(x, w, bias):
        found = nd.conv(x, w, stride=tuple(stride), padding=tuple(padding), groups=groups)
        return nd.maximum(nd.add(found, bias), 0)

    lanes = int(rng.choice([2, 4]))
    tile = (int(rng.integers(1, 6)), lanes * int(rng.integers(1, 4)), lanes)
    module = tiled(tools, tools.make(body, x, w, bias), tile)
    convolve = torch.nn.functional.conv1d if rank == 1 else torch.nn.functional.conv2d
    want = convolve(*map(torch.from_numpy, (x, w, bias.reshape(-1))), stride, padding, 1, groups).relu()
    (found,) = tools.run(tools.passes(module, AFTER), [x, w, bias])
    np.testing.assert_array_equal(found, want.numpy())


def test_a_padded_operand_of_scalars_keeps_its_own_guard(tools):
    """With one place of output, images are broadcast and weights are read as vectors."""
    rng = np.random.default_rng(5)
    x, w = integers(rng, (3, 2, 1, 1)), integers(rng, (8, 2, 3, 3))
    module = tiled(tools, tools.make(lambda x, w: nd.conv(x, w, padding=(1, 1)), x, w), (2, 4, 4))
    (found,) = tools.run(tools.passes(module, AFTER), [x, w])
    np.testing.assert_array_equal(found[..., 0, 0], x[..., 0, 0] @ w[:, :, 1, 1].T)


@pytest.mark.parametrize("depth", [20, 5000])
def test_vectors_are_read_where_they_lie_when_each_is_read_once(tools, depth):
    rng = np.random.default_rng(6)
    x, w = integers(rng, (1, depth)), integers(rng, (depth, 64))
    module = tiled(tools, tools.make(lambda x, w: nd.matmul(x, w), x, w), (1, 16, 8))
    lowered = tools.passes(module, AFTER)
    np.testing.assert_array_equal(tools.run(lowered, [x, w])[0], x @ w)
    loads = [op for op in lowered.walk() if op.name == "vector.load"]
    assert loads
    assert all(op.operands[0].defining_op.name == "memref.reinterpret_cast" for op in loads)


def test_an_intermediate_that_is_needed_is_a_result_too(tools):
    rng = np.random.default_rng(8)
    x, w = integers(rng, (10, 6)), integers(rng, (6, 9))

    def body(x, w):
        product = nd.matmul(x, w)
        return product, nd.relu(product)

    module = tiled(tools, tools.make(body, x, w), (3, 8, 4))
    found = tools.run(tools.passes(module, AFTER), [x, w])
    tools.assert_same(found, [x @ w, np.maximum(x @ w, 0)])


def test_the_target_table_chooses_tiles_that_fit_the_registers(tools):
    x, w = np.zeros((256, 784), np.float32), np.zeros((784, 512), np.float32)
    module = tools.make(lambda x, w: nd.matmul(x, w), x, w)
    for bytes_, most in ((16, 24), (32, 12), (64, 24)):
        (region,) = tools.regions(tools.passes(module, f"fuse,schedule{{vector-bytes={bytes_}}}"))
        rows, columns, lanes = region["tile"]
        assert region["schedule"] == "contraction"
        assert lanes * 4 == bytes_
        assert rows * columns // lanes <= most


@pytest.mark.parametrize(
    ("schedule", "tile", "message"),
    [
        ("contraction", (3, 7, 2), "no multiple of 2 lanes"),
        ("contraction", (3, 8), "must be 3 integers"),
        ("contraction", (0, 8, 4), "positive"),
        ("row", None, "for row ones"),
        ("contractoin", None, "did you mean 'contraction'"),
    ],
)
def test_a_schedule_that_does_not_fit_is_an_error_of_the_text(tools, schedule, tile, message):
    x = np.zeros((4, 4), np.float32)
    fused = tools.passes(tools.make(lambda x: nd.matmul(x, x), x), "fuse")
    (region,) = tools.regions(fused)
    region.set("schedule", schedule)
    region.set("tile", tile)
    with pytest.raises(DlirError, match=message):
        tools.passes(fused, AFTER)


def test_grouped_convolutions_are_products_of_each_group(tools):
    x, w = np.zeros((2, 32, 8, 8), np.float32), np.zeros((64, 8, 3, 3), np.float32)
    module = tools.make(lambda x, w: nd.conv(x, w, padding=(1, 1), groups=4), x, w)
    (region,) = tools.regions(tools.passes(module, "fuse,schedule{vector-bytes=32}"))
    assert region["schedule"] == "contraction"
    assert region["tile"][0] > 1


def test_what_lies_outside_is_not_asked_for_one_by_one(tools):
    """The columns inside of a padded image are one range: nothing is chosen element by element."""
    x, w = np.zeros((1, 4, 12, 12), np.float32), np.zeros((8, 4, 3, 3), np.float32)
    module = tiled(tools, tools.make(lambda x, w: nd.conv(x, w, padding=(1, 1)), x, w), (4, 16, 8))
    lowered = tools.passes(module, "bufferize,lower-kernels")
    chosen = [op for op in lowered.walk() if op.name == "arith.select" and op.results[0].type is F32]
    assert not chosen


def test_panels_of_several_vectors_may_end_in_dimensions_of_one(tools):
    # What the gradient of a 1x1 convolution reads: weights with the channels of the result last, but for the kernel.
    rng = np.random.default_rng(0)
    x, w = integers(rng, (2, 24, 4, 4)), integers(rng, (24, 64, 1, 1))
    module = tools.make(lambda x, w: nd.conv(x, nd.transpose(w, perm=(1, 0, 2, 3))), x, w)
    found = directly(tools, module, [x, w])
    np.testing.assert_array_equal(found, np.einsum("nchw,co->nohw", x, w[:, :, 0, 0]))


def test_what_neither_operand_depends_on_is_computed_everywhere(tools):
    # What the gradient of a mean behind a 1x1 convolution reads: one number for a whole image.
    rng = np.random.default_rng(0)
    x, w = integers(rng, (2, 24)), integers(rng, (24, 64, 1, 1))

    def body(x, w):
        image = nd.broadcast_to(nd.reshape(x, shape=(2, 24, 1, 1)), shape=(2, 24, 4, 4))
        return nd.conv(image, nd.transpose(w, perm=(1, 0, 2, 3)))

    found = directly(tools, tools.make(body, x, w), [x, w])
    np.testing.assert_array_equal(found, np.broadcast_to((x @ w[:, :, 0, 0])[:, :, None, None], (2, 64, 4, 4)))


def directly(tools, module, arrays):
    """The result of `module` as one kernel that reads its weights where they lie."""
    fused = tools.passes(module, "fuse")
    (region,) = tools.regions(fused)
    region.set("schedule", "direct")
    region.set("tile", (3, 64, 16))
    (found,) = tools.run(tools.passes(fused, AFTER), arrays)
    return found


@pytest.mark.parametrize("shape", [(7, 40, 33), (70, 33, 64), (5, 16, 16)], ids=str)
def test_a_transposed_operand_is_packed_in_runs(tools, limits, shape):
    m, k, n = shape
    rng = np.random.default_rng(0)
    a, b = integers(rng, (m, k)), integers(rng, (n, k))
    module = tiled(tools, tools.make(lambda a, b: nd.matmul(a, b, transpose_b=True), a, b), (4, 16, 8))
    (found,) = tools.run(tools.passes(module, AFTER), [a, b])
    np.testing.assert_array_equal(found, a @ b.T)
