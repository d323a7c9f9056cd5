"""Products that a library computes: what is called, what is left to a kernel, and what comes out, in cuda-sim against NumPy."""

import numpy as np
import pytest

from dlir.backends.compiler import count_kernels
from dlir.backends.cuda import simulated
from dlir.backends.ref.reference import Reference
from dlir.ir.dialects.func import find_function
from dlir.ir.errors import DlirError
from dlir.ir.ops import nd
from dlir.ir.traversal import clone
from dlir.ir.types import BF16, F16, F32, F64
from dlir.ir.verifier import verified
from dlir.passes.kernels import cublaslt
from dlir.passes.manager import PassManager
from dlir.passes.memory.report import memory_report
from dlir.passes.pipelines import pipeline_for
from dlir.passes.targets import cuda
from dlir.passes.targets.nvidia_libraries import find_library
from dlir.textir.parser import parse
from dlir.textir.printer import print_module

rng = np.random.default_rng(11)


def f32(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def lowered(module, library="on", upto=None):
    """The module mapped for a GPU that has the library, or as it is before pass `upto`."""
    text = pipeline_for("O2", "cuda")
    for name in ("fuse", "schedule"):
        text = text.replace(f"{name}{{target=cuda}}", f"{name}{{target=cuda library={library}}}")
    text = text if upto is None else text.partition(f",{upto}")[0]
    return verified(PassManager.from_text(text).run(clone(module)))


@pytest.fixture
def small(monkeypatch):
    """Let small products be large enough, wherever their rows begin."""
    monkeypatch.setattr(cublaslt, "LARGE", 1)
    monkeypatch.setattr(cublaslt, "LEAST_EXTENT", 1)
    monkeypatch.setattr(cublaslt, "ALIGNMENT", 1)


def calls_of(module):
    return [op for op in find_function(module, "main").walk() if op.name == "kernel.matmul"]


def launches_of(module):
    return [op for op in find_function(module, "main").walk() if op.name == "gpu.launch_func"]


@pytest.fixture
def check(small, load, array_module, request):
    """``check(compute, *arrays, want=, calls=1, launches=0)``: what is called, and what each way of running gives."""
    if "gpu" in request.node.name and find_library("cublasLt") is None:
        pytest.skip("cuBLASLt is not installed")

    def run(compute, *arrays, want, calls=1, launches=0, tolerance=2e-5):
        module = array_module(compute, *arrays)
        mapped = lowered(module)
        assert (len(calls_of(mapped)), len(launches_of(mapped))) == (calls, launches)
        assert count_kernels(mapped, "main") == calls + launches
        want = want if isinstance(want, tuple) else (want,)
        runs = load(mapped, "main", None)(*arrays)
        if calls:
            runs = [*runs, Reference(lowered(module, upto="map")).run("main", arrays)]
        for found in runs:
            for one, two in zip(found, want, strict=True):
                two = np.asarray(two, np.float64)
                np.testing.assert_allclose(one.astype(np.float64), two, rtol=tolerance, atol=tolerance * 10)
        return mapped

    return run


# ---------------------------------------------------------------- one call


@pytest.mark.parametrize("dtype", [F16, BF16, F32, F64], ids=str)
def test_a_product(check, dtype):
    a, b = f32(7, 12).astype(dtype.numpy), f32(12, 9).astype(dtype.numpy)
    want = a.astype(np.float64) @ b.astype(np.float64)
    check(lambda a, b: nd.matmul(a, b), a, b, want=want, tolerance={F16: 2e-3, BF16: 2e-2}.get(dtype, 2e-5))


@pytest.mark.parametrize("flags", [(False, False), (False, True), (True, False), (True, True)], ids=str)
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)], ids=str)
def test_transposed_and_batched(check, flags, batch):
    a, b = f32(*batch, 7, 12), f32(*batch, 12, 9)
    left = a.swapaxes(-1, -2).copy() if flags[0] else a
    right = b.swapaxes(-1, -2).copy() if flags[1] else b
    check(lambda a, b: nd.matmul(a, b, transpose_a=flags[0], transpose_b=flags[1]), left, right, want=a @ b)


