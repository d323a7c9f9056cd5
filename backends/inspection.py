"""What a program is at each stage of its way down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import find_function
from dlir.ir.errors import DlirError, did_you_mean
from dlir.ir.traversal import clone
from dlir.passes.manager import Pass, PassManager
from dlir.passes.pipelines import pipeline_for

if TYPE_CHECKING:
    from dlir.backends.compiler import Program
    from dlir.passes.kernels.counts import CostAnalysis

#: Words for the state after a pass.
_WORDS = {
    "differentiated": "differentiate",
    "array": "lower-nn",
    "fused": "fuse",
    "bufferized": "bufferize",
    "planned": "plan-memory",
    "kernels": "lower-kernels",
    "mapped": "map",
}


def module_at(program: Program, stage: str) -> Module:
    """The program's module as it is after a pass: `stage` is its name, or a word for it such as ``"fused"``.

    ``"source"`` is the module before all passes, ``"lowered"`` after all.  DlirError for what is no stage of it.
    """
    if stage == "source":
        return program.module
    if stage == "lowered":
        return program.lowered
    # A backend without a target runs modules as they are; then its stages are those of kernels with one op each.
    target = program.backend.target
    passes = PassManager.from_text(pipeline_for(program.level if target else "O0", target or "cpu")).passes
    name = _WORDS.get(stage, stage)
    if name not in [item.name for item in passes]:
        known = ["source", *_WORDS, *(item.name for item in passes), "lowered"]
        hint = did_you_mean(stage, known) or f"stages: {', '.join(dict.fromkeys(known))}"
        raise DlirError(f"a program of level {program.level} has no stage '{stage}'", hint=hint)
    return PassManager(_until(passes, name), verify_each=False).run(clone(program.module))


def _until(passes: list[Pass], name: str) -> list[Pass]:
    """The passes up to the last one called `name`."""
    last = max(number for number, item in enumerate(passes) if item.name == name)
    return passes[: last + 1]


def cost_of(program: Program) -> CostAnalysis:
    """What the program's kernels compute and move."""
    from dlir.passes.kernels.counts import cost_analysis

    return cost_analysis(find_function(module_at(program, "fused"), program.entry))
