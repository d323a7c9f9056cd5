"""The ``memref`` dialect: buffers, as upstream.

Result types that cannot be inferred are stated last: ``memref.alloc(type)``, ``memref.view(arena, offset, type)``.
Python ints among indices become constants: ``memref.load(m, [i, 0])``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dlir.ir.attributes import Attribute, DenseElementsAttr, DenseResourceAttr, UnitAttr
from dlir.ir.core import Operation
from dlir.ir.dialects.scalars import numbers_to_constants
from dlir.ir.errors import DlirError, InferError, count
from dlir.ir.op import ALLOC, INDEX, READ, WRITE, Declared, Index, MemRef, Op, Symbol, SymbolRef, Type, Unit
from dlir.ir.types import I8, MemRefType, TensorType


class IndexedOp(Op):
    """Base of ops whose indices and sizes may be given as Python ints."""

    __slots__ = ()

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        return numbers_to_constants(groups, INDEX)


def check_indices(memref: MemRef, indices: tuple[Type, ...]) -> None:
    """InferError unless there is an index per dimension of `memref`."""
    if len(indices) != memref.rank:
        raise InferError(f"needs {count(memref.rank, 'index', 'indices')} for {memref}, got {len(indices)}")


def check_sizes(op: Op, sizes: tuple[Any, ...]) -> None:
    """DlirError unless `sizes` has a value per dynamic dimension of the op's result."""
    type = op.result.type
    if not isinstance(type, MemRefType):
        raise DlirError(f"gives a memref, not {type}", op.location)
    dynamic = type.shape.count(None)
    if dynamic != len(sizes):
        raise DlirError(f"needs {count(dynamic, 'size')} for {type}, got {len(sizes)}", op.location)


# ---------------------------------------------------------------- making buffers


class AllocOp(IndexedOp):
    """Base of the allocations."""

    __slots__ = ()
    effects = frozenset({ALLOC})

    @staticmethod
    def infer(  # type: ignore[empty-body]
        dynamicSizes: tuple[Index, ...], symbolOperands: tuple[Index, ...], *, alignment: int | None = None
    ) -> Declared: ...

    def verify(self) -> None:
        check_sizes(self, self.group("dynamicSizes"))
        alignment = self["alignment"]
        if alignment is not None and (alignment <= 0 or alignment & (alignment - 1)):
            raise DlirError(f"alignment must be a power of two, got {alignment}", self.location)


class Alloc(AllocOp, name="memref.alloc"):
    """A new buffer on the heap, until it is deallocated; `alignment` in bytes."""


class Alloca(AllocOp, name="memref.alloca"):
    """A new buffer on the stack, until the function returns; `alignment` in bytes."""


class Dealloc(Op, name="memref.dealloc"):
    """The end of a buffer made by ``memref.alloc``."""

    effects = frozenset({WRITE})

    @staticmethod
    def infer(memref: MemRef) -> None: ...


class Global(Op, name="memref.global"):
    """A named buffer that outlives calls.  `initial_value`: its content, ``unit`` for none, absent if external."""

    @staticmethod
    def infer(
        *,
        sym_name: Symbol,
        sym_visibility: str | None = None,
        type: Type,
        initial_value: Attribute | None = None,
        constant: Unit | None = None,
        alignment: int | None = None,
    ) -> None: ...

    def verify(self) -> None:
        type, init = self["type"], self["initial_value"]
        if not isinstance(type, MemRefType) or not type.is_static:
            raise DlirError(f"needs a memref type of static shape, got {type}", self.location)
        if init is None or isinstance(init, UnitAttr):
            return
        wanted = TensorType(type.shape, type.dtype)
        if not isinstance(init, DenseElementsAttr | DenseResourceAttr) or init.type is not wanted:
            found = getattr(init, "type", init)
            raise DlirError(f"needs an initial value of type {wanted}, got {found}", self.location)


class GetGlobal(Op, name="memref.get_global"):
    """The buffer of a ``memref.global``: ``memref.get_global(type, name="w")``."""

    @staticmethod
    def infer(*, name: SymbolRef) -> Declared: ...  # type: ignore[empty-body]

    def verify_symbols(self, lookup: Callable[[str], Operation | None]) -> None:
        found = lookup(self["name"])
        if found is None or found.name != Global.op_name:
            raise DlirError(f"'@{self['name']}' is not a memref.global", self.location)
        if found.get("type") is not self.result.type:
            raise DlirError(f"'@{self['name']}' is {found.get('type')}, not {self.result.type}", self.location)


# ---------------------------------------------------------------- elements


class Load(IndexedOp, name="memref.load"):
    """One element."""

    effects = frozenset({READ})

    @staticmethod
    def infer(memref: MemRef, *indices: Index, nontemporal: bool = False, alignment: int | None = None) -> Type:
        check_indices(memref, indices)
        return memref.dtype


