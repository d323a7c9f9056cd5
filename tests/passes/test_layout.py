"""What `layout` packs, and that everything computes the same; small integers make sums exact."""

import numpy as np
import pytest

from dlir.backends.compiler import compile_module
from dlir.backends.ref.reference import Reference
from dlir.backends.registry import find_backend
from dlir.ir.attributes import DenseResourceAttr
from dlir.ir.builder import at_end
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.kernel import KernelRegion
from dlir.ir.errors import DlirError
from dlir.ir.ops import diff, func, nd, state
from dlir.ir.traversal import clone
from dlir.ir.types import TensorType, dtype_from_numpy
from dlir.passes.kernels import direct
from dlir.passes.manager import PassManager

SCHEDULED = "layout{vector-bytes=32},hoist-constants,fuse,schedule{vector-bytes=32}"


def make(body, x, *weights):
    """A module whose @main is ``body(x, *weights)``, where the weights are variables, and what gives them."""
    module = Module.empty()
    types = [TensorType(a.shape, dtype_from_numpy(a.dtype)) for a in (x, *weights)]
    with at_end(module.body):
        for number, type in enumerate(types[1:]):
            state.variable(sym_name=f"w{number}", init=DenseResourceAttr(f"w{number}", type), type=type)
    function = Func.make("main", types[:1], names=["x"])
    module.body.append(function)
    with at_end(function.body):
        read = [state.read(variable=f"w{n}", result_types=[type]) for n, type in enumerate(types[1:])]
        func.return_(body(function.body.args[0], *read))
    function.update_type()
    return module, {f"w{number}": array for number, array in enumerate(weights)}.__getitem__


def passed(module, pipeline):
    copy = clone(module)
    PassManager.from_text(pipeline).run(copy)
    return copy


def names(module):
    return [op.name for op in module.walk()]


def schedules(module):
    """Those of the kernels of @main."""
    (main,) = [op for op in module.body.ops if op.get("sym_name") == "main"]
    return [op["schedule"] for op in main.walk() if isinstance(op, KernelRegion)]


def integers(rng, *shape, dtype=np.float32):
    return rng.integers(-3, 4, shape).astype(dtype)


def agree(module, weights, x):
    """Machine code, and loops run by ref, give exactly what the ops mean."""
    (want,) = Reference(module, weights).run("main", [x])
    (found,) = compile_module(module, weights)(x)
    np.testing.assert_array_equal(found, want)
    return want


