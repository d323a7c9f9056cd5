"""What is compiled: outputs, updates and donated inputs; and the module that it is for inputs of given types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dlir.frontends.symbolic.build import Builder
from dlir.frontends.symbolic.node import VARIABLE, Node, as_node, sorted_nodes
from dlir.frontends.symbolic.parameter import Parameter
from dlir.frontends.symbolic.questions import spell
from dlir.ir.attributes import UNIT, DenseResourceAttr
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.state import Variable as StateVariable
from dlir.ir.errors import DlirError, Note, did_you_mean
from dlir.ir.op import Symbol
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
        for node in [*nodes, *(target for target, _ in self.updates)]:
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

    def variable(self, name: str, is_mutable: bool = True) -> StateVariable:
        """The state variable of a parameter."""
        parameter = self.parameters[name]
        type = parameter.type
        init = DenseResourceAttr(name, type)
        found: StateVariable = StateVariable.create(
            sym_name=Symbol(name), init=init, mutable=is_mutable, type=type, location=parameter.location
        )
        return found

    def module(self, types: Mapping[str, TensorType], is_mutable: bool = True) -> Module:
        """The graph as a module with one function ``@main``, whose arguments are `types` in order.

        Unless parameters are mutable, they are taken for constants.
        """
        module = Module.empty()
        for name in self.parameters:
            module.body.append(self.variable(name, is_mutable))
        function = Func.make("main", types.values(), names=types)
        function.set_arg_attributes([{"dlir.donated": UNIT} if name in self.donate else {} for name in types])
        module.body.append(function)
        builder = Builder(function, self.parameters, list(sorted_nodes(self.roots)))
        for parameter, value in self.updates:
            builder.write(parameter, value)
        builder.finish(self.outputs)
        return module


def checked_updates(updates: Updates) -> list[tuple[Parameter, Node]]:
    """The updates as pairs; DlirError for what cannot be updated, and for a parameter that is updated twice."""
    if isinstance(updates, str | Node) or not isinstance(updates, Iterable):
        hint = "updates={w: new_w}; those of an optimiser are optimizer.updates(loss)"
        raise DlirError(f"updates are pairs (parameter, new value), got {updates!r}", hint=hint)
    pairs = list(updates.items()) if isinstance(updates, Mapping) else list(updates)
    found: dict[Parameter, Node] = {}
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise DlirError(f"an update is a pair (parameter, new value), got {pair!r}")
        target, value = pair
        if not isinstance(target, Parameter):
            raise _no_target(target)
        if target in found:
            hint = "a call sees the values from before it: combine the two and update once"
            raise DlirError(f"parameter '{target.name}' is updated twice", target.location, hint=hint)
        node = as_node(value)
        if node is None:
            raise DlirError(f"the update of '{target.name}' is None", target.location)
        found[target] = node
    return list(found.items())


def _no_target(target: Any) -> DlirError:
    if not isinstance(target, Node):
        return DlirError(f"cannot update {target!r}: it is not a parameter")
    hint = f"make it a parameter: Parameter({target.name or 'name'!r}, value)"
    return DlirError(f"cannot update {spell(target)}", target.location, hint=hint)
