"""NVIDIA GPUs."""

from __future__ import annotations

from dlir.passes.kernels.plan import Plan


def choose(plan: Plan) -> tuple[str, tuple[int, ...]]:
    """The schedule and tile for a kernel."""
    if plan.form == "row":
        return "row", ()
    return "flat", ()
