"""Nets of layers, read from text IR or a checkpoint.

    net = Net.from_file("lenet.dlir")
    net.activations(x)                      # the output of each layer, by name
    net.gradients(x, labels)                # of the loss, with regard to each weight, by name
    net = net.with_loss(lambda logits, labels: ...)
    train = net.compile_training(SGD(0.1))

A net is a graph of nodes, so all of the symbolic style goes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlir.frontends.layers.layerwise import LayerwiseExecutor
from dlir.frontends.symbolic.function import Function, compile
from dlir.frontends.symbolic.gradient import grad
from dlir.frontends.symbolic.graph import Graph
from dlir.frontends.symbolic.importing import imported
from dlir.frontends.symbolic.node import LEAVES, RESULT, SCALAR, Node, Variable, replaced, sorted_nodes
from dlir.frontends.symbolic.parameter import Parameter
from dlir.frontends.symbolic.saving import save
from dlir.ir.errors import DlirError, did_you_mean
from dlir.textir import ParsedModule, parse_file
from dlir.textir.parser import parse_text

if TYPE_CHECKING:
    from dlir.frontends.optimizers import Optimizer

#: Ops whose result is a loss, so that a net that ends in one needs not say so.
_LOSSES = ("nn.cross_entropy", "nn.mse_loss")


class Net:
    """Outputs that are made of named layers, inputs and parameters.

    Its loss is the output called ``loss``, or the last one that a loss layer makes.
    `options` are those of `compile`: backend, level ...
    """

    def __init__(
        self, outputs: Sequence[Node], inputs: Sequence[str] | None = None, loss: Node | None = None, **options: Any
    ) -> None:
        self.outputs = list(outputs)
        graph = Graph(self.outputs, [])
        #: In the order of the arguments.
        self.inputs = [*(inputs or ()), *(name for name in graph.inputs if name not in (inputs or ()))]
        self.parameters = graph.parameters
        self.layers = _layers(self.outputs)
        self._loss = loss if loss is not None else _find_loss(self.outputs)
        self._options = options

    @classmethod
    def from_file(cls, path: str | Path, weights: str | Path | None = None, entry: str = "main", **options: Any) -> Net:
        """The net that is function `entry` of a file: text IR or a checkpoint."""
        return cls.from_module(parse_file(path, weights), entry, **options)

    @classmethod
    def from_text(
        cls, text: str, weights: str | Path | Mapping[str, Any] | None = None, entry: str = "main", **options: Any
    ) -> Net:
        """The net that is function `entry` of a text; `weights` are arrays by name, or the file that has them."""
        if not isinstance(weights, Mapping):
            return cls.from_module(parse_text(text, "<net>", weights=weights), entry, **options)
        return cls.from_module(parse_text(text, "<net>"), entry, weights, **options)

    @classmethod
    def from_module(
        cls, parsed: ParsedModule, entry: str = "main", weights: Mapping[str, Any] | None = None, **options: Any
    ) -> Net:
        """The net that is function `entry` of a module that has been read."""
        found = imported(parsed, entry, weights)
        return cls(found.outputs, found.inputs, **options)

    # ------------------------------------------------------------ to ask

    def __call__(self, *positional: Any, **arrays: Any) -> Any:
        """The outputs: one array, or a list if there are several."""
        function = self.compile_outputs
        return function(**self._given(positional, arrays, function))

    def activations(self, *positional: Any, **arrays: Any) -> dict[str, np.ndarray]:
        """What each layer gives, by name."""
        function = self.compile_activations
        given = self._given(positional, arrays, function)
        return dict(zip(self.layers, function(**given), strict=True))

    def gradients(self, *positional: Any, **arrays: Any) -> dict[str, np.ndarray]:
        """The gradient of the loss with regard to each trainable parameter, by name."""
        function = self.compile_gradients
        names = [parameter.name for parameter in self.trainable]
        return dict(zip(names, function(**self._given(positional, arrays, function)), strict=True))

    @property
    def loss(self) -> Node:
        """The loss; DlirError if the net has none."""
        if self._loss is None:
            hint = "give it one: net.with_loss(lambda output, labels: ...)"
            raise DlirError("the net has no loss", hint=hint)
        return self._loss

    @property
    def trainable(self) -> list[Parameter]:
        """The parameters that gradients are with regard to."""
        return [parameter for parameter in self.parameters.values() if parameter.trainable]

    # ------------------------------------------------------------ what is compiled

    @cached_property
    def compile_outputs(self) -> Function:
        """The function of the outputs alone: nothing else is kept."""
        outputs = self.outputs[0] if len(self.outputs) == 1 else self.outputs
        return self._compiled(outputs)

    @cached_property
    def compile_activations(self) -> Function:
        """The function of the outputs of all layers."""
        return self._compiled(list(self.layers.values()))

    @cached_property
    def compile_gradients(self) -> Function:
        """The function of the gradients of the loss."""
        return self._compiled(grad(Node(SCALAR, [self.loss], {"what": "loss"}), self.trainable))

    def compile_training(self, optimizer: Optimizer) -> Function:
        """The function that lowers the loss by one step of an optimiser, and returns what the loss was."""
        return self._compiled(self.loss, updates=optimizer.updates(self.loss, self.trainable))

    def layerwise(self) -> LayerwiseExecutor:
        """What computes the loss and its gradients one layer after the other, each of them by itself."""
        return LayerwiseExecutor(self.loss, self.inputs, **self._options)

    # ------------------------------------------------------------ other nets

    def with_loss(self, loss: Callable[..., Node]) -> Net:
        """This net with another loss, a function of the output before the old one and of an input ``labels``.

        If the net ends in a loss layer, `loss` gets that layer's operands in its place, else the output and the labels.
        """
        if self._loss is not None:
            return self.replace(self._name_of(self._loss), loss)
        made = _node(loss(self.outputs[-1], Variable("labels")), "the loss")
        return Net([*self.outputs, made], self.inputs, made, **self._options)

    def replace(self, layer: str, make: Callable[..., Node]) -> Net:
        """This net with another layer in place of `layer`: what `make` gives for the same inputs."""
        old = self._layer(layer)
        new = _node(make(*(item for item in old.inputs if item is not None)), f"what replaces '{layer}'")
        return self._changed(old, new, layer)

    def insert(self, after: str, make: Callable[[Node], Node], name: str = "") -> Net:
        """This net with one more layer after `after`: what `make` gives for the output of that."""
        old = self._layer(after)
        return self._changed(old, _node(make(old), f"what comes after '{after}'"), name)

    def save(self, path: str | Path) -> None:
        """Write the net and the values of its parameters to one file, for `Net.from_file`."""
        save(path, self.outputs)

    def _changed(self, old: Node, new: Node, name: str) -> Net:
        if name and not new.name:
            new.named(name)
        roots = [*self.outputs, *([] if self._loss is None else [self._loss])]
        found = replaced(roots, {old: new})
        loss = found.pop() if self._loss is not None else None
        return Net(found, self.inputs, loss, **self._options)

    # ------------------------------------------------------------ details

    def _compiled(self, outputs: Any, **more: Any) -> Function:
        nodes = [outputs] if isinstance(outputs, Node) else list(outputs)
        used = Graph([*nodes, *(value for _, value in more.get("updates", ()))], []).inputs
        order = [name for name in self.inputs if name in used]
        return compile(outputs, inputs=order, **more, **self._options)

    def _given(self, positional: Sequence[Any], arrays: Mapping[str, Any], function: Function) -> dict[str, Any]:
        """Arguments by name, in the order of the net's inputs; those that a function does not use are left out."""
        if len(positional) > len(self.inputs):
            raise DlirError(
                f"the net takes {len(self.inputs)} inputs ({', '.join(self.inputs)}), got {len(positional)}"
            )
        given = {**dict(zip(self.inputs, positional)), **arrays}
        return {name: array for name, array in given.items() if name in function.names or name not in self.inputs}

    def _layer(self, name: str) -> Node:
        if name not in self.layers:
            hint = did_you_mean(name, self.layers) or f"layers: {', '.join(list(self.layers)[:12])}"
            raise DlirError(f"the net has no layer '{name}'", hint=hint)
        return self.layers[name]

    def _name_of(self, node: Node) -> str:
        return next(name for name, layer in self.layers.items() if layer is node)


def _layers(outputs: Sequence[Node]) -> dict[str, Node]:
    """All layers, in order; those without a name are called after their op: ``dense_1``."""
    found: dict[str, Node] = {}
    nodes = list(sorted_nodes(outputs))
    # An op with several results is not a value; its results are.
    several = {node.inputs[0] for node in nodes if node.op == RESULT}
    for node in nodes:
        if node.op in LEAVES or node in several:
            continue
        made_by = node.inputs[0] if node.op == RESULT else node
        short = "" if made_by is None else made_by.op.rpartition(".")[2]
        number = 1
        name = node.name or f"{short}_{number}"
        while name in found:
            number += 1
            name = f"{node.name or short}_{number}"
        found[name] = node
    return found


def _find_loss(outputs: Sequence[Node]) -> Node | None:
    named = [node for node in outputs if node.name == "loss"]
    made = [node for node in outputs if node.op in _LOSSES]
    found = named or made
    return found[-1] if found else None


def _node(item: Any, what: str) -> Node:
    if not isinstance(item, Node):
        raise DlirError(f"{what} must be a node, got {item!r}")
    return item
