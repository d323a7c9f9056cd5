"""Reading at indices that another operand holds: take, take_along_axis, and one_hot, which compares instead.

What an index means is said in :mod:`dlir.ir.dialects.nd.indexing`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dlir.ir.affine import AffineExpr, AffineMap, delinearize, dims, lookup
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Composite, ElementContext, Primitive, Space
from dlir.ir.dialects.nd.checks import kind_of, normalize_axis
from dlir.ir.dialects.nd.creation import indices as element_indices
from dlir.ir.dialects.nd.gradients import extents, of_first, static_shape
from dlir.ir.dialects.nd.indexing import (
    along_axis,
    need_along,
    need_elements,
    need_indices,
    place_at,
    places,
    random_along,
    random_indices,
    zeros_like,
)
from dlir.ir.dialects.nd.samples import pick, random_array, random_dtype, random_shape
from dlir.ir.op import InferError, Tensor
from dlir.ir.ops import nd
from dlir.ir.types import F32, I1, I32, I64, ScalarType


class Take(Primitive, name="nd.take"):
    """The elements of x at `indices` along `axis`, whose place the dimensions of `indices` take; of all x without `axis`.

    Negative indices count from the end; indices outside are those of the nearest element (NumPy's take, which raises
    there by default).
    """

    @staticmethod
    def infer(x: Tensor, indices: Tensor, *, axis: int | None = None) -> Tensor:
        need_indices("indices", indices)
        if axis is None:
            need_elements(x.size if x.is_static else None, indices.shape)
            return x.with_shape(indices.shape)
        axis = normalize_axis(axis, x.rank)
        need_elements(x.shape[axis], indices.shape)
        return x.with_shape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))

    @staticmethod
    def eval(x: Any, indices: Any, *, axis: int | None = None) -> Any:
        return np.take(x, places(indices, x.size if axis is None else x.shape[axis]), axis)

    def space(self) -> Space:
        shape, x = self.results[0].shape, self.operands[0]
        point = dims(shape)
        first, place = self._split(point)
        found = lookup(1, place, self._extent)
        rest = point[first + len(place) :]
        read = delinearize(found, x.shape) if self["axis"] is None else (*point[:first], found, *rest)
        maps = (AffineMap(len(shape), tuple(read)), AffineMap(len(shape), tuple(place)))
        return Space(shape, maps=maps)

    def element(self, ctx: ElementContext, index: Sequence[AffineExpr]) -> Value:
        x, indices = self.operands
        first, place = self._split(index)
        found = place_at(ctx, ctx.load(1, place), indices.dtype, self._extent)
        if self["axis"] is None:
            return ctx.load(0, delinearize(found, x.shape))
        return ctx.load(0, [*index[:first], found, *index[first + len(place) :]])

    @property
    def _extent(self) -> int:
        """How many elements an index chooses from."""
        x, axis = self.operands[0], self["axis"]
        return math.prod(x.shape) if axis is None else x.shape[normalize_axis(axis, x.rank)]

    def _split(self, index: Sequence[AffineExpr]) -> tuple[int, Sequence[AffineExpr]]:
        """Where in an index of the result the dimensions of the indices begin, and these."""
        x, indices = self.operands
        first = 0 if self["axis"] is None else normalize_axis(self["axis"], x.rank)
        return first, index[first : first + indices.rank]

    @of_first
    def vjp(self, g: Value) -> Value:
        x, indices = self.operands
        if self["axis"] is not None:
            return nd.scatter_add(zeros_like(x), indices, g, axis=self["axis"])
        flat = nd.reshape(zeros_like(x), shape=(math.prod(static_shape(self, x)),))
        return nd.reshape(nd.scatter_add(flat, indices, g, axis=0), shape=x.shape)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, random_shape(rng, 1), random_dtype(rng, "biuf"))
        axis = None if rng.random() < 0.2 else int(rng.integers(-x.ndim, x.ndim))
        extent = x.size if axis is None else x.shape[axis]
        shape = random_shape(rng)
        shape = shape if extent and len(shape) < 4 else (*shape[:2], 0)
        return [x, random_indices(rng, shape, extent)], {"axis": axis}


class TakeAlongAxis(Primitive, name="nd.take_along_axis"):
    """The elements of x at `indices` along `axis`, all other indices being those of the result's element.

    x and `indices` have equal dimensions but for `axis`; builders broadcast the others.  Negative indices count from the end;
    indices outside are those of the nearest element.
    """

    @staticmethod
    def infer(x: Tensor, indices: Tensor, *, axis: int = -1) -> Tensor:
        need_indices("indices", indices)
        axis = normalize_axis(axis, x.rank)
        need_along(x, indices, axis)
        need_elements(x.shape[axis], indices.shape)
        return x.with_shape(indices.shape)

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        return along_axis(super().prepare(groups, attributes), attributes.get("axis", -1))

    @staticmethod
    def eval(x: Any, indices: Any, *, axis: int = -1) -> Any:
        return np.take_along_axis(x, places(indices, x.shape[axis]), axis)

    def _at(self, index: Sequence[AffineExpr], found: AffineExpr) -> list[AffineExpr]:
        axis = normalize_axis(self["axis"], len(index))
        return [*index[:axis], found, *index[axis + 1 :]]

    @property
    def _extent(self) -> int:
        x = self.operands[0]
        found: int = x.shape[normalize_axis(self["axis"], x.rank)]
        return found

    def space(self) -> Space:
        shape = self.results[0].shape
        point = dims(shape)
        read = self._at(point, lookup(1, point, self._extent))
        return Space(shape, maps=(AffineMap(len(shape), tuple(read)), AffineMap.identity(len(shape))))

    def element(self, ctx: ElementContext, index: Sequence[AffineExpr]) -> Value:
        found = place_at(ctx, ctx.load(1, index), self.operands[1].dtype, self._extent)
        return ctx.load(0, self._at(index, found))

    @of_first
    def vjp(self, g: Value) -> Value:
        (x, indices), axis = self.operands, normalize_axis(self["axis"], self.operands[0].rank)
        extent = x.shape[axis]
        if indices.shape[axis] != 1 or extent is None:
            return nd.add_along_axis(zeros_like(x), indices, g, axis=axis)
        # One element of each run: a comparison, which fuses with whatever uses it.
        place = nd.cast(indices, dtype=I64)
        place = nd.select(nd.less(place, 0), nd.add(place, extent), place)
        place = nd.minimum(nd.maximum(place, 0), extent - 1)
        return nd.select(nd.equal(element_indices(x, axis), place), g, zeros_like(x))

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x, indices, axis = random_along(rng, "biuf")
        return [x, indices], {"axis": axis}


class OneHot(Composite, name="nd.one_hot"):
    """1 at each index and 0 elsewhere, along a new dimension of `depth` elements that stands at `axis` of the result.

    A negative index counts from the end; one that is outside gives zeros only (ONNX OneHot).
    """

    differentiable = False

    @staticmethod
    def infer(indices: Tensor, *, depth: int, axis: int = -1, dtype: ScalarType = F32) -> Tensor:
        need_indices("indices", indices)
        if depth < 0:
            raise InferError(f"'depth' must not be negative, got {depth}")
        if kind_of(dtype) is None:
            raise InferError(f"cannot make {dtype}")
        axis = normalize_axis(axis, indices.rank + 1)
        return Tensor((*indices.shape[:axis], depth, *indices.shape[axis:]), dtype)

    @staticmethod
    def decompose(indices: Value, *, depth: int, axis: int = -1, dtype: ScalarType = F32) -> Value:
        axis = normalize_axis(axis, indices.rank + 1)
        wide = nd.cast(indices, dtype=I64)
        place = nd.select(nd.less(wide, 0), nd.add(wide, depth), wide)
        shape = (*extents(indices)[:axis], 1, *extents(indices)[axis:])
        along = nd.reshape(nd.iota(shape=(depth,)), shape=(depth,) + (1,) * (indices.rank - axis))
        return nd.cast(nd.equal(nd.reshape(place, shape=shape), along), dtype=dtype)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        shape, depth = random_shape(rng), int(rng.integers(0, 5))
        attributes = {"depth": depth, "axis": int(rng.integers(-len(shape) - 1, len(shape) + 1))}
        return [random_indices(rng, shape, depth)], {**attributes, "dtype": pick(rng, [F32, I32, I1])}
