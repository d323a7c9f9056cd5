"""The schedules by name, and which kernels each can be used for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dlir.passes.kernels.contraction import emit_contraction
from dlir.passes.kernels.contraction_cuda import emit_elements, emit_tiles
from dlir.passes.kernels.flat import emit_flat, emit_nest
from dlir.passes.kernels.kernel import Kernel
from dlir.passes.kernels.lanes import emit_lanes
from dlir.passes.kernels.plan import Plan
from dlir.passes.kernels.rows import emit_rows


@dataclass(frozen=True)
class Schedule:
    """How a kernel iterates: `emit` makes its loops; `forms` are the forms of plan that it is for."""

    emit: Callable[[Kernel], None]
    forms: tuple[str, ...]
    help: str
    #: What each integer of `tile` is; an optional one has a default in the emission.
    tile: tuple[str, ...] = ()
    needs_tile: bool = False

    def problem(self, kernel: Kernel) -> str | None:
        """What is wrong with using this schedule for a kernel, in words."""
        form, tile = kernel.plan.form, kernel.tile
        if form not in self.forms:
            return f"is not for a {form} kernel"
        if (tile or self.needs_tile) and len(tile) != len(self.tile):
            return f"needs a tile of {len(self.tile)} integers ({', '.join(self.tile) or 'none'}), got {list(tile)}"
        if any(size < 1 for size in tile):
            return f"needs a tile of positive integers, got {list(tile)}"
        return self.check(kernel)


SCHEDULES: dict[str, Schedule] = {
    "flat": Schedule(emit_flat, ("flat", "window", "contraction"), "one loop over all elements, one item each"),
    "nest": Schedule(emit_nest, ("flat", "window", "contraction"), "an item for each run of neighbours"),
    "contraction": Schedule(
        emit_contraction, ("contraction",), "register tiles over packed panels; tile: rows, columns, lanes"
    ),
    "element": Schedule(emit_elements, ("window", "contraction"), "one item each; a reduction may be a block's"),
    "block-tile": Schedule(emit_tiles, ("contraction",), "tiles by blocks of GPU threads; tile: rows, columns, depth"),
    "row": Schedule(emit_rows, ("row",), "an item for each row, whose reductions come first"),
    "rows": Schedule(emit_lanes, ("row",), "an item for each run of rows side by side in memory; tile: rows"),
}


def default_schedule(plan: Plan) -> str:
    """The schedule of a kernel that states none."""
    return "row" if plan.form == "row" else "nest"
