"""Grouping the array ops of a block into kernels.

Every op starts as a cluster of its own.  Clusters are merged along producer-consumer edges, in program order, and then
where they read the same large value, whenever the result is still one kernel (`Shadow.plan`), nothing outside stands
between them, and no costly op is computed far more often than before.  Views and constants belong to no cluster: every
kernel makes those that it needs.

What is asked of a cluster for each merge (its inputs, its results, who uses them) is kept with it, and that pointwise ops on
one shape can be one kernel needs no plan: a long chain of them takes time in proportion to its length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from dlir.ir.core import Block, Operation, Value
from dlir.ir.dialects.kernel import RECOMPUTE
from dlir.passes.kernels.classify import is_free
from dlir.passes.kernels.cost import recomputation
from dlir.passes.kernels.groups import apply_groups
from dlir.passes.kernels.legality import free_producers, is_fusible, is_needed_outside, sources
from dlir.passes.kernels.live import peak
from dlir.passes.kernels.plan import Plan, Unfit
from dlir.passes.kernels.shadow import Shadow

#: Raises Unfit, with the reason, for a kernel that is slower than several would be.
Check = Callable[[Plan], None]

#: Which part of the values that live at one time, before kernels are merged, is not worth asking about, and how many bytes.
LITTLE = 128
FEW = 1 << 20


@dataclass(eq=False)
class Cluster:
    """Ops that become one kernel, by their position in the block.

    `inputs` are read from outside, `viewed` are those of them, or results of its own, that it sees through a view;
    `outputs` are used outside, by `users`.  `shape` is the one on which all ops are pointwise, None if they are not.
    A fixed cluster takes no more ops.
    """

    ops: dict[int, Operation]
    first: int
    last: int
    inputs: dict[Value, None]
    viewed: dict[Value, None]
    outputs: dict[Value, None]
    users: dict[Operation, None]
    shape: tuple[int, ...] | None
    is_fixed: bool = False
    #: Changes when ops are added.
    version: int = 0

    def ordered(self) -> list[Operation]:
        """The ops in program order."""
        return [self.ops[position] for position in sorted(self.ops)]


class Clustering:
    """The clusters of one block."""

    def __init__(self, block: Block, max_ops: int, max_buffers: int, check: Check = lambda plan: None) -> None:
        self.max_ops = max_ops
        self.max_buffers = max_buffers
        self.check = check
        self.position = {op: number for number, op in enumerate(block.ops)}
        #: What `_users_of` has found: the block stays as it is while clusters grow.
        self._known_users: dict[tuple[Value, ...], list[Operation]] = {}
        fusible = [op for op in block.ops if is_fusible(op)]
        self.shadow = Shadow(fusible)
        self.cluster_of: dict[Operation, Cluster] = {}
        for op in fusible:
            if not is_free(op) or _is_needed_as_such(op):
                self.cluster_of[op] = self._single(op)
        #: Pairs that were refused, with their versions then.
        self.refused: dict[tuple[Cluster, Cluster], tuple[int, int]] = {}
        #: How often two clusters were made one: what was found out about all of them holds until then.
        self.merges = 0
        self._peak: tuple[int, int] | None = None
        #: Bytes of values that may live longer without a question.
        self._little: int | None = None

    def clusters(self) -> list[Cluster]:
        """All clusters, in the order of their first ops."""
        return sorted(dict.fromkeys(self.cluster_of.values()), key=lambda cluster: cluster.first)

    @property
    def peak(self) -> int:
        """Bytes of the values between kernels that live at one time, at most, as things stand."""
        if self._peak is None or self._peak[0] != self.merges:
            self._peak = self.merges, peak(self)
        return self._peak[1]

    def run(self) -> None:
        """Merge until nothing more can be; DlirError for groups in the text that cannot be kernels."""
        if self.max_ops <= 1:
            return
        apply_groups(self)
        while self._merge_chains(stored=False):
            pass
        while self._merge_chains() or self._merge_siblings():
            pass

    def _single(self, op: Operation) -> Cluster:
        position = self.position[op]
        inputs: dict[Value, None] = {}
        viewed: dict[Value, None] = {}
        for operand in op.operands:
            found = dict.fromkeys(sources(operand))
            inputs.update(found)
            if operand not in found:
                viewed.update(found)
        outputs: dict[Value, None] = dict.fromkeys(
            value for value in op.results if is_needed_outside(value, lambda other: other is op)
        )
        users = {user: None for user in self._users_of(op.results) if user is not op}
        return Cluster({position: op}, position, position, inputs, viewed, outputs, users, self.shadow.pointwise(op))

    # ------------------------------------------------------------ which to merge

    def _merge_chains(self, stored: bool = True) -> bool:
        """Merge what computes a value with what uses it, wherever that is possible; whether anything was merged.

        Unless `stored`, only where no value of the producer must be stored after that.
        """
        changed = False
        for op in list(self.cluster_of):
            for producer in list(self._producers(op)):
                consumer = self.cluster_of[op]
                if stored or all(user is consumer for user in self.users(producer)):
                    changed |= self._try_merge(producer, consumer)
        return changed

    def _merge_siblings(self) -> bool:
        """Merge clusters that read the same large value, which is then read once; whether anything was merged."""
        changed = False
        for value, ops in self.readers().items():
            first, *others = ops
            for other in others:
                one, two = self.cluster_of[first], self.cluster_of[other]
                if one is not two and _is_large_in(value, one, two):
                    changed |= self._try_merge(one, two, siblings=True)
        return changed

    def readers(self) -> dict[Value, list[Operation]]:
        """For each value, an op of each cluster that reads it, through views or not."""
        found: dict[Value, list[Operation]] = {}
        for cluster in self.clusters():
            for value in cluster.inputs:
                found.setdefault(value, []).append(cluster.ops[cluster.first])
        return found

    def _producers(self, op: Operation) -> Iterator[Cluster]:
        """The clusters whose results `op` uses, in the order of its operands."""
        for operand in op.operands:
            for value in sources(operand):
                definition = value.defining_op
                if definition in self.cluster_of:
                    yield self.cluster_of[definition]

    # ------------------------------------------------------------ merging

    def _try_merge(self, producer: Cluster, consumer: Cluster, siblings: bool = False) -> bool:
        if producer is consumer or producer.is_fixed or consumer.is_fixed:
            return False
        versions = producer.version, consumer.version
        if self.refused.get((producer, consumer)) == versions:
            return False
        is_cyclic = self.is_apart(producer, consumer) or (siblings and self.is_apart(consumer, producer))
        is_refused = is_cyclic or len(producer.ops) + len(consumer.ops) > self.max_ops
        if (
            is_refused
            or _is_again(producer, consumer)
            or not self._is_kernel(producer, consumer)
            or self.takes_memory(producer, consumer)
        ):
            self.refused[producer, consumer] = versions
            return False
        self.merge(producer, consumer)
        return True

    def _is_kernel(self, one: Cluster, two: Cluster) -> bool:
        """Whether two clusters can be one kernel and lose nothing by it."""
        inputs, outputs = self.buffers(one, two)
        if len(inputs) + len(outputs) > self.max_buffers:
            return False
        if self._pointwise_together(one, two) is not None:
            return True
        try:
            plan = self.plan([*one.ops.values(), *two.ops.values()], outputs)
            self.check(plan)
        except Unfit:
            return False
        return recomputation(plan) is None

    def takes_memory(self, one: Cluster, two: Cluster) -> bool:
        """Whether more values would live at one time if two clusters were one kernel.

        Asked only where something large is made earlier, or needed for longer, than what is not stored any more.
        """
        _, outputs = self.buffers(one, two)
        spared = _bytes(value for value in (*one.outputs, *two.outputs) if value not in outputs)
        longer = min(_bytes(one.inputs), _bytes(value for value in two.outputs if value in outputs))
        if longer <= spared:
            return False
        if self._little is None:
            self._little = max(self.peak // LITTLE, FEW)
        return longer - spared > self._little and peak(self, (one, two)) > self.peak

    def plan(self, ops: Sequence[Operation], outputs: Sequence[Value], parts: bool = False) -> Plan:
        """The plan of one kernel of these ops; Unfit if there is none."""
        ordered = sorted(ops, key=self.position.__getitem__)
        members = dict.fromkeys(ordered)
        results = [value for op in ordered for value in op.results if value in dict.fromkeys(outputs)]
        return self.shadow.plan(dict.fromkeys([*free_producers(ordered), *members]), results, parts)

    def buffers(self, *clusters: Cluster) -> tuple[list[Value], list[Value]]:
        """What clusters read and write as one."""

        def is_member(op: Operation | None) -> bool:
            return op is not None and self.cluster_of.get(op) in clusters

        inputs = {value: None for found in clusters for value in found.inputs if not is_member(value.defining_op)}
        outputs = [value for found in clusters for value in found.outputs if is_needed_outside(value, is_member)]
        return list(inputs), outputs

    def _pointwise_together(self, one: Cluster, two: Cluster) -> tuple[int, ...] | None:
        """The shape on which all ops of both are pointwise; None if they are not, or if one sees the other in a view."""
        if one.shape is None or one.shape != two.shape:
            return None
        for value in (*one.viewed, *two.viewed):
            definition = value.defining_op
            if definition is not None and self.cluster_of.get(definition) in (one, two):
                return None
        return one.shape

    def merge(self, one: Cluster, two: Cluster) -> Cluster:
        """Make two clusters one: the larger takes the ops of the other."""
        inputs, outputs = self.buffers(one, two)
        shape = self._pointwise_together(one, two)
        large, small = (one, two) if len(one.ops) >= len(two.ops) else (two, one)
        large.ops.update(small.ops)
        for op in small.ops.values():
            self.cluster_of[op] = large
        large.first, large.last = min(large.first, small.first), max(large.last, small.last)
        large.inputs, large.outputs, large.shape = dict.fromkeys(inputs), dict.fromkeys(outputs), shape
        large.viewed.update(small.viewed)
        large.users.update(small.users)
        for op in [op for op in large.users if self.cluster_of.get(op) is large]:
            del large.users[op]
        large.version += small.version + 1
        self.merges += 1
        return large

    # ------------------------------------------------------------ who needs whom

    def is_apart(self, producer: Cluster, consumer: Cluster) -> bool:
        """Whether something outside needs the producer and is needed by the consumer: merged, they would need each other."""
        waiting = [user for user in self.users(producer) if user is not consumer]
        seen: dict[object, None] = dict.fromkeys(waiting)
        while waiting:
            here = waiting.pop()
            if self.first(here) > consumer.last:
                continue  # what the consumer needs stands before it
            for user in self.users(here):
                if user is consumer:
                    return True
                if user not in seen and user is not producer:
                    seen[user] = None
                    waiting.append(user)
        return False

    def first(self, node: Cluster | Operation) -> int:
        """The position of a node, or of its first op."""
        return node.first if isinstance(node, Cluster) else self.position[node]

    def nodes(self) -> list[Cluster | Operation]:
        """The clusters, then the ops that are in none; without views, which each kernel makes for itself."""
        others = [op for op in self.position if op not in self.cluster_of and not (is_fusible(op) and is_free(op))]
        return [*self.clusters(), *others]

    def users_of_value(self, value: Value) -> list[Cluster | Operation]:
        """The clusters, and the ops in no cluster, that use `value` or a view of it."""
        return list(dict.fromkeys(self.cluster_of.get(op, op) for op in self._users_of([value])))

    def users(self, node: Cluster | Operation) -> list[Cluster | Operation]:
        """The clusters, and the ops in no cluster, that use what `node` computes; views are seen through."""
        ops = node.users if isinstance(node, Cluster) else self._users_of(node.results)
        found = dict.fromkeys(self.cluster_of.get(op, op) for op in ops)
        found.pop(node, None)
        return list(found)

    def _users_of(self, values: Sequence[Value]) -> list[Operation]:
        """The ops of the block that use `values`; those that a view hands them on to, too."""
        known = self._known_users.get(key := tuple(values))
        if known is not None:
            return known
        found: dict[Operation, None] = {}
        waiting = [user for value in values for user in value.users]
        while waiting:
            user = self._in_block(waiting.pop())
            if user is None:
                continue
            is_view = is_fusible(user) and is_free(user)
            if not is_view or _is_needed_as_such(user):
                found[user] = None
            if is_view:
                waiting += [other for value in user.results for other in value.users]
        self._known_users[key] = list(found)
        return self._known_users[key]

    def _in_block(self, op: Operation) -> Operation | None:
        """The op of the block in which `op` stands."""
        here: Operation | None = op
        while here is not None and here not in self.position:
            here = here.parent_op
        return here


def _is_again(one: Cluster, two: Cluster) -> bool:
    """Whether one cluster computes again what it reads from the other, or as the other does: as one they would keep it."""
    for here, other in ((one, two), (two, one)):
        for op in here.ops.values():
            if RECOMPUTE in op.attributes:
                read = {value for operand in op.operands for value in sources(operand)}
                for user in other.ops.values():
                    if RECOMPUTE not in user.attributes:
                        touched = {value for operand in user.operands for value in sources(operand)}
                        if not read.isdisjoint(touched) or not read.isdisjoint(user.results):
                            return True
    return False


def _is_large_in(value: Value, *clusters: Cluster) -> bool:
    """Whether `value` is at least half as large as anything that one of the clusters reads or writes."""
    sizes = [max(other.type.nbytes for other in (*found.inputs, *found.outputs)) for found in clusters]
    return all(2 * value.type.nbytes >= size for size in sizes)


def _bytes(values: Iterable[Value]) -> int:
    return sum(value.type.nbytes for value in values)


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
