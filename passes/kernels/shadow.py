"""A private copy of a block's array ops in which composites are written out, for fusion to look at."""

from __future__ import annotations

from collections.abc import Sequence

from dlir.ir.core import Block, Operation, Value
from dlir.ir.dialects.kernel import Yield
from dlir.ir.dialects.nd.base import Primitive
from dlir.ir.traversal import Mapping, clone
from dlir.passes.kernels.classify import FusionClass, facts, is_free
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
        self._copies: dict[Operation, list[Operation]] = {}
        for copy, op in self.origin.items():
            self._copies.setdefault(op, []).append(copy)

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

    def plan(self, ops: dict[Operation, None], outputs: Sequence[Value], parts: bool = False) -> Plan:
        """The plan of one kernel that computes `outputs` with `ops`, perhaps in several parts; Unfit if there is none."""
        return plan_kernel([self.value(value) for value in outputs], lambda op: self.origin.get(op) in ops, parts)

    def copies(self, op: Operation) -> list[Operation]:
        """The primitives, and attentions, that stand for `op`."""
        return self._copies.get(op, [])

    def pointwise(self, op: Operation) -> tuple[int, ...] | None:
        """The shape of the results of `op` if each element is computed from those at the same place; else None."""
        shape = op.results[0].shape
        for copy in self._copies.get(op, ()):
            if not copy.operands or (isinstance(copy, Primitive) and is_free(copy) and not _reads(copy)):
                continue
            if not isinstance(copy, Primitive) or not _is_pointwise(copy, shape):
                return None
        return shape


def _is_pointwise(op: Primitive, shape: tuple[int, ...]) -> bool:
    found = facts(op)
    is_elementwise = found.fusion_class is FusionClass.ELEMENTWISE and found.space.parallel == shape
    return is_elementwise and all(affine is None for _, affine in found.reads)


def _reads(op: Operation) -> bool:
    """Whether a view shows something other than a constant."""
    waiting = list(op.operands)
    while waiting:
        definition = waiting.pop().defining_op
        if definition is None or not is_free(definition):
            return True
        waiting += definition.operands
    return False
