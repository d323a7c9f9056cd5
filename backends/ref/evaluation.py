"""Ops that run by their ``eval``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlir.backends.ref.code import Environment, Step
from dlir.ir.attributes import DenseElementsAttr, DenseResourceAttr
from dlir.ir.core import Value
from dlir.ir.errors import DlirError, InferError
from dlir.ir.limits import check_type
from dlir.ir.op import Op, results_of, spread_groups
from dlir.ir.types import ShapedType, TensorType, Type

if TYPE_CHECKING:
    from dlir.backends.ref.machine import Machine


def eval_step(machine: Machine, op: Op) -> Step:
    """The step of an op that runs by its ``eval``."""
    function = getattr(type(op), "eval", None)
    if function is None:
        raise DlirError(f"'{op.name}' cannot be interpreted", op.location)
    keywords = {name: _resolve(machine, op, value) for name, value in op.keywords.items()}
    if not op.schema().infers:
        keywords["result_types"] = op.result_types
    operands, results, types = op.operands, op.results, op.result_types
    gather = _gatherer(op)
    is_dynamic = any(isinstance(type, TensorType) and not type.is_static for type in types)

    def run(environment: Environment) -> None:
        values = [environment[operand] for operand in operands]
        arguments = gather(values)
        checked = _runtime_types(machine, op, arguments) if is_dynamic else types
        try:
            found = function(*arguments, **keywords)
        except DlirError as error:
            raise error.at(op.location) from None
        except (ArithmeticError, IndexError, MemoryError, TypeError, ValueError) as error:
            raise DlirError(f"'{op.name}' failed: {error}", op.location) from error
        values = list(found) if isinstance(found, tuple) else [found]
        for result, type, value in zip(results, checked, values, strict=True):
            environment[result] = _as_value(op, type, value)

    return Step(run)


def _gatherer(op: Op) -> Callable[[list[Any]], list[Any]]:
    """What puts the operands' values, in order, in the places where ``eval`` takes them."""
    schema = op.schema()
    places = spread_groups(schema, op.schema().group(range(len(op.operands)), op.get("operandSegmentSizes")))
    if places == list(range(len(op.operands))):
        return lambda values: values

    def pick(place: Any, values: list[Any]) -> Any:
        return tuple(values[i] for i in place) if isinstance(place, tuple) else None if place is None else values[place]

    return lambda values: [pick(place, values) for place in places]


def _resolve(machine: Machine, op: Op, value: Any) -> Any:
    """An attribute's value, with elements that live outside of the text read."""
    if isinstance(value, DenseResourceAttr):
        return DenseElementsAttr(machine.elements(value, op.location).view(), value.type)
    return value


def _runtime_types(machine: Machine, op: Op, arguments: list[Any]) -> tuple[Type, ...]:
    """The result types for the operands' shapes in this run: checks that dynamic dimensions agree, and sizes."""
    values = iter(_flatten(arguments))

    def refine(value: Value) -> Type:
        array = next(values)
        return TensorType(array.shape, value.dtype) if isinstance(value.type, TensorType) else value.type

    schema = op.schema()
    types = [tuple(map(refine, group)) if isinstance(group, tuple) else group and refine(group) for group in op.groups]
    if not schema.infers:
        return op.result_types
    try:
        inferred = results_of(type(op).infer(*spread_groups(schema, types), **op.keywords))
    except InferError as error:
        raise DlirError(f"'{op.name}' {error.message}", op.location) from None
    for found in inferred:
        check_type(found, machine.max_bytes, op.location)
    return inferred


def _flatten(arguments: Sequence[Any]) -> Iterator[Any]:
    for item in arguments:
        if isinstance(item, tuple):
            yield from item
        elif item is not None:
            yield item


def _as_value(op: Op, type: Type, value: Any) -> Any:
    """`value` as its type wants it: an array for a tensor or vector, else a NumPy scalar."""
    if isinstance(type, ShapedType):
        value = np.asarray(value)
        fits = value.ndim == type.rank and all(want in (None, dim) for want, dim in zip(type.shape, value.shape))
        if not fits or value.dtype != type.dtype.numpy:  # type: ignore[attr-defined]
            found = f"{value.dtype} of shape {list(value.shape)}"
            raise DlirError(f"the eval of '{op.name}' gave {found}, but its type is {type}", op.location)
    return value
