"""Arrays from nothing: constant and iota."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dlir.ir.affine import AffineExpr
from dlir.ir.attributes import DenseElementsAttr
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import ElementContext, Primitive, Space
from dlir.ir.dialects.nd.checks import kind_of, normalize_axis
from dlir.ir.dialects.nd.conversion import signless
from dlir.ir.dialects.nd.samples import random_array, random_dtype, random_shape
from dlir.ir.dialects.nd.scalars import accumulator, narrow
from dlir.ir.errors import DlirError
from dlir.ir.op import Elements, InferError, Tensor
from dlir.ir.ops import arith, nd
from dlir.ir.types import I64, ScalarType, Shape, TensorType


class Constant(Primitive, name="nd.constant"):
    """The array `value`: ``dense<...>``, or ``dense_resource<name>`` for one that lies in a file beside the text."""

    differentiable = False

    @staticmethod
    def infer(*, value: Elements) -> Tensor:
        type = value.type  # type: ignore[attr-defined]
        if not isinstance(type, TensorType):
            raise InferError(f"needs elements of tensor type, got {type}")
        return type

    @staticmethod
    def eval(*, value: Any) -> Any:
        if not isinstance(value, DenseElementsAttr):
            raise DlirError(f"the elements of '{value.name}' have not been read")
        return value.value

    def space(self) -> Space:
        return Space(self.results[0].shape)

    def element(self, ctx: ElementContext, index: Sequence[AffineExpr]) -> Value:
        value = self["value"]
        if isinstance(value, DenseElementsAttr) and value.is_splat:
            return ctx.constant(value.array[()].item(), self.results[0].dtype)
        return ctx.table(value, index)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        dtype, shape = random_dtype(rng), random_shape(rng)
        array = random_array(rng, () if rng.random() < 0.3 else shape, dtype, special=True)
        return [], {"value": DenseElementsAttr(array, TensorType(shape, dtype))}


class Iota(Primitive, name="nd.iota"):
    """The index along `axis` of each element: 0, 1, 2, ...

    A dimension of `shape` that is -1 is that of `like`, which is used for nothing else.  In an integer dtype that
    cannot hold them, the indices keep their low bits.
    """

    differentiable = False

    @staticmethod
    def infer(like: Tensor | None = None, *, shape: tuple[int, ...], axis: int = 0, dtype: ScalarType = I64) -> Tensor:
        normalize_axis(axis, len(shape))
        if (kind_of(dtype) or "b") not in "iuf":
            raise InferError(f"cannot count in {dtype}")
        return TensorType(extents_of(shape, like), dtype)

    @staticmethod
    def eval(like: Any = None, *, shape: tuple[int, ...], axis: int = 0, dtype: ScalarType = I64) -> Any:
        extents = extents_of(shape, like)
        axis = normalize_axis(axis, len(shape))
        counts = np.arange(extents[axis]).astype(dtype.numpy)  # type: ignore[arg-type]
        return np.broadcast_to(counts.reshape(-1, *[1] * (len(shape) - axis - 1)), extents)  # type: ignore[arg-type]

    def space(self) -> Space:
        return Space(self.results[0].shape, maps=(None,) * len(self.operands))

    def shape_operands(self) -> tuple[int, ...]:
        return tuple(range(len(self.operands)))

    def element(self, ctx: ElementContext, index: Sequence[AffineExpr]) -> Value:
        dtype = self["dtype"]
        position = ctx.index(index[normalize_axis(self["axis"], len(index))])
        if kind_of(dtype) != "f":
            return arith.index_cast(position, signless(dtype))
        return narrow(arith.sitofp(arith.index_cast(position, I64), accumulator(dtype)), dtype)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        shape = random_shape(rng, 1)
        attributes = {"axis": int(rng.integers(-len(shape), len(shape))), "dtype": random_dtype(rng, "if")}
        if rng.random() < 0.5:
            return [None], {"shape": shape, **attributes}
        wanted = tuple(-1 if rng.random() < 0.6 else extent for extent in shape)
        return [random_array(rng, shape)], {"shape": wanted, **attributes}


def extents_of(shape: tuple[int, ...], like: Any) -> Shape:
    """`shape` with the dimensions of `like` (a type, Value, array or None) in place of -1; InferError if it has none."""
    if any(extent < -1 for extent in shape):
        raise InferError(f"'shape' must hold extents and -1, got {list(shape)}")
    if -1 in shape and (like is None or len(like.shape) != len(shape)):
        raise InferError(f"'shape' {list(shape)} takes -1 from operand 'like', which must have rank {len(shape)}")
    return tuple(like.shape[axis] if extent == -1 else extent for axis, extent in enumerate(shape))


def indices(x: Value, axis: int) -> Value:
    """The index (i64) along `axis` of each element of `x`."""
    extents = tuple(-1 if extent is None else extent for extent in x.shape)
    return nd.iota(x if -1 in extents else None, shape=extents, axis=axis, dtype=I64)