@pytest.mark.parametrize(
    "shapes", [((4, 7, 12), (12, 9)), ((7, 12), (4, 12, 9)), ((4, 1, 7, 12), (1, 3, 12, 9))], ids=str
)
def test_a_factor_for_all_matrices(check, shapes):
    a, b = (f32(*shape) for shape in shapes)
    if len(shapes[0]) == 4:
        # Two dimensions of matrices, each of one factor: no stride takes from one matrix to the next.
        check(lambda a, b: nd.matmul(a, b), a, b, want=a @ b, calls=0, launches=1)
    else:
        check(lambda a, b: nd.matmul(a, b), a, b, want=a @ b)


def test_a_bias_and_an_addend_are_the_librarys(check):
    x, w, bias, y = f32(7, 12), f32(12, 9), f32(9), f32(7, 9)
    check(lambda x, w, b: nd.add(nd.matmul(x, w), b), x, w, bias, want=x @ w + bias)
    check(lambda x, w, y: nd.add(y, nd.matmul(x, w)), x, w, y, want=x @ w + y)
    mapped = check(lambda x, w, b, y: nd.add(y, nd.add(nd.matmul(x, w), b)), x, w, bias, y, want=x @ w + bias + y)
    (call,) = calls_of(mapped)
    assert call.group("addend") is not None and call.group("bias") is not None


def test_a_bias_of_one_row(check):
    """Where a bias and an addend cannot be told apart, the first is the addend."""
    x, w, one, two = f32(1, 12), f32(12, 9), f32(9), f32(1, 9)
    check(lambda x, w, b, y: nd.add(y, nd.add(nd.matmul(x, w), b)), x, w, one, two, want=x @ w + one + two)


def test_the_operand_itself_may_be_added(check):
    x, w = f32(7, 7), f32(7, 7)
    check(lambda x, w: nd.add(x, nd.matmul(x, w)), x, w, want=x + x @ w)
    check(lambda x: nd.add(x, nd.matmul(x, x)), x, want=x + x @ x)


def test_parts_of_buffers(check):
    """Slices of one array: an offset, and rows that lie apart."""
    x = f32(8, 24)

    def compute(x):
        a, b = (nd.slice(x, start=(0, first), stop=(8, first + 8), step=(1, 1)) for first in (8, 16))
        return nd.matmul(a, b, transpose_b=True)

    mapped = check(compute, x, want=x[:, 8:16] @ x[:, 16:].T)
    (call,) = calls_of(mapped)
    assert sorted((call["lhs_layout"], call["rhs_layout"])) == [(8, 0, 24, 1), (16, 0, 1, 24)]


def test_a_result_that_is_stored_turned(check):
    a, b = f32(6, 12), f32(12, 9)
    mapped = check(lambda a, b: nd.transpose(nd.matmul(a, b), perm=(1, 0)), a, b, want=(a @ b).T)
    assert calls_of(mapped)[0]["into_layout"] == (0, 0, 1, 6)


def test_a_pointwise_convolution(check):
    x, w = f32(2, 6, 5, 5), f32(8, 6, 1, 1)
    check(lambda x, w: nd.conv(x, w), x, w, want=np.einsum("nchw,oc->nohw", x, w[:, :, 0, 0]))


def test_equal_kernels_call_for_their_own_operands(check):
    x, w = f32(8, 8), f32(8, 8)
    check(lambda x, w: nd.matmul(nd.matmul(x, w), w), x, w, want=x @ w @ w, calls=2)


# ---------------------------------------------------------------- a call and a kernel


def test_what_the_library_cannot_do_is_a_kernel_over_the_result(check):
    x, w, bias = f32(7, 12), f32(12, 9), f32(9)
    want = np.maximum(x @ w + bias, 0)
    mapped = check(lambda x, w, b: nd.relu(nd.add(nd.matmul(x, w), b)), x, w, bias, want=want, launches=1)
    # The bias is the library's, and the rest is done in place: there is no memory but the result's.
    (call,), (launch,) = calls_of(mapped), launches_of(mapped)
    assert call.group("bias") is not None and call.group("into") in launch.operands
    assert not any(op.name in ("memref.alloc", "memref.view") for op in mapped.walk())


