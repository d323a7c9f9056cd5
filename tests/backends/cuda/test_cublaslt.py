"""What is asked of cuBLASLt: answered by a model of its manual, against NumPy; and by the library itself, where it is."""

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest
from support.cublaslt_model import ModelLibrary

from dlir.backends.cuda import cublaslt
from dlir.backends.cuda.cublaslt import CublasLt, request_for
from dlir.ir.core import Block
from dlir.ir.dialects.kernel import Matmul
from dlir.ir.errors import DlirError
from dlir.ir.types import BF16, F16, F32, F64, MemRefType
from dlir.passes.targets.nvidia_libraries import find_library

rng = np.random.default_rng(7)

TOLERANCE = {F16: 2e-3, BF16: 2e-2, F32: 1e-5, F64: 1e-12}


def array(dtype, size):
    return rng.integers(-8, 9, size).astype(np.float32).astype(dtype.numpy)


def laid_out(rows, columns, batch, way, gap=0, offset=0):
    """A layout of matrices, by rows ("r") or columns ("c"), `gap` elements between two of them, and the buffer's size."""
    inner, outer = (columns, rows) if way == "r" else (rows, columns)
    leading = inner + gap
    stride = 0 if batch == 0 else leading * outer + gap
    strides = (leading, 1) if way == "r" else (1, leading)
    return (offset, stride, *strides), offset + max(1, batch) * leading * outer + batch * gap + 8


def product(dtype, sizes, ways, *, gap=0, offset=0, shares_rhs=False, addend=False, bias=False):
    """A verified `kernel.matmul` and arrays for its operands."""
    batch, m, n, k = sizes
    lhs, lhs_size = laid_out(m, k, batch, ways[0], gap, offset)
    rhs, rhs_size = laid_out(k, n, 0 if shares_rhs else batch, ways[1], gap, offset)
    into, into_size = laid_out(m, n, batch, ways[2], gap, offset)
    counts = [lhs_size, rhs_size, into_size, *[into_size] * addend, *[n] * bias]
    values = Block([MemRefType((count,), dtype) for count in counts]).args
    third = values[3] if addend else None
    fourth = values[3 + addend] if bias else None
    op = Matmul.create(*values[:3], third, fourth, sizes=sizes, lhs_layout=lhs, rhs_layout=rhs, into_layout=into)
    op.verify()
    return op, [array(dtype, count) for count in counts]


@pytest.fixture
def model(monkeypatch):
    """`CublasLt` over the model; the model itself."""
    library = ModelLibrary()
    monkeypatch.setattr(cublaslt, "_library", lambda: library)
    cublaslt._handle.cache_clear()
    yield library
    cublaslt._handle.cache_clear()


def answered(op, arrays, allocate=None, stream=0):
    """What the library makes of copies of the arrays."""
    found = [one.copy() for one in arrays]
    CublasLt(0, allocate).multiply(op, [one.ctypes.data for one in found], stream)
    return found


def check(op, arrays):
    """The library writes the result, and nothing else: not even between the rows."""
    want = [one.copy() for one in arrays]
    op.compute(want)
    for number, (one, two) in enumerate(zip(answered(op, arrays), want, strict=True)):
        assert one.dtype == two.dtype
        if number == 2:
            one, two = one.astype(np.float64), two.astype(np.float64)
            np.testing.assert_allclose(one, two, rtol=TOLERANCE[op.operands[0].type.dtype])
        else:
            np.testing.assert_array_equal(one, two)


# ---------------------------------------------------------------- the model


@pytest.mark.parametrize("ways", ["rrr", "rcr", "crr", "ccr", "rrc", "rcc", "crc", "ccc"])
@pytest.mark.parametrize("sizes", [(1, 5, 7, 3), (3, 4, 2, 6), (2, 1, 5, 4), (1, 6, 1, 3), (2, 3, 4, 1), (1, 1, 1, 1)])
def test_every_order_of_storage(model, ways, sizes):
    check(*product(F32, sizes, ways))
    check(*product(F32, sizes, ways, gap=3, offset=4, addend=True))


@pytest.mark.parametrize("dtype", [F16, BF16, F32, F64], ids=str)
def test_every_type(model, dtype):
    check(*product(dtype, (2, 6, 5, 9), "rrr", addend=True))


