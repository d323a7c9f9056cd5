"""Packing the panel of a contraction's right operand: its columns side by side, one line for each product of the sum.

What lies outside of the operand (the padding of a convolution) is zero.  Where the place in the operand moves evenly with
the column, the columns that lie inside are one range, which is copied without asking for each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dlir.ir.affine import AffineExpr, constant, dim
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Primitive
from dlir.ir.dialects.nd.scalars import widen
from dlir.ir.ops import arith
from dlir.ir.types import INDEX
from dlir.passes.kernels.classify import facts
from dlir.passes.kernels.demand import Index
from dlir.passes.kernels.emit import Emitter
from dlir.passes.kernels.product import factor, may_leave
from dlir.passes.kernels.roles import Roles, is_transposed, split

#: Products in a run: a cache line of the smallest factors that are common.
RUN = 16


@dataclass(frozen=True)
class Panel:
    """The columns from `start` on of the bands from `band` on; `bands` and `span` say how many of each there are.

    ``buffer[k, b * width + c]`` is where column c of band b of product k goes.
    """

    emitter: Emitter
    op: Primitive
    roles: Roles
    outer: Sequence[AffineExpr]
    band: AffineExpr
    start: AffineExpr
    bands: int | Value
    span: int | Value
    buffer: Value

    @property
    def width(self) -> int:
        """The columns of a whole band."""
        return self.roles.size(self.roles.columns)

    def pack(self, first: AffineExpr, depth: int | Value) -> None:
        """Copy what `depth` products need, from number `first` on."""
        op, right = self.op, self.roles.right
        if self.bands == 1 and is_transposed(op, self.roles):
            self._pack_transposed(first, depth)
            return
        evenly = may_leave(op, right) and self._steps(self._place(dim(0), constant(0), constant(0))) is not None

        def line(k: AffineExpr) -> None:
            if evenly:
                self._each_band(lambda band: self._pack_range(k, first + k, band))
            else:
                self._each_band(lambda band: self._pack_each(k, first + k, band))
            self._clear_rest(k)

        self.emitter.parallel([depth], line)

    def _pack_transposed(self, first: AffineExpr, depth: int | Value) -> None:
        """Copy a run of products at a time, column by column."""
        emitter = self.emitter

        def run(start: AffineExpr) -> None:
            count: int | Value = RUN
            if isinstance(depth, Value) or depth % RUN:
                end = depth if isinstance(depth, Value) else emitter.constant(depth, INDEX)
                count = arith.minsi(arith.subi(end, emitter.index(start)), emitter.constant(RUN, INDEX))

            def element(at: AffineExpr, i: AffineExpr) -> None:
                index = self._index(
                    self._below(self.start + at, self.width), self._band(constant(0)), self._product(first + start + i)
                )
                self._store(factor(emitter, self.op, self.roles.right, index), start + i, constant(0), at)

            emitter.parallel([self.span, count], element)

        emitter.serial(depth, run, step=RUN)
        if self.span != self.buffer.shape[1]:
            emitter.parallel([depth], self._clear_rest)

    def _each_band(self, body: Callable[[AffineExpr], None]) -> None:
        if self.bands == 1:
            body(constant(0))
        else:
            self.emitter.parallel([self.bands], body)

    # ------------------------------------------------------------ one band of one line

    def _pack_each(self, k: AffineExpr, product: AffineExpr, band: AffineExpr) -> None:
        """Copy element by element."""
        emitter = self.emitter

        def column(at: AffineExpr) -> None:
            place = self._below(self.start + at, self.width)
            index = self._index(place, self._band(band), self._product(product))
            self._store(factor(emitter, self.op, self.roles.right, index), k, band, at)

        emitter.parallel([self.span], column)

    def _pack_range(self, k: AffineExpr, product: AffineExpr, band: AffineExpr) -> None:
        """Set everything to zero, and copy the columns that lie inside of the operand."""
        emitter = self.emitter
        band_index, number = self._band(band), self._product(product)
        place = self._place(self.start + dim(0), band_index, number)
        zero = emitter.constant(0, self.buffer.dtype)
        emitter.parallel([self.span], lambda at: self._store(zero, k, band, at))
        low, high = self._inside(place)

        def column(at: AffineExpr) -> None:
            found = tuple(expr.substitute([at]) for expr in place)
            self._store(widen(emitter.element(self.op.operands[self.roles.right], found)), k, band, at)

        emitter.between(low, high, column)

    def _inside(self, place: Index) -> tuple[Value, Value]:
        """The range of columns for which `place`, over the column as dimension 0, is inside of the operand."""
        emitter = self.emitter
        shape = self.op.operands[self.roles.right].shape
        steps = self._steps(place)
        assert steps is not None
        low = emitter.constant(0, INDEX)
        high = self.span if isinstance(self.span, Value) else emitter.constant(self.span, INDEX)
        for expr, step, extent in zip(place, steps, shape):
            rest = expr.substitute([constant(0)])
            least, most = rest.bounds
            if step:
                # 0 <= step * column + rest < extent, rounded to whole columns.
                low = arith.maxsi(low, emitter.index(-(rest // step)))
                high = arith.minsi(high, emitter.index(-((rest - extent) // step)))
            elif least is None or most is None or least < 0 or most >= extent:
                value, end = emitter.index(rest), emitter.constant(extent, INDEX)
                # As unsigned numbers, the negative ones are the largest.
                high = arith.select(arith.cmpi("ult", value, end), high, emitter.constant(0, INDEX))
        return low, high

    def _clear_rest(self, k: AffineExpr) -> None:
        """Set the columns of a line that no band fills to zero."""
        emitter, columns = self.emitter, self.buffer.shape[1]
        if isinstance(self.bands, int) and isinstance(self.span, int):
            used = self.bands * self.span
            if used == columns:
                return
            filled = emitter.constant(used, INDEX)
        elif isinstance(self.span, int):
            filled = arith.muli(self.bands, self.width)
        else:
            filled = self.span
        zero = emitter.constant(0, self.buffer.dtype)
        end = emitter.constant(columns, INDEX)
        emitter.between(filled, end, lambda at: emitter.buffers.store(emitter, zero, self.buffer, (k, at)))

    # ------------------------------------------------------------ places

    def _store(self, scalar: Value, k: AffineExpr, band: AffineExpr, column: AffineExpr) -> None:
        self.emitter.buffers.store(self.emitter, scalar, self.buffer, (k, band * self.width + column))

    def _band(self, band: AffineExpr) -> AffineExpr:
        return self._below(self.band + band, self.roles.size(self.roles.bands))

    def _product(self, number: AffineExpr) -> AffineExpr:
        return self._below(number, self.roles.depth)

    def _below(self, expr: AffineExpr, extent: int) -> AffineExpr:
        return self.emitter.bounded(expr, extent)

    def _index(self, column: AffineExpr, band: AffineExpr, product: AffineExpr) -> Index:
        """The point of the contraction's space."""
        point = self.roles.point(self.outer, constant(0), band, column)
        return point + split(product, self.roles.reduction)

    def _place(self, column: AffineExpr, band: AffineExpr, product: AffineExpr) -> Index:
        """Where in the operand that is."""
        found = facts(self.op).space.maps[self.roles.right]
        assert found is not None
        return found.apply(self._index(column, band, product))

    def _steps(self, place: Index) -> list[int] | None:
        """How far each index in the operand moves with the column, dimension 0; None if it does not move evenly forward."""
        steps = []
        for expr in place:
            step = expr.coefficient(0)
            if 0 in (expr - dim(0) * step).used_dims() or step < 0:
                return None
            steps.append(step)
        return steps if any(steps) else None
