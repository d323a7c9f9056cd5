"""Whether a group of primitive ops can be one kernel: finding a plan for it.

`plan_kernel` raises :class:`~dlir.passes.kernels.plan.Unfit` with the reason when there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlir.ir.core import Operation, Value
from dlir.ir.dialects.nd.base import Primitive
from dlir.passes.kernels.classify import FusionClass, fusion_class
from dlir.passes.kernels.demand import Demand
from dlir.passes.kernels.indirect import refuse_indirect
from dlir.passes.kernels.parts import independent
from dlir.passes.kernels.plan import Inside, Loop, Plan, Unfit, is_bijection, points, reshaped_index
from dlir.passes.kernels.pooled import plan_pooled
from dlir.passes.kernels.row_planner import plan_rows
from dlir.passes.kernels.scatter import plan_scatter


def plan_kernel(outputs: Sequence[Value], inside: Inside, parts: bool = True) -> Plan:
    """The plan for computing `outputs` with the ops for which `inside` holds; Unfit if there is none.

    With `parts`, what cannot be done by the same loops may be done side by side.
    """
    try:
        return _plan_together(outputs, inside)
    except Unfit:
        groups = independent(outputs, inside) if parts else []
        if len(groups) < 2:
            raise
    found = [(group, _plan_together([outputs[number] for number in group], inside)) for group in groups]
    if any(plan.after is not None for _, plan in found):
        raise Unfit("what is reduced over all rows waits for all of them, and has no work items to put beside others")
    return Plan("parts", (), [], parts=found, values=list(outputs))


def _plan_together(outputs: Sequence[Value], inside: Inside) -> Plan:
    """The plan for computing `outputs` in the same loops."""
    classes = _classes(outputs, inside)
    anchors = [op for op, found in classes.items() if found is FusionClass.CONTRACTION]
    reductions = [op for op, found in classes.items() if found is FusionClass.REDUCE]
    windows = [op for op, found in classes.items() if found is FusionClass.WINDOW]
    scans = [op for op, found in classes.items() if found is FusionClass.SCAN]
    attentions = [op for op, found in classes.items() if found is FusionClass.ATTENTION]
    scatters = [op for op, found in classes.items() if found is FusionClass.SCATTER]
    refuse_indirect(outputs, classes, inside)
    if attentions:
        plan = _plan_attention(outputs, inside, attentions, anchors + reductions + windows + scans + scatters)
    elif scatters:
        plan = plan_scatter(outputs, inside, scatters[0], scatters[1:] + anchors + reductions + windows + scans)
    elif scans:
        plan = _plan_scan(outputs, inside, scans, anchors + reductions + windows)
    elif anchors:
        plan = _plan_contraction(outputs, inside, anchors, reductions + windows)
    elif windows:
        plan = _plan_window(outputs, inside, windows, reductions)
    elif reductions:
        plan = plan_rows(outputs, inside)
    else:
        plan = _plan_flat(outputs, inside)
    plan.values = list(outputs)
    return plan


def _classes(outputs: Sequence[Value], inside: Inside) -> dict[Any, FusionClass]:
    """The class of each op that the outputs need, users first."""
    classes: dict[Any, FusionClass] = {}
    waiting = list(outputs)
    while waiting:
        op = waiting.pop().defining_op
        if op is None or not inside(op) or op in classes:
            continue
        found = fusion_class(op)
        if found is FusionClass.OPAQUE:
            raise Unfit(f"'{op.name}' is not known to fusion")
        classes[op] = found
        waiting += op.operands
    return classes


# ---------------------------------------------------------------- flat


def _plan_flat(outputs: Sequence[Value], inside: Inside) -> Plan:
    shape = max((value.shape for value in outputs), key=len)
    demand = Demand(inside, shape)
    loop = Loop(shape, demand)
    for number, value in enumerate(outputs):
        index = reshaped_index(points(shape), shape, value.shape)
        if index is None:
            raise Unfit(f"results have shapes {list(shape)} and {list(value.shape)}")
        loop.outputs.append((number, index))
        demand.want(value, index)
    return Plan("flat", (), [loop])


def _plan_window(
    outputs: Sequence[Value], inside: Inside, windows: list[Primitive], reductions: list[Primitive]
) -> Plan:
    if reductions or len(windows) > 1:
        other = (reductions or windows[1:])[0]
        raise Unfit(f"'{windows[0].name}' and '{other.name}' reduce over different elements")
    plan = _plan_flat(outputs, inside)
    _need_each_once(plan.loops[0], windows[0])
    plan.form, plan.anchor = "window", windows[0]
    return plan


def _need_each_once(loop: Loop, anchor: Primitive) -> None:
    """Unfit unless each element of the anchor's result is needed at one point of the loop."""
    indices = loop.demand.reductions[anchor]
    if len(indices) > 1:
        raise Unfit(f"'{anchor.name}' would be computed more than once")
    if not is_bijection(indices[0], loop.extents, anchor.results[0].shape):
        raise Unfit(f"'{anchor.name}' would be computed more than once")


