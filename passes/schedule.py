"""The ``schedule`` pass."""

from __future__ import annotations

from dataclasses import dataclass

from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.kernel import KernelRegion
from dlir.ir.errors import DlirError
from dlir.passes.kernels.choose import choose_schedule
from dlir.passes.kernels.plan import Unfit
from dlir.passes.kernels.schedules import check_target
from dlir.passes.manager import Pass, option
from dlir.passes.targets import cpu, find_target


@dataclass
class Schedule(Pass, name="schedule"):
    """Choose how each kernel iterates on a target: its `schedule` and `tile`.  What the text states stays."""

    target: str = option("cpu", "the machine to choose for", choices=("cpu", "cuda"))
    vector_bytes: int = option(0, "bytes of a CPU's vector registers: 16, 32 or 64; 0: as on this machine", least=0)
    library: str = option(
        "auto", "cuBLASLt for large products on a GPU; auto: if it is installed here", choices=("auto", "on", "off")
    )

    def run(self, module: Module) -> None:
        if self.vector_bytes not in (0, *cpu.TILE_VECTORS):
            raise DlirError(f"option 'vector-bytes' must be 0, 16, 32 or 64, got {self.vector_bytes}")
        has_library = self.target == "cuda" and find_target("cuda").uses_cublaslt(self.library)
        for op in module.walk():
            if not isinstance(op, KernelRegion):
                continue
            if op["schedule"] is not None:
                try:
                    check_target(op["schedule"], self.target)
                except Unfit as reason:
                    hint = "a kernel without a schedule gets one that fits"
                    raise DlirError(f"this region cannot have its schedule: {reason}", op.location, hint=hint) from None
            else:
                if op["tile"] is not None:
                    hint = "a tile is for one schedule; without both, they are chosen"
                    raise DlirError("this region has a tile, but no schedule that it is for", op.location, hint=hint)
                schedule, tile = choose_schedule(op, self.target, self.vector_bytes, has_library)
                op.set("schedule", schedule)
                op.set("tile", tile or None)
                self.stats[schedule] += 1
