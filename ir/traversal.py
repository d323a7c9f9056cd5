"""Copying and comparing pieces of the graph, without recursion on nesting depth."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dlir.ir.collection import collection_paused
from dlir.ir.core import Block, Operation, Region, UnregisteredOp, Use, Value


class Mapping:
    """What a clone stands for: old values and blocks to new ones; what is not mapped stays itself."""

    __slots__ = ("blocks", "unmapped", "values")

    def __init__(self, values: dict[Value, Value] | None = None) -> None:
        self.values: dict[Value, Value] = {} if values is None else values
        self.blocks: dict[Block, Block] = {}
        #: Operands of copies whose value had no copy when they were made.
        self.unmapped: list[tuple[Use, Value]] = []

    def value(self, old: Value) -> Value:
        return self.values.get(old, old)


def clone(op: Operation, mapping: Mapping | None = None) -> Any:
    """A copy of `op` and all inside it, not inserted anywhere.  `mapping` gives replacements for values from outside and
    receives those of everything that was copied."""
    mapping = mapping or Mapping()
    with collection_paused():
        top = _clone_shell(op, mapping)
        pairs = [(op, top)]
        for old, new in pairs:  # grows while it is walked: outer before inner
            for old_region, new_region in zip(old.regions, new.regions, strict=True):
                for old_block in old_region.blocks:
                    new_block = new_region.append(mapping.blocks[old_block])
                    for inner in old_block.ops:
                        copy = _clone_shell(inner, mapping)
                        new_block.append(copy)
                        if inner.regions:
                            pairs.append((inner, copy))
        # What was used before it was copied (forward references, values of outer ops) was left as it is.
        for use, value in mapping.unmapped:
            use.set(mapping.value(value))
        mapping.unmapped.clear()
    return top


def _clone_shell(op: Operation, mapping: Mapping) -> Operation:
    """A copy of `op` with empty regions; its blocks are made (for successors to name) but not filled."""
    regions = []
    for region in op.regions:
        regions.append(Region())
        for block in region.blocks:
            copy = Block(name=block.name)
            for arg in block.args:
                mapping.values[arg] = copy.add_arg(arg.type, arg.name, arg.location)
            mapping.blocks[block] = copy
    values = mapping.values
    operands = [use.value for use in op._uses]
    new = type(op)(
        op.name,
        [values.get(value, value) for value in operands],
        [result.type for result in op.results],
        dict(op.attributes),
        regions,
        [mapping.blocks.get(block, block) for block in op.successors] if op.successors else (),
        op.location,
    )
    if isinstance(op, UnregisteredOp) and op.properties:
        new.properties = op.properties  # type: ignore[attr-defined]
    for index, value in enumerate(operands):
        if value not in values:
            mapping.unmapped.append((new._uses[index], value))
    for old_result, new_result in zip(op.results, new.results):
        new_result.name = old_result.name
        values[old_result] = new_result
    return new


def clone_ops(ops: Iterable[Operation], mapping: Mapping) -> list[Operation]:
    """Copies of `ops` in order, each seeing the copies of the ones before it."""
    return [clone(op, mapping) for op in ops]


def structurally_equal(first: Operation, second: Operation) -> bool:
    """Whether two ops are the same but for names of values and locations."""
    return difference(first, second) is None


def difference(first: Operation, second: Operation) -> str | None:
    """What makes two ops structurally different, in words, or None."""
    values: dict[Value, Value] = {}
    blocks: dict[Block, Block] = {}
    deferred: list[tuple[Operation, Operation]] = []
    stack = [(first, second)]
    while stack:
        one, two = stack.pop()
        found = _shallow_difference(one, two)
        if found:
            return found
        values.update(zip(one.results, two.results, strict=True))
        deferred.append((one, two))
        for region_one, region_two in zip(one.regions, two.regions, strict=True):
            if len(region_one.blocks) != len(region_two.blocks):
                return f"'{one.name}': {len(region_one.blocks)} and {len(region_two.blocks)} blocks"
            for block_one, block_two in zip(region_one.blocks, region_two.blocks, strict=True):
                blocks[block_one] = block_two
                if [arg.type for arg in block_one.args] != [arg.type for arg in block_two.args]:
                    return f"'{one.name}': block arguments differ"
                values.update(zip(block_one.args, block_two.args, strict=True))
                ops_one, ops_two = list(block_one.ops), list(block_two.ops)
                if len(ops_one) != len(ops_two):
                    return f"'{one.name}': {len(ops_one)} and {len(ops_two)} ops in a block"
                stack.extend(zip(ops_one, ops_two, strict=True))
    for one, two in deferred:
        for a, b in zip(one.operands, two.operands, strict=True):
            if values.get(a, a) is not b:
                return f"'{one.name}': different operands"
        for c, d in zip(one.successors, two.successors, strict=True):
            if blocks.get(c, c) is not d:
                return f"'{one.name}': different successors"
    return None


def _shallow_difference(one: Operation, two: Operation) -> str | None:
    if one.name != two.name:
        return f"'{one.name}' and '{two.name}'"
    if one.result_types != two.result_types:
        return f"'{one.name}': result types {one.result_types} and {two.result_types}"
    if one.attributes != two.attributes:
        return f"'{one.name}': attributes {one.attributes} and {two.attributes}"
    sizes = [(len(op.operands), len(op.regions), len(op.successors)) for op in (one, two)]
    if sizes[0] != sizes[1]:
        return f"'{one.name}': different numbers of operands, regions or successors"
    return None
