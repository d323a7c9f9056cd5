"""Ops that only move elements: reshape, transpose, broadcast_to, slice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dlir.ir.affine import AffineExpr, AffineMap, constant, delinearize, dim, dims, linearize
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import ElementContext, Primitive, Space
from dlir.ir.dialects.nd.checks import normalize_axis
from dlir.ir.dialects.nd.gradients import END, along, folded_back, of_first, shaped, unknown_shape
from dlir.ir.dialects.nd.operands import spell_shape
from dlir.ir.dialects.nd.samples import random_array, random_dtype, random_shape
from dlir.ir.op import InferError, Tensor
from dlir.ir.ops import nd
from dlir.ir.types import Shape


class View(Primitive):
    """Base of ops of which each element is one element of the first operand."""

    def source(self) -> tuple[AffineExpr, ...]:
        """Where in the operand each element of the result comes from."""
        raise TypeError("a view must define source")

    def space(self) -> Space:
        shape = self.results[0].shape
        unread = (None,) * (len(self.operands) - 1)
        return Space(shape, maps=(AffineMap(len(shape), self.source()), *unread))

    def element(self, ctx: ElementContext, index: Sequence[AffineExpr]) -> Value:
        return ctx.load(0, AffineMap(len(index), self.source()).apply(index))


class Reshape(View, name="nd.reshape"):
    """The same elements, in row-major order, in another shape; one dimension may be -1, which takes what is left."""

    @staticmethod
    def infer(x: Tensor, *, shape: tuple[int, ...]) -> Tensor:
        if any(extent < -1 for extent in shape) or shape.count(-1) > 1:
            raise InferError(f"'shape' may hold one -1 and no other negative number, got {list(shape)}")
        known = math.prod(extent for extent in shape if extent != -1)
        if not x.is_static:
            return x.with_shape(_dynamic_reshape(x, shape, known))
        if -1 not in shape:
            if known != x.size:
                raise InferError(f"cannot reshape {x} of {x.size} elements to {spell_shape(shape)} of {known}")
            return x.with_shape(shape)
        if not known or x.size % known:
            raise InferError(f"cannot reshape {x} to {list(shape)}: nothing fits in place of -1")
        return x.with_shape(tuple(x.size // known if extent == -1 else extent for extent in shape))

    @staticmethod
    def eval(x: Any, *, shape: tuple[int, ...]) -> Any:
        return np.reshape(x, shape)

    def source(self) -> tuple[AffineExpr, ...]:
        shape = self.results[0].shape
        return delinearize(linearize(dims(shape), shape), self.operands[0].shape)

    @of_first
    def vjp(self, g: Value) -> Value:
        return shaped(g, self.operands[0].shape)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, random_shape(rng), random_dtype(rng))
        shape = _random_factors(rng, x.size)
        if shape and x.size and rng.random() < 0.5:
            shape[int(rng.integers(len(shape)))] = -1
        return [x], {"shape": tuple(shape)}


def _dynamic_reshape(x: Tensor, shape: tuple[int, ...], known: int) -> Shape:
    """The shape that a reshape of an array with dynamic dimensions gives; its size is checked when it is known."""
    if -1 in shape and not known:
        raise InferError(f"cannot reshape {x} to {list(shape)}: with no elements, -1 could be anything")
    fixed = math.prod(extent for extent in x.shape if extent is not None)
    if -1 in shape and x.shape.count(None) == 1 and fixed == known:
        # What is left is the dynamic dimension itself.
        return tuple(None if extent == -1 else extent for extent in shape)
    if -1 not in shape and fixed and known % fixed:
        raise InferError(f"cannot reshape {x} to {spell_shape(shape)}: {known} is no multiple of {fixed}")
    return tuple(None if extent == -1 else extent for extent in shape)


class Transpose(View, name="nd.transpose"):
    """Dimension i of the result is dimension ``perm[i]`` of x; without `perm` the dimensions are reversed."""

    @staticmethod
    def infer(x: Tensor, *, perm: tuple[int, ...] | None = None) -> Tensor:
        return x.with_shape(tuple(x.shape[axis] for axis in _permutation(perm, x.rank)))

    @staticmethod
    def eval(x: Any, *, perm: tuple[int, ...] | None = None) -> Any:
        return np.transpose(x, perm)

    @property
    def permutation(self) -> tuple[int, ...]:
        """`perm` with all its defaults filled in."""
        return _permutation(self["perm"], self.operands[0].rank)

    def source(self) -> tuple[AffineExpr, ...]:
        perm = self.permutation
        return tuple(dim(perm.index(axis)) for axis in range(len(perm)))

    @of_first
    def vjp(self, g: Value) -> Value:
        perm = self.permutation
        return nd.transpose(g, perm=tuple(perm.index(axis) for axis in range(len(perm))))

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, random_shape(rng), random_dtype(rng))
        perm = tuple(int(axis) for axis in rng.permutation(x.ndim))
        return [x], {"perm": perm if rng.random() < 0.8 else None}


def _permutation(perm: tuple[int, ...] | None, rank: int) -> tuple[int, ...]:
    if perm is None:
        return tuple(range(rank))[::-1]
    found = tuple(normalize_axis(axis, rank) for axis in perm)
    if sorted(found) != list(range(rank)):
        raise InferError(f"'perm' must name each of the {rank} axes once, got {list(perm)}")
    return found


class BroadcastTo(View, name="nd.broadcast_to"):
    """x repeated to `shape` by NumPy's rule: dimensions are aligned at the end, and those of extent 1 are repeated.

    A dimension of `shape` that is -1 is known at run time: x's own unless that is 1, and otherwise that of `like`.
    """

    @staticmethod
    def infer(x: Tensor, like: Tensor | None = None, *, shape: tuple[int, ...]) -> Tensor:
        if any(extent < -1 for extent in shape):
            raise InferError(f"'shape' must hold extents and -1, got {list(shape)}")
        if len(shape) < x.rank:
            raise InferError(f"cannot broadcast {x} to {_spell(shape)}, which has fewer dimensions")
        own = (1,) * (len(shape) - x.rank) + x.shape
        other = _aligned(like.shape if like is not None else (), len(shape))
        result: list[int | None] = []
        for mine, theirs, wanted in zip(own, other, shape, strict=True):
            if wanted == -1:
                result.append(theirs if mine == 1 else mine)
            elif mine in (1, None, wanted):
                result.append(wanted)
            else:
                raise InferError(f"cannot broadcast {x} to {_spell(shape)}: {mine} is neither 1 nor {wanted}")
        return x.with_shape(tuple(result))

    @staticmethod
    def eval(x: Any, like: Any = None, *, shape: tuple[int, ...]) -> Any:
        own = (1,) * (len(shape) - x.ndim) + x.shape
        other = _aligned(() if like is None else like.shape, len(shape))
        found = [
            (theirs if mine == 1 else mine) if wanted == -1 else wanted
            for mine, theirs, wanted in zip(own, other, shape, strict=True)
        ]
        return np.broadcast_to(x, found)  # type: ignore[arg-type]

    def shape_operands(self) -> tuple[int, ...]:
        return tuple(range(1, len(self.operands)))

    def source(self) -> tuple[AffineExpr, ...]:
        shape = self.operands[0].shape
        first = self.results[0].rank - len(shape)
        return tuple(constant(0) if extent == 1 else dim(first + axis) for axis, extent in enumerate(shape))

    @of_first
    def vjp(self, g: Value) -> Value:
        x, first = self.operands[0], g.rank - self.operands[0].rank
        if any(mine is None and g.shape[first + axis] is not None for axis, mine in enumerate(x.shape)):
            # That extent may turn out to be 1.
            raise unknown_shape(self, x)
        return folded_back(g, x)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        shape = random_shape(rng)
        kept = shape[int(rng.integers(len(shape) + 1)) :]
        own = tuple(1 if rng.random() < 0.4 else extent for extent in kept)
        x = random_array(rng, own, random_dtype(rng))
        if rng.random() < 0.5:
            return [x, None], {"shape": shape}
        like = random_array(rng, shape, random_dtype(rng))
        return [x, like], {"shape": tuple(-1 if rng.random() < 0.6 else extent for extent in shape)}


def _aligned(shape: Shape, rank: int) -> Shape:
    """`shape` with leading ones, or without its leading dimensions, so that it has this rank."""
    return ((1,) * (rank - len(shape)) + shape)[len(shape) - min(len(shape), rank) :]


def _spell(shape: tuple[int, ...]) -> str:
    return spell_shape(tuple(None if extent == -1 else extent for extent in shape))


class Slice(View, name="nd.slice"):
    """``x[start:stop:step]`` in every dimension, by Python's rules.

    Negative bounds count from the end and all are clamped, so that a very large `stop` means "to the end" (and a very
    negative one "down to the first" when stepping backwards).  `step` defaults to ones and may be negative.
    """

    @staticmethod
    def infer(
        x: Tensor, *, start: tuple[int, ...], stop: tuple[int, ...], step: tuple[int, ...] | None = None
    ) -> Tensor:
        for name, value in (("start", start), ("stop", stop), ("step", step)):
            if value is not None and len(value) != x.rank:
                raise InferError(f"'{name}' needs {x.rank} integers, one for each dimension, got {list(value)}")
        if step is not None and 0 in step:
            raise InferError("'step' must not be 0")
        extents = [
            None if extent is None else len(range(*part.indices(extent)))
            for extent, part in zip(x.shape, _slices(start, stop, step), strict=True)
        ]
        return x.with_shape(tuple(extents))

    @staticmethod
    def eval(x: Any, *, start: tuple[int, ...], stop: tuple[int, ...], step: tuple[int, ...] | None = None) -> Any:
        return x[tuple(_slices(start, stop, step))]

    def source(self) -> tuple[AffineExpr, ...]:
        shape = self.operands[0].shape
        parts = _slices(self["start"], self["stop"], self["step"])
        bounds = [part.indices(extent) for extent, part in zip(shape, parts, strict=True)]
        return tuple(dim(axis) * step + start for axis, (start, _, step) in enumerate(bounds))

    @of_first
    def vjp(self, g: Value) -> Value:
        """What was taken, in its place among zeros."""
        low, high, interior = [], [], []
        parts = _slices(self["start"], self["stop"], self["step"])
        for axis, (part, extent) in enumerate(zip(parts, self.operands[0].shape, strict=True)):
            before, between, after = self._gaps(part, extent, g.shape[axis])
            if between < 0:
                g = along(g, axis, END, -END, -1)
            low.append(before)
            high.append(after)
            interior.append(abs(between) - 1)
        return nd.pad(g, low=tuple(low), high=tuple(high), interior=tuple(interior) if any(interior) else None)

    def _gaps(self, part: slice, extent: int | None, count: int | None) -> tuple[int, int, int]:
        """How many elements lie before what was taken, how far it is from one to the next, how many come after."""
        if extent is not None and count is not None:
            start, _, step = part.indices(extent)
            if count == 0:
                return extent, 1, 0
            last = start + (count - 1) * step
            return min(start, last), step, extent - 1 - max(start, last)
        if part.step == 1 and part.start >= 0 and (part.stop < 0 or part.stop == END):
            return part.start, 1, max(0, -part.stop)
        raise unknown_shape(self, self.operands[0])

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, random_shape(rng), random_dtype(rng))
        start, stop = (tuple(int(rng.integers(-n - 1, n + 2)) for n in x.shape) for _ in range(2))
        step = tuple(int(rng.choice([1, 1, 2, -1])) for _ in x.shape)
        return [x], {"start": start, "stop": stop, "step": step if rng.random() < 0.7 else None}


def _slices(start: tuple[int, ...], stop: tuple[int, ...], step: tuple[int, ...] | None) -> list[slice]:
    return [slice(*bounds) for bounds in zip(start, stop, step or (1,) * len(start), strict=True)]


def _random_factors(rng: np.random.Generator, size: int) -> list[int]:
    """A random shape of `size` elements."""
    if size == 0:
        return [0, int(rng.integers(1, 4))]
    shape = []
    while size > 1 and rng.random() < 0.8:
        divisors = [n for n in range(1, size + 1) if size % n == 0]
        shape.append(int(rng.choice(divisors)))
        size //= shape[-1]
    return [*shape, size] if size > 1 or rng.random() < 0.5 else shape
