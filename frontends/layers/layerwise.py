"""Gradients without a gradient graph: one layer after the other forward, and back again, as Caffe does it.

Each layer is compiled by itself, with its own gradient, and knows nothing of the rest of the net.  All outputs of layers are
kept from the way forward to the way back.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from dlir.frontends.symbolic.function import Function, compile
from dlir.frontends.symbolic.gradient import grad
from dlir.frontends.symbolic.node import CONSTANT, RESULT, VARIABLE, Node, Variable, results, sorted_nodes
from dlir.frontends.symbolic.parameter import Parameter
from dlir.frontends.symbolic.weak import wanted_dtypes, weak_nodes
from dlir.ir.errors import DlirError, did_you_mean

#: Programs of one kind of layer, one for each set of shapes.
_LIMIT = 64


class LayerwiseExecutor:
    """Runs the layers that a loss needs: `forward`, then `backward`."""

    def __init__(self, loss: Node, inputs: Sequence[str], **options: Any) -> None:
        self.loss = loss
        self.inputs = list(inputs)
        self._options = options
        self._nodes = [node for node in sorted_nodes([loss]) if node.op != VARIABLE]
        self._variables = [node for node in sorted_nodes([loss]) if node.op == VARIABLE]
        #: Values that take the dtype of what they meet.
        self._weak = weak_nodes(self._nodes)
        counts: dict[Node, int] = {}
        for node in self._nodes:
            if node.op == RESULT and node.inputs[0] is not None:
                counts[node.inputs[0]] = max(counts.get(node.inputs[0], 0), node.attributes["index"] + 1)
        #: How many results a node has that has several.
        self._counts = counts
        #: Kinds of layers; those that are alike share their programs.
        self._kinds: dict[Hashable, _Kind] = {}
        self.blobs: dict[Node, Any] = {}

    @property
    def compilations(self) -> int:
        """How many programs were compiled: at most two for each kind of layer and its shapes."""
        return sum(kind.compilations for kind in self._kinds.values())

    def forward(self, *positional: Any, **arrays: Any) -> np.ndarray:
        """The loss; the outputs of all layers are kept in `blobs`."""
        given = {**dict(zip(self.inputs, positional)), **arrays}
        self.blobs = {}
        for node in self._variables:
            if node.name not in given:
                raise DlirError(f"input '{node.name}' is missing", hint=did_you_mean(node.name, given))
            self.blobs[node] = np.asarray(given[node.name])
        for node in self._nodes:
            self.blobs[node] = self._run(node)
        return np.asarray(self.blobs[self.loss])

    def backward(self) -> dict[str, np.ndarray]:
        """The gradient of the loss of the last `forward` with regard to each trainable parameter, by name."""
        if self.loss not in self.blobs:
            raise DlirError("there is nothing to go back through", hint="call forward first")
        value = self.blobs[self.loss]
        if value.shape != ():
            raise DlirError(f"the loss must be a scalar, and has the shape {list(value.shape)}")
        needed = self._needed()
        cotangents: dict[Node, Any] = {self.loss: np.ones_like(value)}
        for node in reversed(self._nodes):
            arrived = cotangents.get(node)
            if arrived is None or node not in needed or isinstance(node, Parameter):
                continue
            if node.op == RESULT:
                (source,) = node.inputs
                assert source is not None
                parts = cotangents.setdefault(source, [None] * self._counts[source])
                parts[node.attributes["index"]] = arrived
                continue
            for item, part in self._pulled_back(node, arrived, needed):
                cotangents[item] = part if item not in cotangents else cotangents[item] + part
        return {
            node.name: cotangents.get(node, np.zeros_like(self.blobs[node]))
            for node in self._nodes
            if isinstance(node, Parameter) and node.trainable
        }

    def _run(self, node: Node) -> Any:
        if isinstance(node, Parameter):
            return node.value
        if node.op == CONSTANT:
            return node.attributes["value"]
        if node.op == RESULT and node.inputs[0] is not None:
            return self.blobs[node.inputs[0]][node.attributes["index"]]
        found = self._kind(node).forward(**self._arguments(node))
        return found if node in self._counts else found[0]

    def _arguments(self, node: Node) -> dict[str, Any]:
        """The inputs of a layer that are arrays, by the names that they have in its kind."""
        return {f"x{index}": value for index, value in enumerate(self._values(node)) if isinstance(value, np.ndarray)}

    def _values(self, node: Node) -> list[Any]:
        """What a layer reads: arrays and numbers, and None for what is absent."""
        values = [None if item is None else self.blobs[item] for item in node.inputs]
        if node in self._weak or not any(item in self._weak for item in node.inputs):
            return values
        return [
            value.astype(dtype.numpy) if item in self._weak and isinstance(value, np.ndarray) else value
            for item, value, dtype in zip(node.inputs, values, wanted_dtypes(node, values, self._weak), strict=True)
        ]

    def _kind(self, node: Node) -> _Kind:
        values = self._values(node)
        # Numbers are part of the kind, as they have no dtype of their own.
        numbers = tuple(None if value is None else _key_of(value) for value in values)
        count = self._counts.get(node)
        key = (node.op, repr(node.attributes), tuple(node.segments), numbers, count)
        if key not in self._kinds:
            self._kinds[key] = _Kind(node, values, count, self._options)
        return self._kinds[key]

    def _needed(self) -> dict[Node, None]:
        """The nodes that depend on a trainable parameter and have slopes."""
        found: dict[Node, None] = {}
        for node in self._nodes:
            depends = (isinstance(node, Parameter) and node.trainable) or any(item in found for item in node.inputs)
            if depends and (node in self._counts or np.asarray(self.blobs[node]).dtype.kind not in "biu"):
                found[node] = None
        return found

    def _pulled_back(self, node: Node, arrived: Any, needed: dict[Node, None]) -> list[tuple[Node, Any]]:
        """What each input of a layer gets of the cotangent that arrived."""
        places = [index for index, item in enumerate(node.inputs) if item in needed]
        outputs = self.blobs[node] if node in self._counts else [self.blobs[node]]
        cotangents = arrived if node in self._counts else [arrived]
        floats = [index for index, output in enumerate(outputs) if cotangents[index] is not None]
        function = self._kind(node).backward(tuple(places), tuple(floats))
        given = {f"g{index}": cotangents[index] for index in floats}
        arguments = {**self._arguments(node), **given}
        found = function(**{name: value for name, value in arguments.items() if name in function.names})
        targets = [node.inputs[index] for index in places]
        return [(item, part) for item, part in zip(targets, found, strict=True) if item is not None]


class _Kind:
    """Layers with the same op and attributes: the function forward, and those backward by what they are asked for."""

    def __init__(self, node: Node, values: Sequence[Any], count: int | None, options: dict[str, Any]) -> None:
        self._options = {**options, "limit": _LIMIT}
        self._inputs: list[Node | None] = []
        for index, (item, value) in enumerate(zip(node.inputs, values, strict=True)):
            is_number = item is not None and item.op == CONSTANT and not isinstance(value, np.ndarray)
            self._inputs.append(item if item is None or is_number else Variable(f"x{index}"))
        made = node.with_inputs(self._inputs)
        self._outputs = list(results(made, count)) if count else [made]
        self.forward = compile(self._outputs, **self._options)
        self._backward: dict[Hashable, Function] = {}

    @property
    def compilations(self) -> int:
        return self.forward.compilations + sum(function.compilations for function in self._backward.values())

    def backward(self, places: tuple[int, ...], outputs: tuple[int, ...]) -> Function:
        """The cotangents of the inputs at `places`, for those of some outputs, which are called ``g<number>``."""
        if (places, outputs) not in self._backward:
            wrt = [item for index in places if (item := self._inputs[index]) is not None]
            cotangents = [Variable(f"g{index}") for index in outputs]
            found = grad([self._outputs[index] for index in outputs], wrt, cotangents)
            self._backward[places, outputs] = compile(found, **self._options)
        return self._backward[places, outputs]


def _key_of(value: Any) -> Hashable:
    return "array" if isinstance(value, np.ndarray) else (type(value), value)