class Store(IndexedOp, name="memref.store"):
    """Set one element."""

    effects = frozenset({WRITE})

    @staticmethod
    def infer(
        value: Type, memref: MemRef, *indices: Index, nontemporal: bool = False, alignment: int | None = None
    ) -> None:
        check_indices(memref, indices)
        if value is not memref.dtype:
            raise InferError(f"cannot store {value} in {memref}")

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        value, memref, indices = groups
        return [
            *numbers_to_constants([value], memref.dtype),
            memref,
            *numbers_to_constants([indices], INDEX),
        ]


class Copy(Op, name="memref.copy"):
    """Copy all elements of one buffer to another of the same shape; they may not overlap."""

    effects = frozenset({READ, WRITE})

    @staticmethod
    def infer(source: MemRef, target: MemRef) -> None:
        same_shape = source.rank == target.rank and all(
            a == b or a is None or b is None for a, b in zip(source.shape, target.shape)
        )
        if source.dtype is not target.dtype or not same_shape:
            raise InferError(f"cannot copy {source} to {target}")


class Dim(IndexedOp, name="memref.dim"):
    """The extent of one dimension."""

    @staticmethod
    def infer(source: MemRef, index: Index) -> Index:
        return INDEX


# ---------------------------------------------------------------- other ways to see a buffer


class View(IndexedOp, name="memref.view"):
    """A contiguous buffer at a byte offset inside a buffer of bytes; `sizes` are the extents of dynamic dimensions."""

    @staticmethod
    def infer(source: MemRef, byte_shift: Index, *sizes: Index) -> Declared: ...  # type: ignore[empty-body]

    def verify(self) -> None:
        source = self.operands[0].type
        if source.rank != 1 or source.dtype is not I8 or source.layout is not None:
            raise DlirError(f"needs a one-dimensional memref of i8, got {source}", self.location)
        check_sizes(self, self.operands[2:])
        shift, type = self.operands[1].defining_op, self.result.type
        if shift is not None and shift.name == "arith.constant" and source.is_static and type.is_static:
            begin = shift.get("value")
            if begin < 0 or begin + type.nbytes > source.nbytes:
                what = f"bytes {begin:,} to {begin + type.nbytes:,} of {source}"
                raise DlirError(f"shows {what}, which has {source.nbytes:,}", self.location)


class Cast(Op, name="memref.cast"):
    """The same buffer with dimensions made dynamic or static."""

    @staticmethod
    def infer(source: MemRef) -> Declared: ...  # type: ignore[empty-body]

    def verify(self) -> None:
        source, target = self.operands[0].type, self.result.type
        fits = isinstance(target, MemRefType) and target.dtype is source.dtype and target.rank == source.rank
        if not fits or any(a != b and None not in (a, b) for a, b in zip(source.shape, target.shape)):
            raise DlirError(f"cannot see {source} as {target}", self.location)


class ReinterpretCast(Op, name="memref.reinterpret_cast"):
    """The elements of a buffer under another offset, sizes and strides.

    dlir makes the static form for contiguous buffers: ``memref.reinterpret_cast(m, MemRefType((6, 4), F32))``.  In the
    static lists, `DYNAMIC` stands for the next operand of the group.
    """

    @staticmethod
    def infer(  # type: ignore[empty-body]
        source: MemRef,
        offsets: tuple[Index, ...],
        sizes: tuple[Index, ...],
        strides: tuple[Index, ...],
        *,
        static_offsets: tuple[int, ...],
        static_sizes: tuple[int, ...],
        static_strides: tuple[int, ...],
    ) -> Declared: ...

    @classmethod
    def create(cls, *operands: Any, **keywords: Any) -> Any:
        """As `Op.create`; without static lists, they are those of the contiguous result type."""
        type = operands[-1] if operands else None
        if isinstance(type, MemRefType) and "static_sizes" not in keywords:
            sizes = tuple(0 if dim is None else dim for dim in type.shape)
            keywords |= {"static_offsets": (0,), "static_sizes": sizes, "static_strides": strides_of(sizes)}
        return super().create(*operands, **keywords)

    def verify(self) -> None:
        type = self.result.type
        if not isinstance(type, MemRefType):
            raise DlirError(f"gives a memref, not {type}", self.location)
        lists = ("offsets", 1), ("sizes", type.rank), ("strides", type.rank)
        for name, length in lists:
            static = self[f"static_{name}"]
            if len(static) != length or static.count(DYNAMIC) != len(self.group(name)):
                raise DlirError(f"'static_{name}' does not fit the operands and {type}", self.location)
        for dim, size in zip(type.shape, self["static_sizes"]):
            if (None if size == DYNAMIC else size) != dim:
                raise DlirError(f"'static_sizes' {list(self['static_sizes'])} are not those of {type}", self.location)


#: Marks an operand's place in a static list, as upstream.
DYNAMIC = -(1 << 63)


def strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in elements, of a contiguous row-major buffer."""
    strides = [1] * len(shape)
    for position in range(len(shape) - 2, -1, -1):
        strides[position] = strides[position + 1] * shape[position + 1]
    return tuple(strides)