def test_the_rest_joins_what_comes_after_it(check):
    """The pointwise ops between a product and a softmax are the softmax's."""
    x, w = f32(7, 12), f32(12, 9)
    z = np.tanh(x @ w)
    want = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    check(lambda x, w: nd.softmax(nd.tanh(nd.matmul(x, w)), axis=-1), x, w, want=want, launches=1)


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_other_biases_are_a_kernels(check, dtype):
    """One for each row, and any of doubles."""
    shape = (7, 1) if dtype is F32 else (9,)
    x, w, bias = (one.astype(dtype.numpy) for one in (f32(7, 12), f32(12, 9), f32(*shape)))
    check(lambda x, w, b: nd.add(nd.matmul(x, w), b), x, w, bias, want=x @ w + bias, launches=1)


def test_sums_that_are_needed_as_they_are(check):
    x, w, bias = f32(7, 12), f32(12, 9), f32(9)
    z = x @ w + bias

    def compute(x, w, b):
        z = nd.add(nd.matmul(x, w), b)
        return z, nd.tanh(z)

    check(compute, x, w, bias, want=(z, np.tanh(z)), launches=1)


def test_a_product_of_what_is_computed(check):
    """The operand is made by a kernel, and the library reads it."""
    x, w = f32(7, 12), f32(12, 9)
    check(lambda x, w: nd.matmul(nd.tanh(x), w), x, w, want=np.tanh(x) @ w, launches=1)


def test_what_is_between_is_planned_like_any_value(check, array_module):
    """A perceptron whose layers take turns in the arena."""
    x, ws = f32(8, 16), [f32(16, 16) for _ in range(4)]
    want = x
    for w in ws:
        want = np.tanh(want @ w)

    def compute(x, *ws):
        for w in ws:
            x = nd.tanh(nd.matmul(x, w))
        return x

    mapped = check(compute, x, *ws, want=want, calls=4, launches=4)
    report = memory_report(array_module(compute, x, *ws), mapped)
    assert report.planned == report.lower_bound
    assert report.arena == x.nbytes


UPDATE = """
func.func @main(%w: tensor<8x8xf32> {dlir.donated}, %x: tensor<8x8xf32>, %g: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %p = nd.matmul %x, %g {transpose_a = true}
  %n = nd.add %w, %p
  return %n
}
"""


