"""What every ``nd`` op is made of: iteration space, scalar formula, and the hooks that fusion and kernel lowering use.

A *composite* has ``decompose``.  A *primitive* has

- ``space()``: the points that are computed, and which element of each operand each point reads;
- ``element(ctx, index)``: the scalar for one point, made with the ``arith`` and ``math`` builders;
- ``finish(ctx, accumulated, index)``: after a reduction, the result from what was accumulated.

An elementwise op states only ``scalar`` (and ``eval``): its space is its shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from dlir.ir.affine import AffineExpr, AffineMap
from dlir.ir.attributes import Attribute
from dlir.ir.core import Value
from dlir.ir.dialects.decompose import Decomposed
from dlir.ir.dialects.nd.operands import combine, common_dtype, tensors
from dlir.ir.dialects.nd.scalars import narrow, widen
from dlir.ir.op import Op
from dlir.ir.types import ScalarType, Type

Monoid = Literal["add", "mul", "max", "min", "and", "or"]


@dataclass(frozen=True, slots=True)
class Space:
    """An iteration space: the result's dimensions (`parallel`), then those that are reduced over.

    ``maps[i]`` says which element of operand i a point reads, as a map over ``parallel + reduction``; None where that
    is not known from the point (or nothing is read, see `Primitive.shape_operands`).  With `guarded`, a map may point
    outside of its operand, where nothing is read (pad, concat, windows).  `monoid` combines the elements of a
    reduction; an empty one gives its neutral element.  With `scan`, a number of a parallel dimension, the reduction is
    over what lies along it up to the point, and each point's total is that of the point before it and one element more
    (see :class:`~dlir.ir.dialects.nd.scan.Scan`).
    """

    parallel: tuple[int, ...]
    reduction: tuple[int, ...] = ()
    maps: tuple[AffineMap | None, ...] = ()
    monoid: Monoid | None = None
    guarded: bool = False
    scan: int | None = None

    @property
    def extents(self) -> tuple[int, ...]:
        return self.parallel + self.reduction


class ElementContext(Protocol):
    """What ``element`` and ``finish`` may ask of kernel lowering."""

    def load(self, operand: int, index: Sequence[AffineExpr]) -> Value:
        """The element of operand number `operand` at `index`, which must be inside of it."""
        ...

    def index(self, expr: AffineExpr) -> Value:
        """The value of `expr`, of type index."""
        ...

    def constant(self, number: float | int | bool, dtype: Type) -> Value:
        """A scalar constant."""
        ...

    def table(self, elements: Attribute, index: Sequence[AffineExpr]) -> Value:
        """The element at `index` of a constant array (``dense`` or ``dense_resource``)."""
        ...


class NdOp(Op):
    """Base of all ``nd`` ops: a builder's operands may be Python numbers and NumPy arrays."""

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        return tensors(groups)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        """Operands (NumPy arrays, as ``eval`` takes them) and attributes, drawn at random, edge cases included."""
        raise TypeError("an nd op must define sample")


class Composite(NdOp, Decomposed):
    """Base of ``nd`` ops that are a formula over other ``nd`` ops."""


class Primitive(NdOp):
    """Base of ``nd`` ops that kernel lowering turns into scalar code by itself."""

    #: Whether what only moves elements is stored all the same, instead of being looked through.
    is_stored: ClassVar[bool] = False

    def space(self) -> Space:
        """The iteration space; shapes are static."""
        raise TypeError("a primitive must define space")

    def shape_operands(self) -> tuple[int, ...]:
        """The numbers of the operands of which only the shape is used."""
        return ()

    def element(self, ctx: ElementContext, index: Sequence[AffineExpr]) -> Value:
        """Make the scalar for one point; `index` has one expression for each dimension of the space.

        In a reduction it is what goes into the sum, in `accumulator` precision.
        """
        raise TypeError("a primitive must define element")

    def finish(self, ctx: ElementContext, accumulated: Value, index: Sequence[AffineExpr]) -> Value:
        """Make the result from what was accumulated; `index` has one expression for each parallel dimension."""
        return narrow(accumulated, self.results[0].dtype)


class Elementwise(Primitive):
    """Base of ops that compute each element of the result from the same element of each operand.

    Shapes and dtypes are equal in the IR; builders broadcast and promote as NumPy does.  f16 and bf16 are computed in
    f32 and rounded.
    """

    #: Makes the result for one element with ``arith`` and ``math`` builders; gets one scalar Value for each operand.
    scalar: Callable[..., Value]

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        return combine(groups, cls.operand_dtypes)

    @classmethod
    def operand_dtypes(cls, items: list[Any]) -> Sequence[ScalarType]:
        """The dtypes to which builders convert the operands: by default for all the one that NumPy would compute in."""
        return [common_dtype(items)] * len(items)

    def space(self) -> Space:
        shape = self.results[0].shape
        return Space(shape, maps=(AffineMap.identity(len(shape)),) * len(self.operands))

    def element(self, ctx: ElementContext, index: Sequence[AffineExpr]) -> Value:
        values = [widen(ctx.load(number, index)) for number in range(len(self.operands))]
        return narrow(self.scalar(*values), self.results[0].dtype)
