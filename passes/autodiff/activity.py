"""Which ops lie between inputs and outputs: those on which an output depends and that depend on an input, with a slope."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dlir.ir.core import BlockArgument, Operation, Value
from dlir.ir.dialects.state import Read
from dlir.ir.types import TensorType, is_float


class Between:
    """The ops between `inputs` and `outputs`.

    All reads of one variable are one value: each of them sees what the variable held before the call.
    """

    def __init__(self, outputs: Iterable[Value], inputs: Iterable[Value]) -> None:
        self._reads: dict[str, Value] = {}
        #: The ops that the outputs need, each after those whose results it uses.
        self.needed = _ordered(outputs)
        #: The values that move when an input does.
        self._varied = dict.fromkeys(map(self.same, inputs))
        #: The needed ops that have such a value among their results, in order.
        self.active: list[Operation] = []
        for op in self.needed:
            if getattr(op, "differentiable", True) and any(map(self.is_varied, used_values(op))):
                moving = [result for result in op.results if has_slope(result)]
                self._varied.update(dict.fromkeys(moving))
                if moving:
                    self.active.append(op)

    def same(self, value: Value) -> Value:
        """The value that stands for this one and all that are always equal to it."""
        op = value.defining_op
        return self._reads.setdefault(op["variable"], value) if isinstance(op, Read) else value

    def is_varied(self, value: Value) -> bool:
        """Whether the value moves when an input does."""
        return self.same(value) in self._varied


def has_slope(value: Value) -> bool:
    """Whether a value can change by a little: it is a tensor of floats."""
    return isinstance(value.type, TensorType) and is_float(value.type.dtype)


def used_values(op: Operation) -> Sequence[Value]:
    """The operands of `op`, and what the ops in its regions use from outside of it."""
    if not op.regions:
        return op.operands
    found = dict.fromkeys(op.operands)
    inside = {inner: None for inner in op.walk()}
    for inner in inside:
        for value in inner.operands:
            owner = value.owner.parent_op if isinstance(value, BlockArgument) else value.owner
            if owner not in inside:
                found[value] = None
    return list(found)


def _ordered(outputs: Iterable[Value]) -> list[Operation]:
    """The ops that `outputs` need, each after those that it needs itself."""
    order: dict[Operation, None] = {}
    roots = [value.defining_op for value in outputs]
    stack = [(op, False) for op in reversed(roots) if op is not None]
    while stack:
        op, is_ready = stack.pop()
        if is_ready:
            order[op] = None
        elif op not in order:
            stack.append((op, True))
            definitions = [value.defining_op for value in used_values(op)]
            stack += [(other, False) for other in reversed(definitions) if other is not None and other not in order]
    return list(order)
