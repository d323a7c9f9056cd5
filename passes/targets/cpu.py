"""CPUs."""

from __future__ import annotations

from dlir.passes.kernels.plan import Plan

#: Elements of one row of a pointwise kernel that make a work item of their own, so that few long rows can be shared.
POINTWISE_BLOCK = 8192


def choose(plan: Plan) -> tuple[str, tuple[int, ...]]:
    """The schedule and tile for a kernel."""
    if plan.form == "row":
        return "row", ()
    if plan.form == "flat":
        return "nest", ()
    return "nest", ()
