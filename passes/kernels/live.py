"""How many bytes of values live at one time between the kernels of a block, and what merging kernels makes of that."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias

from dlir.ir.core import Operation

if TYPE_CHECKING:
    from dlir.passes.kernels.cluster import Cluster, Clustering

#: What is computed in one go: a kernel, or something else in the block.
Node: TypeAlias = "Cluster | Operation"


def peak(clustering: Clustering, group: Sequence[Cluster] = ()) -> int:
    """Bytes of the values between kernels that live at one time, at most, with `group` as one kernel."""
    nodes = in_order(clustering, group)
    step = {node: index for index, node in enumerate(nodes)}
    if group:
        step.update(dict.fromkeys(group, step[group[0]]))
    change = [0] * (len(nodes) + 1)
    for cluster in clustering.clusters():
        for value in cluster.outputs:
            users = clustering.users_of_value(value)
            ends = [step[user] for user in users if user in step]
            # What is returned or written has memory of its own.
            if ends and not any(isinstance(user, Operation) and is_kept(user) for user in users):
                change[step[cluster]] += value.type.nbytes
                change[max(ends) + 1] -= value.type.nbytes
    return max(accumulate(change))


def is_kept(op: Operation) -> bool:
    """Whether what `op` uses is a result, or the new value of a variable."""
    return op.is_terminator or op.name == "state.write"


def in_order(clustering: Clustering, group: Sequence[Cluster] = ()) -> list[Node]:
    """Clusters and other ops, each after what it needs; `group` counts as its first cluster."""
    members: dict[Node, None] = dict.fromkeys(group)

    def represent(node: Node) -> Node:
        return group[0] if node in members else node

    nodes: dict[Node, list[Node]] = {}
    for node in clustering.nodes():
        nodes.setdefault(represent(node), []).append(node)
    users = {
        node: dict.fromkeys(
            represent(user) for member in members for user in clustering.users(member) if represent(user) is not node
        )
        for node, members in nodes.items()
    }
    waiting_for = dict.fromkeys(nodes, 0)
    for found in users.values():
        for user in found:
            if user in waiting_for:
                waiting_for[user] += 1
    key = {node: (clustering.first(node), index) for index, node in enumerate(nodes)}
    ready = [(key[node], node) for node in nodes if not waiting_for[node]]
    heapq.heapify(ready)
    order: list[Node] = []
    while ready:
        _, node = heapq.heappop(ready)
        order.append(node)
        for user in users[node]:
            if user in waiting_for:
                waiting_for[user] -= 1
                if not waiting_for[user]:
                    heapq.heappush(ready, (key[user], user))
    return order
