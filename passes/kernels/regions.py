"""Making regions of clusters, and putting everything in an order that serves all of them."""

from __future__ import annotations

import heapq

from dlir.ir.builder import at_end
from dlir.ir.core import Block, Operation, Region, Value
from dlir.ir.dialects.kernel import KernelRegion
from dlir.ir.effects import effects_of
from dlir.ir.location import fuse_locations
from dlir.ir.ops import kernel
from dlir.ir.traversal import Mapping, clone
from dlir.passes.kernels.classify import is_free
from dlir.passes.kernels.cluster import Cluster, Clustering, inputs_of
from dlir.passes.kernels.legality import free_producers, is_fusible, outputs_of


def make_regions(block: Block, clustering: Clustering) -> list[KernelRegion]:
    """Replace the array ops of `block` by one region for each cluster; the regions in order."""
    ending = block.last
    nodes = _sorted_nodes(block, clustering)
    made: list[KernelRegion] = []
    replaced: dict[Value, Value] = {}
    for node in nodes:
        if isinstance(node, Cluster):
            region = _make_region(node, clustering, replaced)
            _insert(block, ending, region)
            made.append(region)
        elif node is not ending:
            node.detach()
            _insert(block, ending, node)
    for op in reversed([op for op in clustering.position if is_fusible(op)]):
        for result in op.results:
            if result in replaced:
                result.replace_by(replaced[result])
        op.erase()
    return made


def _insert(block: Block, ending: Operation | None, op: Operation) -> None:
    if ending is None:
        block.append(op)
    else:
        block.insert_before(ending, op)


def _make_region(cluster: Cluster, clustering: Clustering, replaced: dict[Value, Value]) -> KernelRegion:
    """The region of a cluster, not inserted; its results are entered in `replaced`."""
    ops = cluster.ordered()
    inside = dict.fromkeys([*free_producers(ops), *ops])
    inputs = inputs_of(ops, inside)
    outputs = outputs_of(ops)
    body = Block()
    mapping = Mapping()
    for value in inputs:
        mapping.values[value] = body.add_arg(value.type, value.name)
    for op in sorted(inside, key=lambda item: clustering.position[item]):
        body.append(clone(op, mapping))
    location = fuse_locations([op.location for op in ops])
    with at_end(body, location):
        kernel.yield_(*[mapping.values[value] for value in outputs])
    region = KernelRegion.create(
        *[replaced.get(value, value) for value in inputs],
        result_types=[value.type for value in outputs],
        regions=[Region([body])],
        location=location,
    )
    for value, result in zip(outputs, region.results):
        result.name = value.name
        replaced[value] = result
    return region


def _sorted_nodes(block: Block, clustering: Clustering) -> list[Cluster | Operation]:
    """Clusters and other ops, each after what it needs; else in program order.  Effects keep their order."""
    nodes: list[Cluster | Operation] = [*clustering.clusters()]
    nodes += [op for op in block.ops if op not in clustering.cluster_of and not (is_fusible(op) and is_free(op))]
    key = {node: _position(node, clustering) for node in nodes}
    users = {node: [user for user in clustering.users(node) if user in key] for node in nodes}
    last: Operation | None = None
    for op in block.ops:
        if op in key and (effects_of(op) or op.is_terminator):
            if last is not None:
                users[last].append(op)
            last = op
    waiting_for = dict.fromkeys(nodes, 0)
    for node in nodes:
        for user in users[node]:
            waiting_for[user] += 1
    ready = [(key[node], node) for node in nodes if not waiting_for[node]]
    heapq.heapify(ready)
    found: list[Cluster | Operation] = []
    while ready:
        _, node = heapq.heappop(ready)
        found.append(node)
        for user in users[node]:
            waiting_for[user] -= 1
            if not waiting_for[user]:
                heapq.heappush(ready, (key[user], user))
    return found


def _position(node: Cluster | Operation, clustering: Clustering) -> int:
    return node.first if isinstance(node, Cluster) else clustering.position[node]
