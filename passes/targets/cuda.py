"""NVIDIA GPUs."""

from __future__ import annotations

from dlir.passes.kernels import attention_cuda
from dlir.passes.kernels.choose_cuda import MULTIPROCESSORS, POINTWISE_BLOCK
from dlir.passes.kernels.contraction_cuda import tile_for
from dlir.passes.kernels.mma_cuda import mma_tile_for, suits_tensor_cores
from dlir.passes.kernels.parts import SEPARATOR
from dlir.passes.kernels.plan import Plan, Unfit
from dlir.passes.kernels.roles import roles_of
from dlir.passes.kernels.scatter import tile_on_cuda


def suits(plan: Plan) -> bool:
    """Whether one kernel is no slower than several: only launches make blocks wait for what the others reduce."""
    return plan.after is None


def choose(plan: Plan) -> tuple[str, tuple[int, ...]]:
    """The schedule and tile for a kernel."""
    if plan.form == "parts":
        if any(part.form != "flat" for _, part in plan.parts):
            raise Unfit("only pointwise parts can share a GPU's threads")
        return SEPARATOR.join(part.form for _, part in plan.parts), ()
    if plan.form in ("row", "flat", "scan"):
        return plan.form, ()
    if plan.form == "scatter":
        return "scatter-element", tile_on_cuda(plan, MULTIPROCESSORS * POINTWISE_BLOCK)
    if plan.form == "attention":
        return "attention-blocks", attention_cuda.tile_for(plan)
    roles = roles_of(plan, lambda op: True) if plan.form == "contraction" else None
    if roles is not None and plan.anchor is not None and suits_tensor_cores(plan.anchor):
        tile = mma_tile_for(roles, MULTIPROCESSORS)
        return ("mma-tile", tile) if tile else ("element", ())
    tile = tile_for(roles, MULTIPROCESSORS) if roles is not None else ()
    return ("block-tile", tile) if tile else ("element", ())
