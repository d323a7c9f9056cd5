"""A private copy of a block's array ops in which composites are written out, for fusion to look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dlir.ir.core import Block, Operation, Value
from dlir.ir.dialects.kernel import Yield
from dlir.ir.traversal import Mapping, clone
from dlir.passes.kernels.expand import expand, expandable
from dlir.passes.kernels.plan import Plan
from dlir.passes.kernels.planner import plan_kernel


class Shadow:
    """The copy of `ops`, which are in program order.  Values from outside are arguments of its block."""

    def __init__(self, ops: Sequence[Operation]) -> None:
        self.block = Block()
        #: For each primitive of the copy, the op that it stands for.
        self.origin: dict[Operation, Operation] = {}
        mapping = Mapping()
        results: list[Value] = []
        for op in ops:
            for value in op.operands:
                if value not in mapping.values:
                    mapping.values[value] = self.block.add_arg(value.type)
            copy = self.block.append(clone(op, mapping))
            self.origin[copy] = op
            results += op.results
        # What stands for each result follows when composites are replaced, because this op uses it.
        self._ending = self.block.append(Yield.create(*[mapping.value(value) for value in results]))
        self._number = {value: number for number, value in enumerate(results)}
        self._expand()

    def _expand(self) -> None:
        waiting = expandable(self.block.ops)
        while waiting:
            op = waiting.pop()
            origin = self.origin.pop(op)
            made = expand(op)
            self.origin.update(dict.fromkeys(made, origin))
            waiting += expandable(made)

    def value(self, value: Value) -> Value:
        """What stands for a result of one of the ops."""
        return self._ending.operands[self._number[value]]

    def primitives(self, ops: Iterable[Operation]) -> list[Operation]:
        """The primitives that stand for `ops`."""
        wanted = dict.fromkeys(ops)
        return [copy for copy, origin in self.origin.items() if origin in wanted]

    def plan(self, ops: dict[Operation, None], outputs: Sequence[Value]) -> Plan:
        """The plan of one kernel that computes `outputs` with `ops`; Unfit if there is none."""
        return plan_kernel([self.value(value) for value in outputs], lambda op: self.origin.get(op) in ops)
