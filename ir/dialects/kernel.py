"""The ``kernel`` dialect: a region of array maths that becomes one kernel, and what a library does in a kernel's place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dlir.ir.attributes import DenseArrayAttr
from dlir.ir.core import Region
from dlir.ir.dialects.regions import only_block
from dlir.ir.errors import DlirError, InferError, count
from dlir.ir.op import READ, WRITE, Declared, MemRef, Op, Type
from dlir.ir.types import BF16, F16, F32, F64, MemRefType, ShapedType, TensorType

#: The attribute of an op that says which kernel it is to be in: "none" for one of its own, or the name of a group.
FUSE = "dlir.fuse"
#: The unit attribute of an op that computes again, next to its use, what another op has computed: neither `cse` nor fusion
#: makes one of the two.
RECOMPUTE = "dlir.recompute"
#: Pairs of operands by number, one read and one written, that are the same memory: ``array<i64: 0, 2>``.
INPLACE = "dlir.inplace"


class KernelRegion(Op, name="kernel.region"):
    """Array maths that runs as one kernel.

    Over tensors, operands are the block's arguments and ``kernel.yield`` gives the results.  Over memrefs (after
    ``bufferize``) the last `outs` operands are destinations, one per yielded tensor, and there are no results; the body
    stays over tensors until it is lowered.  `schedule` says how it iterates; ``fuse = false`` keeps other ops out.
    """

    is_isolated = True
    terminated_by = "kernel.yield"

    @staticmethod
    def infer(  # type: ignore[empty-body]
        *operands: TensorType | MemRefType,
        outs: int = 0,
        schedule: str | None = None,
        tile: tuple[int, ...] | None = None,
        fuse: bool = True,
        body: Region,
    ) -> Declared: ...

    @property
    def ins(self) -> tuple:
        """The operands that are read."""
        operands = self.operands
        return operands[: len(operands) - self["outs"]]

    @property
    def destinations(self) -> tuple:
        """The operands that are written; empty over tensors."""
        operands = self.operands
        return operands[len(operands) - self["outs"] :]

    @property
    def is_bufferized(self) -> bool:
        return self["outs"] > 0

    def side_effects(self) -> frozenset[str]:
        return frozenset({READ, WRITE}) if self.is_bufferized else frozenset()

    def verify(self) -> None:
        if not 0 <= self["outs"] <= len(self.operands):
            raise DlirError(
                f"has outs = {self['outs']}, but takes {count(len(self.operands), 'operand')}", self.location
            )
        ins, args = self.ins, only_block(self).args
        if len(ins) != len(args):
            reads, takes = count(len(ins), "operand"), count(len(args), "argument")
            raise DlirError(f"reads {reads}, but its block has {takes}", self.location)
        for value, arg in zip(ins, args, strict=True):
            if _extent(value.type) != _extent(arg.type):
                raise DlirError(f"operand {value.type} does not fit block argument {arg.type}", self.location)
        yielded = self.body.terminator.operand_types
        targets = [value.type for value in self.destinations] if self.is_bufferized else list(self.result_types)
        if [_extent(t) for t in yielded] != [_extent(t) for t in targets]:
            what = "destinations" if self.is_bufferized else "results"
            raise DlirError(
                f"yields {_spell(yielded)}, but its {what} are {_spell(targets)}", self.body.terminator.location
            )
        if INPLACE in self.attributes:
            self._verify_inplace()

    def _verify_inplace(self) -> None:
        """The pairs must be of an operand that is read and a destination, with as many bytes of one element type."""
        attribute = self.attributes[INPLACE]
        flat = attribute.value if isinstance(attribute, DenseArrayAttr) else ()
        if not flat or len(flat) % 2:
            hint = f"{INPLACE} = array<i64: 0, 2> says that operands 0 and 2 are the same memory"
            raise DlirError(f"needs pairs of operand numbers in {INPLACE}", self.location, hint=hint)
        ins, types = len(self.ins), self.operand_types
        for one, two in zip(flat[::2], flat[1::2], strict=True):
            if not 0 <= one < ins <= two < len(types):
                message = f"has {INPLACE} with operands {one} and {two}, which are not one that is read and one that is written"
                raise DlirError(message, self.location)
            if types[one].dtype is not types[two].dtype or types[one].size != types[two].size:
                raise DlirError(f"has {INPLACE} for {types[one]} and {types[two]}", self.location)


def _extent(type: Type) -> Any:
    """What a tensor and the memref that holds it have in common."""
    return (type.shape, type.dtype) if isinstance(type, ShapedType) else type


def _spell(types: Iterable[Type]) -> str:
    return "(" + ", ".join(map(str, types)) + ")"


class Yield(Op, name="kernel.yield"):
    """The tensors that a kernel computes."""

    is_terminator = True
    parent_name = "kernel.region"

    @staticmethod
    def infer(*operands: Type) -> None: ...


# ---------------------------------------------------------------- libraries

#: What libraries multiply, and the types in which they sum.
MATRIX_TYPES = {F16: F32, BF16: F32, F32: F32, F64: F64}


class Matmul(Op, name="kernel.matmul"):
    """Products of matrices by a library of the target: ``into = lhs @ rhs``, plus `addend` and `bias` where they are given.

    `sizes` are batch, rows, columns and depth.  A layout says where a matrix lies in its buffer, in elements: its offset,
    and the strides of batch, rows and columns (see `leading_dimension`).  The addend lies in its buffer as the result
    does in `into`, and may be that buffer; the bias has an element for each column, of a result whose rows are stored
    together and are not f64.  f16 and bf16 are summed in f32 and rounded once.
    """

    effects = frozenset({READ, WRITE})

    @staticmethod
    def infer(
        lhs: MemRef,
        rhs: MemRef,
        into: MemRef,
        addend: MemRef | None = None,
        bias: MemRef | None = None,
        *,
        sizes: tuple[int, ...],
        lhs_layout: tuple[int, ...],
        rhs_layout: tuple[int, ...],
        into_layout: tuple[int, ...],
    ) -> None:
        types = [type for type in (lhs, rhs, into, addend, bias) if type is not None]
        for type in types:
            if type.dtype is not into.dtype or type.dtype not in MATRIX_TYPES:
                known = ", ".join(map(str, MATRIX_TYPES))
                raise InferError(f"multiplies buffers of one type, {known}, got {_spell(types)}")
            if not type.is_static or type.layout is not None:
                raise InferError(f"needs contiguous buffers of static shape, got {type}")

    def verify(self) -> None:
        sizes = self["sizes"]
        if len(sizes) != 4 or min(sizes) < 1:
            raise DlirError(f"'sizes' must be batch, rows, columns and depth, got {list(sizes)}", self.location)
        batch, rows, columns, depth = sizes
        lhs, rhs, into, addend, bias = self.groups
        self._verify_layout("lhs_layout", (batch, rows, depth), lhs)
        self._verify_layout("rhs_layout", (batch, depth, columns), rhs)
        self._verify_layout("into_layout", (batch, rows, columns), into)
        if addend is not None:
            self._verify_layout("into_layout", (batch, rows, columns), addend)
        self._verify_distinct((batch, rows, columns))
        if bias is None:
            return
        if bias.type.size != columns:
            raise DlirError(f"needs a bias of {count(columns, 'element')}, got {bias.type}", self.location)
        way = leading_dimension((rows, columns), self["into_layout"][2:])
        if bias.type.dtype is F64 or way is None or way[0] == 0:
            raise DlirError("takes a bias where rows are stored together, and not for f64", self.location)

    def _verify_layout(self, name: str, extents: Sequence[int], buffer: Any) -> None:
        """The matrices of these extents must be inside of `buffer`."""
        layout = self[name]
        if len(layout) != 4 or min(layout) < 0:
            hint = "an offset, and the strides of batch, rows and columns"
            raise DlirError(
                f"'{name}' must be four positions in a buffer, got {list(layout)}", self.location, hint=hint
            )
        offset, *strides = layout
        last = offset + sum((extent - 1) * stride for extent, stride in zip(extents, strides))
        if last >= buffer.type.size:
            raise DlirError(f"'{name}' {list(layout)} leaves {buffer.type}", self.location)
        if leading_dimension(extents[1:], strides[1:]) is None:
            rows, columns = extents[1:]
            message = f"'{name}' {list(layout)} is no matrix of {rows} x {columns} whose rows or columns lie apart"
            raise DlirError(message, self.location)

    def _verify_distinct(self, extents: Sequence[int]) -> None:
        """No two elements of the result may be the same."""
        reach = 1
        for stride, extent in sorted(zip(self["into_layout"][1:], extents)):
            if extent > 1 and stride < reach:
                message = f"'into_layout' {list(self['into_layout'])} puts several elements in one place"
                raise DlirError(message, self.location)
            reach = max(reach, stride * extent) if extent > 1 else reach

    def compute(self, arrays: Sequence[np.ndarray]) -> None:
        """What it does to NumPy arrays in place of its operands, in their order."""
        batch, rows, columns, depth = self["sizes"]
        lhs, rhs, into, addend, bias = self.schema().group(arrays, self.get("operandSegmentSizes"))
        wide = MATRIX_TYPES[self.operands[0].type.dtype].numpy
        left = _matrices(lhs, (batch, rows, depth), self["lhs_layout"]).astype(wide)
        right = _matrices(rhs, (batch, depth, columns), self["rhs_layout"]).astype(wide)
        total = np.matmul(left, right)
        if addend is not None:
            total = total + _matrices(addend, (batch, rows, columns), self["into_layout"])
        if bias is not None:
            total = total + bias.reshape(-1)
        _matrices(into, (batch, rows, columns), self["into_layout"])[...] = total


def leading_dimension(extents: Sequence[int], strides: Sequence[int]) -> tuple[int, int] | None:
    """How a matrix lies in memory, in the words of BLAS: whose elements are neighbours, a column's (0) or a row's (1), and
    how many elements lie between the beginnings of two columns or rows; None if it lies in another way."""
    for unit in (1, 0):
        other = 1 - unit
        if extents[unit] != 1 and strides[unit] != 1:
            continue
        if extents[other] == 1:
            return unit, extents[unit]
        if strides[other] >= extents[unit]:
            return unit, strides[other]
    return None


def _matrices(array: np.ndarray, extents: Sequence[int], layout: Sequence[int]) -> np.ndarray:
    """The matrices that lie in a contiguous array."""
    offset, *strides = layout
    steps = [stride * array.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(array.reshape(-1)[offset:], extents, steps)
