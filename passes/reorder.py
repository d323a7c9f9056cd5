"""The ``reorder`` pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dlir.ir.core import Operation
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.passes.manager import Pass
from dlir.passes.memory.buffers import bytes_needed
from dlir.passes.memory.order import Graph, graph_of, orders, peak
from dlir.passes.memory.packing import EFFORT
from dlir.passes.memory.updates import sink_updates


@dataclass
class Reorder(Pass, name="reorder"):
    """Run kernels in the order that needs the least memory: the text's, depth first, breadth first or least first.

    Another order than the text's is taken only if its plan is smaller than any that the text's can have, or that is found
    for it.  Kernels that make new values of variables go behind those that read the old ones.
    """

    def run(self, module: Module) -> None:
        for op in module.body.ops:
            if isinstance(op, Func) and not op.is_declaration and len(op.regions[0].blocks) == 1:
                graph = graph_of(op)
                if graph is not None and graph.bytes:
                    self._reorder(op, graph)
                moved = 0 if graph is None else sink_updates(op)
                if moved:
                    self.stats["updates_moved"] += moved

    def _reorder(self, function: Func, graph: Graph) -> None:
        before = peak(graph, graph.ops)
        best = min(orders(graph), key=lambda order: peak(graph, order))
        after = peak(graph, best)
        if after >= before:
            return
        bound = bytes_needed(function, None)[1]
        _arrange(best)
        if bytes_needed(function, 0)[0] >= bound:
            # It is not clear from the bound alone.
            needed = bytes_needed(function, EFFORT)[0]
            _arrange(graph.ops)
            if needed >= bytes_needed(function, EFFORT)[0]:
                return
            _arrange(best)
        self.stats["moved"] += sum(old is not new for old, new in zip(graph.ops, best, strict=True))
        self.stats["peak_before"] += before
        self.stats["peak_after"] += after


def _arrange(order: Sequence[Operation]) -> None:
    """Bring the ops of a block, all but the writes and the terminator at its end, into this order."""
    block = order[0].parent
    assert block is not None
    end = next(op for op in block.ops if op.name == "state.write" or op.is_terminator)
    for op in order:
        op.detach()
        block.insert_before(end, op)
