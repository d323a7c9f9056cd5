"""Orders in which a function's kernels may run, and how much memory each one has in use at most.

No single order is best.  Depth first keeps few branches open; breadth first is good where many small values make one large
one; taking what frees most can avoid a peak or walk into one.  So all are simulated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from dlir.ir.core import Operation, Value
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.kernel import KernelRegion
from dlir.ir.dialects.nd.movement import View
from dlir.ir.state import function_writes, sink_writes
from dlir.ir.types import TensorType

#: What may be moved: it depends on its operands alone.
MOVABLE = ("kernel.region", "state.read")


@dataclass(slots=True)
class Graph:
    """The ops of a function without the writes and the return, which values they make of which, and what these cost.

    `bytes` counts what must be kept in temporary memory: not arguments, variables, results or views.
    """

    ops: list[Operation]
    #: What is needed at the end: results, and new values of variables.
    returned: Sequence[Value]
    #: The value whose memory a view shows.
    source: dict[Value, Value] = field(default_factory=dict)
    bytes: dict[Value, int] = field(default_factory=dict)
    users: dict[Value, int] = field(default_factory=dict)

    def owner(self, value: Value) -> Value:
        return self.source.get(value, value)

    def reads(self, op: Operation) -> Iterable[Value]:
        """The values in memory that `op` reads, once each."""
        return dict.fromkeys(self.owner(value) for value in op.operands)


def graph_of(function: Func) -> Graph | None:
    """The graph of a function over tensors with static shapes; None if its ops cannot change places."""
    sink_writes(function.body)
    ops = [op for op in function.body.ops if not op.is_terminator and op.name != "state.write"]
    if any(op.name not in MOVABLE for op in ops):
        return None
    written = [op.operands[0] for op in function_writes(function)]
    graph = Graph(ops, [*function.body.terminator.operands, *written])
    for op in ops:
        is_view = isinstance(op, KernelRegion) and all(isinstance(i, View) or i.is_terminator for i in op.body.ops)
        for value in op.results:
            if not isinstance(value.type, TensorType) or not value.type.is_static:
                return None
            if is_view and len(op.operands) == 1:
                graph.source[value] = graph.owner(op.operands[0])
            elif op.name == "kernel.region":
                graph.bytes[value] = value.type.nbytes
    for returned in graph.returned:
        graph.bytes.pop(graph.owner(returned), None)
    for op in ops:
        for read in graph.reads(op):
            graph.users[read] = graph.users.get(read, 0) + 1
    return graph


def peak(graph: Graph, order: Sequence[Operation]) -> int:
    """The most bytes of temporaries that are in use at one time."""
    left = dict(graph.users)
    live = most = 0
    for op in order:
        made = [value for value in op.results if value in graph.bytes]
        live += sum(graph.bytes[value] for value in made)
        most = max(most, live)
        dying: list[Value] = [value for value in made if not left.get(value)]
        for value in graph.reads(op):
            left[value] -= 1
            if not left[value] and value in graph.bytes:
                dying.append(value)
        live -= sum(graph.bytes[value] for value in dying)
    return most


def orders(graph: Graph) -> list[list[Operation]]:
    """The orders that are tried besides the program's own."""
    return [_depth_first(graph), _breadth_first(graph), _least_first(graph)]


def _depth_first(graph: Graph) -> list[Operation]:
    """Each op right before the first op that needs it, from the results back."""
    done: dict[Operation, None] = {}
    roots = [value.defining_op for value in graph.returned] + graph.ops
    for root in roots:
        stack = [(root, False)]
        while stack:
            op, is_ready = stack.pop()
            if op is None or op in done:
                continue
            if is_ready:
                done[op] = None
            else:
                stack.append((op, True))
                stack += [(value.defining_op, False) for value in reversed(op.operands)]
    return list(done)


def _breadth_first(graph: Graph) -> list[Operation]:
    """By the length of the longest way from the inputs."""
    depth: dict[Operation, int] = {}
    for op in graph.ops:
        above = [depth[value.defining_op] for value in op.operands if value.defining_op is not None]
        depth[op] = max(above, default=-1) + 1
    return sorted(graph.ops, key=depth.__getitem__)


def _least_first(graph: Graph) -> list[Operation]:
    """Of the ops that can run, always the one that leaves the least in use; the first of several."""
    number = {op: n for n, op in enumerate(graph.ops)}
    left = dict(graph.users)
    readers: dict[Value, list[Operation]] = {}
    waiting = {}
    for op in graph.ops:
        needs = dict.fromkeys(value for value in op.operands if value.defining_op is not None)
        waiting[op] = len(needs)
        for value in graph.reads(op):
            readers.setdefault(value, []).append(op)

    def change(op: Operation) -> int:
        freed = sum(graph.bytes.get(value, 0) for value in graph.reads(op) if left[value] == 1)
        return sum(graph.bytes.get(value, 0) for value in op.results if left.get(value)) - freed

    heap: list[tuple[int, int]] = []
    for op in graph.ops:
        if not waiting[op]:
            heappush(heap, (change(op), number[op]))
    found: dict[Operation, None] = {}
    while heap:
        _, n = heappop(heap)
        op = graph.ops[n]
        if op in found:
            continue
        found[op] = None
        for value in graph.reads(op):
            left[value] -= 1
            if left[value] == 1:
                # Its last reader frees it: it has become better than the heap knows.
                for reader in readers[value]:
                    if not waiting[reader] and reader not in found:
                        heappush(heap, (change(reader), number[reader]))
        for value in op.results:
            for user in dict.fromkeys(user for user in value.users if user in number):
                waiting[user] -= 1
                if not waiting[user]:
                    heappush(heap, (change(user), number[user]))
    return list(found)
