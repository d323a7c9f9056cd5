"""Steps that take away ops, regions, operands and results of ops."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dlir.frontends.reduce.step import (
    CONSTANTS,
    Finder,
    Step,
    earlier_value,
    is_attached,
    last_operand,
    new_argument,
    numbered,
    remove,
    settle,
    without_result,
    zero,
)
from dlir.ir.core import Block, Operation, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.kernel import KernelRegion
from dlir.ir.op import Op
from dlir.ir.schema import flatten_groups, segment_sizes

#: An op's number, and the number of its region, operand or result.
Site = tuple[int, int]


def inner_ops(module: Module) -> list[int]:
    """All ops but terminators and what stands in the module itself."""
    return [n for n, op in numbered(module) if op.parent_op not in (None, module) and not op.is_terminator]


def unused_ops(module: Module) -> list[int]:
    """The ops of which no result is used."""
    ops = list(module.walk())
    return [number for number in inner_ops(module) if ops[number].results and not ops[number].is_used]


def computing_ops(module: Module) -> list[int]:
    """The ops that are no constants."""
    ops = list(module.walk())
    return [number for number in inner_ops(module) if ops[number].name not in CONSTANTS]


def replacing_by(*finders: Finder) -> Callable[[Module, Sequence[int]], None]:
    """A change that removes ops, with values from the first of these finders that has one."""

    def apply(module: Module, sites: Sequence[int]) -> None:
        ops = list(module.walk())
        for number in sites:
            if is_attached(ops[number], module):
                remove(ops[number], finders)

    return apply


# ---------------------------------------------------------------- regions


def regions(module: Module) -> list[Site]:
    """The regions with one block of all ops inside of functions."""
    ops = list(module.walk())
    numbers = [number for number in inner_ops(module) if not isinstance(ops[number], Func)]
    return [(n, index) for n in numbers for index, region in enumerate(ops[n].regions) if len(region.blocks) == 1]


def inline_regions(module: Module, sites: Sequence[Site]) -> None:
    """Put what is in a region, run once, in the place of its op."""
    ops = list(module.walk())
    for number, index in sites:
        if is_attached(ops[number], module) and ops[number].regions:
            _inline(ops[number], ops[number].regions[index].block)


def _inline(op: Operation, block: Block) -> None:
    """Arguments become operands of the same type, in order; so do results with what the terminator has."""
    last = block.last
    if last is None:
        return
    values = _matched([arg.type for arg in block.args], op.operands)
    results = _matched([result.type for result in op.results], last.operands)
    if values is None or results is None:
        return
    for arg, value in zip(block.args, values, strict=True):
        arg.replace_by(value)
    # What the terminator hands on may be an argument, which is another value by now.
    results = _matched([result.type for result in op.results], last.operands)
    assert results is not None
    for inner in list(block.ops):
        if inner is not last:
            inner.move_before(op)
    for result, value in zip(op.results, results, strict=True):
        result.replace_by(value)
    op.erase()


def _matched(types: Sequence[object], values: Sequence[Value]) -> list[Value] | None:
    """A value of each type, each value once and in order where that is possible; None if a type has none."""
    left = list(values)
    found: list[Value] = []
    for type in types:
        value = next((value for value in left if value.type is type), None)
        if value is None:
            return None
        left.remove(value)
        found.append(value)
    return found


def region_results(module: Module) -> list[Site]:
    """The unused results of ops whose regions yield one value for each."""
    return [
        (number, result.index)
        for number, op in numbered(module)
        if op.regions and all(_yields(op, block) for region in op.regions for block in region.blocks)
        for result in op.results
        if not result.is_used
    ]


def _yields(op: Operation, block: Block) -> bool:
    return block.last is not None and block.last.operand_types == op.result_types


def drop_region_results(module: Module, sites: Sequence[Site]) -> None:
    """Yield less."""
    ops = list(module.walk())
    for number, index in sorted(sites, reverse=True):
        op = ops[number]
        for region in op.regions:
            for block in region.blocks:
                assert block.last is not None
                block.last.set_operands([v for n, v in enumerate(block.last.operands) if n != index])
        ops[number] = without_result(op, index)


# ---------------------------------------------------------------- operands


def spare_operands(module: Module) -> list[Site]:
    """The operands that an op can do without: optional ones, and those of which it takes any number."""
    sites: list[Site] = []
    for number, op in numbered(module):
        if not isinstance(op, Op) or op.parent_op in (None, module) or op.is_terminator or op.name == "func.call":
            continue
        if isinstance(op, KernelRegion):
            sites += [(number, arg.index) for arg in op.body.args if not arg.is_used]
        elif not op.regions:
            spare = [spec.kind != "one" for spec in op.schema().operands]
            sizes = [len(g) if isinstance(g, tuple) else g is not None for g in op.groups]
            flags = [flag for flag, size in zip(spare, sizes, strict=True) for _ in range(size)]
            sites += [(number, index) for index, flag in enumerate(flags) if flag]
    return sites


def drop_operands(module: Module, sites: Sequence[Site]) -> None:
    """Take fewer operands; types follow."""
    ops = list(module.walk())
    for number, index in sorted(sites, reverse=True):
        op = ops[number]
        assert isinstance(op, Op)
        if isinstance(op, KernelRegion):
            op.body.erase_arg(index)
            op.set_operands([value for position, value in enumerate(op.operands) if position != index])
        else:
            _drop_operand(op, op.operands[index], index)
    settle(module)


def _drop_operand(op: Op, value: Value, index: int) -> None:
    groups = []
    position = 0
    for group in op.groups:
        members = group if isinstance(group, tuple) else () if group is None else (group,)
        kept = [member for place, member in enumerate(members, position) if place != index]
        position += len(members)
        groups.append(tuple(kept) if isinstance(group, tuple) else kept[0] if kept else None)
    op.set_operands(flatten_groups(groups))
    if op.schema().needs_segments:
        op.attributes["operandSegmentSizes"] = segment_sizes(groups)


STEPS = (
    Step("ops that are not used", unused_ops, replacing_by()),
    Step("ops, for earlier values", inner_ops, replacing_by(earlier_value, new_argument, zero)),
    Step("ops, for their last operands", inner_ops, replacing_by(last_operand)),
    Step("ops, for arguments", inner_ops, replacing_by(new_argument)),
    Step("ops, for zeros", computing_ops, replacing_by(zero)),
    Step("regions", regions, inline_regions),
    Step("results of regions", region_results, drop_region_results),
    Step("operands", spare_operands, drop_operands),
)
