"""Products of matrices by cuBLASLt, through ctypes: needs the library, and a GPU only to multiply.

The library counts in columns: a matrix stored row by row is to it the transposed one.  So where the result's rows are stored
together, it is asked for the transposed result, which is the product of the transposed operands, in the other order.

Names and numbers are those of NVIDIA's cublasLt.h and library_types.h (cuBLAS library, "Using the cublasLt API").
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from dlir.backends.cuda.executable import ALIGNMENT
from dlir.ir.dialects.kernel import Matmul, leading_dimension
from dlir.ir.errors import DlirError
from dlir.ir.types import BF16, F16, F32, F64, Type
from dlir.passes.targets.nvidia_libraries import find_library

#: How to get the library.
HINT = "pip install 'dlir[cublas13]' (or 'dlir[cublas12]'), or leave it out with schedule{target=cuda library=off}"

#: cudaDataType_t, and cublasComputeType_t with the type of its factors (no TensorFloat-32: f32 is f32).
_DATA_TYPE = {F32: 0, F64: 1, F16: 2, BF16: 14}
_COMPUTE_TYPE = {F32: (68, F32), F16: (68, F32), BF16: (68, F32), F64: (70, F64)}
#: cublasOperation_t
_KEEP, _TRANSPOSE = 0, 1
#: cublasLtMatmulDescAttributes_t
_TRANSA, _TRANSB, _EPILOGUE, _BIAS_POINTER = 3, 4, 7, 8
#: cublasLtEpilogue_t
_EPILOGUE_BIAS = 4
#: cublasLtMatrixLayoutAttribute_t
_BATCH_COUNT, _STRIDED_BATCH_OFFSET = 5, 6
#: cublasLtMatmulPreferenceAttributes_t
_MAX_WORKSPACE_BYTES, _MIN_ALIGNMENT_BYTES = 1, (5, 6, 7, 8)

#: Bytes of scratch memory that the library may use; NVIDIA recommends so much for the newest GPUs.
MAX_WORKSPACE = 32 << 20


class _HeuristicResult(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t"""

    _fields_ = (
        ("algo", ctypes.c_uint64 * 8),
        ("workspace_size", ctypes.c_size_t),
        ("state", ctypes.c_int),
        ("waves_count", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    )


@dataclass(frozen=True)
class Matrix:
    """Matrices as the library sees them: `rows` elements of a column together, columns `leading` elements apart."""

    dtype: Type
    rows: int
    columns: int
    leading: int
    batch: int
    batch_stride: int


@dataclass(frozen=True)
class Request:
    """One call of the library: D = op(A) op(B) + C, and a bias for each row of D.

    `a`, `b`, `d` (C is like D) with what is done to A and B; `order`: the operands of the op that are A, B, C and D, by
    number, of which C may be None; `offsets`, in bytes: where each begins in its buffer.
    """

    a: Matrix
    b: Matrix
    d: Matrix
    transpose: tuple[bool, bool]
    order: tuple[int, int, int | None, int]
    offsets: tuple[int, int, int, int]
    bias: int | None

    @property
    def dtype(self) -> Type:
        return self.d.dtype


def request_for(op: Matmul) -> Request:
    """What to ask the library for."""
    batch, rows, columns, depth = op["sizes"]
    dtype = op.operands[0].type.dtype
    layouts = op["lhs_layout"], op["rhs_layout"], op["into_layout"]
    extents = (rows, depth), (depth, columns), (rows, columns)
    ways = [leading_dimension(*found) for found in zip(extents, [layout[2:] for layout in layouts])]
    stored = []
    for (height, width), layout, way in zip(extents, layouts, ways):
        assert way is not None  # the op is verified
        unit, leading = way
        # Where a row's elements are neighbours, the library sees rows as columns.
        sides = (width, height) if unit == 1 else (height, width)
        stored.append((unit == 1, Matrix(dtype, *sides, leading, batch, layout[1])))
    (lhs_turned, lhs), (rhs_turned, rhs), (is_turned, into) = stored
    addend, bias = op.group("addend"), op.group("bias")
    third, fourth = (None if addend is None else 3), (None if bias is None else 3 + (addend is not None))
    begins = [layout[0] * dtype.bytes for layout in layouts]
    if is_turned:
        matrices, order, transpose = (rhs, lhs, into), (1, 0, third, 2), (not rhs_turned, not lhs_turned)
        offsets = (begins[1], begins[0], begins[2], begins[2])
    else:
        matrices, order, transpose = (lhs, rhs, into), (0, 1, third, 2), (lhs_turned, rhs_turned)
        offsets = (begins[0], begins[1], begins[2], begins[2])
    return Request(*matrices, transpose, order, offsets, fourth)


class CublasLt:
    """The library on one GPU, the current one, and what it has been prepared for.

    `allocate` gives scratch memory of so many bytes: something with the address `ptr`, which is kept until the call is in
    the stream.
    """

    def __init__(self, device: int, allocate: Callable[[int], Any]) -> None:
        self._handle = _handle(device)
        self._allocate = allocate
        self._products: dict[Matmul, _Product] = {}
        self._lock = threading.Lock()

    def multiply(self, op: Matmul, addresses: Sequence[int], stream: int) -> None:
        """Put the product `op` of what lies at these addresses, one for each operand, in a stream."""
        # A descriptor holds the address of one call's bias.
        with self._lock:
            product = self._products.get(op)
            if product is None:
                product = self._products[op] = _Product(request_for(op), self._handle, addresses)
            scratch = self._allocate(product.workspace) if product.workspace else None
            product.run(self._handle, addresses, 0 if scratch is None else scratch.ptr, stream)


class _Product:
    """The library's descriptors for one request, and the algorithm that it chose."""

    def __init__(self, request: Request, handle: ctypes.c_void_p, addresses: Sequence[int]) -> None:
        self.request = request
        self.descriptor = describe(request)
        # An algorithm is chosen for a bias that is there.
        self._set_bias(addresses)
        self.layouts = [describe_matrix(matrix) for matrix in (request.a, request.b, request.d)]
        self.preference = describe_preference(request)
        number = ctypes.c_double if request.dtype is F64 else ctypes.c_float
        self.alpha, self.beta = number(1), number(0 if request.order[2] is None else 1)
        found, count = _HeuristicResult(), ctypes.c_int()
        a, b, d = self.layouts
        arguments = handle, self.descriptor, a, b, d, d, self.preference, 1, ctypes.byref(found), ctypes.byref(count)
        _call("cublasLtMatmulAlgoGetHeuristic", *arguments)
        if count.value == 0 or found.state != 0:
            raise DlirError(f"cuBLASLt has no algorithm for {request}")
        self.algorithm = found.algo
        self.workspace = found.workspace_size

    def run(self, handle: ctypes.c_void_p, addresses: Sequence[int], scratch: int, stream: int) -> None:
        self._set_bias(addresses)
        request = self.request
        one, two, three, four = request.order
        places = [addresses[number] for number in (one, two, four if three is None else three, four)]
        a, b, c, d = (ctypes.c_void_p(place + offset) for place, offset in zip(places, request.offsets))
        _call(
            "cublasLtMatmul",
            *(handle, self.descriptor, ctypes.byref(self.alpha)),
            *(a, self.layouts[0], b, self.layouts[1], ctypes.byref(self.beta)),
            *(c, self.layouts[2], d, self.layouts[2], ctypes.byref(self.algorithm)),
            *(ctypes.c_void_p(scratch), ctypes.c_size_t(self.workspace), ctypes.c_void_p(stream)),
        )

    def _set_bias(self, addresses: Sequence[int]) -> None:
        if self.request.bias is not None:
            self.descriptor.set(_BIAS_POINTER, ctypes.c_void_p(addresses[self.request.bias]))


# ---------------------------------------------------------------- descriptors


class Descriptor:
    """An object of the library's: a "MatmulDesc", "MatrixLayout" or "MatmulPreference"."""

    def __init__(self, kind: str, *arguments: Any) -> None:
        self._kind = kind
        #: What ctypes passes for the object.
        self._as_parameter_ = ctypes.c_void_p()
        _call(f"cublasLt{kind}Create", ctypes.byref(self._as_parameter_), *arguments)

    def set(self, attribute: int, value: Any) -> None:
        """Set an attribute to a ctypes value."""
        size = ctypes.c_size_t(ctypes.sizeof(value))
        _call(f"cublasLt{self._kind}SetAttribute", self, attribute, ctypes.byref(value), size)

    def get(self, attribute: int, type: Any) -> Any:
        """The value of an attribute, of a ctypes type."""
        found, written = type(), ctypes.c_size_t()
        size = ctypes.c_size_t(ctypes.sizeof(found))
        _call(f"cublasLt{self._kind}GetAttribute", self, attribute, ctypes.byref(found), size, ctypes.byref(written))
        return found.value

    def __del__(self) -> None:
        if self._as_parameter_:
            _call(f"cublasLt{self._kind}Destroy", self)


def describe(request: Request) -> Descriptor:
    """What is computed, but for where the bias lies."""
    compute, scale = _COMPUTE_TYPE[request.dtype]
    found = Descriptor("MatmulDesc", compute, _DATA_TYPE[scale])
    for attribute, is_turned in zip((_TRANSA, _TRANSB), request.transpose):
        found.set(attribute, ctypes.c_int32(_TRANSPOSE if is_turned else _KEEP))
    if request.bias is not None:
        found.set(_EPILOGUE, ctypes.c_uint32(_EPILOGUE_BIAS))
    return found


def describe_matrix(matrix: Matrix) -> Descriptor:
    """How matrices lie in memory."""
    rows, columns = ctypes.c_uint64(matrix.rows), ctypes.c_uint64(matrix.columns)
    found = Descriptor("MatrixLayout", _DATA_TYPE[matrix.dtype], rows, columns, ctypes.c_int64(matrix.leading))
    if matrix.batch > 1:
        found.set(_BATCH_COUNT, ctypes.c_int32(matrix.batch))
        found.set(_STRIDED_BATCH_OFFSET, ctypes.c_int64(matrix.batch_stride))
    return found


def describe_preference(request: Request) -> Descriptor:
    """What an algorithm may use, and what it can rely on."""
    found = Descriptor("MatmulPreference")
    found.set(_MAX_WORKSPACE_BYTES, ctypes.c_uint64(MAX_WORKSPACE))
    for attribute, offset in zip(_MIN_ALIGNMENT_BYTES, request.offsets):
        found.set(attribute, ctypes.c_uint32(math.gcd(ALIGNMENT, offset)))
    return found


# ---------------------------------------------------------------- the library


@cache
def _handle(device: int) -> ctypes.c_void_p:
    """The library's context on GPU number `device`, which is the current one; for as long as the process runs."""
    found = ctypes.c_void_p()
    _call("cublasLtCreate", ctypes.byref(found))
    return found


def _call(name: str, *arguments: Any) -> None:
    """Call a function of the library; DlirError for a status that tells of failure."""
    library = _library()
    status = getattr(library, name)(*arguments)
    if status:
        library.cublasLtGetStatusString.restype = ctypes.c_char_p
        raise DlirError(f"cuBLASLt fails in {name}: {library.cublasLtGetStatusString(status).decode()}")


@cache
def _library() -> ctypes.CDLL:
    path = find_library("cublasLt")
    for name in (path, "libcublasLt.so.13", "libcublasLt.so.12"):
        try:
            if name is not None:
                return ctypes.CDLL(str(name))
        except OSError:
            continue
    raise DlirError("a kernel is to be computed by cuBLASLt, which is not installed", hint=HINT)