@pytest.mark.parametrize("op", ["add", "mul"])
def test_a_donated_operand_is_overwritten(small, needs_sim, op):
    """By the library where it is the addend, else by the kernel that reads it."""
    mapped = lowered(verified(parse(UPDATE.replace("nd.add", f"nd.{op}"))))
    (call,) = calls_of(mapped)
    if op == "add":
        assert call.group("addend") is call.group("into") and not launches_of(mapped)
    else:
        assert call.group("addend") is None and len(launches_of(mapped)) == 1
    run = simulated.load(mapped, "main", None)
    w, x, g = f32(8, 8), f32(8, 8), f32(8, 8)
    want = w + x.T @ g if op == "add" else w * (x.T @ g)
    np.testing.assert_allclose(run(w, x, g)[0], want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("donated", ["a", "b"])
def test_of_two_addends_the_one_that_is_overwritten_is_the_addend(small, needs_sim, donated):
    """One row: both could be a bias, and only the addend may lie where the result goes."""
    text = """
    func.func @main(%a: tensor<1x8xf32>, %b: tensor<1x8xf32>, %x: tensor<1x4xf32>, %w: tensor<4x8xf32>)
        -> tensor<1x8xf32> {
      %p = nd.matmul %x, %w
      %q = nd.add %p, %a
      %r = nd.add %q, %b
      return %r
    }
    """
    text = text.replace(f"%{donated}: tensor<1x8xf32>", f"%{donated}: tensor<1x8xf32> {{dlir.donated}}")
    mapped = lowered(verified(parse(text)))
    (call,) = calls_of(mapped)
    assert call.group("addend") is call.group("into") is not call.group("bias")
    a, b, x, w = f32(1, 8), f32(1, 8), f32(1, 4), f32(4, 8)
    want = x @ w + a + b
    np.testing.assert_allclose(simulated.load(mapped, "main", None)(a, b, x, w)[0], want, rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------- the choice


def chosen(array_module, compute, *arrays, library="on"):
    module = array_module(compute, *arrays)
    return [op["schedule"] for op in lowered(module, library, upto="reorder").walk() if op.name == "kernel.region"]


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("shapes", "dtype", "wanted"),
    [
        (((1024, 1024), (1024, 1024)), np.float32, "cublaslt"),
        (((1024, 1024), (1024, 1024)), np.float16, "cublaslt"),
        (((16, 512, 512), (16, 512, 512)), np.float32, "cublaslt"),
        # Too little to compute, however it is counted.
        (((512, 512), (512, 512)), np.float32, "block-tile"),
        (((64, 8192), (8192, 8192)), np.float32, "block-tile"),
        (((8192, 64), (64, 8192)), np.float32, "block-tile"),
        # Rows that do not begin at multiples of 16 bytes.
        (((1024, 1027), (1027, 1024)), np.float32, "block-tile"),
        (((1024, 1028), (1028, 1024)), np.float16, "mma-tile"),
        (((1024, 1024), (1024, 1030)), np.float16, "mma-tile"),
        (((1024, 1024), (1024, 1024)), np.int32, "block-tile"),
    ],
)
def test_large_products_are_the_librarys(array_module, shapes, dtype, wanted):
    arrays = [zeros(*shape, dtype=dtype) for shape in shapes]
    assert chosen(array_module, lambda a, b: nd.matmul(a, b), *arrays) == [wanted]


@pytest.mark.parametrize(
    ("library", "is_installed", "wanted"),
    [
        ("auto", True, "cublaslt"),
        ("auto", False, "block-tile"),
        ("off", True, "block-tile"),
        ("on", False, "cublaslt"),
    ],
)
def test_the_library_is_taken_where_it_is(array_module, monkeypatch, library, is_installed, wanted):
    monkeypatch.setattr(cuda, "find_library", lambda name: "here" if is_installed else None)
    square = zeros(1024, 1024)
    assert chosen(array_module, lambda a, b: nd.matmul(a, b), square, square, library=library) == [wanted]


def test_a_kernel_that_is_more_than_a_call_is_split_only_if_the_product_is_large(array_module):
    def compute(x, w):
        return nd.relu(nd.matmul(x, w))

    small, large = zeros(512, 512), zeros(1024, 1024)
    assert chosen(array_module, compute, small, small) == ["block-tile"]
    assert chosen(array_module, compute, large, large) == ["cublaslt", "flat"]
    assert chosen(array_module, compute, large, large, library="off") == ["block-tile"]


def test_convolutions_are_not(array_module):
    x, w = zeros(8, 256, 64, 64), zeros(256, 256, 3, 3)
    assert chosen(array_module, lambda x, w: nd.conv(x, w), x, w) == ["block-tile"]


# ---------------------------------------------------------------- the text

STATED = """
func.func @main(%x: tensor<8x8x{dtype}>, %w: tensor<8x8x{dtype}>) -> tensor<8x8x{dtype}> {{
  %y = kernel.region %x, %w {{schedule = "cublaslt"}} ({{
  ^bb0(%a: tensor<8x8x{dtype}>, %v: tensor<8x8x{dtype}>):
    %b = nd.matmul %a, %v
    kernel.yield %b
  }}) : tensor<8x8x{dtype}>
  return %y
}}
"""


def test_a_schedule_in_the_text_stays(needs_sim):
    mapped = lowered(verified(parse(STATED.format(dtype="f32"))), library="off")
    assert len(calls_of(mapped)) == 1
    again = verified(parse(print_module(mapped)))
    assert print_module(again) == print_module(mapped) == print_module(lowered(again))
    x, w = f32(8, 8), f32(8, 8)
    np.testing.assert_allclose(simulated.load(again, "main", None)(x, w)[0], x @ w, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "body", "message"),
    [
        ("i32", "%b = nd.matmul %a, %v", "cuBLASLt multiplies f16, bf16, f32, f64"),
        (
            "f32",
            "%c = nd.matmul %a, %v\n%b = nd.relu %c",
            "adds a matrix and a bias to a product, and computes nothing else",
        ),
        (
            "f32",
            "%c = nd.matmul %a, %v\n%d = nd.transpose %v\n%b = nd.add %c, %d",
            "neither a matrix like the result nor a bias",
        ),
    ],
)
def test_a_schedule_that_does_not_fit(dtype, body, message):
    text = STATED.format(dtype=dtype).replace("%b = nd.matmul %a, %v", body)
    with pytest.raises(DlirError, match=message):
        lowered(verified(parse(text)))
