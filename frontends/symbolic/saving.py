"""Graphs in files: the structure as IR text and the values of the parameters, in one checkpoint.

A graph has no shapes, and ops of array maths have them.  So each node is written as an op of the dialect ``symbolic``,
which nobody interprets: ``"symbolic.nd.mul"(%a, %b)``, of values of the type ``!symbolic.value``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlir.frontends.symbolic.function import Function, compile
from dlir.frontends.symbolic.graph import Graph
from dlir.frontends.symbolic.importing import GROUPS, NAME, PREFIX, SINGLE, TRAINABLE, VALUE, imported
from dlir.frontends.symbolic.node import CONSTANT, VARIABLE, Node, sorted_nodes
from dlir.frontends.symbolic.parameter import Parameter, ParameterStore
from dlir.ir.attributes import (
    UNIT,
    Attribute,
    BoolAttr,
    DenseArrayAttr,
    DenseElementsAttr,
    DenseResourceAttr,
    StringAttr,
    SymbolRefAttr,
    attribute,
)
from dlir.ir.core import Operation, UnregisteredOp, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func, Return
from dlir.ir.dialects.state import Read
from dlir.ir.errors import DlirError
from dlir.ir.op import SymbolRef
from dlir.ir.registry import find_op
from dlir.ir.types import TensorType, dtype_from_numpy
from dlir.textir import parse_file
from dlir.textir.checkpoint import save_checkpoint

#: Constants with more elements are kept with the tensors, and not in the text.
_IN_TEXT = 16


def save(path: str | Path, outputs: Node | Sequence[Node]) -> None:
    """Write what `outputs` are made of, and the values of their parameters, to one file, in one step."""
    nodes = [outputs] if isinstance(outputs, Node) else list(outputs)
    save_graph(path, Graph(nodes, []), isinstance(outputs, Node))


def load(path: str | Path) -> Any:
    """The node that was saved in a file, or the list of nodes; also the results of a function of any checkpoint or text IR.

    Its parameters are new ones, with the values in the file.
    """
    found = imported(parse_file(path))
    return found.outputs[0] if found.single else found.outputs


def load_function(path: str | Path, **options: Any) -> Function:
    """The function that `Function.save` wrote to a file, with its updates; `options` are those of `compile`."""
    found = imported(parse_file(path))
    outputs: Any = found.outputs[0] if found.single else found.outputs
    options = {"donate": found.donated, **options}
    return compile(outputs, updates=found.updates, **options)


def save_graph(path: str | Path, graph: Graph, single: bool, values: Mapping[str, np.ndarray] | None = None) -> None:
    """Write a graph with its updates and the values of its parameters: `values`, or those that they have now."""
    writer = _Writer(graph)
    if values is None:
        values = ParameterStore.joined(graph.parameters.values()).snapshot()
    if single:
        writer.module.attributes[SINGLE] = UNIT
    save_checkpoint(path, writer.module, {**writer.constants, **values})


class _Writer:
    """Makes the module of a graph; `constants` are the arrays that are too large for its text."""

    def __init__(self, graph: Graph) -> None:
        self.module = Module.empty()
        self.constants: dict[str, np.ndarray] = {}
        self._taken = graph.parameters
        for name, parameter in graph.parameters.items():
            op = graph.variable(name)
            if not parameter.trainable:
                op.attributes[TRAINABLE] = BoolAttr(False)
            self.module.body.append(op)
        self._function = Func.make("main", [VALUE for _ in graph.inputs], [VALUE for _ in graph.outputs], graph.inputs)
        roles: list[dict[str, Attribute]] = [{"dlir.name": StringAttr(name)} for name in graph.inputs]
        for name, role in zip(graph.inputs, roles):
            role.update({"dlir.donated": UNIT} if name in graph.donate else {})
        self._function.set_arg_attributes(roles)
        self.module.body.append(self._function)
        self._values: dict[Node, Value] = {}
        arguments = dict(zip(graph.inputs, self._function.body.args, strict=True))
        for node in sorted_nodes(graph.roots):
            self._values[node] = arguments[node.name] if node.op == VARIABLE else self._written(node)
        for parameter, node in graph.updates:
            target: dict[str, Attribute] = {"variable": SymbolRefAttr(parameter.name)}
            self._add(UnregisteredOp(f"{PREFIX}write", [self._values[node]], [], target))
        outputs = [self._as_value(self._values[node]) for node in graph.outputs]
        self._add(Return.create(*outputs))

    def _as_value(self, value: Value) -> Value:
        """`value` in the type of a function's results."""
        return (
            value if value.type is VALUE else self._add(UnregisteredOp(f"{PREFIX}value", [value], [VALUE])).results[0]
        )

    def _add(self, op: Operation) -> Operation:
        self._function.body.append(op)
        return op

    def _written(self, node: Node) -> Value:
        if isinstance(node, Parameter):
            op: Operation = Read.create(variable=SymbolRef(node.name), result_types=[node.type])
        else:
            operands = [self._values[item] for item in node.inputs if item is not None]
            op = UnregisteredOp(PREFIX + node.op, operands, [VALUE], self._attributes(node))
        return self._add(op).results[0]

    def _attributes(self, node: Node) -> dict[str, Attribute]:
        found: dict[str, Attribute] = {}
        if node.op == CONSTANT:
            found["value"] = self._constant(node.attributes["value"])
        else:
            cls = find_op(node.op)
            for name, value in node.attributes.items():
                if value is not None:
                    found[name] = attribute(value) if cls is None else cls.schema().attributes[name].encode(value)
        if node.name and node.op != CONSTANT:
            found[NAME] = StringAttr(node.name)
        groups = zip(node.segments, node.groups, strict=True)
        sizes = [size if size is not None else -1 if group is not None else -2 for size, group in groups]
        if any(size != -1 for size in sizes):
            found[GROUPS] = DenseArrayAttr(sizes)
        return found

    def _constant(self, value: Any) -> Attribute:
        """A Python number as an attribute, an array as elements or by name."""
        if not isinstance(value, np.ndarray):
            if isinstance(value, int) and not isinstance(value, bool) and not -(1 << 63) <= value < 1 << 63:
                raise DlirError(f"cannot save the number {value}: it is no 64-bit integer")
            return attribute(value)
        if value.size <= _IN_TEXT:
            return DenseElementsAttr(value)
        number = len(self.constants)
        name = f"constant_{number}"
        while name in self._taken:
            name += "_"
        self.constants[name] = value
        return DenseResourceAttr(name, TensorType(value.shape, dtype_from_numpy(value.dtype)))