@pytest.mark.parametrize("seed", range(16))
def test_convolutions_with_frozen_weights(seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    kernel = [int(v) for v in rng.integers(1, 4, 2)]
    stride, padding, dilation = ([int(v) for v in rng.integers(low, high, 2)] for low, high in ((1, 3), (0, 3), (1, 3)))
    sizes = [d * (k - 1) + int(rng.integers(1, 19)) for d, k in zip(dilation, kernel)]
    channels, outputs = int(rng.integers(1, 20)), int(rng.integers(4, 70))
    dtype = np.float64 if seed % 4 == 3 else np.float32
    x = integers(rng, int(rng.integers(1, 4)), channels, *sizes, dtype=dtype)
    w, b = integers(rng, outputs, channels, *kernel, dtype=dtype), integers(rng, outputs, 1, 1, dtype=dtype)
    attributes = {"stride": tuple(stride), "padding": tuple(padding), "dilation": tuple(dilation)}
    module, weights = make(lambda x, w, b: nd.relu(nd.add(nd.conv(x, w, **attributes), b)), x, w, b)
    found = agree(module, weights, x)
    tensors = map(torch.from_numpy, (x, w, b.reshape(-1)))
    want = torch.nn.functional.conv2d(*tensors, stride, padding, dilation).relu()
    np.testing.assert_array_equal(found, want.numpy())


@pytest.mark.parametrize("seed", range(12))
def test_products_with_frozen_weights(seed):
    rng = np.random.default_rng(seed)
    m, k, n = int(rng.integers(5, 90)), int(rng.integers(1, 70)), int(rng.integers(4, 150))
    batch = [(), (3,), (2, 2)][seed % 3]
    dtype = [np.float32, np.float64, np.float16, np.int32][seed % 4]
    x, b = integers(rng, *batch, m, k, dtype=dtype), integers(rng, n, dtype=dtype)
    is_transposed = bool(rng.integers(2))
    w = integers(rng, *((n, k) if is_transposed else (k, n)), dtype=dtype)
    module, weights = make(lambda x, w, b: nd.add(nd.matmul(x, w, transpose_b=is_transposed), b), x, w, b)
    found = agree(module, weights, x)
    np.testing.assert_array_equal(found, (x.astype(float) @ (w.T if is_transposed else w) + b).astype(dtype))


def network(x, w0, w1, w2, w3):
    """Convolutions, a shortcut with a stride, pooling, and a dense layer on what is flattened."""
    first = nd.relu(nd.conv(x, w0, padding=(1, 1)))
    second = nd.conv(first, w1, padding=(1, 1), stride=(2, 2))
    short = nd.conv(first, w2, stride=(2, 2))
    pooled = nd.max_pool(nd.relu(nd.add(second, short)), kernel=(2, 2))
    return nd.matmul(nd.reshape(pooled, shape=(x.shape[0], -1)), w3)


def arrays():
    rng = np.random.default_rng(3)
    shapes = [(6, 3, 12, 12), (8, 3, 3, 3), (10, 8, 3, 3), (10, 8, 1, 1), (90, 20)]
    return [integers(rng, *shape) for shape in shapes]


def test_a_network_stays_in_one_layout():
    x, *weights = arrays()
    module, store = make(network, x, *weights)
    agree(module, store, x)
    lowered = passed(module, SCHEDULED)
    assert schedules(lowered) == ["direct", "direct", "pooled", "direct"]
    # No kernel changes a layout by itself, and between them lie the channels.
    regions = [op for op in lowered.walk() if isinstance(op, KernelRegion) and op["schedule"] in ("direct", "pooled")]
    assert [region.result_types[0].shape for region in regions][:3] == [(6, 12, 12, 8), (6, 6, 6, 10), (6, 3, 3, 10)]


def test_weights_that_are_no_variables_stay():
    module, _ = make(lambda x: nd.conv(x, x), np.zeros((4, 4, 5, 5), np.float32))
    assert "nd.pack" not in names(passed(module, "layout"))


def test_small_weights_stay():
    x, w = np.zeros((1, 64), np.float32), np.zeros((64, 32), np.float32)
    module, _ = make(lambda x, w: nd.matmul(x, w), x, w)
    assert "nd.pack" not in names(passed(module, "layout"))


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_weights_of_few_rows_are_packed_in_wide_panels(rows):
    rng = np.random.default_rng(rows)
    x, w = integers(rng, rows, 70), integers(rng, 70, 300)
    module, weights = make(lambda x, w: nd.matmul(x, w), x, w)
    (pack,) = [op for op in passed(module, "layout").walk() if op.name == "nd.pack"]
    assert pack["inner_tiles"][0] >= 32
    np.testing.assert_array_equal(agree(module, weights, x), x @ w)


def test_what_is_returned_keeps_its_layout():
    x, w, *_ = arrays()
    module, _ = make(lambda x, w: nd.conv(x, w), x, w)
    lowered = passed(module, "layout")
    (main,) = [op for op in lowered.body.ops if op.get("sym_name") == "main"]
    assert main.body.terminator.operands[0].defining_op.name == "nd.conv"


def test_weights_are_packed_when_the_program_is_loaded():
    x, w, *_ = arrays()
    module, _ = make(lambda x, w: nd.conv(x, w), x, w)
    lowered = passed(module, SCHEDULED)
    (main,) = [op for op in lowered.body.ops if op.get("sym_name") == "main"]
    assert "nd.pack" not in [op.name for op in main.walk()]
    assert "nd.pack" in names(lowered)


def test_doing_it_again_changes_nothing():
    x, *weights = arrays()
    module, _ = make(network, x, *weights)
    once = passed(module, "layout")
    assert names(passed(once, "layout")) == names(once)


def test_groups_keep_to_what_can_be_done_with_them():
    rng = np.random.default_rng(0)
    x, w0 = integers(rng, 2, 8, 9, 9), integers(rng, 8, 8, 1, 1)
    each, pairs = integers(rng, 8, 1, 3, 3), integers(rng, 8, 2, 3, 3)

    def body(x, w0, each, pairs):
        h = nd.conv(nd.conv(x, w0), each, groups=8, padding=(1, 1))
        return nd.conv(nd.relu(h), pairs, groups=4)

    agree(*make(body, x, w0, each, pairs), x)


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (2, 3, 3, 3), (7, 3, 3, 11)])
def test_few_or_no_rows(shape):
    rng = np.random.default_rng(0)
    x, w = integers(rng, *shape), integers(rng, 16, 3, 3, 3)
    agree(*make(lambda x, w: nd.relu(nd.conv(x, w, padding=(0, 1))), x, w), x)


@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
def test_registers_of_any_size(vector_bytes):
    x, *weights = arrays()
    module, store = make(network, x, *weights)
    size = f"{{vector-bytes={vector_bytes}}}"
    rest = "bufferize,plan-memory,lower-kernels,map{threshold=0}"
    lowered = passed(module, f"layout{size},hoist-constants,fuse,schedule{size},{rest}")
    (want,) = Reference(module, store).run("main", [x])
    np.testing.assert_array_equal(Reference(lowered, store).run("main", [x])[0], want)
    np.testing.assert_array_equal(find_backend("cpu").load(lowered, "main", store)(x)[0], want)
    for op in lowered.walk():
        if op.name == "scf.for" and len(op.results) > 1:
            assert len(op.results) < {16: 32, 32: 16, 64: 32}[vector_bytes]


