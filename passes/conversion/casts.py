"""Taking out casts that cancel."""

from __future__ import annotations

from collections.abc import Iterable

from dlir.ir.core import Operation, Value
from dlir.ir.dialects.builtin import UnrealizedConversionCast


def reconcile_unrealized_casts(root: Operation) -> int:
    """Remove the ``builtin.unrealized_conversion_cast`` ops inside `root` that cancel or are unused; returns how many."""
    return _reconcile([op for op in root.walk() if isinstance(op, UnrealizedConversionCast)])


def reconcile_casts(ops: Iterable[Operation]) -> int:
    """The same for the casts among `ops`, and those that use them."""
    casts = [op for op in ops if isinstance(op, UnrealizedConversionCast)]
    users = [user for op in casts for result in op.results for user in result.users]
    return _reconcile(list(dict.fromkeys([*casts, *(op for op in users if isinstance(op, UnrealizedConversionCast))])))


def _reconcile(casts: list[UnrealizedConversionCast]) -> int:
    for op in casts:
        values = _undone(op)
        if values is not None:
            for result, value in zip(op.results, values, strict=True):
                value.name = value.name or result.name
                result.replace_by(value)
    removed = 0
    # From the users to what they use, which stands before them but for blocks in an unusual order.
    while casts:
        op = casts.pop()
        if op.parent is not None and not op.is_used:
            casts += [
                source for value in op.operands if isinstance(source := value.defining_op, UnrealizedConversionCast)
            ]
            op.erase()
            removed += 1
    return removed


def _undone(op: Operation) -> tuple[Value, ...] | None:
    """What the results of a cast really are: its operands, or what these were before another cast; None if neither."""
    if op.operand_types == op.result_types:
        return op.operands
    source = op.operands[0].defining_op if op.operands else None
    if isinstance(source, UnrealizedConversionCast) and source.results == op.operands:
        if source.operand_types == op.result_types:
            return source.operands
    return None
