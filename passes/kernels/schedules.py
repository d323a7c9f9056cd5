"""The schedules by name, and which kernels each can be used for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module

from dlir.ir.errors import did_you_mean
from dlir.passes.kernels.attention import emit_attention
from dlir.passes.kernels.contraction import emit_contraction
from dlir.passes.kernels.direct import emit_direct
from dlir.passes.kernels.flat import emit_blocks, emit_flat, emit_nest, emit_runs
from dlir.passes.kernels.kernel import Kernel
from dlir.passes.kernels.lanes import emit_lanes
from dlir.passes.kernels.parts import SEPARATOR, emit_parts, kernels_of_parts, split_tile
from dlir.passes.kernels.plan import Plan, Unfit
from dlir.passes.kernels.pooled import emit_pooled
from dlir.passes.kernels.rows import emit_rows, emit_rows_in_results
from dlir.passes.kernels.scan import emit_scan
from dlir.passes.kernels.scatter import emit_scatter, emit_scatter_elements


@dataclass(frozen=True)
class Schedule:
    """How a kernel iterates: `emit` makes its loops.

    `forms` are the forms of plan that it is for, `tile` says what each integer of the tile is, `most` how many elements of
    the result (the first two integers) an item may hold in registers, each of which is code of its own.
    """

    emit: Callable[[Kernel], None]
    forms: tuple[str, ...]
    help: str
    tile: tuple[str, ...] = ()
    needs_tile: bool = False
    most: int | None = None
    #: The only target that can run what it makes.
    target: str | None = None

    def check(self, kernel: Kernel) -> None:
        """Unfit unless the schedule can be used for `kernel` with its tile."""
        tile = kernel.tile
        if kernel.plan.form not in self.forms:
            fitting = [name for name, other in SCHEDULES.items() if kernel.plan.form in other.forms]
            raise Unfit(
                f"it is a {kernel.plan.form} kernel, and the schedule is for {' or '.join(self.forms)} ones; "
                f"it could have {', '.join(fitting) or 'none that can be named'}"
            )
        if tile and not self.tile:
            raise Unfit("the schedule takes no tile")
        if (tile or self.needs_tile) and len(tile) != len(self.tile):
            raise Unfit(f"the tile must be {len(self.tile)} integers ({', '.join(self.tile)}), not {list(tile)}")
        if any(size < 1 for size in tile):
            raise Unfit(f"the tile must be positive integers, not {list(tile)}")
        if self.most is not None and tile[0] * tile[1] > self.most:
            raise Unfit(f"a tile of {tile[0]} x {tile[1]} elements is too large for registers: at most {self.most}")


def _for_gpus(module: str, name: str) -> Callable[[Kernel], None]:
    """What a module of this package emits, imported when it is first used: who compiles for a CPU never needs it."""

    def emit(kernel: Kernel) -> None:
        getattr(import_module(f"dlir.passes.kernels.{module}"), name)(kernel)

    return emit


#: Forms whose loops are those of a pointwise kernel.
_POINTS = ("flat", "window", "contraction", "pooled")

SCHEDULES: dict[str, Schedule] = {
    "flat": Schedule(emit_flat, _POINTS, "an item for each element"),
    "nest": Schedule(emit_nest, _POINTS, "an item for each run of neighbours", ("longest run",)),
    "runs": Schedule(emit_runs, _POINTS, "an item for each run of neighbours, also of a single one", ("longest run",)),
    "blocks": Schedule(
        emit_blocks,
        _POINTS,
        "blocks of two dimensions, for operands that lie in another order than the results",
        ("operand's direction", "result's direction"),
        True,
    ),
    "row": Schedule(emit_rows, ("row",), "an item for each row, whose reductions come first"),
    "row-in-result": Schedule(
        emit_rows_in_results,
        ("row",),
        "as row, but what is kept for later is kept where a result goes, for a CPU",
        target="cpu",
    ),
    "rows": Schedule(emit_lanes, ("row",), "an item for a run of rows side by side in memory", ("rows",), True),
    "scan": Schedule(emit_scan, ("scan",), "an item for each run of totals, or for so many of them", ("runs",)),
    "scatter": Schedule(
        emit_scatter,
        ("scatter",),
        "an item for each range of places along the axis, and of those after it",
        ("places along the axis", "places after it"),
    ),
    "scatter-element": Schedule(
        emit_scatter_elements,
        ("scatter",),
        "an item for each place beside the axis and range along it, in order, for a GPU",
        ("places along the axis",),
        target="cuda",
    ),
    "contraction": Schedule(
        emit_contraction,
        ("contraction",),
        "register tiles over packed panels, for a CPU",
        ("rows", "columns", "lanes"),
        True,
        1 << 13,
        target="cpu",
    ),
    "pooled": Schedule(
        emit_pooled,
        ("pooled",),
        "as direct, into scratch from which windows are pooled, for a CPU",
        ("rows", "columns", "lanes"),
        True,
        1 << 13,
        target="cpu",
    ),
    "attention": Schedule(
        emit_attention,
        ("attention",),
        "blocks of queries, over blocks of keys, for a CPU",
        ("queries", "keys", "rows", "lanes"),
        True,
        target="cpu",
    ),
    "attention-blocks": Schedule(
        _for_gpus("attention_cuda", "emit_attention_blocks"),
        ("attention",),
        "blocks of queries, plain loops, for the blocks of threads of a GPU",
        ("queries", "keys"),
    ),
    "direct": Schedule(
        emit_direct,
        ("contraction",),
        "register tiles that read a packed operand where it lies, for a CPU",
        ("rows", "columns", "lanes"),
        True,
        1 << 13,
        target="cpu",
    ),
    "element": Schedule(
        _for_gpus("contraction_cuda", "emit_elements"),
        ("window", "contraction", "pooled"),
        "an item for each element; its reduction may be a block's, for a GPU",
        target="cuda",
    ),
    "block-tile": Schedule(
        _for_gpus("contraction_cuda", "emit_tiles"),
        ("contraction",),
        "tiles by blocks of threads, for a GPU",
        ("rows", "columns", "depth"),
        True,
        1 << 16,
        target="cuda",
    ),
    "mma-tile": Schedule(
        _for_gpus("mma_cuda", "emit_mma_tiles"),
        ("contraction",),
        "tiles by warps on the tensor cores of a GPU, for factors of f16 or bf16",
        ("rows", "columns", "depth"),
        True,
        1 << 16,
        target="cuda",
    ),
    "cublaslt": Schedule(
        _for_gpus("cublaslt", "emit_cublaslt"),
        ("contraction",),
        "a call of cuBLASLt, for a GPU: products of matrices, a matrix and a bias added",
        target="cuda",
    ),
}


def schedule_for(name: str | None, kernel: Kernel) -> Schedule:
    """The schedule called `name`, checked for `kernel`, or the plainest for None; Unfit if it cannot be used."""
    if kernel.plan.form == "parts":
        return _schedule_of_parts(name, kernel)
    if name is None:
        name = default_schedule(kernel.plan)
    found = SCHEDULES.get(name)
    if found is None:
        raise Unfit(f"there is no schedule '{name}'; " + (did_you_mean(name, SCHEDULES) or ", ".join(SCHEDULES)))
    found.check(kernel)
    return found


def check_target(name: str, target: str) -> None:
    """Unfit if a schedule, or one of several joined by SEPARATOR, is for another target; whatever is unknown passes."""
    for part in name.split(SEPARATOR):
        found = SCHEDULES.get(part)
        if found is not None and found.target not in (None, target):
            fitting = [name for name, other in SCHEDULES.items() if other.target in (None, target)]
            raise Unfit(f"'{part}' is for {found.target}; {target} has {', '.join(fitting)}")


def _schedule_of_parts(name: str | None, kernel: Kernel) -> Schedule:
    """The schedule of a kernel of several parts: their schedules, joined by SEPARATOR, and their tiles one after another."""
    plans = [plan for _, plan in kernel.plan.parts]
    names = [default_schedule(plan) for plan in plans] if name is None else name.split(SEPARATOR)
    if len(names) != len(plans):
        raise Unfit(f"it has {len(plans)} parts, and the schedule '{name}' is for {len(names)}")
    lengths = [len(SCHEDULES[part].tile) if part in SCHEDULES and kernel.tile else 0 for part in names]
    tiles = split_tile(kernel.tile, lengths)
    if tiles is None:
        raise Unfit(f"the tile must be {sum(lengths)} integers for {name}, not {list(kernel.tile)}")
    parts = kernels_of_parts(kernel, tiles)
    chosen = [schedule_for(part_name, part) for part_name, part in zip(names, parts)]
    emits = [partial(schedule.emit, part) for schedule, part in zip(chosen, parts)]
    return Schedule(lambda whole: emit_parts(whole.emitter, emits), ("parts",), "several kernels side by side")


def default_schedule(plan: Plan) -> str:
    """The schedule of a kernel that states none."""
    if plan.form == "attention":
        return "attention-blocks"
    return plan.form if plan.form in ("row", "scan", "scatter") else "nest"
