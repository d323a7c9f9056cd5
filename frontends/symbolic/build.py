"""The ops of a graph, made one node after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dlir.frontends.symbolic.arguments import spell_dtype
from dlir.frontends.symbolic.node import CONSTANT, RESULT, SCALAR, VARIABLE, Node
from dlir.frontends.symbolic.parameter import Parameter
from dlir.frontends.symbolic.questions import check_question, is_question, seeds_of
from dlir.frontends.symbolic.weak import in_dtype, met, weak_nodes
from dlir.ir.builder import InsertionPoint, insertion_point
from dlir.ir.core import Value
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.nd.operands import constant
from dlir.ir.errors import DlirError
from dlir.ir.ops import func, state
from dlir.ir.registry import find_op
from dlir.ir.types import ScalarType, TensorType, is_float


class Builder:
    """Fills the body of `function`, whose arguments are the inputs.

    Nodes become Values; constants that are Python numbers stay numbers, which take the dtype of what they meet.
    """

    def __init__(self, function: Func, parameters: Mapping[str, Parameter], nodes: Sequence[Node]) -> None:
        """`nodes` are all that are to be made, each after its inputs."""
        self.function = function
        self._arguments = {argument.name: argument for argument in function.body.args}
        self._values: dict[Node, Any] = {}
        self._weak = weak_nodes(nodes)
        self._point = InsertionPoint(function.body, None, function.location)
        for node in nodes:
            self._build(node)

    def _build(self, node: Node) -> None:
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
                value = _full(value, parameter.type) if node in self._weak else constant(value)
            elif node in self._weak and is_float(parameter.type.dtype):
                value = in_dtype(value, parameter.type.dtype)
            if value.type is not parameter.type:
                hint = None
                if isinstance(value.type, TensorType) and value.type.dtype is not parameter.type.dtype:
                    hint = f"cast it: nd.cast(x, dtype={spell_dtype(parameter.type.dtype)})"
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
        values = [self._value(item) for item in node.inputs]
        if is_question(node):
            groups = node.grouped(values)
            seeds, like = seeds_of(node)
            groups[seeds] = self._filled(node.groups[seeds], groups[seeds], groups[like])
            check_question(node, groups)
        else:
            groups = node.grouped(met(node, values, self._weak))
        return cls.build(*[tuple(group) if isinstance(group, list) else group for group in groups], **node.attributes)

    def _value(self, node: Node | None) -> Any:
        return None if node is None else self._values[node]

    def _filled(self, nodes: Sequence[Node], items: Sequence[Any], like: Sequence[Any]) -> list[Any]:
        """Cotangents or tangents: numbers fill the shapes of the values beside them, and weak values take their dtypes."""
        found = list(items)
        for index, (node, item, other) in enumerate(zip(nodes, items, like, strict=False)):
            if isinstance(other, Value) and isinstance(other.type, TensorType) and node in self._weak:
                is_made = isinstance(item, Value)
                found[index] = in_dtype(item, other.type.dtype) if is_made else _full(item, other.type)
        return found


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
