"""Grouping the array ops of a block into kernels.

Every op starts as a cluster of its own.  Clusters are merged along producer-consumer edges, in program order, and then
where they read the same large value, whenever the result is still one kernel (`Shadow.plan`), nothing outside stands
between them, and no costly op is computed far more often than before.  Views and constants belong to no cluster: every
kernel makes those that it needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dlir.ir.core import Block, Operation, Value
from dlir.passes.kernels.classify import is_free
from dlir.passes.kernels.cost import recomputation
from dlir.passes.kernels.legality import free_producers, is_fusible, outputs_of, sources
from dlir.passes.kernels.plan import Unfit
from dlir.passes.kernels.shadow import Shadow


@dataclass(eq=False)
class Cluster:
    """Ops that become one kernel, by their position in the block."""

    ops: dict[int, Operation] = field(default_factory=dict)

    @property
    def first(self) -> int:
        return min(self.ops)

    @property
    def last(self) -> int:
        return max(self.ops)

    def ordered(self) -> list[Operation]:
        """The ops in program order."""
        return [self.ops[position] for position in sorted(self.ops)]


class Clustering:
    """The clusters of one block."""

    def __init__(self, block: Block, max_ops: int, max_buffers: int) -> None:
        self.max_ops = max_ops
        self.max_buffers = max_buffers
        self.position = {op: number for number, op in enumerate(block.ops)}
        fusible = [op for op in block.ops if is_fusible(op)]
        self.shadow = Shadow(fusible)
        self.cluster_of: dict[Operation, Cluster] = {}
        for op in fusible:
            if not is_free(op) or _is_needed_as_such(op):
                self.cluster_of[op] = Cluster({self.position[op]: op})
        #: Pairs that were refused and have not changed since.
        self.refused: dict[tuple[Cluster, Cluster], None] = {}

    def clusters(self) -> list[Cluster]:
        """All clusters, in the order of their first ops."""
        return sorted(dict.fromkeys(self.cluster_of.values()), key=lambda cluster: cluster.first)

    def run(self) -> None:
        """Merge until nothing more can be."""
        if self.max_ops <= 1:
            return
        while self._merge_chains() or self._merge_siblings():
            pass

    def _merge_chains(self) -> bool:
        """Merge what computes a value with what uses it, wherever that is possible; whether anything was merged."""
        changed = False
        for op in list(self.cluster_of):
            for producer in list(self._producers(op)):
                changed |= self._try_merge(producer, self.cluster_of[op])
        return changed

    def _merge_siblings(self) -> bool:
        """Merge clusters that read the same large value, which is then read once; whether anything was merged."""
        readers: dict[Value, dict[Operation, None]] = {}
        for op in self.cluster_of:
            for value in inputs_of([op], free_producers([op])):
                readers.setdefault(value, {})[op] = None
        changed = False
        for value, ops in readers.items():
            first, *others = ops
            for other in others:
                one, two = self.cluster_of[first], self.cluster_of[other]
                if one is not two and self._is_large_in(value, one, two):
                    changed |= self._try_merge(one, two, siblings=True)
        return changed

    def _is_large_in(self, value: Value, *clusters: Cluster) -> bool:
        """Whether `value` is at least half as large as anything that one of the clusters reads or writes."""
        for cluster in clusters:
            ops = cluster.ordered()
            buffers = [*inputs_of(ops, dict.fromkeys([*free_producers(ops), *ops])), *outputs_of(ops)]
            if 2 * value.type.nbytes < max(other.type.nbytes for other in buffers):
                return False
        return True

    def _producers(self, op: Operation) -> Iterator[Cluster]:
        """The clusters whose results `op` uses, in the order of its operands."""
        for operand in op.operands:
            for value in sources(operand):
                definition = value.defining_op
                if definition in self.cluster_of:
                    yield self.cluster_of[definition]

    def _try_merge(self, producer: Cluster, consumer: Cluster, siblings: bool = False) -> bool:
        if producer is consumer or (producer, consumer) in self.refused:
            return False
        merged = Cluster({**producer.ops, **consumer.ops})
        is_cyclic = self._is_apart(producer, consumer) or (siblings and self._is_apart(consumer, producer))
        if is_cyclic or len(merged.ops) > self.max_ops or not self._is_kernel(merged):
            self.refused[producer, consumer] = None
            return False
        for op in merged.ops.values():
            self.cluster_of[op] = merged
        return True

    def _is_kernel(self, cluster: Cluster) -> bool:
        """Whether the ops of `cluster` can be one kernel and lose nothing by it."""
        ops = cluster.ordered()
        inside = dict.fromkeys([*free_producers(ops), *ops])
        outputs = outputs_of(ops)
        if len(inputs_of(ops, inside)) + len(outputs) > self.max_buffers:
            return False
        try:
            plan = self.shadow.plan(inside, outputs)
        except Unfit:
            return False
        return recomputation(plan) is None

    def _is_apart(self, producer: Cluster, consumer: Cluster) -> bool:
        """Whether something outside needs the producer and is needed by the consumer: merged, they would need each other."""
        waiting = [user for user in self.users(producer) if user is not consumer]
        seen: dict[object, None] = dict.fromkeys(waiting)
        while waiting:
            here = waiting.pop()
            for user in self.users(here):
                if user is consumer:
                    return True
                if user not in seen and user is not producer:
                    seen[user] = None
                    waiting.append(user)
        return False

    def users(self, node: Cluster | Operation) -> list[Cluster | Operation]:
        """The clusters, and the ops in no cluster, that use what `node` computes; views are seen through."""
        found: dict[Cluster | Operation, None] = {}
        ops = list(node.ops.values()) if isinstance(node, Cluster) else [node]
        waiting = [user for op in ops for value in op.results for user in value.users]
        while waiting:
            user = self._in_block(waiting.pop())
            if user is None:
                continue
            is_view = is_fusible(user) and is_free(user)
            if user in self.cluster_of:
                if self.cluster_of[user] is not node:
                    found[self.cluster_of[user]] = None
            elif not is_view:
                found[user] = None
            if is_view:
                waiting += [other for value in user.results for other in value.users]
        return list(found)

    def _in_block(self, op: Operation) -> Operation | None:
        """The op of the block in which `op` stands."""
        here: Operation | None = op
        while here is not None and here not in self.position:
            here = here.parent_op
        return here


def _is_needed_as_such(op: Operation) -> bool:
    """Whether a result of a view or constant is used by something that is no kernel."""
    return any(not is_fusible(user) for value in op.results for user in value.users)


def inputs_of(ops: Sequence[Operation], inside: dict[Operation, None]) -> list[Value]:
    """The values from outside that `ops` use, through the views among `inside`, in the order of their first use."""
    found: dict[Value, None] = {}
    for op in ops:
        for operand in op.operands:
            waiting = [operand]
            while waiting:
                value = waiting.pop()
                definition = value.defining_op
                if definition is None or definition not in inside:
                    found[value] = None
                elif is_free(definition) and definition not in ops:
                    waiting += reversed(definition.operands)
    return list(found)
