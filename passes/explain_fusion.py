"""Why two array ops of a function end in different kernels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from dlir.ir.byte_counts import human_bytes
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.kernel import FUSE
from dlir.ir.errors import DlirError, did_you_mean
from dlir.passes.fuse import Fuse
from dlir.passes.kernels.classify import is_free
from dlir.passes.kernels.cluster import Cluster, Clustering
from dlir.passes.kernels.cost import recomputation
from dlir.passes.kernels.groups import APART, group_of
from dlir.passes.kernels.legality import is_fusible, why_not_fused
from dlir.passes.kernels.live import peak
from dlir.passes.kernels.plan import Unfit


def explain(module: Module, one: str, two: str, fuse: Fuse | None = None) -> str:
    """Say whether the ops that define values ``%one`` and ``%two`` of a module of array ops become one kernel of the pass
    `fuse`, and why not.  The module is prepared as the pass prepares it: layers that are several kernels are written out.

    DlirError if there is no such value, or none that an array op computes.
    """
    fuse = fuse or Fuse()
    for op in (_defining(module, one), _defining(module, two)):
        if not is_fusible(op):
            hint = "layers become array ops by 'lower-nn'" if op.name.startswith("nn.") else None
            raise DlirError(f"'{op.name}' is not an array op", op.location, hint=hint)
        if is_free(op):
            return f"'{op.name}' costs nothing and is made again in every kernel that uses it"
    fuse.stats = Counter()
    for _, clustering in fuse.clusters(module):
        found = [_find(module, name) for name in (one, two)]
        for name, value in zip((one, two), found):
            if value is None:
                return f"nothing needs %{_bare(name)}, which is dropped"
        first, second = (value.defining_op for value in found if value is not None)
        inside = [op in clustering.cluster_of for op in (first, second)]
        if all(inside):
            assert first is not None and second is not None
            first, second = sorted((first, second), key=clustering.position.__getitem__)
            return _compare(clustering, first, second, fuse)
        if any(inside):
            break
    return "they are not in the same block"


def _compare(clustering: Clustering, first: Operation, second: Operation, fuse: Fuse) -> str:
    """The answer for two ops of one block, in program order."""
    # Decisions were made one after another: the reason is the one that held before what comes last.
    reason = _reason(clustering, first, second, fuse)
    fuse.merge_side_by_side(clustering)
    here = clustering.cluster_of[first]
    return f"they are one kernel, of {len(here.ops)} ops" if here is clustering.cluster_of[second] else reason


def _reason(clustering: Clustering, first: Operation, second: Operation, fuse: Fuse) -> str:
    """Why two ops are not in one kernel, if they are not."""
    here, there = clustering.cluster_of[first], clustering.cluster_of[second]
    for op in (first, second):
        group = group_of(op)
        if group == APART:
            return f"'{op.name}' is kept apart by {FUSE} = \"{group}\""
        if group is not None:
            return f"'{op.name}' is in the group {FUSE} = \"{group}\", which nothing joins"
    reason = why_not_fused(first, second)
    if reason is not None:
        return reason
    otherwise = "neither needs the other, and what they read in common is small"
    return otherwise if here is there else next(_reasons(clustering, here, there, fuse), otherwise)


def _reasons(clustering: Clustering, here: Cluster, there: Cluster, fuse: Fuse) -> Iterator[str]:
    """Why two kernels are not one, although an op of each could be."""
    if clustering.is_apart(here, there) or clustering.is_apart(there, here):
        yield "their kernels hold other ops, and something between those stands between the kernels"
    count = len(here.ops) + len(there.ops)
    if count > fuse.max_ops:
        yield f"their kernels would have {count} ops, more than max-ops = {fuse.max_ops}"
    inputs, outputs = clustering.buffers(here, there)
    count = len(inputs) + len(outputs)
    if count > fuse.max_buffers:
        yield f"their kernels would have {count} inputs and results, more than max-buffers = {fuse.max_buffers}"
    ops = [*here.ops.values(), *there.ops.values()]
    try:
        plan = clustering.plan(ops, outputs)
        if (waste := recomputation(plan)) is not None:
            raise Unfit(waste)
    except Unfit as found:
        yield f"their kernels hold other ops: {found}"
        return
    try:
        clustering.check(plan)
    except Unfit as found:
        yield f"they would be slower as one kernel: {found}"
    if clustering.takes_memory(here, there):
        more = human_bytes(peak(clustering, (here, there)) - clustering.peak)
        yield f"as one kernel, {more} more of values would live at one time"


def _defining(module: Module, name: str) -> Operation:
    """The op that defines the value called `name`, with or without ``%``."""
    value = _find(module, name)
    if value is None or value.defining_op is None:
        known = [f"%{value.name}" for op in module.walk() for value in op.results if value.name is not None]
        wanted = f"%{_bare(name)}"
        raise DlirError(f"no op defines '{wanted}'", module.location, hint=did_you_mean(wanted, known))
    return value.defining_op


def _find(module: Module, name: str) -> Value | None:
    wanted = _bare(name)
    return next((value for op in module.walk() for value in op.results if value.name == wanted), None)


def _bare(name: str) -> str:
    return name.strip().removeprefix("%")
