"""Reading at indices that may lie outside of an operand (padding, windows, concatenation)."""

from __future__ import annotations

from collections.abc import Sequence

from dlir.ir.affine import AffineExpr, constant, symbol
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import ElementContext
from dlir.ir.ops import arith
from dlir.ir.types import INDEX


def guarded_load(
    ctx: ElementContext,
    operand: int,
    index: Sequence[AffineExpr],
    shape: Sequence[int],
    may_leave: Sequence[tuple[bool, bool]],
    outside: Value,
) -> Value:
    """The element of `operand` at `index`, or `outside` where that is not in `shape`.

    ``may_leave[i]`` says whether index i can be below 0 and whether it can be beyond the end.  The load itself is
    always made, at the nearest index inside, so that no branch is needed.
    """
    if 0 in shape:
        return outside
    inside: Value | None = None
    for expr, extent, (below, above) in zip(index, shape, may_leave, strict=True):
        checks = [arith.cmpi("sge", ctx.index(expr), 0)] if below else []
        checks += [arith.cmpi("slt", ctx.index(expr), extent)] if above else []
        for check in checks:
            inside = check if inside is None else arith.andi(inside, check)
    loaded = clamped_load(ctx, operand, index, shape, may_leave)
    return loaded if inside is None else arith.select(inside, loaded, outside)


def clamped_load(
    ctx: ElementContext,
    operand: int,
    index: Sequence[AffineExpr],
    shape: Sequence[int],
    may_leave: Sequence[tuple[bool, bool]],
) -> Value:
    """The element of `operand` at the index inside of `shape`, of which no extent is 0, that is nearest to `index`."""
    clamped: list[AffineExpr] = []
    for expr, extent, (below, above) in zip(index, shape, may_leave, strict=True):
        if not below and not above:
            clamped.append(expr)
        elif extent == 1:
            clamped.append(constant(0))
        else:
            value = ctx.index(expr)
            value = arith.maxsi(value, ctx.constant(0, INDEX)) if below else value
            value = arith.minsi(value, ctx.constant(extent - 1, INDEX)) if above else value
            clamped.append(symbol(value, extent))
    return ctx.load(operand, clamped)
