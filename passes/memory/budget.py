"""Whether a plan fits: into a budget that the user sets, or into the memory that there is."""

from __future__ import annotations

from dlir.ir.dialects.func import Func
from dlir.ir.errors import DlirError
from dlir.passes.memory.placement import largest
from dlir.passes.memory.report import needed_bytes


def check_budget(function: Func, budget: int) -> None:
    """DlirError if a call of `function`, which is over buffers, needs more than `budget` bytes."""
    needed, least = needed_bytes(function)
    if needed <= budget:
        return
    if least > budget:
        message = (
            f"'@{function.symbol}' needs at least {least:,} bytes, {least - budget:,} over the budget of {budget:,}"
        )
        hint = f"plan-memory{{budget={least}}} is the least that can do; its largest values are {largest(function)}"
    else:
        message = f"the best plan found for '@{function.symbol}' needs {needed:,} bytes; the budget is {budget:,}"
        hint = f"the lower bound is {least:,}: raise plan-memory's effort; the largest values are {largest(function)}"
    raise DlirError(message, function.location, hint=hint)


def check_device(function: Func, available: int, device: str) -> None:
    """DlirError if a call of `function`, which is over buffers, needs more than the `available` bytes of the device."""
    needed, _ = needed_bytes(function)
    if needed > available:
        missing = f"{needed - available:,} bytes are missing"
        raise DlirError(
            f"'@{function.symbol}' needs {needed:,} bytes, but {device} has {available:,}: {missing}",
            function.location,
            hint=f"its largest values are {largest(function)}",
        )
