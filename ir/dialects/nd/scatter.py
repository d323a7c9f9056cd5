"""Adding at indices that another operand holds: scatter_add and add_along_axis.

What an index means is said in :mod:`dlir.ir.dialects.nd.indexing`.  Additions to one element are made one after another, in
the order of the indices, so that sums are the same on every backend and in every run, however often an index comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dlir.ir.affine import AffineExpr, AffineMap
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import ElementContext, Primitive, Space
from dlir.ir.dialects.nd.checks import need_kind, normalize_axis, same_dtype
from dlir.ir.dialects.nd.gradients import of_each
from dlir.ir.dialects.nd.indexing import (
    along_axis,
    need_along,
    need_elements,
    need_fit,
    need_indices,
    place_at,
    places,
    random_along,
    random_indices,
)
from dlir.ir.dialects.nd.samples import random_array, random_dtype, random_shape
from dlir.ir.dialects.nd.scalars import narrow, widen
from dlir.ir.op import Tensor
from dlir.ir.ops import arith, nd
from dlir.ir.types import is_float


class Scatter(Primitive):
    """Base of ops that add `updates` to the elements of x at `indices` along an axis, in the dtype of x.

    Kernel lowering copies x and then makes the additions (:mod:`dlir.passes.kernels.scatter`).  A step of them is a point
    `step` of the `steps`; each has an index, and an update for each place beside the axis.
    """

    @property
    def axis(self) -> int:
        """The axis, counted from the front."""
        return normalize_axis(self["axis"], self.results[0].rank)

    @property
    def steps(self) -> tuple[int, ...]:
        """The extents of the additions that are made in order."""
        raise TypeError("a scatter must define steps")

    def index_at(self, step: Sequence[AffineExpr], beside: Sequence[AffineExpr]) -> Sequence[AffineExpr]:
        """Where in `indices` that of a step lies; `beside` is an index of the result without the axis."""
        raise TypeError("a scatter must define index_at")

    def update_at(self, step: Sequence[AffineExpr], beside: Sequence[AffineExpr]) -> Sequence[AffineExpr]:
        """Where in `updates` that of a step for a place beside the axis lies."""
        raise TypeError("a scatter must define update_at")

    def space(self) -> Space:
        shape = self.results[0].shape
        return Space(shape, maps=(AffineMap.identity(len(shape)), None, None))

    def place(self, ctx: ElementContext, step: Sequence[AffineExpr], beside: Sequence[AffineExpr]) -> AffineExpr:
        """Make the place along the axis of a step."""
        indices = self.operands[1]
        found = ctx.load(1, self.index_at(step, beside))
        return place_at(ctx, found, indices.dtype, self.results[0].shape[self.axis])

    def added(
        self, ctx: ElementContext, before: Value, step: Sequence[AffineExpr], beside: Sequence[AffineExpr]
    ) -> Value:
        """Make the element after a step from what it was `before`."""
        update = widen(ctx.load(2, self.update_at(step, beside)))
        add = arith.addf if is_float(update.type) else arith.addi
        return narrow(add(widen(before), update), self.results[0].dtype)


class ScatterAdd(Scatter, name="nd.scatter_add"):
    """x with `updates` added to what ``take(x, indices, axis)`` gives, which has their shape (NumPy's ``add.at``).

    Where an index comes more than once, all its updates are added, in order, each sum rounded to the dtype.  Negative
    indices count from the end; indices outside are those of the nearest element.
    """

    @staticmethod
    def infer(x: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0) -> Tensor:
        need_kind(same_dtype(x, updates), "iuf")
        need_indices("indices", indices)
        axis = normalize_axis(axis, x.rank)
        need_elements(x.shape[axis], updates.shape)
        expected = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
        need_fit("updates", updates, expected, "that of x with the indices' dimensions for the axis")
        return x

    @staticmethod
    def eval(x: Any, indices: Any, updates: Any, *, axis: int = 0) -> Any:
        axis = normalize_axis(axis, x.ndim)
        result = np.array(x)
        where: Any = (*[slice(None)] * axis, places(indices, x.shape[axis]))
        np.add.at(result, where, updates)
        return result

    @property
    def steps(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.operands[1].shape
        return shape

    def index_at(self, step: Sequence[AffineExpr], beside: Sequence[AffineExpr]) -> Sequence[AffineExpr]:
        return step

    def update_at(self, step: Sequence[AffineExpr], beside: Sequence[AffineExpr]) -> Sequence[AffineExpr]:
        return [*beside[: self.axis], *step, *beside[self.axis :]]

    @of_each
    def vjp(self, g: Value, needs: Sequence[bool]) -> Sequence[Value | None]:
        return [g, None, nd.take(g, self.operands[1], axis=self.axis) if needs[2] else None]

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, random_shape(rng, 1), random_dtype(rng, "iuf"))
        axis = int(rng.integers(-x.ndim, x.ndim))
        shape = random_shape(rng)
        shape = shape if x.shape[axis] and len(shape) < 4 else (*shape[:2], 0)
        rest = x.shape[axis + 1 :] if axis != -1 else ()
        updates = random_array(rng, (*x.shape[:axis], *shape, *rest), random_dtype(rng, "f")).astype(x.dtype)
        return [x, random_indices(rng, shape, x.shape[axis]), updates], {"axis": axis}


class AddAlongAxis(Scatter, name="nd.add_along_axis"):
    """x with `updates` added to what ``take_along_axis(x, indices, axis)`` gives, which has their shape.

    It is NumPy's put_along_axis that adds, PyTorch's scatter_add.  Where an index comes more than once, all its updates are
    added, in order, each sum rounded to the dtype.  x, `indices` and `updates` have equal dimensions but for `axis`.
    """

    @staticmethod
    def infer(x: Tensor, indices: Tensor, updates: Tensor, *, axis: int = -1) -> Tensor:
        need_kind(same_dtype(x, updates), "iuf")
        need_indices("indices", indices)
        axis = normalize_axis(axis, x.rank)
        need_along(x, indices, axis)
        need_elements(x.shape[axis], indices.shape)
        need_fit("updates", updates, indices.shape, "that of the indices")
        return x

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        return along_axis(super().prepare(groups, attributes), attributes.get("axis", -1))

    @staticmethod
    def eval(x: Any, indices: Any, updates: Any, *, axis: int = -1) -> Any:
        axis = normalize_axis(axis, x.ndim)
        result = np.array(x)
        where = list(np.indices(indices.shape, sparse=True))
        where[axis] = places(indices, x.shape[axis])
        np.add.at(result, tuple(where), updates)
        return result

    @property
    def steps(self) -> tuple[int, ...]:
        return (self.operands[1].shape[self.axis],)

    def index_at(self, step: Sequence[AffineExpr], beside: Sequence[AffineExpr]) -> Sequence[AffineExpr]:
        return [*beside[: self.axis], *step, *beside[self.axis :]]

    update_at = index_at

    @of_each
    def vjp(self, g: Value, needs: Sequence[bool]) -> Sequence[Value | None]:
        return [g, None, nd.take_along_axis(g, self.operands[1], axis=self.axis) if needs[2] else None]

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x, indices, axis = random_along(rng, "iuf")
        updates = random_array(rng, indices.shape, random_dtype(rng, "f")).astype(x.dtype)
        return [x, indices, updates], {"axis": axis}
