"""What is compiled: outputs, updates and donated inputs; and the module that it is for inputs of given types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dlir.frontends.symbolic.node import CONSTANT, PARAMETER, RESULT, SCALAR, VARIABLE, Node, as_node, sorted_nodes
from dlir.frontends.symbolic.parameter import Parameter
from dlir.ir.attributes import UNIT, DenseResourceAttr
from dlir.ir.builder import InsertionPoint, insertion_point
from dlir.ir.core import Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.nd.operands import constant
from dlir.ir.dialects.state import Variable as StateVariable
from dlir.ir.errors import DlirError, Note, did_you_mean
from dlir.ir.op import Op, Symbol
from dlir.ir.ops import func, state
from dlir.ir.registry import find_op
from dlir.ir.types import TensorType

#: What `compile` takes as updates: pairs of a parameter and its new value.
Updates = Mapping[Parameter, Any] | Iterable[tuple[Parameter, Any]]


@dataclass
class Graph:
    """Outputs, updates, and what follows from them: inputs and parameters in the order in which they are met."""

    outputs: list[Node]
    updates: list[tuple[Parameter, Node]]
    donate: tuple[str, ...] = ()
    name: str = "main"
    inputs: list[str] = field(init=False)
    parameters: dict[str, Parameter] = field(init=False)

    def __post_init__(self) -> None:
        nodes = list(sorted_nodes(self.roots))
        self.inputs = list(dict.fromkeys(node.name for node in nodes if node.op == VARIABLE))
        self.parameters = {}
        for node in [*(target for target, _ in self.updates), *nodes]:
            if isinstance(node, Parameter) and self.parameters.setdefault(node.name, node) is not node:
                note = Note("the other one is made here", self.parameters[node.name].location)
                raise DlirError(f"two parameters are called '{node.name}'", node.location, notes=[note])
        for name in self.donate:
            if name not in self.inputs:
                raise DlirError(f"cannot donate '{name}': it is not an input", hint=did_you_mean(name, self.inputs))

    @property
    def roots(self) -> list[Node]:
        """All nodes that must be computed."""
        return [*self.outputs, *(value for _, value in self.updates)]

    def module(self, types: Mapping[str, TensorType]) -> Module:
        """The graph as a module with one function ``@main``, whose arguments are `types` in order."""
        module = Module.empty()
        for name, parameter in self.parameters.items():
            type = parameter.type
            init = DenseResourceAttr(name, type)
            module.body.append(
                StateVariable.create(
                    sym_name=Symbol(name), init=init, mutable=True, type=type, location=parameter.location
                )
            )
        function = Func.make("main", types.values(), names=types)
        function.set_arg_attributes([{"dlir.donated": UNIT} if name in self.donate else {} for name in types])
        module.body.append(function)
        builder = _Builder(dict(zip(types, function.body.args, strict=True)), self.parameters)
        with insertion_point(InsertionPoint(function.body, None, function.location)) as _:
            builder.build(self.roots, function)
            for target, node in self.updates:
                builder.write(target, node)
            func.return_(*[builder.value(node) for node in self.outputs])
        function.update_type()
        return module


class _Builder:
    """Makes the ops of a graph; `values` has what each node became: a Value, a tuple of them, or a number."""

    def __init__(self, arguments: Mapping[str, Value], parameters: Mapping[str, Parameter]) -> None:
        self.arguments = arguments
        self.parameters = parameters
        self.values: dict[Node, Any] = {}
