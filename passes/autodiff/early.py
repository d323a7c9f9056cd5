"""Computing early what ends lives, such as the update of a weight from its gradient."""

from __future__ import annotations

from dlir.ir.core import Block, Operation, Value
from dlir.ir.dialects.nd.base import Elementwise
from dlir.ir.types import TensorType


def compute_early(block: Block) -> int:
    """Move elementwise ops up to the op that makes their last operand, where more memory is freed there than taken.

    Text has all updates of weights behind all gradients; fusion computes each with its gradient.  Returns how many moved.
    """
    written = {value: None for op in block.ops if op.name == "state.write" for value in op.operands}
    lasting = written | dict.fromkeys(block.terminator.operands)
    moved = 0
    for op in block.ops:
        if not isinstance(op, Elementwise):
            continue
        makers = [value.defining_op for value in op.operands if not _is_constant(value)]
        inside = [maker for maker in makers if maker is not None and maker.parent is block]
        if not inside or _taken(op, lasting) > _freed(op):
            continue
        last = inside[0]
        for maker in inside[1:]:
            last = maker if last.is_before(maker) else last
        if last.next is not op:
            op.move_after(last)
            for value in op.operands:
                constant = value.defining_op
                if constant is not None and constant.parent is block and op.is_before(constant):
                    constant.move_before(op)
            moved += 1
    return moved


def _taken(op: Operation, lasting: dict[Value, None]) -> int:
    """The bytes that the results of `op` take; those of the function have memory of their own."""
    return sum(_bytes(result) for result in op.results if result not in lasting)


def _freed(op: Operation) -> int:
    """The bytes of the operands of `op` that nothing else uses."""
    owned = [value for value in dict.fromkeys(op.operands) if value.defining_op is not None and value.users == [op]]
    return sum(_bytes(value) for value in owned if not _is_constant(value) and value.owner.name != "state.read")


def _bytes(value: Value) -> int:
    return value.type.nbytes if isinstance(value.type, TensorType) else 0


def _is_constant(value: Value) -> bool:
    return value.defining_op is not None and not value.defining_op.operands and value.defining_op.name == "nd.constant"