def _plan_scan(outputs: Sequence[Value], inside: Inside, scans: list[Primitive], others: list[Primitive]) -> Plan:
    """One loop over the points of the scan, each of which has its total once."""
    scan = scans[0]
    if len(scans) > 1 or others:
        raise Unfit(f"'{scan.name}' and '{(scans[1:] + others)[0].name}' go through their elements in different orders")
    shape = scan.results[0].shape
    loop = Loop(shape, Demand(inside, shape))
    for number, value in enumerate(outputs):
        index = reshaped_index(points(shape), shape, value.shape)
        if index is None:
            raise Unfit(f"a result of shape {list(value.shape)} does not go along with a scan of {list(shape)}")
        loop.outputs.append((number, index))
        loop.demand.want(value, index)
    if loop.demand.reductions[scan] != [points(shape)]:
        raise Unfit(f"'{scan.name}' is needed in another order than it is computed in")
    return Plan("scan", (), [loop], anchor=scan)


# ---------------------------------------------------------------- contraction


def _plan_contraction(
    outputs: Sequence[Value],
    inside: Inside,
    anchors: list[Primitive],
    reductions: list[Primitive],
) -> Plan:
    if len(anchors) > 1:
        raise Unfit(f"'{anchors[1].name}' and '{anchors[0].name}' are both contractions")
    (anchor,) = anchors
    _refuse_prologue(anchor, inside)
    plan = _plan_flat(outputs, inside)
    if len(reductions) == 1:
        try:
            return plan_pooled(plan, outputs, inside, anchor, reductions[0])
        except Unfit:
            pass  # the plainer reason says more
    _refuse_rest(anchor, reductions)
    _need_each_once(plan.loops[0], anchor)
    plan.form, plan.anchor = "contraction", anchor
    return plan


def _refuse_rest(anchor: Operation, others: Sequence[Operation]) -> None:
    if others:
        raise Unfit(f"'{others[0].name}' needs the whole result of '{anchor.name}' or is needed for it")


def _refuse_prologue(anchor: Operation, inside: Inside) -> None:
    """Unfit if something that reads each operand many times would compute it each time."""
    for op, found in _classes(anchor.operands, inside).items():
        if found is not FusionClass.VIEW and op.operands:
            raise Unfit(f"'{op.name}' would be computed again for each tile of '{anchor.name}'")


# ---------------------------------------------------------------- attention


def _plan_attention(
    outputs: Sequence[Value], inside: Inside, anchors: list[Operation], others: list[Operation]
) -> Plan:
    anchor, *second = anchors
    if second:
        raise Unfit("two attentions have no loops in common")
    _refuse_rest(anchor, others)
    _refuse_prologue(anchor, inside)
    # What the attention computes is at hand for the loop over the results, as if it were in memory.
    plan = _plan_flat(outputs, inside)
    (loop,) = plan.loops
    (result,) = anchor.results
    indices = [index for value, index in loop.demand.leaves if value is result]
    if len(indices) != 1 or not is_bijection(indices[0], loop.extents, result.shape):
        raise Unfit(f"'{anchor.name}' would be computed more than once")
    plan.form, plan.anchor = "attention", anchor
    return plan
