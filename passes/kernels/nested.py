"""Kernels that reduce all rows to one number, where each row takes reductions of its own: the mean loss of a batch.

There is one work item.  It goes over the rows in order, and adds what each gives to what is carried along.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dlir.ir.affine import AffineExpr, constant, delinearize
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Primitive
from dlir.passes.kernels.classify import facts
from dlir.passes.kernels.demand import Demand, Index
from dlir.passes.kernels.emit import Context, accumulated_dtype, monoid_of
from dlir.passes.kernels.kernel import Kernel
from dlir.passes.kernels.monoids import combine
from dlir.passes.kernels.plan import Inside, Loop, Plan, Unfit, points
from dlir.passes.kernels.row_planner import plan_rows
from dlir.passes.kernels.rows import Row


def plan_nested(outputs: Sequence[Value], inside: Inside) -> Plan:
    """The plan for outputs of one element that need one reduction of everything, which needs those of rows; Unfit if they
    do not."""
    if any(math.prod(value.shape) != 1 for value in outputs):
        raise Unfit("reductions of reductions give one number")
    loop = Loop((), Demand(inside, (), through_reductions=False))
    for number, value in enumerate(outputs):
        index = points(value.shape)
        loop.outputs.append((number, index))
        loop.demand.want(value, index)
    if len(loop.demand.reductions) != 1:
        raise Unfit("reductions over all rows are not one")
    ((anchor, indices),) = loop.demand.reductions.items()
    space = facts(anchor).space
    if len(indices) != 1 or len(anchor.operands) != 1 or _by_operand(anchor) is None or math.prod(space.parallel) != 1:
        raise Unfit(f"'{anchor.name}' does not reduce all of its operand")
    inner = plan_rows([anchor.operands[0]], inside)
    return Plan("nested", (), [loop], anchor=anchor, inner=inner)


def _by_operand(op: Primitive) -> list[int | None] | None:
    """For each dimension of the operand, the dimension of the space that counts it; None if they are mixed."""
    (affine,) = facts(op).space.maps
    if affine is None:
        return None
    found = [expr.dim for expr in affine.exprs]
    mixed = any(number is None and not expr.is_constant for number, expr in zip(found, affine.exprs))
    return None if mixed else found


def rows_in_order(plan: Plan) -> int:
    """How many elements the one work item of a nested plan goes over."""
    return math.prod(plan.anchor.operands[0].shape) if plan.form == "nested" else 0


def emit_nested(kernel: Kernel) -> None:
    """One work item for everything."""
    emitter, plan = kernel.emitter, kernel.plan
    op, inner = plan.anchor, plan.inner
    assert inner is not None
    monoid, dtype = monoid_of(op), accumulated_dtype(op)
    rows = Kernel(inner, [op.operands[0]], [], emitter)

    def row(number: AffineExpr, total: Value) -> list[Value]:
        term = _Term(rows, op, list(delinearize(number, inner.rows)))
        term.emit()
        return [combine(monoid, dtype, total, term.found)]

    def item(_: AffineExpr) -> None:
        (total,) = emitter.serial(math.prod(inner.rows), row, [emitter.neutral(monoid, dtype)])
        (loop,) = plan.loops
        ((index,),) = loop.demand.reductions.values()
        emitter.remember(op.results[0], index, op.finish(Context(emitter, op), total, index))
        kernel.store_outputs(loop, ())

    emitter.items(1, item)


class _Term(Row):
    """One row: what `op` combines of it is `found`."""

    def __init__(self, kernel: Kernel, op: Primitive, row: Sequence[AffineExpr]) -> None:
        super().__init__(kernel, row)
        self.op = op
        self.found: Value

    def _store(self, loop: Loop, keep: list[tuple[Value, Index]]) -> None:
        """Combine the elements of the row instead of storing them."""
        emitter, op = self.emitter, self.op
        grid = self._grid(loop)
        ((_, place),) = loop.outputs
        dims = _by_operand(op)
        assert dims is not None

        def element(*index: AffineExpr) -> list[Value]:
            columns = grid.expand(index, loop.extents)
            self._recall(loop, columns)
            point = [constant(0)] * len(facts(op).space.extents)
            for number, expr in zip(dims, self._at(place, columns)):
                if number is not None:
                    point[number] = expr
            return [op.element(Context(emitter, op), tuple(point))]

        reduced = [(monoid_of(op), accumulated_dtype(op))]
        (self.found,) = emitter.reduce(grid.extents, reduced, element) if grid.groups else element()
