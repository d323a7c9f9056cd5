"""Layouts in memory: pack and unpack, as ``linalg.pack`` and ``linalg.unpack`` of MLIR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlir.ir.affine import AffineExpr, AffineMap, dims
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import ElementContext, Primitive, Space
from dlir.ir.dialects.nd.checks import normalize_axis
from dlir.ir.dialects.nd.gradients import of_first, static_shape
from dlir.ir.dialects.nd.guards import guarded_load
from dlir.ir.dialects.nd.movement import View
from dlir.ir.dialects.nd.samples import random_array, random_dtype, random_shape
from dlir.ir.op import InferError, Tensor
from dlir.ir.ops import nd


@dataclass(frozen=True, slots=True)
class Packing:
    """How the dimensions of an array become outer ones, in the order `order`, and tiles: dimension ``positions[i]`` is cut
    into tiles of ``tiles[i]``, which are the last dimensions."""

    rank: int
    positions: tuple[int, ...]
    tiles: tuple[int, ...]
    order: tuple[int, ...]

    @staticmethod
    def of(rank: int, inner_dims_pos: Any, inner_tiles: Any, outer_dims_perm: Any) -> Packing:
        """From attributes; InferError if they do not fit an array of this rank."""
        positions = tuple(normalize_axis(axis, rank) for axis in inner_dims_pos or ())
        tiles = tuple(inner_tiles or ())
        if len(positions) != len(tiles) or len(set(positions)) != len(positions):
            raise InferError(f"'inner_dims_pos' {list(positions)} and 'inner_tiles' {list(tiles)} must be pairs")
        if any(tile < 1 for tile in tiles):
            raise InferError(f"'inner_tiles' must be positive, got {list(tiles)}")
        order = tuple(range(rank)) if outer_dims_perm is None else tuple(outer_dims_perm)
        if sorted(order) != list(range(rank)):
            raise InferError(f"'outer_dims_perm' must name each of the {rank} axes once, got {list(order)}")
        return Packing(rank, positions, tiles, order)

    def tile(self, axis: int) -> int:
        """The tile of a dimension; 1 if it has none."""
        return self.tiles[self.positions.index(axis)] if axis in self.positions else 1

    def packed(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """The shape after packing."""
        outer = [_tiles(shape[axis], self.tile(axis)) for axis in self.order]
        return (*outer, *self.tiles)

    def unpacked_index(self, index: Sequence[AffineExpr]) -> tuple[AffineExpr, ...]:
        """Where in the array the element at `index` of the packed one comes from."""
        found = [index[self.order.index(axis)] * self.tile(axis) for axis in range(self.rank)]
        for number, axis in enumerate(self.positions):
            found[axis] = found[axis] + index[self.rank + number]
        return tuple(found)

    def packed_index(self, index: Sequence[AffineExpr]) -> tuple[AffineExpr, ...]:
        """Where in the packed array the element at `index` of the array is."""
        outer = [index[axis] // self.tile(axis) for axis in self.order]
        return (*outer, *(index[axis] % tile for axis, tile in zip(self.positions, self.tiles)))


def _tiles(extent: int | None, tile: int) -> int | None:
    return None if extent is None else -(-extent // tile)


class Pack(Primitive, name="nd.pack"):
    """x in another layout: its dimensions in the order `outer_dims_perm`, and tiles of some of them at the end.

    Dimension ``inner_dims_pos[i]`` is cut into tiles of ``inner_tiles[i]`` elements; the last tile is filled up with zeros.
    For fusion it is not a view: its result is stored as it says.
    """

    is_stored = True

    @staticmethod
    def infer(
        x: Tensor,
        *,
        inner_dims_pos: tuple[int, ...] | None = None,
        inner_tiles: tuple[int, ...] | None = None,
        outer_dims_perm: tuple[int, ...] | None = None,
    ) -> Tensor:
        return x.with_shape(Packing.of(x.rank, inner_dims_pos, inner_tiles, outer_dims_perm).packed(x.shape))

    @staticmethod
    def eval(x: Any, *, inner_dims_pos: Any = None, inner_tiles: Any = None, outer_dims_perm: Any = None) -> Any:
        packing = Packing.of(x.ndim, inner_dims_pos, inner_tiles, outer_dims_perm)
        ends = [-x.shape[axis] % packing.tile(axis) for axis in range(x.ndim)]
        padded = np.pad(x, [(0, end) for end in ends]) if any(ends) else x
        split = [n for axis in range(x.ndim) for n in (padded.shape[axis] // packing.tile(axis), packing.tile(axis))]
        order = [2 * axis for axis in packing.order] + [2 * axis + 1 for axis in packing.positions]
        rest = [2 * axis + 1 for axis in range(x.ndim) if axis not in packing.positions]
        moved = padded.reshape(split).transpose(*order, *rest)
        return moved.reshape(moved.shape[: len(order)])

    @property
    def packing(self) -> Packing:
        """The attributes with all their defaults filled in."""
        return Packing.of(self.operands[0].rank, self["inner_dims_pos"], self["inner_tiles"], self["outer_dims_perm"])

    def _may_leave(self) -> list[tuple[bool, bool]]:
        packing = self.packing
        return [(False, extent % packing.tile(axis) != 0) for axis, extent in enumerate(self.operands[0].shape)]

    def space(self) -> Space:
        shape = self.results[0].shape
        read = AffineMap(len(shape), self.packing.unpacked_index(dims(shape)))
        return Space(shape, maps=(read,), guarded=any(above for _, above in self._may_leave()))

    def element(self, ctx: ElementContext, index: Sequence[AffineExpr]) -> Value:
        x = self.operands[0]
        zero = ctx.constant(0, x.dtype)
        return guarded_load(ctx, 0, self.packing.unpacked_index(index), x.shape, self._may_leave(), zero)

    @of_first
    def vjp(self, g: Value) -> Value:
        return nd.unpack(g, shape=static_shape(self, self.operands[0]), **self.keywords)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, random_shape(rng), random_dtype(rng))
        return [x], _random_packing(rng, x.ndim)


class Unpack(View, name="nd.unpack"):
    """The array of shape `shape` that ``nd.pack`` with the same attributes made into x, without what filled up tiles."""

    @staticmethod
    def infer(
        x: Tensor,
        *,
        shape: tuple[int, ...],
        inner_dims_pos: tuple[int, ...] | None = None,
        inner_tiles: tuple[int, ...] | None = None,
        outer_dims_perm: tuple[int, ...] | None = None,
    ) -> Tensor:
        if any(extent < 0 for extent in shape):
            raise InferError(f"'shape' must hold no negative number, got {list(shape)}")
        packed = Packing.of(len(shape), inner_dims_pos, inner_tiles, outer_dims_perm).packed(shape)
        if len(packed) != x.rank or any(mine not in (None, other) for mine, other in zip(x.shape, packed)):
            raise InferError(f"an array of shape {list(shape)} is packed as {list(packed)}, but x is {x}")
        return x.with_shape(shape)

    @staticmethod
    def eval(
        x: Any,
        *,
        shape: tuple[int, ...],
        inner_dims_pos: Any = None,
        inner_tiles: Any = None,
        outer_dims_perm: Any = None,
    ) -> Any:
        rank = len(shape)
        packing = Packing.of(rank, inner_dims_pos, inner_tiles, outer_dims_perm)
        axes: list[int] = []
        for axis in range(rank):
            axes.append(packing.order.index(axis))
            if axis in packing.positions:
                axes.append(rank + packing.positions.index(axis))
        whole = [-(-extent // packing.tile(axis)) * packing.tile(axis) for axis, extent in enumerate(shape)]
        return x.transpose(axes).reshape(whole)[tuple(slice(0, extent) for extent in shape)]

    def source(self) -> tuple[AffineExpr, ...]:
        shape = self.results[0].shape
        packing = Packing.of(len(shape), self["inner_dims_pos"], self["inner_tiles"], self["outer_dims_perm"])
        return packing.packed_index(dims(shape))

    @of_first
    def vjp(self, g: Value) -> Value:
        return nd.pack(g, **{name: value for name, value in self.keywords.items() if name != "shape"})

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, random_shape(rng), random_dtype(rng))
        attributes = _random_packing(rng, x.ndim)
        return [Pack.eval(x, **attributes)], {"shape": x.shape, **attributes}


def _random_packing(rng: np.random.Generator, rank: int) -> dict[str, Any]:
    positions = tuple(int(axis) for axis in rng.permutation(rank)[: int(rng.integers(0, rank + 1))])
    order = tuple(int(axis) for axis in rng.permutation(rank)) if rng.random() < 0.7 else None
    tiles = tuple(int(tile) for tile in rng.integers(1, 5, len(positions)))
    return {"inner_dims_pos": positions or None, "inner_tiles": tiles or None, "outer_dims_perm": order}
