"""Ops that put elements beside others: concat and pad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dlir.ir.affine import AffineExpr, AffineMap, dim
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import ElementContext, Primitive, Space
from dlir.ir.dialects.nd.checks import kind_of, need_kind, normalize_axis, same_dtype
from dlir.ir.dialects.nd.gradients import END, along, of_each, of_first, shaped, unknown_shape
from dlir.ir.dialects.nd.guards import clamped_load, guarded_load
from dlir.ir.dialects.nd.operands import promote
from dlir.ir.dialects.nd.samples import random_array, random_dtype, random_shape
from dlir.ir.errors import count
from dlir.ir.op import InferError, Tensor
from dlir.ir.ops import arith, nd


class Concat(Primitive, name="nd.concat"):
    """The operands end to end along `axis`; all other dimensions and the dtype are equal."""

    @staticmethod
    def infer(*xs: Tensor, axis: int) -> Tensor:
        if not xs:
            raise InferError("needs at least one operand")
        same_dtype(*xs)
        first, axis = xs[0], normalize_axis(axis, xs[0].rank)
        shape = list(first.shape)
        for x in xs[1:]:
            if x.rank != first.rank:
                raise InferError(f"cannot join {first} and {x}: the ranks differ")
            for number, extent in enumerate(x.shape):
                ours = shape[number]
                if number == axis:
                    shape[axis] = None if ours is None or extent is None else ours + extent
                elif ours is None:
                    shape[number] = extent
                elif extent not in (ours, None):
                    raise InferError(f"cannot join {first} and {x} along axis {axis}: axis {number} differs")
        return first.with_shape(tuple(shape))

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        return [tuple(promote(groups[0]))] if groups[0] else groups

    @staticmethod
    def eval(*xs: Any, axis: int) -> Any:
        return np.concatenate(xs, axis)

    @property
    def axis(self) -> int:
        """The axis, counted from the front."""
        return normalize_axis(self["axis"], self.results[0].rank)

    def space(self) -> Space:
        shape = self.results[0].shape
        identity = AffineMap.identity(len(shape))
        maps = []
        offset = 0
        for operand in self.operands:
            exprs = list(identity.exprs)
            exprs[self.axis] = dim(self.axis) - offset
            maps.append(AffineMap(len(shape), tuple(exprs)))
            offset += operand.shape[self.axis]
        return Space(shape, maps=tuple(maps), guarded=len(maps) > 1)

    def element(self, ctx: ElementContext, index: Sequence[AffineExpr]) -> Value:
        axis, rank = self.axis, len(index)
        found: Value | None = None
        end = self.results[0].shape[axis]
        # From the last operand to the first: what lies before the end of an operand is its own or of one before it.
        for number in reversed(range(len(self.operands))):
            shape = self.operands[number].shape
            start = end - shape[axis]
            if shape[axis]:
                here = [*index[:axis], index[axis] - start, *index[axis + 1 :]]
                may_leave = [
                    (other == axis and start > 0, other == axis and found is not None) for other in range(rank)
                ]
                loaded = clamped_load(ctx, number, here, shape, may_leave)
                if found is not None:
                    loaded = arith.select(arith.cmpi("slt", ctx.index(index[axis]), end), loaded, found)
                found = loaded
            end = start
        assert found is not None, "an empty array has no elements"
        return found

    @of_each
    def vjp(self, g: Value, needs: Sequence[bool]) -> list[Value | None]:
        """The parts, counted from the front, or from the end where that is beyond a dynamic dimension."""
        axis = self.axis
        sizes = [operand.shape[axis] for operand in self.operands]
        found: list[Value | None] = []
        for number, operand in enumerate(self.operands):
            before, here, after = sizes[:number], sizes[number], sizes[number + 1 :]
            if not needs[number] or len(sizes) == 1:
                found.append(g if needs[number] else None)
            elif None not in before:
                stop = (-sum(after) or END) if here is None else sum(before) + here
                found.append(shaped(along(g, axis, sum(before), stop), operand.shape))
            elif None in after or here is None:
                raise unknown_shape(self, operand)
            else:
                found.append(shaped(along(g, axis, -sum(after) - here, -sum(after) or END), operand.shape))
        return found

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        shape, dtype = list(random_shape(rng, 1)), random_dtype(rng)
        axis = int(rng.integers(-len(shape), len(shape)))
        xs = []
        for _ in range(int(rng.integers(1, 4))):
            shape[axis] = int(rng.integers(0, 4))
            xs.append(random_array(rng, shape, dtype))
        return xs, {"axis": axis}


class Pad(Primitive, name="nd.pad"):
    """x with ``low[i]`` elements of `value` before and ``high[i]`` after it in dimension i.

    `interior` (none by default) has for each dimension how many go between every two elements of x.
    """

    @staticmethod
    def infer(
        x: Tensor,
        *,
        low: tuple[int, ...],
        high: tuple[int, ...],
        value: float = 0.0,
        interior: tuple[int, ...] | None = None,
    ) -> Tensor:
        need_kind(x.dtype, "biuf")
        between = interior or (0,) * x.rank
        for name, given in (("low", low), ("high", high), ("interior", between)):
            if len(given) != x.rank or min(given, default=0) < 0:
                raise InferError(f"'{name}' needs {count(x.rank, 'integer')}, none negative, got {list(given)}")
        if kind_of(x.dtype) != "f" and not _holds(x, value):
            raise InferError(f"the padding {value} is no value of {x.dtype}")
        wide = [None if n is None else _stretched(n, gap) for n, gap in zip(x.shape, between)]
        return x.with_shape(tuple(None if n is None else n + b + a for n, b, a in zip(wide, low, high)))

    @staticmethod
    def eval(
        x: Any,
        *,
        low: tuple[int, ...],
        high: tuple[int, ...],
        value: float = 0.0,
        interior: tuple[int, ...] | None = None,
    ) -> Any:
        between = interior or (0,) * x.ndim
        wide = [_stretched(n, gap) for n, gap in zip(x.shape, between)]
        result = np.full([sum(extents) for extents in zip(wide, low, high)], value, x.dtype)
        result[tuple(slice(before, before + n, gap + 1) for n, before, gap in zip(wide, low, between))] = x
        return result

    def space(self) -> Space:
        shape = self.results[0].shape
        exprs = tuple((dim(axis, shape[axis]) - before) // step for axis, before, step in self._places())
        is_guarded = any(self["low"]) or any(self["high"]) or any(self["interior"] or ())
        return Space(shape, maps=(AffineMap(len(shape), exprs),), guarded=is_guarded)

    def element(self, ctx: ElementContext, index: Sequence[AffineExpr]) -> Value:
        low, high, x = self["low"], self["high"], self.operands[0]
        here = [(index[axis] - before) // step for axis, before, step in self._places()]
        may_leave = [(before > 0, after > 0) for before, after in zip(low, high)]
        outside = ctx.constant(self["value"], x.dtype)
        found = guarded_load(ctx, 0, here, x.shape, may_leave, outside)
        for axis, before, step in self._places():
            if step > 1:
                is_element = arith.cmpi("eq", ctx.index((index[axis] - before) % step), 0)
                found = arith.select(is_element, found, outside)
        return found

    def _places(self) -> list[tuple[int, int, int]]:
        """For each axis its number, where the first element of x goes, and how far it is from there to the next."""
        low = self["low"]
        interior = self["interior"] or (0,) * len(low)
        return [(axis, before, gap + 1) for axis, (before, gap) in enumerate(zip(low, interior, strict=True))]

    @of_first
    def vjp(self, g: Value) -> Value:
        ends = tuple(-after or END for after in self["high"])
        steps = None if self["interior"] is None else tuple(between + 1 for between in self["interior"])
        return nd.slice(g, start=self["low"], stop=ends, step=steps)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, random_shape(rng), random_dtype(rng))
        low, high = (tuple(int(rng.integers(0, 3)) for _ in x.shape) for _ in range(2))
        interior = tuple(int(rng.integers(0, 3)) for _ in x.shape) if rng.random() < 0.4 else None
        return [x], {"low": low, "high": high, "value": float(rng.integers(0, 2)), "interior": interior}


def _stretched(extent: int, gap: int) -> int:
    """The extent with so many elements between every two."""
    return extent + max(0, extent - 1) * gap


def _holds(x: Tensor, value: float) -> bool:
    """Whether the integer or bool dtype of `x` can hold `value`."""
    if kind_of(x.dtype) == "b":
        return value in (0, 1)
    limits = np.iinfo(x.dtype.numpy)  # type: ignore[attr-defined]
    return value == int(value) and limits.min <= int(value) <= limits.max if np.isfinite(value) else False
