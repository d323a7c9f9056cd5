"""Checks and construction shared by ops with regions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from dlir.ir.builder import at_end
from dlir.ir.core import Block, Operation, Region, Value
from dlir.ir.errors import DlirError
from dlir.ir.op import INDEX, Op, Type


def only_block(op: Operation, index: int = 0) -> Block:
    """The only block of region number `index`; DlirError if there is not exactly one."""
    blocks = op.regions[index].blocks
    if len(blocks) != 1:
        raise DlirError(f"needs one block in region {index}, got {len(blocks)}", op.location)
    return blocks[0]


def check_arguments(op: Operation, block: Block, types: Sequence[Type]) -> None:
    """DlirError unless the arguments of `block` have these types."""
    found = [arg.type for arg in block.args]
    if found != list(types):
        raise DlirError(f"needs block arguments {spell(types)}, got {spell(found)}", op.location)


def check_ending(op: Operation, block: Block, name: str, types: Sequence[Type]) -> None:
    """DlirError unless `block` ends in op `name` with operands of these types, or in an op that is not registered."""
    last = block.last
    if last is None or (last.is_registered and last.name != name):
        found = "is empty" if last is None else f"ends in '{last.name}'"
        raise DlirError(f"needs a block that ends in '{name}', but it {found}", op.location)
    if last.is_registered and list(last.operand_types) != list(types):
        raise DlirError(f"needs '{name}' of {spell(types)}, got {spell(last.operand_types)}", last.location)


def spell(types: Iterable[Type]) -> str:
    """Types in parentheses."""
    return "(" + ", ".join(map(str, types)) + ")"


def values_of(found: Any) -> tuple[Value, ...]:
    """What a body function returned, as a tuple: None is nothing, a value is one."""
    if found is None or isinstance(found, Op):
        return ()
    return (found,) if isinstance(found, Value) else tuple(found)


def region_of(types: Iterable[Type], body: Callable[..., Any], end: Callable[..., Any]) -> Region:
    """A region with one block: `body` fills it from its arguments, `end` ends it with what that returns."""
    block = Block(types)
    for arg in block.args:
        arg.name = "i" if arg.type is INDEX else None
    with at_end(block):
        end(*values_of(body(*block.args)))
    return Region([block])
