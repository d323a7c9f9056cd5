"""The ops of a graph, made one node after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dlir.frontends.symbolic.node import CONSTANT, RESULT, SCALAR, VARIABLE, Node
from dlir.frontends.symbolic.parameter import Parameter
from dlir.ir.builder import InsertionPoint, insertion_point
from dlir.ir.core import Value
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.nd.operands import constant
from dlir.ir.errors import DlirError
from dlir.ir.ops import func, state
from dlir.ir.registry import find_op
from dlir.ir.types import ScalarType, TensorType


class Builder:
    """Fills the body of `function`, whose arguments are the inputs.

    Nodes become Values; constants that are Python numbers stay numbers, which take the dtype of what they meet.
    """

    def __init__(self, function: Func, parameters: Mapping[str, Parameter]) -> None:
        self.function = function
        self._arguments = {argument.name: argument for argument in function.body.args}
        self._values: dict[Node, Any] = {}
        self._point = InsertionPoint(function.body, None, function.location)

    def build(self, node: Node) -> None:
        """Make the ops of `node`, whose inputs are made already."""
        self._point.location = node.location
        with insertion_point(self._point):
            value = self._made(node)
        if node.name and isinstance(value, Value) and value.defining_op is not None:
            value.name = node.name
        self._values[node] = value

    def write(self, parameter: Parameter, node: Node) -> None:
        """Let `parameter` have the value `node` when the function returns."""
        value = self._values[node]
        self._point.location = node.location
        with insertion_point(self._point):
            if not isinstance(value, Value):
                is_number = isinstance(value, bool | int | float)
                value = _full(value, parameter.type) if is_number else constant(value)
            if value.type is not parameter.type:
                hint = None
                if isinstance(value.type, TensorType) and value.type.dtype is not parameter.type.dtype:
                    hint = f"cast it: nd.cast(x, dtype={parameter.type.dtype})"
                message = f"the update of '{parameter.name}' is {value.type}, but the parameter is {parameter.type}"
                raise DlirError(message, node.location, hint=hint)
            state.write(value, variable=parameter.name)

    def finish(self, outputs: Iterable[Node]) -> None:
        """Return `outputs`."""
        self._point.location = self.function.location
        with insertion_point(self._point):
            found = (self._values[node] for node in outputs)
            func.return_(*[value if isinstance(value, Value) else constant(np.asarray(value)) for value in found])
        self.function.update_type()

    def _made(self, node: Node) -> Any:
        source = node.inputs[0] if node.inputs else None
        if node.op == VARIABLE:
            return self._arguments[node.name]
        if node.op == CONSTANT:
            return node.attributes["value"]
        if isinstance(node, Parameter):
            return state.read(variable=node.name, result_types=[node.type])
        if node.op == RESULT:
            found = self._value(source)
            return found[node.attributes["index"]] if isinstance(found, tuple) else found
        if node.op == SCALAR:
            return _scalar(self._value(source), node)
        cls = find_op(node.op)
        assert cls is not None
        groups = [
            tuple(map(self._value, group)) if isinstance(group, list) else self._value(group) for group in node.groups
        ]
        match node.op:
            case "diff.gradient":
                groups[1] = _filled(groups[1], groups[0])
            case "diff.jvp":
                groups[2] = _filled(groups[2], groups[1])
        return cls.build(*groups, **node.attributes)

    def _value(self, node: Node | None) -> Any:
        return None if node is None else self._values[node]


def _scalar(value: Any, node: Node) -> Any:
    """`value`; DlirError if it is no scalar."""
    if isinstance(value, Value) and value.type.shape != ():
        message = f"the {node.attributes['what']} must be a scalar, and is {value.type}"
        (source,) = node.inputs
        place = node.location if source is None else source.location
        raise DlirError(message, place, hint="reduce it, with nd.mean or nd.sum")
    return value


def _full(number: float, type: TensorType) -> Value:
    """A constant that is `number` everywhere."""
    assert isinstance(type.dtype, ScalarType)
    return constant(number, type.dtype, type.shape)


def _filled(items: tuple[Any, ...], like: tuple[Any, ...]) -> tuple[Any, ...]:
    """`items`, with numbers filling the shapes of the values beside them."""
    return tuple(
        _full(item, value.type)
        if isinstance(item, bool | int | float) and isinstance(value, Value) and isinstance(value.type, TensorType)
        else item
        for item, value in zip(items, like, strict=False)
    )
