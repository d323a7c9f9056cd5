"""Merging kernels that have nothing to do with one another: one launch instead of many.

Merged are pointwise kernels that write little, such as the updates of all parameters, and on a CPU contractions that read the
same array, whose items together keep all threads busy, with what reduces that array, such as the gradient of a bias.  Kernels
that wait for each other's values stay apart, and so do those whose merging would make more values live at one time, or keep one
of them from updating a variable or a donated argument where it lies.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dlir.ir.core import Operation, Value
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.nd.base import Primitive
from dlir.passes.kernels.classify import FusionClass, fusion_class
from dlir.passes.kernels.cluster import Cluster, Clustering
from dlir.passes.kernels.cost import recomputation
from dlir.passes.kernels.live import Node, in_order, is_kept, peak
from dlir.passes.kernels.plan import Unfit

#: Bytes that a kernel may write to be worth merging with others: a launch is nothing beside writing more.
LITTLE = 16 << 20
#: Times as many ops and buffers as other kernels may have.
WIDER = 4
#: Contractions in one kernel at most.
CONTRACTIONS = 4
#: Times as many products as elements that a reduction beside them reads: it may be one item, for which others wait.
MORE_PRODUCTS = 16
#: Pointwise kernels that are left up to which each is tried with each other one.
FEW = 16
#: Which part of the values that live at one time may be added to them by merging pointwise kernels.
SLACK = 64

_POINTWISE = (FusionClass.VIEW, FusionClass.ELEMENTWISE)


@dataclass
class _Order:
    """What holds for all kernels until two are merged: kept, as most questions about merging are answered no."""

    clustering: Clustering
    #: Bytes of values up to which merging may go in any case.
    spare: int = 0
    merges: int = -1
    number: dict[Node, int] = field(default_factory=dict)
    reach: dict[Node, int] = field(default_factory=dict)

    def refresh(self) -> None:
        if self.merges != self.clustering.merges:
            self.merges = self.clustering.merges
            self.number, self.reach = _reachability(self.clustering)


def merge_pointwise(clustering: Clustering) -> int:
    """Merge independent pointwise kernels; how many fewer there are."""
    order = _Order(clustering)
    candidates = _pointwise(clustering)
    if len(candidates) < 2:
        return 0
    order.spare = clustering.peak + clustering.peak // SLACK
    merged = _merge_groups(order, candidates, len(candidates))
    rest = _pointwise(clustering)
    if len(rest) <= FEW:
        merged += sum(_merge_with_one(order, other, rest[:number]) for number, other in enumerate(rest))
    return merged


def merge_contractions(clustering: Clustering) -> int:
    """Merge independent contractions that read the same array, and reductions of it; how many fewer there are."""
    merged = 0
    order = _Order(clustering)
    for value, ops in clustering.readers().items():
        candidates = [found for found in _of(clustering, ops) if _is_contraction(clustering, found)]
        if len(candidates) > 1:
            merged += _merge_groups(order, candidates, CONTRACTIONS)
        for found in _of(clustering, ops) if candidates else ():
            if _is_reduction(clustering, found, value):
                others = [other for other in _of(clustering, ops) if _is_much_more(clustering, other, found)]
                merged += _merge_with_one(order, found, others)
    return merged


def _of(clustering: Clustering, ops: Iterable[Operation]) -> list[Cluster]:
    """The clusters of `ops`, each once."""
    return list(dict.fromkeys(clustering.cluster_of[op] for op in ops))


def _pointwise(clustering: Clustering) -> list[Cluster]:
    return [found for found in clustering.clusters() if _is_pointwise(clustering, found) and _writes_little(found)]


def _is_pointwise(clustering: Clustering, cluster: Cluster) -> bool:
    copies = [copy for op in cluster.ops.values() for copy in clustering.shadow.copies(op)]
    return not cluster.is_fixed and all(fusion_class(c) in _POINTWISE for c in copies)


def _writes_little(cluster: Cluster) -> bool:
    return sum(value.type.nbytes for value in cluster.outputs) <= LITTLE


def _is_contraction(clustering: Clustering, cluster: Cluster) -> bool:
    copies = [copy for op in cluster.ops.values() for copy in clustering.shadow.copies(op)]
    return not cluster.is_fixed and any(fusion_class(copy) is FusionClass.CONTRACTION for copy in copies)


def _is_reduction(clustering: Clustering, cluster: Cluster, value: Value) -> bool:
    """Whether a kernel reduces `value` to something much smaller."""
    classes = {fusion_class(copy) for op in cluster.ops.values() for copy in clustering.shadow.copies(op)}
    is_pure = not cluster.is_fixed and classes <= {*_POINTWISE, FusionClass.REDUCE} and FusionClass.REDUCE in classes
    return is_pure and 4 * sum(found.type.nbytes for found in cluster.outputs) <= value.type.nbytes


def _is_much_more(clustering: Clustering, cluster: Cluster, other: Cluster) -> bool:
    """Whether contractions have many times as many products as there are elements of what the `other` reads."""
    copies = [copy for op in cluster.ops.values() for copy in clustering.shadow.copies(op)]
    spaces = [
        copy.space() for copy in copies if isinstance(copy, Primitive) and fusion_class(copy) is FusionClass.CONTRACTION
    ]
    products = sum(math.prod(space.extents) for space in spaces)
    return not cluster.is_fixed and products >= MORE_PRODUCTS * max(value.type.size for value in other.inputs)


def _merge_with_one(order: _Order, cluster: Cluster, others: Iterable[Cluster]) -> int:
    """Merge a kernel with the first of `others` with which that can be one kernel and is worth it; 1 if there is one."""
    for other in others:
        pair = [other, cluster]
        is_there = order.clustering.cluster_of[other.ops[other.first]] is other
        if is_there and len(_independent(order, pair, 2)[0]) == 2 and _merge_if_worth(order, pair):
            return 1
    return 0


def _merge_groups(order: _Order, candidates: Sequence[Cluster], most: int) -> int:
    """Merge independent ones of `candidates`, at most `most` of them into one; how many fewer there are."""
    merged = 0
    while len(candidates) > 1:
        group, candidates = _independent(order, candidates, most)
        merged += _merge_if_worth(order, group)
    return merged


def _independent(order: _Order, candidates: Sequence[Cluster], most: int) -> tuple[list[Cluster], list[Cluster]]:
    """The first of `candidates`, with those after it that no path joins to it or each other; and the rest."""
    order.refresh()
    clustering, number, reach = order.clustering, order.number, order.reach
    group: list[Cluster] = []
    rest: list[Cluster] = []
    members = reached = ops = buffers = 0
    for one in candidates:
        bit = 1 << number[one]
        size = len(one.ops), len(one.inputs) + len(one.outputs)
        fits = ops + size[0] <= WIDER * clustering.max_ops and buffers + size[1] <= WIDER * clustering.max_buffers
        if group and (reached & bit or reach[one] & members or not fits or len(group) >= most):
            rest.append(one)
            continue
        group.append(one)
        members, reached = members | bit, reached | reach[one]
        ops, buffers = ops + size[0], buffers + size[1]
    return group, rest


def _reachability(clustering: Clustering) -> tuple[dict[Node, int], dict[Node, int]]:
    """A number for each node, and which ones need something of it, directly or not, as a set of bits."""
    nodes = in_order(clustering)
    number = {node: index for index, node in enumerate(nodes)}
    reach: dict[Node, int] = {}
    for node in reversed(nodes):
        bits = 0
        for user in clustering.users(node):
            if user in number:
                bits |= 1 << number[user] | reach.get(user, 0)
        reach[node] = bits
    return number, reach


def _merge_if_worth(order: _Order, group: Sequence[Cluster]) -> int:
    """Merge a group, or its halves, if that can be one kernel and takes no more memory; how many fewer there are."""
    clustering = order.clustering
    if len(group) < 2:
        return 0
    is_worth = not _update_what_others_read(clustering, group) and _is_kernel(clustering, group)
    if not (is_worth and peak(clustering, group) <= max(clustering.peak, order.spare)):
        middle = len(group) // 2
        return _merge_if_worth(order, group[:middle]) + _merge_if_worth(order, group[middle:])
    first, *others = group
    for other in others:
        first = clustering.merge(first, other)
    return len(others)


def _is_kernel(clustering: Clustering, group: Iterable[Cluster]) -> bool:
    ops = [op for found in group for op in found.ops.values()]
    outputs = [value for found in group for value in found.outputs]
    try:
        return recomputation(clustering.plan(ops, outputs, parts=True)) is None
    except Unfit:
        return False


# ---------------------------------------------------------------- memory


def _update_what_others_read(clustering: Clustering, group: Sequence[Cluster]) -> bool:
    """Whether one of `group` makes the new value of what another one reads: on their own, the last one can write over it."""
    for cluster in group:
        for old in cluster.inputs:
            if _may_be_updated(old) and any(old in other.inputs for other in group if other is not cluster):
                if any(_replaces(clustering, new, old) for new in cluster.outputs):
                    return True
    return False


def _may_be_updated(value: Value) -> bool:
    op, block = value.defining_op, value.parent_block
    if op is not None:
        return op.name == "state.read"
    function = None if block is None else block.parent_op
    return isinstance(function, Func) and "dlir.donated" in function.arg_attributes(value.index)


def _replaces(clustering: Clustering, new: Value, old: Value) -> bool:
    """Whether `new` is kept when the function returns, with the type of `old`: at the end, or in the same variable."""
    users = [user for user in clustering.users_of_value(new) if isinstance(user, Operation) and is_kept(user)]
    if new.type is not old.type or not users:
        return False
    read = old.defining_op
    return read is None or any(user.get("variable") == read.get("variable") for user in users)
