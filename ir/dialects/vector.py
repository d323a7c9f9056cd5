"""The ``vector`` dialect: the part of upstream's that micro-kernels need.

Result types that cannot be inferred are stated last: ``vector.load(m, [i, j], type)``, ``vector.broadcast(x, type)``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from dlir.ir.attributes import Attribute
from dlir.ir.core import Value
from dlir.ir.dialects.enums import FASTMATH, WordOp, Words
from dlir.ir.dialects.math import fused_multiply_add
from dlir.ir.dialects.memref import DYNAMIC, IndexedOp, check_indices
from dlir.ir.dialects.scalars import Element, same_floats
from dlir.ir.errors import DlirError, InferError
from dlir.ir.op import READ, WRITE, Declared, Index, MemRef, Op, Scalar, Type, Vector
from dlir.ir.registry import find_op
from dlir.ir.types import VectorType

KIND = Words(
    "#vector.kind<",
    tuple("add mul minui minsi minnumf maxui maxsi maxnumf and or xor minimumf maximumf".split()),
)

#: The arith op that combines two elements, by kind of reduction; add and mul have an ``f`` for floats, else an ``i``.
COMBINE = {kind: f"arith.{kind}" for kind in KIND.allowed} | {kind: f"arith.{kind}i" for kind in ("and", "or", "xor")}


class Load(IndexedOp, name="vector.load"):
    """A vector of neighbours along the last dimensions, from `indices` on."""

    effects = frozenset({READ})
    discardable = ("alignment",)  # so that xDSL, which does not have it, reads it

    @staticmethod
    def infer(  # type: ignore[empty-body]
        base: MemRef, *indices: Index, nontemporal: bool = False, alignment: int | None = None
    ) -> Declared: ...

    def verify(self) -> None:
        _check_access(self, self.operands[0].type, self.operand_types[1:], self.result.type)


class Store(IndexedOp, name="vector.store"):
    """Set neighbours along the last dimensions, from `indices` on."""

    effects = frozenset({WRITE})
    discardable = ("alignment",)

    @staticmethod
    def infer(
        valueToStore: Vector, base: MemRef, *indices: Index, nontemporal: bool = False, alignment: int | None = None
    ) -> None: ...

    def verify(self) -> None:
        _check_access(self, self.operands[1].type, self.operand_types[2:], self.operands[0].type)


def _check_access(op: Op, base: MemRef, indices: tuple[Type, ...], vector: Type) -> None:
    check_indices(base, indices)
    if not isinstance(vector, VectorType) or vector.dtype is not base.dtype or vector.rank > base.rank:
        raise DlirError(f"cannot move {vector} from or to {base}", op.location)


class Broadcast(Op, name="vector.broadcast"):
    """A scalar or smaller vector repeated to fill a vector."""

    @staticmethod
    def infer(source: Element) -> Declared: ...  # type: ignore[empty-body]

    @staticmethod
    def eval(source: Any, *, result_types: tuple[Any, ...]) -> Any:
        return np.broadcast_to(source, result_types[0].shape)

    def verify(self) -> None:
        source, target = self.operands[0].type, self.result.type
        shape = source.shape if isinstance(source, VectorType) else ()
        dtype = source.dtype if isinstance(source, VectorType) else source
        fits = isinstance(target, VectorType) and target.dtype is dtype and len(shape) <= target.rank
        if not fits or any(a not in (1, b) for a, b in zip(reversed(shape), reversed(target.shape))):
            raise DlirError(f"cannot broadcast {source} to {target}", self.location)


class Fma(Op, name="vector.fma"):
    """lhs * rhs + acc by element, rounded once."""

    @staticmethod
    def infer(lhs: Vector, rhs: Vector, acc: Vector) -> Type:
        return same_floats(lhs, rhs, acc)

    @staticmethod
    def eval(lhs: Any, rhs: Any, acc: Any) -> Any:
        return fused_multiply_add(lhs, rhs, acc)


class PositionOp(Op):
    """Base of ops at a position, given from Python as ints and index values: ``vector.extract(v, 0)``."""

    __slots__ = ()
    #: The number of operands before the position.
    leading: ClassVar[int]

    @classmethod
    def create(cls, *operands: Any, **keywords: Any) -> Any:
        """As `Op.create`; without `static_position`, the operands after the first ones are the position."""
        if "static_position" not in keywords:
            first, position = operands[: cls.leading], operands[cls.leading :]
            if len(position) == 1 and isinstance(position[0], tuple | list):
                position = tuple(position[0])
            keywords["static_position"] = tuple(DYNAMIC if isinstance(at, Value) else at for at in position)
            operands = (*first, *(at for at in position if isinstance(at, Value)))
        return super().create(*operands, **keywords)


#: The index of no element; what is found there has no meaning.
_POISON = -1


def _part_type(vector: Vector, dynamic: tuple[Type, ...], position: tuple[int, ...]) -> Type:
    """The type of the part of `vector` at `position`; InferError if there is no such part."""
    if position.count(DYNAMIC) != len(dynamic):
        raise InferError(f"needs {position.count(DYNAMIC)} index operands for its position, got {len(dynamic)}")
    outside = any(at != DYNAMIC and not _POISON <= at < (dim or 0) for at, dim in zip(position, vector.shape))
    if len(position) > vector.rank or outside:
        raise InferError(f"position {list(position)} is not inside {vector}")
    rest = vector.shape[len(position) :]
    return VectorType(rest, vector.dtype) if rest else vector.dtype


def _full_position(dynamic: tuple[Any, ...], position: tuple[int, ...]) -> tuple[int, ...]:
    rest = iter(dynamic)
    return tuple(int(next(rest)) if at == DYNAMIC else at for at in position)


class Extract(PositionOp, name="vector.extract"):
    """The element or part at a position."""

    leading = 1

    @staticmethod
    def infer(source: Vector, *dynamic_position: Index, static_position: tuple[int, ...]) -> Type:
        return _part_type(source, dynamic_position, static_position)

    @staticmethod
    def eval(source: Any, *dynamic_position: Any, static_position: tuple[int, ...]) -> Any:
        return source[_full_position(dynamic_position, static_position)]


class Insert(PositionOp, name="vector.insert"):
    """`dest` with the element or part at a position replaced."""

    leading = 2

    @staticmethod
    def infer(valueToStore: Element, dest: Vector, *dynamic_position: Index, static_position: tuple[int, ...]) -> Type:
        wanted = _part_type(dest, dynamic_position, static_position)
        if valueToStore is not wanted:
            raise InferError(f"needs {wanted} at position {list(static_position)} of {dest}, got {valueToStore}")
        return dest

    @staticmethod
    def eval(valueToStore: Any, dest: Any, *dynamic_position: Any, static_position: tuple[int, ...]) -> Any:
        copy = dest.copy()
        copy[_full_position(dynamic_position, static_position)] = valueToStore
        return copy


class Reduction(WordOp, name="vector.reduction"):
    """The elements of a one-dimensional vector, and `acc`, combined by `kind`: ``vector.reduction(v, kind="add")``.

    Floats are combined in order unless `fastmath` allows to reassociate.
    """

    words: ClassVar[dict[str, Words]] = {"kind": KIND, "fastmath": FASTMATH}

    @staticmethod
    def infer(vector: Vector, acc: Scalar | None = None, *, kind: Attribute, fastmath: Attribute | None = None) -> Type:
        if vector.rank != 1 or acc not in (None, vector.dtype):
            raise InferError(f"needs a one-dimensional vector and a scalar of its type, got {vector}, {acc}")
        return vector.dtype

    @staticmethod
    def eval(vector: Any, acc: Any = None, *, kind: Attribute, fastmath: Any = None) -> Any:
        (word,) = KIND.decode(kind) or ("add",)
        is_integer = vector.dtype.kind in "iub"
        name = COMBINE[word] + (("i" if is_integer else "f") if word in ("add", "mul") else "")
        combine: Any = find_op(name)
        items = list(vector) if acc is None else [acc, *vector]
        total = items[0]
        for item in items[1:]:
            total = combine.eval(total, item)
        return total
