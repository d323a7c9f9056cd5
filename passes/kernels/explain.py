"""Why two array ops of a function end in different kernels."""

from __future__ import annotations

from dlir.ir.byte_counts import human_bytes
from dlir.ir.core import Operation
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.kernel import FUSE
from dlir.ir.errors import DlirError, did_you_mean
from dlir.passes.kernels.classify import is_free
from dlir.passes.kernels.cluster import Clustering
from dlir.passes.kernels.cost import recomputation
from dlir.passes.kernels.groups import APART, group_of
from dlir.passes.kernels.legality import is_fusible, why_not_fused
from dlir.passes.kernels.live import peak
from dlir.passes.kernels.plan import Unfit


def explain(module: Module, one: str, two: str, max_ops: int = 64, max_buffers: int = 32) -> str:
    """Say whether the ops that define values ``%one`` and ``%two`` of a module of array ops become one kernel, and why not.

    DlirError if there is no such value, or none that an array op computes.
    """
    first, second = _op_of(module, one), _op_of(module, two)
    for op in (first, second):
        if not is_fusible(op):
            hint = "layers become array ops by 'lower-nn'" if op.name.startswith("nn.") else None
            raise DlirError(f"'{op.name}' is not an array op", op.location, hint=hint)
        if is_free(op):
            return f"'{op.name}' costs nothing and is made again in every kernel that uses it"
    if first.parent is not second.parent or first.parent is None:
        return "they are not in the same block"
    clustering = Clustering(first.parent, max_ops, max_buffers)
    clustering.run()
    here, there = clustering.cluster_of[first], clustering.cluster_of[second]
    if here is there:
        return f"they are one kernel, of {len(here.ops)} ops"
    if clustering.position[first] > clustering.position[second]:
        first, second, here, there = second, first, there, here
    for op in (first, second):
        group = group_of(op)
        if group is not None:
            return (
                f"'{op.name}' is kept apart by {FUSE} = \"{group}\""
                if group == APART
                else (f"'{op.name}' is in the group {FUSE} = \"{group}\", which nothing joins")
            )
    reason = why_not_fused(first, second)
    if reason is not None:
        return reason
    if clustering.is_apart(here, there) or clustering.is_apart(there, here):
        return "their kernels hold other ops, and something between those stands between the kernels"
    if len(here.ops) + len(there.ops) > clustering.max_ops:
        return (
            f"their kernels would have {len(here.ops) + len(there.ops)} ops, more than max-ops = {clustering.max_ops}"
        )
    outputs = [value for found in (here, there) for value in found.outputs]
    try:
        plan = clustering.plan([*here.ops.values(), *there.ops.values()], outputs)
    except Unfit as found:
        return f"their kernels hold other ops: {found}"
    if (waste := recomputation(plan)) is not None:
        return f"their kernels hold other ops: {waste}"
    if clustering.takes_memory(here, there):
        more = human_bytes(peak(clustering, (here, there)) - clustering.peak)
        return f"as one kernel, {more} more of values would live at one time"
    return "neither needs the other, and what they read in common is small"


def _op_of(module: Module, name: str) -> Operation:
    """The op that defines the value called `name`, with or without ``%``."""
    wanted = name.strip().removeprefix("%")
    known: list[str] = []
    for op in module.walk():
        for value in op.results:
            if value.name == wanted:
                return op
            if value.name is not None:
                known.append(f"%{value.name}")
    raise DlirError(f"no op defines '%{wanted}'", module.location, hint=did_you_mean(f"%{wanted}", known))
