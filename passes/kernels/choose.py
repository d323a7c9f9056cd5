"""Choosing a schedule by a target's table."""

from __future__ import annotations

from dlir.ir.dialects.kernel import KernelRegion
from dlir.ir.errors import DlirError
from dlir.ir.traversal import clone
from dlir.passes.kernels.expand import expand_all
from dlir.passes.kernels.plan import Unfit
from dlir.passes.kernels.planner import plan_kernel
from dlir.passes.targets import find_target


def choose_schedule(
    region: KernelRegion, target: str, vector_bytes: int = 0, library: bool = False
) -> tuple[str, tuple[int, ...]]:
    """The schedule and tile of a region for a target; DlirError if it cannot be one kernel.

    `vector_bytes` is the size of a CPU's vector registers, 0 for that of this machine; `library` says whether a GPU has
    cuBLASLt.
    """
    copy = clone(region)
    try:
        expand_all(copy.body)
        plan = plan_kernel(copy.body.terminator.operands, lambda op: True)
        choose = find_target(target).choose
        return choose(plan, library) if target == "cuda" else choose(plan, vector_bytes)
    except Unfit as reason:
        raise DlirError(f"this region cannot be one kernel: {reason}", region.location) from None
    finally:
        copy.erase()
