"""Contractions: matmul and convolution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dlir.ir.affine import AffineExpr, AffineMap, constant, dim
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import ElementContext, Primitive, Space
from dlir.ir.dialects.nd.checks import fits, need_kind, need_rank, need_static, same_dtype
from dlir.ir.dialects.nd.conv_gradients import gradient_of_input, gradient_of_kernel
from dlir.ir.dialects.nd.gradients import folded_back, of_each, shaped
from dlir.ir.dialects.nd.guards import guarded_load
from dlir.ir.dialects.nd.operands import broadcast_shape, promote
from dlir.ir.dialects.nd.samples import random_array, random_dtype
from dlir.ir.dialects.nd.scalars import widen
from dlir.ir.dialects.nd.windows import Windows
from dlir.ir.op import InferError, Tensor
from dlir.ir.ops import arith, nd
from dlir.ir.types import Shape, is_float


class Contraction(Primitive):
    """Base of sums of products of two operands."""

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        return promote(groups)


class Matmul(Contraction, name="nd.matmul"):
    """Batched matrix product: [..., m, k] x [..., k, n] -> [..., m, n]; leading dimensions broadcast.

    ``transpose_a`` takes a as [..., k, m], ``transpose_b`` takes b as [..., n, k].  Integers wrap around; f16 and bf16
    are summed in f32 and rounded once; over k = 0 the result is 0.
    """

    @staticmethod
    def infer(a: Tensor, b: Tensor, *, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
        need_kind(same_dtype(a, b), "if")
        for name, type in (("a", a), ("b", b)):
            if type.rank < 2:
                raise InferError(f"needs matrices, but {name} is {type}", hint="add a dimension with nd.reshape")
        m, k = _rows_columns(a, transpose_a)
        other_k, n = _rows_columns(b, transpose_b)
        if not fits(k, other_k):
            raise InferError(f"cannot multiply {a} by {b}: {k} columns do not meet {other_k} rows")
        return a.with_shape((*broadcast_shape([a.shape[:-2], b.shape[:-2]], "batch shapes"), m, n))

    @staticmethod
    def eval(a: Any, b: Any, *, transpose_a: bool = False, transpose_b: bool = False) -> Any:
        a, b = a.swapaxes(-1, -2) if transpose_a else a, b.swapaxes(-1, -2) if transpose_b else b
        return np.matmul(_wide(a), _wide(b)).astype(a.dtype)

    def space(self) -> Space:
        a, b = self.operands
        result = self.results[0].shape
        batch = len(result) - 2
        _, k = _rows_columns(a.type, self["transpose_a"])
        m, n, inner = dim(batch), dim(batch + 1), dim(batch + 2)
        ends = [(inner, m) if self["transpose_a"] else (m, inner), (n, inner) if self["transpose_b"] else (inner, n)]
        maps = []
        for operand, end in zip((a, b), ends):
            leading = operand.shape[:-2]
            first = batch - len(leading)
            batches = (constant(0) if extent == 1 else dim(first + axis) for axis, extent in enumerate(leading))
            maps.append(AffineMap(batch + 3, (*batches, *end)))
        return Space(result, (k,), tuple(maps), "add")  # type: ignore[arg-type]

    def element(self, ctx: ElementContext, index: Sequence[AffineExpr]) -> Value:
        maps = self.space().maps
        return multiply(*(ctx.load(i, read.apply(index)) for i, read in enumerate(maps) if read is not None))

    @of_each
    def vjp(self, g: Value, needs: Sequence[bool]) -> list[Value | None]:
        (a, b), turn_a, turn_b = self.operands, self["transpose_a"], self["transpose_b"]
        left = right = None
        if needs[0]:
            found = _product(b, g, turn_b, True) if turn_a else _product(g, b, False, not turn_b)
            left = folded_back(found, a)
        if needs[1] and b.rank == 2 and a.rank > 2 and not turn_a and a.shape[:-2].count(None) <= 1:
            # The rows of all matrices as those of one: no sum over matrices is left.
            a, g = (shaped(value, (_together(value.shape[:-1]), value.shape[-1])) for value in (a, g))
            right = _product(g, a, True, False) if turn_b else _product(a, g, True, False)
        elif needs[1]:
            found = _product(g, a, True, turn_a) if turn_b else _product(a, g, not turn_a, False)
            right = folded_back(found, b)
        return [left, right]

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        m, k, n = (int(size) for size in rng.choice([0, 1, 2, 3, 5], 3))
        flags = {"transpose_a": bool(rng.integers(2)), "transpose_b": bool(rng.integers(2))}
        batches = [((), ()), ((2,), ()), ((), (3,)), ((2, 1), (3,)), ((0,), (1,))]
        left, right = batches[int(rng.integers(len(batches)))]
        dtype = random_dtype(rng, "if")
        a = random_array(rng, (*left, *((k, m) if flags["transpose_a"] else (m, k))), dtype)
        b = random_array(rng, (*right, *((n, k) if flags["transpose_b"] else (k, n))), dtype)
        return [a, b], flags


class Conv(Contraction, name="nd.conv"):
    """Convolution without flipping: x [N, C, *spatial] and w [O, C/groups, *kernel] -> [N, O, *out].

    out = (extent + padding before and after - dilation * (kernel - 1) - 1) // stride + 1 in each spatial dimension.
    `stride` and `dilation` default to ones.  `padding` (with zeros; none by default) has one integer for each spatial
    dimension, or two: all of those before, then all of those after.  f16 and bf16 are summed in f32 and rounded once.
    """

    @staticmethod
    def infer(
        x: Tensor,
        w: Tensor,
        *,
        stride: tuple[int, ...] | None = None,
        padding: tuple[int, ...] | None = None,
        dilation: tuple[int, ...] | None = None,
        groups: int = 1,
    ) -> Tensor:
        need_kind(same_dtype(x, w), "f")
        if x.rank < 3:
            raise InferError(f"needs x of rank 3 or more (batch, channels, spatial dimensions), got {x}")
        need_rank("w", w, x.rank, "output channels, channels in a group, kernel")
        outputs, channels, *kernel = need_static("w", w)
        if groups < 1 or outputs % groups:
            raise InferError(f"the {outputs} output channels of {w} cannot be split into {groups} groups")
        if not fits(x.shape[1], channels * groups):
            inside = f" in {groups} groups" if groups > 1 else ""
            raise InferError(f"x {x} has {x.shape[1]} channels, but w {w}{inside} takes {channels * groups}")
        windows = Windows.of(kernel, stride, padding, dilation)
        return x.with_shape((x.shape[0], outputs, *windows.result_shape(x.shape[2:])))

    @staticmethod
    def eval(x: Any, w: Any, *, stride: Any = None, padding: Any = None, dilation: Any = None, groups: int = 1) -> Any:
        windows = Windows.of(w.shape[2:], stride, padding, dilation).view(_wide(x), 0.0)
        batch, channels, *rest = windows.shape
        out = rest[: w.ndim - 2]
        # [N, groups, C/groups, *out, *kernel] against [groups, O/groups, C/groups, *kernel], one group at a time.
        windows = windows.reshape(batch, groups, channels // groups, *rest)
        weights = _wide(w).reshape(groups, w.shape[0] // groups, *w.shape[1:])
        kernel_axes = tuple(range(2 + len(out), 2 + 2 * len(out)))
        summed = ((1, *kernel_axes), tuple(range(1, w.ndim)))
        parts = [np.tensordot(windows[:, g], weights[g], summed) for g in range(groups)]
        return np.moveaxis(np.concatenate(parts, -1), -1, 1).astype(x.dtype)

    def space(self) -> Space:
        x, w = self.operands
        outputs, channels, *kernel = w.shape
        rank = len(kernel)
        windows = self._windows()
        first = 2 + rank
        group_start = dim(1, outputs) // (outputs // self["groups"]) * channels if outputs else constant(0)
        positions = windows.positions([dim(2 + i) for i in range(rank)], [dim(first + 1 + i) for i in range(rank)])
        read_x = AffineMap(first + 1 + rank, (dim(0), group_start + dim(first, channels), *positions))
        read_w = AffineMap(first + 1 + rank, (dim(1), dim(first), *(dim(first + 1 + i) for i in range(rank))))
        result = self.results[0].shape
        guarded = any(below or above for below, above in windows.may_leave(x.shape[2:], result[2:]))
        return Space(result, (channels, *kernel), (read_x, read_w), "add", guarded)

    def element(self, ctx: ElementContext, index: Sequence[AffineExpr]) -> Value:
        x, result = self.operands[0], self.results[0]
        read_x, read_w = self.space().maps
        assert read_x is not None and read_w is not None
        may_leave = [(False, False)] * 2 + self._windows().may_leave(x.shape[2:], result.shape[2:])
        zero = ctx.constant(0.0, x.dtype)
        value = guarded_load(ctx, 0, read_x.apply(index), x.shape, may_leave, zero)
        return multiply(value, ctx.load(1, read_w.apply(index)))

    def _windows(self) -> Windows:
        return Windows.of(self.operands[1].shape[2:], self["stride"], self["padding"], self["dilation"])

    @of_each
    def vjp(self, g: Value, needs: Sequence[bool]) -> list[Value | None]:
        """Two convolutions: of the cotangent with the turned kernel, and of the input with the cotangent."""
        windows = self._windows()
        x = gradient_of_input(self, g, windows) if needs[0] else None
        return [x, gradient_of_kernel(self, g, windows) if needs[1] else None]

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        rank = int(rng.choice([1, 2, 2, 3]))
        kernel = [int(n) for n in rng.integers(1, 4, rank)]
        dilation = tuple(int(n) for n in rng.integers(1, 3, rank))
        padding = tuple(int(n) for n in rng.integers(0, 3, rank * int(rng.integers(1, 3))))
        groups = int(rng.integers(1, 3))
        channels, outputs = int(rng.integers(1, 3)), int(rng.integers(1, 3)) * groups
        spatial = [d * (k - 1) + int(rng.integers(1, 4)) for d, k in zip(dilation, kernel)]
        dtype = random_dtype(rng, "f")
        x = random_array(rng, (int(rng.integers(0, 3)), channels * groups, *spatial), dtype)
        w = random_array(rng, (outputs, channels, *kernel), dtype)
        stride = tuple(int(n) for n in rng.integers(1, 3, rank))
        return [x, w], {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def _product(a: Value, b: Value, transpose_a: bool, transpose_b: bool) -> Value:
    return nd.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)


def _together(shape: Shape) -> int | None:
    """How many elements an array of this shape has."""
    return None if None in shape else math.prod(extent for extent in shape if extent is not None)


def multiply(a: Value, b: Value) -> Value:
    """The product of two scalars in the type in which sums are made."""
    a, b = widen(a), widen(b)
    return arith.mulf(a, b) if is_float(a.type) else arith.muli(a, b)


def _rows_columns(type: Tensor, transposed: bool) -> tuple[int | None, int | None]:
    rows, columns = type.shape[-2:]
    return (columns, rows) if transposed else (rows, columns)


def _wide(x: Any) -> Any:
    """f16 and bf16 as f32."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind not in "iu" else x
