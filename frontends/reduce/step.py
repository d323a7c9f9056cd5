"""What a reduction step is, and what steps share: finding replacements, and making types agree again.

A step lists sites, such as ops that could go, and changes some of them in a copy of the module.  A site names its op by its
number in ``module.walk()``, which is the same in every copy.  What a change leaves invalid is thrown away by the search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlir.ir.attributes import ArrayAttr, DenseElementsAttr, DictAttr
from dlir.ir.builder import before
from dlir.ir.core import Block, Operation, UnregisteredOp, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Call, Func
from dlir.ir.dialects.kernel import KernelRegion
from dlir.ir.errors import DlirError
from dlir.ir.op import Op
from dlir.ir.ops import arith, nd
from dlir.ir.types import FloatType, FunctionType, ScalarType, TensorType, Type, VectorType

CONSTANTS = ("nd.constant", "arith.constant")


@dataclass(frozen=True)
class Step:
    """One kind of change; `sites` are in the module's order, `apply` changes a module in place."""

    name: str
    sites: Callable[[Module], list[Any]]
    apply: Callable[[Module, Sequence[Any]], None]
    #: Sites exclude each other: they are tried one by one.
    one_by_one: bool = False


def numbered(module: Module) -> list[tuple[int, Operation]]:
    """The ops with their numbers."""
    return list(enumerate(module.walk()))


def functions(module: Module) -> Iterator[tuple[int, Func]]:
    """The functions with their numbers."""
    return ((number, op) for number, op in numbered(module) if isinstance(op, Func))


def calls_of(module: Module, function: Func) -> list[Call]:
    """The ops that call `function`."""
    return [op for op in module.walk() if isinstance(op, Call) and op["callee"] == function.symbol]


# ---------------------------------------------------------------- values that stand for others


def earlier_value(op: Operation, type: Type) -> Value | None:
    """A value of this type that can be used where `op` stands: one of its operands, else what was defined first."""
    for operand in op.operands:
        if operand.type is type:
            return operand
    stop: Operation | None = op
    block = op.parent
    while block is not None and stop is not None:
        for value in _defined_before(block, stop):
            if value.type is type:
                return value
        stop = block.parent_op
        if stop is None or stop.is_isolated:
            return None
        block = stop.parent
    return None


def _defined_before(block: Block, stop: Operation) -> Iterator[Value]:
    yield from block.args
    for op in block.ops:
        if op is stop:
            return
        yield from op.results


def last_operand(op: Operation, type: Type) -> Value | None:
    """The last operand of `op` that has this type."""
    return next((operand for operand in reversed(op.operands) if operand.type is type), None)


def new_argument(op: Operation, type: Type) -> Value | None:
    """A new argument of the function around `op`, handed through the kernel around it; None if that cannot be."""
    wall = op.parent_op
    while wall is not None and not wall.is_isolated:
        wall = wall.parent_op
    if isinstance(wall, KernelRegion) and not wall.is_bufferized:
        outside = new_argument(wall, type)
        if outside is None:
            return None
        wall.set_operands([*wall.operands, outside])
        return wall.body.add_arg(type)
    module = None if wall is None else wall.parent_op
    if not isinstance(wall, Func) or not isinstance(module, Module) or calls_of(module, wall):
        return None
    argument = wall.body.add_arg(type)
    found = wall.attributes.get("arg_attrs")
    if isinstance(found, ArrayAttr):
        wall.attributes["arg_attrs"] = ArrayAttr([*found.items, DictAttr({})])
    refresh_type(wall)
    return argument


def zero(op: Operation, type: Type) -> Value | None:
    """A constant zero of this type, made in front of `op`; None for a type that has no constants."""
    try:
        with before(op):
            if isinstance(type, TensorType):
                if not type.is_static or not isinstance(type.dtype, ScalarType):
                    return None
                return nd.constant(value=DenseElementsAttr(np.zeros((), type.dtype.numpy), type))
            if isinstance(type, ScalarType | VectorType):
                dtype = type.dtype if isinstance(type, VectorType) else type
                return arith.constant(0.0 if isinstance(dtype, FloatType) else 0, type)
    except (DlirError, TypeError):  # an element type that no constant can have
        pass
    return None


Finder = Callable[[Operation, Type], Value | None]


def remove(op: Operation, finders: Sequence[Finder]) -> bool:
    """Erase `op`, with other values for its used results, from the first finder that has one; False if there is none."""
    values: list[Value | None] = []
    for result in op.results:
        found = next(filter(None, (find(op, result.type) for find in finders)), None) if result.is_used else None
        if found is None and result.is_used:
            return False
        values.append(found)
    for result, value in zip(op.results, values, strict=True):
        if value is not None:
            result.replace_by(value)
    op.erase()
    return True


def is_attached(op: Operation, module: Module) -> bool:
    """Whether `op` still stands in the module."""
    here: Operation | None = op
    while here is not None and here is not module:
        here = here.parent_op
    return here is module


def without_result(op: Operation, index: int) -> Operation:
    """Put in the place of `op` the same op without an unused result."""
    kept = [result for result in op.results if result.index != index]
    types = [result.type for result in kept]
    new = type(op)(op.name, op.operands, types, op.attributes, op.regions, op.successors, op.location)
    if isinstance(op, UnregisteredOp):
        new.properties = op.properties  # type: ignore[attr-defined]
    for old, result in zip(kept, new.results, strict=True):
        result.name = old.name
        old.replace_by(result)
    op.regions = ()
    assert op.parent is not None
    op.parent.insert_before(op, new)
    op.erase()
    return new


# ---------------------------------------------------------------- types that follow from others


def refresh_type(function: Func) -> None:
    """Make the function's type agree with its arguments and what it returns."""
    if function.is_declaration:
        return
    returned = [block.last for block in function.regions[0].blocks if block.last and block.last.name == "func.return"]
    results = returned[0].operand_types if returned else function.type.results
    function.set("function_type", FunctionType([arg.type for arg in function.body.args], results))


def settle(module: Module) -> None:
    """Work out all types anew, from those of the functions' arguments and of what declares its type.

    Where that fails, types stay as they are, and the verifier will tell.
    """
    for _ in range(8):  # a round for each level of calls and regions; real programs need two or three
        if not sum([_settle_op(module, op) for op in module.walk()]):
            return


def _settle_op(module: Module, op: Operation) -> bool:
    if isinstance(op, Func):
        old = op.type
        refresh_type(op)
        return op.type is not old
    if not isinstance(op, Op):
        return False
    changed = False
    if isinstance(op, KernelRegion):
        for value, arg in zip(op.ins, op.body.args):
            changed |= _set_type(arg, value.type) if isinstance(value.type, TensorType) else False
    for result, type in zip(op.results, _types_now(module, op)):
        changed |= _set_type(result, type)
    return changed


def _types_now(module: Module, op: Op) -> Sequence[Type]:
    """The result types that `op` should have now."""
    schema = op.schema()
    try:
        if schema.infers:
            return op.infer_types(op.groups, op.keywords)
        for spec in schema.symbols:
            symbol = module.symbol(op.get(spec.name, ""))
            found = None if symbol is None else op.types_from_symbol(symbol)
            if found is not None:
                return found
    except DlirError:
        return op.result_types
    if isinstance(op, KernelRegion) and not op.is_bufferized and op.body.last is not None:
        return op.body.last.operand_types
    return op.result_types


def _set_type(value: Value, type: Type) -> bool:
    changed = value.type is not type
    value.type = type
    return changed