@pytest.mark.parametrize("rows", [1, 2, 4, 5, 8, 12, 36, 100])
def test_tiles_of_any_height(rows):
    """Parts of a line of 6, whole lines, several images, and more than there are; some of a halo, some of none."""
    x, *weights = arrays()
    module, store = make(network, x, *weights)
    scheduled = passed(module, SCHEDULED)
    regions = [op for op in scheduled.walk() if isinstance(op, KernelRegion) and op["schedule"] == "direct"]
    for region in regions:
        region.set("tile", (rows, *region["tile"][1:]))
    lowered = passed(scheduled, "bufferize,plan-memory,lower-kernels,map{threshold=0}")
    (want,) = Reference(module, store).run("main", [x])
    np.testing.assert_array_equal(find_backend("cpu").load(lowered, "main", store)(x)[0], want)


def test_many_small_blocks_and_groups(monkeypatch):
    monkeypatch.setattr(direct, "ITEMS", 1000)
    monkeypatch.setattr(direct, "LEAST_ROWS", 1)
    x, *weights = arrays()
    agree(*make(network, x, *weights), x)
    monkeypatch.setattr(direct, "ITEMS", 1)
    agree(*make(network, x, *weights), x)


def test_half_precision_is_summed_in_single():
    rng = np.random.default_rng(0)
    x, w = integers(rng, 2, 16, 9, 9, dtype=np.float16), integers(rng, 16, 16, 3, 3, dtype=np.float16)
    agree(*make(lambda x, w: nd.conv(x, w, padding=(1, 1)), x, w), x)


@pytest.mark.parametrize(
    ("tile", "message"),
    [
        ((6, 32, 8), "must be those of a panel, 16, not 32"),
        ((6, 16, 5), "no multiple of 5 lanes"),
        ((6, 16), "must be 3 integers"),
    ],
)
def test_a_tile_that_does_not_fit_is_an_error_of_the_text(tile, message):
    rng = np.random.default_rng(0)
    module, _ = make(lambda x, w: nd.matmul(x, w), integers(rng, 32, 40), integers(rng, 40, 16))
    scheduled = passed(module, SCHEDULED)
    (region,) = [op for op in scheduled.walk() if isinstance(op, KernelRegion) and op["schedule"] == "direct"]
    region.set("tile", tile)
    with pytest.raises(DlirError, match=message):
        passed(scheduled, "bufferize,lower-kernels")


def test_what_is_not_packed_cannot_be_read_in_place():
    x = np.zeros((20, 20), np.float32)
    module, _ = make(lambda x: nd.matmul(x, x, transpose_b=True), x)
    fused = passed(module, "fuse")
    (region,) = [op for op in fused.walk() if isinstance(op, KernelRegion)]
    region.set("schedule", "direct")
    region.set("tile", (4, 16, 8))
    with pytest.raises(DlirError, match="no operand is packed in panels of columns"):
        passed(fused, "bufferize,lower-kernels")


@pytest.mark.parametrize("seed", range(8))
def test_gradients_of_kernels_are_summed_in_register_tiles(seed):
    rng = np.random.default_rng(seed)
    kernel, dilation = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    stride, padding = int(rng.integers(1, 3)), int(rng.integers(0, 3))
    keywords = {"stride": (stride, stride), "padding": (padding, padding), "dilation": (dilation, dilation)}
    x, w = integers(rng, 2, 5, 13, 12), integers(rng, int(rng.integers(4, 20)), 5, kernel, kernel)

    def body(x, w):
        y = nd.conv(x, w, **keywords)
        return diff.gradient([y], [nd.mul(y, 2)], [w])

    module, weights = make(body, x, w)
    module = passed(module, "differentiate")
    found = agree(module, weights, x)
    assert "direct" in " ".join(schedules(passed(module, SCHEDULED)))
    torch = pytest.importorskip("torch")
    moving = torch.tensor(w, requires_grad=True)
    y = torch.nn.functional.conv2d(torch.tensor(x), moving, stride=stride, padding=padding, dilation=dilation)
    (y * y).sum().backward()
    np.testing.assert_array_equal(found, moving.grad.numpy())


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_of_narrow_images_read_packed_weights(stride):
    rng = np.random.default_rng(stride)
    x, w = integers(rng, 2, 6, 12, 12), integers(rng, 9, 6, 5, 5)

    def body(x, w):
        w = nd.add(w, nd.max(x))  # so that it is not frozen
        y = nd.conv(x, w, stride=(stride, stride))
        return diff.gradient([y], [y], [x])

    module, weights = make(body, x, w)
    module = passed(module, "differentiate")
    agree(module, weights, x)
    assert "direct" in " ".join(schedules(passed(module, SCHEDULED)))


def test_packing_what_changes_again_changes_nothing():
    rng = np.random.default_rng(0)
    x, w = integers(rng, 2, 5, 13, 12), integers(rng, 8, 5, 3, 3)

    def body(x, w):
        y = nd.conv(x, w, padding=(1, 1))
        return diff.gradient([y], [nd.mul(y, 2)], [w])

    module, _ = make(body, x, w)
    once = passed(module, "differentiate,layout{vector-bytes=32}")
    assert names(passed(once, "layout{vector-bytes=32}")) == names(once)
