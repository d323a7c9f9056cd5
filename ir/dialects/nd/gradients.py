"""What the gradient rules of ``nd`` ops share.

A rule is an op's method ``vjp`` (see :class:`dlir.ir.op.Op`); it is made of differentiable ops, so that gradients have
gradients.  Here are the two shapes that it mostly has, as decorators, and the ways back from a reduction, a broadcast
and a choice among equals.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from dlir.ir.core import Value
from dlir.ir.errors import DlirError
from dlir.ir.op import Op
from dlir.ir.ops import nd
from dlir.ir.types import I32, Shape

#: What `vjp` is: (op, cotangents, needs) -> one cotangent, or None for zero, for each operand.
Rule = Callable[[Any, Sequence[Value | None], Sequence[bool]], Sequence[Value | None]]

#: As a bound of ``nd.slice``: to the end.
END = sys.maxsize


def of_first(rule: Callable[[Any, Value], Value | None]) -> Rule:
    """The rule of an op with one result of which only the first operand has a gradient: ``rule(op, g)`` makes that."""

    def vjp(op: Any, cotangents: Sequence[Value | None], needs: Sequence[bool]) -> Sequence[Value | None]:
        (g,) = cotangents
        assert g is not None, "a rule is asked for something"
        rest = [None] * (len(op.operands) - 1)
        return [rule(op, g) if needs[0] else None, *rest]

    vjp.__doc__ = rule.__doc__
    return vjp


def of_each(rule: Callable[[Any, Value, Sequence[bool]], Sequence[Value | None]]) -> Rule:
    """The rule of an op with one result: ``rule(op, g, needs)`` makes the gradients that are needed."""

    def vjp(op: Any, cotangents: Sequence[Value | None], needs: Sequence[bool]) -> Sequence[Value | None]:
        (g,) = cotangents
        assert g is not None, "a rule is asked for something"
        return rule(op, g, needs)

    vjp.__doc__ = rule.__doc__
    return vjp


def static_shape(op: Op, value: Value) -> tuple[int, ...]:
    """The shape of `value`; DlirError if a dimension on which the gradient of `op` turns is not known."""
    if None in value.shape:
        raise unknown_shape(op, value)
    return value.shape


def unknown_shape(op: Op, value: Value) -> DlirError:
    """The error for a gradient of `op` that turns on a dimension of `value` which is not known."""
    message = f"the gradient of '{op.name}' needs to know the shape of {value.type}"
    return DlirError(message, op.location, hint="bind dynamic dimensions first (bind-shapes)")


def extents(value: Value) -> tuple[int, ...]:
    """The shape as an attribute: -1 for a dimension that is known at run time."""
    return _extents(value.shape)


def _extents(shape: Shape) -> tuple[int, ...]:
    return tuple(-1 if extent is None else extent for extent in shape)


def shaped(value: Value, shape: Shape) -> Value:
    """`value` in another shape of as many elements, of which at most one extent is known only at run time."""
    return value if value.shape == shape else nd.reshape(value, shape=_extents(shape))


def along(value: Value, axis: int, start: int, stop: int = END, step: int = 1) -> Value:
    """``value[..., start:stop:step, ...]`` along one axis (counted from the front)."""
    starts, stops, steps = [0] * value.rank, [END] * value.rank, [1] * value.rank
    starts[axis], stops[axis], steps[axis] = start, stop, step
    return nd.slice(value, start=tuple(starts), stop=tuple(stops), step=None if step == 1 else tuple(steps))


def spread(value: Value, like: Value, axes: Sequence[int]) -> Value:
    """`value`, of the shape that a reduction of `like` over `axes` has, with or without these, repeated along them."""
    if None not in [like.shape[axis] for axis in axes]:
        return repeated(value, like.shape, axes)
    if value.rank < like.rank:
        kept = tuple(1 if axis in axes else extent for axis, extent in enumerate(like.shape))
        value = repeated(value, kept, axes)
    return nd.broadcast_to(value, like, shape=extents(like))


def repeated(value: Value, shape: Shape, axes: Sequence[int]) -> Value:
    """`value`, of the shape that is left of `shape` without `axes`, or with 1 there, repeated along them.

    What is known only at run time are dimensions of `value`.
    """
    if value.rank < len(shape) and tuple(axes) != tuple(range(len(axes))):
        kept = tuple(1 if axis in axes else extent for axis, extent in enumerate(shape))
        if kept.count(None) > 1:
            # No reshape can tell them apart: the new dimensions come first, and are then moved.
            order = [*axes, *(axis for axis in range(len(shape)) if axis not in axes)]
            value = nd.broadcast_to(value, shape=_extents(tuple(shape[axis] for axis in order)))
            return nd.transpose(value, perm=tuple(order.index(axis) for axis in range(len(shape))))
        value = shaped(value, kept)
    if value.shape == shape:
        return value
    return nd.broadcast_to(value, shape=_extents(shape))


def folded_back(g: Value, x: Value) -> Value:
    """The sum of `g` over the dimensions along which `x` was repeated, NumPy's rule, to its shape: in the shape of `x`."""
    first = g.rank - x.rank
    added = tuple(range(first))
    repeated = tuple(first + n for n, extent in enumerate(x.shape) if extent == 1 and g.shape[first + n] != 1)
    if not added and not repeated:
        return g
    if not repeated:
        return nd.sum(g, axes=added)
    if added and x.shape.count(None) <= 1:
        return shaped(nd.sum(g, axes=(*added, *repeated)), x.shape)
    g = nd.sum(g, axes=added) if added else g
    return nd.sum(g, axes=tuple(axis - first for axis in repeated), keepdims=True)


def first_equal(x: Value, wanted: Value, axes: tuple[int, ...]) -> Value:
    """Whether an element of `x` is the first along `axes`, in row-major order, that equals the one of `wanted`.

    The extents of these axes are static; `wanted` has the shape of `x`.
    """
    place: Value | None = None
    count = 1
    for axis in reversed(axes):
        index = nd.iota(x if None in x.shape else None, shape=extents(x), axis=axis, dtype=I32)
        place = index if place is None else nd.add(nd.mul(index, count), place)
        count *= x.shape[axis]
    assert place is not None, "there is an axis"
    first = nd.min(nd.select(nd.equal(x, wanted), place, count), axes=axes, keepdims=True)
    return nd.equal(place, spread(first, x, axes))


def products_of_others(x: Value, g: Value) -> Value:
    """For each element along the last axis of `x` the product of all others, times `g`, which lacks that axis.

    Products of pairs, and of their pairs, on the way down; back up, each half times its other: no division, so that
    zeros need no care, and in all about 3 products for an element.
    """
    axis, count = x.rank - 1, x.shape[-1]
    if count <= 1:
        return x if count == 0 else nd.reshape(g, shape=extents(x))
    if count % 2:
        ones = tuple(int(other == axis) for other in range(x.rank))
        return along(products_of_others(nd.pad(x, low=(0,) * x.rank, high=ones, value=1.0), g), axis, 0, count)
    left, right = along(x, axis, 0, count // 2), along(x, axis, count // 2)
    rest = products_of_others(nd.mul(left, right), g)
    return nd.concat(nd.mul(rest, right), nd.mul(rest, left), axis=axis)
