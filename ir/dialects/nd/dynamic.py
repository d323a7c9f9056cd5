"""Slices that begin where the run says: dynamic_slice and dynamic_update_slice, as in StableHLO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dlir.ir.affine import AffineExpr, AffineMap, dims, lookup
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import ElementContext, Primitive, Space
from dlir.ir.dialects.nd.checks import need_rank, need_static, same_dtype
from dlir.ir.dialects.nd.gradients import of_each
from dlir.ir.dialects.nd.guards import guarded_load
from dlir.ir.dialects.nd.indexing import need_indices, random_indices, start_at, zeros_like
from dlir.ir.dialects.nd.samples import random_array, random_dtype, random_shape
from dlir.ir.errors import InferError, count
from dlir.ir.op import Tensor
from dlir.ir.ops import nd


class DynamicSlice(Primitive, name="nd.dynamic_slice"):
    """The part of x of shape `slice_sizes` that begins at `starts`, a scalar for each dimension.

    Starts are brought to where the whole slice lies inside of x: below 0 to 0, and the others to the last that fit.
    """

    @staticmethod
    def infer(x: Tensor, *starts: Tensor, slice_sizes: tuple[int, ...]) -> Tensor:
        _need_starts(x, starts)
        if len(slice_sizes) != x.rank:
            raise InferError(f"'slice_sizes' needs {count(x.rank, 'integer')}, got {list(slice_sizes)}")
        _need_inside(x, slice_sizes)
        return x.with_shape(slice_sizes)

    @staticmethod
    def eval(x: Any, *starts: Any, slice_sizes: tuple[int, ...]) -> Any:
        return x[_slices(x, starts, slice_sizes)].copy()

    def space(self) -> Space:
        shape = self.results[0].shape
        read = [point + lookup(n + 1, (), room + 1) for n, (point, room) in enumerate(zip(dims(shape), self._rooms()))]
        scalars = (AffineMap(len(shape), ()),) * (len(self.operands) - 1)
        return Space(shape, maps=(AffineMap(len(shape), tuple(read)), *scalars))

    def element(self, ctx: ElementContext, index: Sequence[AffineExpr]) -> Value:
        starts = self.operands[1:]
        places = [start_at(ctx, n + 1, start.dtype, room) for n, (start, room) in enumerate(zip(starts, self._rooms()))]
        return ctx.load(0, [point + place for point, place in zip(index, places)])

    def _rooms(self) -> list[int]:
        """The last start that fits, in each dimension."""
        return [whole - part for whole, part in zip(self.operands[0].shape, self.results[0].shape)]

    @of_each
    def vjp(self, g: Value, needs: Sequence[bool]) -> Sequence[Value | None]:
        x, *starts = self.operands
        return [nd.dynamic_update_slice(zeros_like(x), g, *starts), *[None] * len(starts)]

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, random_shape(rng), random_dtype(rng, "biuf"))
        sizes = tuple(int(rng.integers(0 if rng.random() < 0.1 else min(1, extent), extent + 1)) for extent in x.shape)
        return [x, *(random_indices(rng, (), extent) for extent in x.shape)], {"slice_sizes": sizes}


class DynamicUpdateSlice(Primitive, name="nd.dynamic_update_slice"):
    """x with `update` in place of the part that begins at `starts`, a scalar for each dimension, and has its shape.

    Starts are brought to where the whole update lies inside of x: below 0 to 0, and the others to the last that fit.
    """

    @staticmethod
    def infer(x: Tensor, update: Tensor, *starts: Tensor) -> Tensor:
        same_dtype(x, update)
        need_rank("update", update, x.rank, "that of x")
        _need_starts(x, starts)
        _need_inside(x, need_static("update", update))
        return x

    @staticmethod
    def eval(x: Any, update: Any, *starts: Any) -> Any:
        result = np.array(x)
        result[_slices(x, starts, update.shape)] = update
        return result

    def space(self) -> Space:
        shape = self.results[0].shape
        read = [point - lookup(n + 2, (), room + 1) for n, (point, room) in enumerate(zip(dims(shape), self._rooms()))]
        scalars = (AffineMap(len(shape), ()),) * (len(self.operands) - 2)
        return Space(shape, maps=(AffineMap.identity(len(shape)), AffineMap(len(shape), tuple(read)), *scalars))

    def element(self, ctx: ElementContext, index: Sequence[AffineExpr]) -> Value:
        update, *starts = self.operands[1:]
        rooms = self._rooms()
        places = [start_at(ctx, n + 2, start.dtype, room) for n, (start, room) in enumerate(zip(starts, rooms))]
        inside = [point - place for point, place in zip(index, places)]
        may_leave = [(room > 0, room > 0) for room in rooms]
        return guarded_load(ctx, 1, inside, update.shape, may_leave, ctx.load(0, index))

    def _rooms(self) -> list[int]:
        """The last start that fits, in each dimension."""
        return [whole - part for whole, part in zip(self.results[0].shape, self.operands[1].shape)]

    @of_each
    def vjp(self, g: Value, needs: Sequence[bool]) -> Sequence[Value | None]:
        _, update, *starts = self.operands
        outside = nd.dynamic_update_slice(g, zeros_like(update), *starts) if needs[0] else None
        inside = nd.dynamic_slice(g, *starts, slice_sizes=update.shape) if needs[1] else None
        return [outside, inside, *[None] * len(starts)]

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, random_shape(rng), random_dtype(rng, "biuf"))
        sizes = [int(rng.integers(0 if rng.random() < 0.1 else min(1, extent), extent + 1)) for extent in x.shape]
        update = random_array(rng, sizes, random_dtype(rng, "i")).astype(x.dtype)
        return [x, update, *(random_indices(rng, (), extent) for extent in x.shape)], {}


def _need_starts(x: Tensor, starts: Sequence[Tensor]) -> None:
    if len(starts) != x.rank:
        raise InferError(f"needs {count(x.rank, 'start')}, one for each dimension of {x}, got {len(starts)}")
    for start in starts:
        need_indices("a start", start)
        if start.rank:
            raise InferError(f"needs scalars as starts, got {start}")


def _need_inside(x: Tensor, sizes: Sequence[int]) -> None:
    if any(size < 0 or (extent is not None and size > extent) for size, extent in zip(sizes, x.shape)):
        raise InferError(f"a part of shape {list(sizes)} does not fit into {x}")


def _slices(x: Any, starts: Sequence[Any], sizes: Sequence[int]) -> tuple[slice, ...]:
    firsts = [min(max(int(start), 0), extent - size) for start, extent, size in zip(starts, x.shape, sizes)]
    return tuple(slice(first, first + size) for first, size in zip(firsts, sizes))
