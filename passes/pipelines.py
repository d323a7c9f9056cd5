"""The named pipelines, in words that read aloud."""

from __future__ import annotations

#: From big ops to code; each pass finds nothing to do on what is already below its level.  Formulas are recognised before
#: gradients are made, too: a named op has a gradient that does not overflow on the way, and is shorter.
O2 = (
    "inline,recognise,differentiate,lower-nn,canonicalize,cse,recognise,fold-scales,layout,hoist-constants,remat,"
    "fuse,schedule,reorder,bufferize,plan-memory,lower-kernels,map"
)

PIPELINES: dict[str, str] = {
    # Op by op: nothing is folded, fused or planned.
    "O0": "inline,differentiate,lower-nn,fuse{max-ops=1},schedule,bufferize,lower-kernels,map",
    # Cleaned up and planned, but still one kernel per op.
    "O1": (
        "inline,differentiate,lower-nn,canonicalize,cse,fuse{max-ops=1},schedule,reorder,bufferize,plan-memory,"
        "lower-kernels,map"
    ),
    "O2": O2,
    # As O2, and memory is searched for as long as it takes.
    "O3": O2.replace("plan-memory", "plan-memory{effort=40000000}"),
}


def pipeline_for(level: str, target: str) -> str:
    """The pipeline of an optimisation level (``"O2"``) for a target (``"cpu"``, ``"cuda"``)."""
    text = PIPELINES[level]
    if target != "cpu":
        # Layouts are those of CPUs.
        text = text.replace("layout,", "")
        text = (
            text.replace("fuse,", f"fuse{{target={target}}},")
            .replace("schedule", f"schedule{{target={target}}}")
            .replace(",map", f",map{{target={target}}}")
        )
    return text
