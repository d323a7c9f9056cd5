"""NVIDIA GPUs."""

from __future__ import annotations

from dlir.passes.kernels import attention_cuda
from dlir.passes.kernels.choose_cuda import MULTIPROCESSORS, POINTWISE_BLOCK
from dlir.passes.kernels.contraction_cuda import tile_for
from dlir.passes.kernels.cublaslt import check_cublaslt, is_cublaslts
from dlir.passes.kernels.mma_cuda import mma_tile_for, suits_tensor_cores
from dlir.passes.kernels.parts import SEPARATOR
from dlir.passes.kernels.plan import Plan, Unfit
from dlir.passes.kernels.roles import roles_of
from dlir.passes.kernels.scatter import tile_on_cuda
from dlir.passes.targets.nvidia_libraries import find_library


def uses_cublaslt(option: str) -> bool:
    """Whether large products are cuBLASLt's: "on", "off", or "auto" for whether it is installed here."""
    return option == "on" or (option == "auto" and find_library("cublasLt") is not None)


def check(plan: Plan, library: bool = False) -> None:
    """Unfit for a kernel that is slower than several would be; with cuBLASLt (`library`) large products are that's."""
    if plan.after is not None:
        raise Unfit(
            "what is reduced over all rows would wait for all of a GPU's blocks, and only a launch waits for those"
        )
    if library:
        check_cublaslt(plan)


def choose(plan: Plan, library: bool = False) -> tuple[str, tuple[int, ...]]:
    """The schedule and tile for a kernel; large products are cuBLASLt's if there is that `library`."""
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
    if library and is_cublaslts(plan):
        return "cublaslt", ()
    roles = roles_of(plan, lambda op: True) if plan.form == "contraction" else None
    if roles is not None and plan.anchor is not None and suits_tensor_cores(plan.anchor):
        tile = mma_tile_for(roles, MULTIPROCESSORS)
        return ("mma-tile", tile) if tile else ("element", ())
    tile = tile_for(roles, MULTIPROCESSORS) if roles is not None else ()
    return ("block-tile", tile) if tile else ("element", ())
