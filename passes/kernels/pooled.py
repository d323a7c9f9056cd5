"""Convolutions whose result is pooled at once: what a block of rows gives stays in the cache, and is never stored.

The windows must not overlap, and each lies in one block: the block's lines are a multiple of the window's.  Reducing the
whole of an image is a window as large as the image.  Otherwise such a kernel is that of `direct.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dlir.ir.affine import AffineExpr, constant, delinearize
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Primitive
from dlir.ir.ops import arith, memref, vector
from dlir.ir.types import INDEX, MemRefType, VectorType
from dlir.passes.kernels.buffers import signless
from dlir.passes.kernels.classify import facts
from dlir.passes.kernels.demand import Demand, Index
from dlir.passes.kernels.direct import Direct, Item, Lines, dim_of_columns
from dlir.passes.kernels.direct_roles import DirectRoles, direct_roles
from dlir.passes.kernels.emit import UNROLLED, Context, accumulated_dtype, monoid_of
from dlir.passes.kernels.kernel import Kernel
from dlir.passes.kernels.monoids import combine
from dlir.passes.kernels.plan import Inside, Plan, Unfit, inverse_point, is_bijection, points
from dlir.passes.kernels.probe import Probe

#: Bytes of what is computed of a panel before it is pooled.
SLAB_BYTES = 128 << 10


@dataclass(frozen=True)
class Windows:
    """The windows of a pooling op: for each dimension of its operand the dimension of its result, None if that has none, and
    the extent of the window, 1 where nothing is pooled; `order` are those pooled, as the op counts them."""

    kept: tuple[int | None, ...]
    sizes: tuple[int, ...]
    order: tuple[int, ...]

    @property
    def pooled(self) -> tuple[int, ...]:
        return tuple(sorted(self.order))


def windows_of(op: Primitive) -> Windows:
    """The windows of an op that reduces; Unfit if they overlap or leave the operand."""
    space = facts(op).space
    rank = len(space.parallel)
    maps = [found for found in space.maps if found is not None]
    if len(maps) != 1 or space.guarded:
        raise Unfit(f"the windows of '{op.name}' leave its operand")
    kept: list[int | None] = []
    sizes: list[int] = []
    order = [0] * len(space.reduction)
    for axis, expr in enumerate(maps[0].exprs):
        used = expr.used_dims()
        inner = [n for n in used if n >= rank]
        outer = [n for n in used if n < rank]
        size = space.extents[inner[0]] if inner else 1
        whole = inner and not outer and size == op.operands[0].shape[axis]
        apart = len(outer) == 1 and expr.coefficient(outer[0]) == size
        if (
            len(inner) > 1
            or not (whole or apart or not used)
            or expr.constant
            or any(expr.coefficient(n) != 1 for n in inner)
        ):
            raise Unfit(f"the windows of '{op.name}' overlap")
        kept.append(outer[0] if outer else None)
        sizes.append(size)
        if inner:
            order[inner[0] - rank] = axis
    return Windows(tuple(kept), tuple(sizes), tuple(order))


def plan_pooled(plan: Plan, outputs: Sequence[Value], inside: Inside, anchor: Any, window: Any) -> Plan:
    """The plan for a contraction whose result `window` pools; `plan` is that of a loop over the results.  Unfit if some
    window is not inside of what a work item computes."""
    (loop,) = plan.loops
    staged = window.operands[0]
    demand = Demand(inside, staged.shape)
    demand.want(staged, points(staged.shape))
    if anchor not in demand.reductions or demand.reductions[anchor] != [points(anchor.results[0].shape)]:
        raise Unfit(f"'{window.name}' needs the whole result of '{anchor.name}' or is needed for it")
    if loop.demand.reductions.keys() != {anchor, window} or len(loop.demand.reductions[window]) != 1:
        raise Unfit(f"'{window.name}' would be computed more than once")
    if any(value is anchor.results[0] for value in outputs) or not is_bijection(
        loop.demand.reductions[window][0], loop.extents, window.results[0].shape
    ):
        raise Unfit(f"'{window.name}' would be computed more than once")
    pooled = replace(plan, form="pooled", anchor=anchor, window=window)
    _lines(direct_roles(pooled), windows_of(window), 1)
    return pooled


def _lines(roles: DirectRoles, windows: Windows, tile: int) -> Lines:
    """Lines whose blocks hold whole windows, for tiles of so many rows; Unfit if something else than rows is pooled."""
    starts = [sum(len(part) for part in roles.parts[:number]) for number in range(len(roles.parts))]
    pooled = windows.pooled
    rows = tuple(starts[axis] for axis in pooled)
    if not 1 <= len(rows) <= 2 or any(len(roles.parts[axis]) != 1 for axis in pooled):
        raise Unfit("only the lines and columns of images are pooled")
    if roles.rows[len(roles.rows) - len(rows) :] != rows:
        raise Unfit("what is pooled are not the last rows of the contraction")
    outer = roles.rows[: -len(rows)]
    if tile % roles.sizes(rows)[-1] == 0:
        return Lines(outer, rows, ())
    return Lines(outer, rows[:1], rows[1:])


def emit_pooled(kernel: Kernel) -> None:
    """One work item for each block of rows and group of panels."""
    roles = direct_roles(kernel.plan)
    rows, columns, lanes = kernel.tile
    if columns != roles.width or columns % lanes:
        raise Unfit(f"the columns of a tile must be those of a panel, {roles.width}, in whole vectors of {lanes} lanes")
    _Pooled(kernel, roles, rows, lanes).emit()


class _Pooled(Direct):
    """Emits one contraction with its pooling."""

    def __init__(self, kernel: Kernel, roles: DirectRoles, rows: int, lanes: int) -> None:
        self.window = kernel.plan.window
        self.windows = windows_of(self.window)
        super().__init__(kernel, roles, rows, lanes)

    def _lines(self, rows: int) -> Lines:
        lines = _lines(self.roles, self.windows, rows)
        #: Rows of a line, and of all lines of a window.
        self.width = self.roles.sizes((*lines.blocked, *lines.inner))[-1] if len(self.windows.order) > 1 else 1
        self.height = self.windows.sizes[self.windows.pooled[0]] * self.width
        return lines

    def _step(self) -> int:
        return self.height // self.width if self.lines.inner else math.lcm(self.height, self.rows)

    def make_item(self, outer: Mapping[int, AffineExpr], first: AffineExpr, top: AffineExpr) -> Item:
        return _PooledItem(self, outer, first, top)


class _PooledItem(Item):
    """Emits one work item: each panel is computed into scratch, and pooled from there."""

    owner: _Pooled

    def emit(self) -> None:
        owner = self.owner
        self.staged = owner.window.operands[0]
        #: Rows that one step of the blocked rows stands for.
        self.each = owner.line if owner.lines.inner else 1
        shape = (owner.block * self.each, owner.columns)
        self.slab = memref.alloca((), (), MemRefType(shape, signless(self.staged.dtype)), alignment=64)
        self.found = memref.alloca(
            (), (), MemRefType((owner.columns,), signless(accumulated_dtype(owner.window))), alignment=64
        )
        super().emit()

    def _walk_rows(self) -> None:
        super()._walk_rows()
        with self.emitter.buffers.loading(self.staged, self._load):
            self._pool()

    def _store(self, place: tuple[AffineExpr, AffineExpr], column: AffineExpr, point: Index, finished: Value) -> None:
        """Keep what is pooled in scratch."""
        emitter = self.emitter
        emitter.remember(self.owner.op.results[0], point, finished)
        found = emitter.element(self.staged, point)
        emitter.buffers.store(emitter, found, self.slab, (place[0] * self.each + place[1], column))

    def _load(self, index: Sequence[AffineExpr]) -> Value:
        """An element of what is pooled, which lies in scratch."""
        owner = self.owner
        start = owner.roles.index({**self._values(constant(0), constant(0)), owner.roles.column: constant(0)})
        axis = dim_of_columns(owner.roles)
        return self.emitter.buffers.load_memref(self.emitter, self.slab, (self._row(index), index[axis] - start[axis]))

    def _row(self, index: Sequence[AffineExpr]) -> AffineExpr:
        """The row of scratch in which an element of what is pooled lies."""
        first, *rest = self.owner.windows.pooled
        row = index[first] * self.owner.width - self.top * self.each
        return row + index[rest[0]] if rest else row

    # ------------------------------------------------------------ pooling

    def _pool(self) -> None:
        """Pool the windows of the block."""
        owner, emitter = self.owner, self.emitter
        across = math.prod(owner.windows.sizes[axis] for axis in owner.windows.pooled[1:])
        # Of the blocked rows, those of a window's lines.
        step = owner.height // self.each
        height = self.height
        lines = height // step if isinstance(height, int) else arith.divui(height, emitter.constant(step, INDEX))

        def window(line: AffineExpr, place: AffineExpr) -> None:
            start = place * across
            is_line = bool(owner.lines.inner)
            self._pool_window(self._values(line * step + (0 if is_line else start), start if is_line else constant(0)))

        emitter.parallel([lines, owner.width // across], window)

    def _pool_window(self, values: Mapping[int, AffineExpr]) -> None:
        """Pool the windows of all columns whose first element has these values."""
        owner, emitter, op = self.owner, self.emitter, self.owner.window
        column, span = owner.roles.column, self._span(values)
        if _is_plain(op):
            for number, vector_found in enumerate(self._pool_vectors(values)):
                vector.store(vector_found, self.found, [emitter.index(constant(number * owner.lanes))])
        else:
            emitter.parallel([span], lambda at: self._pool_column({**values, column: at}, at))

        def finish(at: AffineExpr) -> None:
            index = self._pooled({**values, column: at})
            total = emitter.buffers.load_memref(emitter, self.found, [at])
            self._store_pooled(index, op.finish(Context(emitter, op), total, index))

        emitter.parallel([span], finish)

    def _pool_vectors(self, values: Mapping[int, AffineExpr]) -> Sequence[Value]:
        """What the windows of all columns, those beyond the last included, give: one vector after another."""
        owner, emitter, op = self.owner, self.emitter, self.owner.window
        space, monoid, dtype = facts(op).space, monoid_of(op), accumulated_dtype(op)
        first = owner.roles.index({**values, owner.roles.column: constant(0)})
        windows = owner.windows
        type = VectorType((owner.lanes,), self.slab.dtype)

        def load(number: AffineExpr) -> list[Value]:
            place = list(first)
            for axis, expr in zip(windows.order, delinearize(number, space.reduction)):
                place[axis] = place[axis] + expr
            row = emitter.index(self._row(place))
            starts = [emitter.index(constant(at)) for at in range(0, owner.columns, owner.lanes)]
            return [vector.load(self.slab, [row, start], type) for start in starts]

        def add(number: AffineExpr, *sums: Value) -> list[Value]:
            return [combine(monoid, dtype, one, two) for one, two in zip(sums, load(number), strict=True)]

        count = math.prod(space.reduction)
        found: Sequence[Value] = load(constant(0))
        if count > UNROLLED:
            return emitter.serial(count, add, list(found), lower=1)
        for number in range(1, count):
            found = add(constant(number), *found)
        return found

    def _pool_column(self, values: Mapping[int, AffineExpr], at: AffineExpr) -> None:
        """Pool one window into scratch."""
        emitter, op = self.emitter, self.owner.window
        space, context = facts(op).space, Context(self.emitter, op)
        monoid, dtype = monoid_of(op), accumulated_dtype(op)
        index = self._pooled(values)

        def add(number: AffineExpr, total: Value) -> list[Value]:
            return [combine(monoid, dtype, total, op.element(context, index + delinearize(number, space.reduction)))]

        (found,) = emitter.serial(math.prod(space.reduction), add, [emitter.neutral(monoid, dtype)])
        emitter.buffers.store(emitter, found, self.found, [at])

    def _pooled(self, values: Mapping[int, AffineExpr]) -> Index:
        """The element of the pooling op's result for the window that begins at these values."""
        owner = self.owner
        windows, (result,) = owner.windows, owner.window.results
        found = [constant(0)] * result.rank
        for expr, axis, size in zip(owner.roles.index(values), windows.kept, windows.sizes):
            if axis is not None:
                found[axis] = self.emitter.bounded(expr // size, result.shape[axis])
        return tuple(found)

    def _store_pooled(self, index: Index, finished: Value) -> None:
        """Compute and store the kernel's results for an element of the pooling op's."""
        kernel, op = self.owner.kernel, self.owner.window
        (loop,) = kernel.plan.loops
        (wanted,) = loop.demand.reductions[op]
        point = inverse_point(wanted, loop.extents, op.results[0].shape, index)
        self.emitter.remember(op.results[0], tuple(expr.substitute(point) for expr in wanted), finished)
        kernel.store_outputs(loop, point)


def _is_plain(op: Primitive) -> bool:
    """Whether an op combines the elements of its operand as they are."""
    probe = Probe(op)
    return probe.result in probe.loaded and op.operands[0].dtype is accumulated_dtype(op)
