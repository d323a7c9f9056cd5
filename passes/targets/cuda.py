"""NVIDIA GPUs."""

from __future__ import annotations

from dlir.passes.kernels.choose_cuda import MULTIPROCESSORS
from dlir.passes.kernels.contraction_cuda import tile_for
from dlir.passes.kernels.plan import Plan
from dlir.passes.kernels.roles import roles_of

#: Queries and keys of the tile of an attention: 16 kB of shared memory for heads of 64 features.
ATTENTION_TILE = (16, 32)


def choose(plan: Plan) -> tuple[str, tuple[int, ...]]:
    """The schedule and tile for a kernel."""
    if plan.form in ("row", "flat", "scan"):
        return plan.form, ()
    if plan.form == "attention":
        return "attention-blocks", ATTENTION_TILE
    roles = roles_of(plan, lambda op: True) if plan.form == "contraction" else None
    tile = tile_for(roles, MULTIPROCESSORS) if roles is not None else ()
    return ("block-tile", tile) if tile else ("element", ())