@pytest.mark.parametrize("dtype", [F16, BF16, F32], ids=str)
@pytest.mark.parametrize("addend", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_bias_is_added_to_each_row(model, dtype, addend, batch):
    check(*product(dtype, (batch, 6, 5, 9), "rcr", bias=True, addend=addend, gap=2))


def test_all_matrices_may_share_a_factor(model):
    check(*product(F32, (4, 6, 5, 9), "rrr", shares_rhs=True))


def test_the_addend_may_be_where_the_result_goes(model):
    op, arrays = product(F32, (1, 6, 5, 9), "rrr", addend=True)
    want = [one.copy() for one in arrays]
    op.compute(want)
    lhs, rhs, _, addend = (one.copy() for one in arrays)
    CublasLt(0, None).multiply(op, [one.ctypes.data for one in (lhs, rhs, addend, addend)], 0)
    inside = np.s_[: 6 * 5]
    np.testing.assert_array_equal(addend[inside], want[2][inside])


def test_scratch_memory_and_the_stream_are_handed_on(model):
    model.workspace = 4096
    op, arrays = product(F32, (1, 6, 5, 9), "rrr")
    asked = []

    def allocate(size):
        asked.append(size)
        return SimpleNamespace(ptr=0xABC00)

    answered(op, arrays, allocate, stream=77)
    assert asked == [4096]
    assert model.scratch == [(0xABC00, 4096, 77)]


def test_descriptors_are_made_once_for_an_op_and_end_with_their_owner(model):
    op, arrays = product(F32, (1, 6, 5, 9), "rrr", bias=True)
    library = CublasLt(0, None)
    for _ in range(3):
        library.multiply(op, [one.ctypes.data for one in arrays], 0)
    kinds = [found["kind"] for found in model.objects.values()]
    assert sorted(kinds) == ["MatmulDesc", "MatmulPreference", *["MatrixLayout"] * 3, "handle"]
    del library
    assert [found["kind"] for found in model.objects.values()] == ["handle"]


def test_what_the_library_refuses_is_an_error(model):
    model.workspace = cublaslt.MAX_WORKSPACE + 1
    op, arrays = product(F32, (1, 6, 5, 9), "rrr")
    with pytest.raises(DlirError, match="cuBLASLt fails in cublasLtMatmulAlgoGetHeuristic: status 15"):
        answered(op, arrays)


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    cublaslt._library.cache_clear()
    cublaslt._handle.cache_clear()
    monkeypatch.setattr(cublaslt, "find_library", lambda name: None)
    monkeypatch.setattr(cublaslt.ctypes, "CDLL", _refuse_to_load)
    try:
        with pytest.raises(DlirError, match="cuBLASLt, which is not installed") as caught:
            CublasLt(0, None)
        assert "dlir[cublas13]" in (caught.value.diagnostics[0].hint or "")
    finally:
        cublaslt._library.cache_clear()


def _refuse_to_load(name):
    raise OSError(name)


# ---------------------------------------------------------------- the library

needs_library = pytest.mark.skipif(find_library("cublasLt") is None, reason="cuBLASLt is not installed")


@needs_library
@pytest.mark.parametrize("dtype", [F16, BF16, F32, F64], ids=str)
def test_the_library_takes_our_descriptors(dtype):
    """Attributes read back; numbers are those of cublasLt.h, written down here once more."""
    op, _ = product(dtype, (3, 16, 8, 32), "rcr", offset=8, bias=dtype is not F64)
    request = request_for(op)
    found = cublaslt.describe(request)
    compute = found.get(0, ctypes.c_int32)
    assert compute == (70 if dtype is F64 else 68)
    assert found.get(1, ctypes.c_int32) == (1 if dtype is F64 else 0)
    # The result is stored by rows: D = rhs^T lhs^T, and rhs is stored by columns, so it is turned.
    assert (found.get(3, ctypes.c_int32), found.get(4, ctypes.c_int32)) == (1, 0)
    assert found.get(7, ctypes.c_uint32) == (1 if dtype is F64 else 4)
    number = {F32: 0, F64: 1, F16: 2, BF16: 14}[dtype]
    for matrix, shape in ((request.a, (32, 8, 32)), (request.b, (32, 16, 32)), (request.d, (8, 16, 8))):
        layout = cublaslt.describe_matrix(matrix)
        assert layout.get(0, ctypes.c_uint32) == number
        assert layout.get(1, ctypes.c_int32) == 0, "columns are stored together"
        assert tuple(layout.get(attribute, ctypes.c_uint64) for attribute in (2, 3, 4)) == shape
        assert layout.get(5, ctypes.c_int32) == 3
        assert layout.get(6, ctypes.c_int64) == {32: shape[0] * shape[1], 8: 8 * 16}[shape[0]]
    preference = cublaslt.describe_preference(request)
    assert preference.get(1, ctypes.c_uint64) == 32 << 20
    assert [preference.get(attribute, ctypes.c_uint32) for attribute in (5, 6, 7, 8)] == [16] * 4


@needs_library
def test_an_address_of_a_bias_is_kept():
    op, _ = product(F32, (1, 16, 8, 32), "rrr", bias=True)
    found = cublaslt.describe(request_for(op))
    found.set(8, ctypes.c_void_p(0x123456789ABCDEF0))
    assert found.get(8, ctypes.c_uint64) == 0x123456789ABCDEF0


@needs_library
def test_without_a_gpu_the_library_says_so():
    cupy = pytest.importorskip("cupy")
    if cupy.cuda.is_available():
        pytest.skip("there is a CUDA GPU")
    cublaslt._handle.cache_clear()
    with pytest.raises(DlirError, match="cuBLASLt fails in cublasLtCreate: "):
        CublasLt(0, None)
