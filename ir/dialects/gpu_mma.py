"""The ``gpu`` dialect's products of small matrices by a warp, on tensor cores where the GPU has them.

A ``!gpu.mma_matrix<16x16xf16, "AOp">`` is spread over the registers of a warp's lanes, nobody says how; all lanes run each of
these ops together.  ``AOp`` and ``BOp`` are factors, ``COp`` is a sum.  Upstream's, with one element type more: bf16, which
LLVM 22 has in NVVM only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from dlir.ir.attributes import IntegerAttr
from dlir.ir.dialects.memref import IndexedOp, check_indices
from dlir.ir.errors import DlirError, InferError
from dlir.ir.op import READ, WRITE, Declared, Index, MemRef, Op, Scalar, Type, Unit
from dlir.ir.types import BF16, F16, F32, F64, I32, INDEX, IntegerType, OpaqueType, ScalarType

_SPELLING = re.compile(r'gpu\.mma_matrix<(\d+)x(\d+)x(\w+),\s*"(\w+)">')
_IS_CONTIGUOUS = re.compile(r"strided<\[(?:[^\]]*,\s*)?1\]").match
_ELEMENTS: dict[str, ScalarType] = {str(dtype): dtype for dtype in (F16, BF16, F32, F64, I32)} | {
    f"{sign}i8": IntegerType(8, kind) for sign, kind in (("s", "signed"), ("u", "unsigned"))
}


@dataclass(frozen=True)
class Matrix:
    """What a type ``!gpu.mma_matrix`` says: `rows` x `columns` of `dtype`, as ``AOp``, ``BOp`` or ``COp``."""

    rows: int
    columns: int
    dtype: ScalarType
    operand: str


def mma_matrix(rows: int, columns: int, dtype: ScalarType, operand: str) -> OpaqueType:
    """The type ``!gpu.mma_matrix<ROWSxCOLUMNSxDTYPE, "OPERAND">``."""
    return OpaqueType(f'gpu.mma_matrix<{rows}x{columns}x{dtype}, "{operand}">')


@cache
def matrix_of(type: Type) -> Matrix | None:
    """What an ``!gpu.mma_matrix`` type says; None for any other type, and for one that says something impossible."""
    match = _SPELLING.fullmatch(type.text) if isinstance(type, OpaqueType) else None
    if match is None or match[3] not in _ELEMENTS or match[4] not in ("AOp", "BOp", "COp"):
        return None
    return Matrix(int(match[1]), int(match[2]), _ELEMENTS[match[3]], match[4])


def _needs_matrix(type: Type, operands: str = "AOp BOp COp") -> Matrix:
    """The matrix that a type says; InferError unless it is one for one of `operands`."""
    found = matrix_of(type)
    if found is None or found.operand not in operands.split():
        wanted = " or ".join(f'"{name}"' for name in operands.split())
        raise InferError(f"needs !gpu.mma_matrix<ROWSxCOLUMNSxTYPE, {wanted}>, got {type}")
    return found


def _check_memory(op: Op, buffer: Any, indices: tuple[Type, ...], matrix: Matrix) -> None:
    """Check that a matrix can be in `buffer` from `indices` on."""
    check_indices(buffer, indices)
    dtype = buffer.dtype
    if isinstance(dtype, IntegerType) and dtype.width == 8:
        dtype = matrix.dtype  # i8 in memory, signed or unsigned in the matrix
    if dtype is not matrix.dtype:
        raise DlirError(f"cannot move elements of {matrix.dtype} from or to {buffer}", op.location)
    if buffer.layout is not None and not _IS_CONTIGUOUS(str(buffer.layout)):
        raise DlirError(f"needs a memref whose last dimension is contiguous, got {buffer}", op.location)
    stride = op.attributes["leadDimension"]
    if not isinstance(stride, IntegerAttr) or stride.type is not INDEX or stride.value < 1:
        raise DlirError(f"leadDimension must be a positive index, got {stride}", op.location)


class MemoryOp(IndexedOp):
    """Base of the ops that move a matrix between registers and memory; from Python `leadDimension` is an int."""

    __slots__ = ()

    @classmethod
    def create(cls, *operands: Any, **keywords: Any) -> Any:
        if isinstance(keywords.get("leadDimension"), int):
            keywords["leadDimension"] = IntegerAttr(keywords["leadDimension"], INDEX)
        return super().create(*operands, **keywords)


class SubgroupMmaLoadMatrix(MemoryOp, name="gpu.subgroup_mma_load_matrix"):
    """A matrix whose element (i, j) is `leadDimension` * i + j elements behind the one at `indices`; with `transpose`,
    `leadDimension` * j + i.

    In workgroup memory rows begin at multiples of 16 bytes.
    """

    effects = frozenset({READ})

    @staticmethod
    def infer(  # type: ignore[empty-body]
        srcMemref: MemRef, *indices: Index, leadDimension: int, transpose: Unit | None = None
    ) -> Declared: ...

    def verify(self) -> None:
        _check_memory(self, self.operands[0].type, self.operand_types[1:], _verified(self, self.results[0].type))


class SubgroupMmaStoreMatrix(MemoryOp, name="gpu.subgroup_mma_store_matrix"):
    """Write a sum, as `SubgroupMmaLoadMatrix` would read it."""

    effects = frozenset({WRITE})

    @staticmethod
    def infer(src: Type, dstMemref: MemRef, *indices: Index, leadDimension: int, transpose: Unit | None = None) -> None:
        _needs_matrix(src, "COp")

    def verify(self) -> None:
        matrix = _verified(self, self.operands[0].type)
        _check_memory(self, self.operands[1].type, self.operand_types[2:], matrix)


class SubgroupMmaCompute(Op, name="gpu.subgroup_mma_compute"):
    """opA @ opB + opC: the products are exact, and the order in which they are summed is the machine's."""

    @staticmethod
    def infer(
        opA: Type, opB: Type, opC: Type, *, a_transpose: Unit | None = None, b_transpose: Unit | None = None
    ) -> Type:
        a, b, c = _needs_matrix(opA, "AOp"), _needs_matrix(opB, "BOp"), _needs_matrix(opC, "COp")
        if a.columns != b.rows or (c.rows, c.columns) != (a.rows, b.columns):
            raise InferError(f"cannot add {opA} times {opB} to {opC}")
        if a.dtype is not b.dtype:
            raise InferError(f"needs factors of one element type, got {opA} and {opB}")
        return opC


class SubgroupMmaConstantMatrix(Op, name="gpu.subgroup_mma_constant_matrix"):
    """A matrix of equal elements."""

    @staticmethod
    def infer(value: Scalar) -> Declared: ...  # type: ignore[empty-body]

    def verify(self) -> None:
        matrix = _verified(self, self.results[0].type)
        if self.operands[0].type is not matrix.dtype:
            raise DlirError(f"cannot fill {self.results[0].type} with {self.operands[0].type}", self.location)


def _verified(op: Op, type: Type) -> Matrix:
    try:
        return _needs_matrix(type)
    except InferError as error:
        raise DlirError(f"'{op.name}' {error.message}", op.location) from None
