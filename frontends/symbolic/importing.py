"""Graphs from modules: what was saved, and functions of layers and array maths that were written as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dlir.frontends.symbolic.node import CONSTANT, LEAVES, RESULT, SCALAR, Constant, Node, Variable, results
from dlir.frontends.symbolic.parameter import Parameter
from dlir.ir.attributes import DenseElementsAttr, DenseResourceAttr
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.func import Call, Func, find_function
from dlir.ir.dialects.state import Read, Write
from dlir.ir.dialects.state import Variable as StateVariable
from dlir.ir.errors import DlirError, did_you_mean
from dlir.ir.location import UNKNOWN, NameLoc
from dlir.ir.op import Op
from dlir.ir.registry import find_op
from dlir.ir.traversal import clone
from dlir.ir.types import OpaqueType, TensorType
from dlir.passes.manager import PassManager
from dlir.textir import ParsedModule
from dlir.textir.weights import check_array

#: How graphs are written, see `saving`.
PREFIX, VALUE = "symbolic.", OpaqueType("symbolic.value")
#: Attributes: of the module, of variables, and of ops.
SINGLE, TRAINABLE, NAME, GROUPS = "symbolic.single", "symbolic.trainable", "symbolic.name", "symbolic.groups"

#: Dialects whose ops are nodes.
_DIALECTS = ("nd", "nn", "diff", "random")


@dataclass
class Imported:
    """A function as a graph: `types` has what is stated about its inputs, `named` the nodes that have a name."""

    outputs: list[Node]
    single: bool
    updates: list[tuple[Parameter, Node]]
    parameters: dict[str, Parameter]
    inputs: list[str] = field(default_factory=list)
    types: dict[str, TensorType] = field(default_factory=dict)
    donated: tuple[str, ...] = ()
    named: dict[str, Node] = field(default_factory=dict)


def imported(parsed: ParsedModule, entry: str = "main", weights: Mapping[str, Any] | None = None) -> Imported:
    """Function `entry` of a module as a graph of nodes, with parameters for the variables that it uses.

    `weights` are the arrays of its ``dense_resource`` names, if it does not say itself where they are.
    DlirError if there is no such function, or if something in it is no op of arrays or layers.
    """
    module = parsed.module
    find_function(module, entry)
    if any(isinstance(op, Call) for op in module.walk()):
        module = PassManager.from_text("inline").run(clone(module))
    reader = _Reader(module, find_function(module, entry), _arrays(parsed, weights))
    return reader.read(SINGLE in module.attributes)


def _arrays(parsed: ParsedModule, weights: Mapping[str, Any] | None) -> Callable[..., np.ndarray]:
    """What finds the arrays of ``dense_resource`` names: in `weights` if those are given."""
    if weights is None:
        return parsed.weights.get

    def get(name: str, type: TensorType) -> np.ndarray:
        if name not in weights:
            raise DlirError(f"no weights are given for '{name}'", hint=did_you_mean(name, weights))
        array = np.asarray(weights[name])
        check_array(f"'{name}'", array.dtype, array.shape, type, UNKNOWN)
        return array

    return get


class _Reader:
    """Turns the ops of a function into nodes; `get` finds the arrays of ``dense_resource`` names."""

    def __init__(self, module: Operation, function: Func, get: Callable[..., np.ndarray]) -> None:
        self._function = function
        self._get = get
        self._variables = {op["sym_name"]: op for op in module.body.ops if isinstance(op, StateVariable)}
        self._values: dict[Value, Node] = {}
        self.found = Imported([], False, [], {})

    def read(self, is_single: bool) -> Imported:
        """All of the function."""
        self._arguments()
        for op in self._function.body.ops:
            if op.is_terminator:
                self.found.outputs = [self._values[value] for value in op.operands]
            elif isinstance(op, Write) or op.name == f"{PREFIX}write":
                target = self._parameter(op.attributes["variable"].value)
                self.found.updates.append((target, self._values[op.operands[0]]))
            else:
                self._keep(op, self._node(op))
        was_saved = VALUE in self._function.type.results
        self.found.single = is_single if was_saved else len(self.found.outputs) == 1
        return self.found

    def _arguments(self) -> None:
        """The inputs, as variables."""
        donated = []
        for index, argument in enumerate(self._function.body.args):
            role = self._function.arg_attributes(index)
            name = role["dlir.name"].value if "dlir.name" in role else argument.name or f"arg{index}"
            self._values[argument] = Variable(name)
            self.found.inputs.append(name)
            if isinstance(argument.type, TensorType):
                self.found.types[name] = argument.type
            if "dlir.donated" in role:
                donated.append(name)
        self.found.donated = tuple(donated)

    def _keep(self, op: Operation, nodes: tuple[Node, ...]) -> None:
        for node, value in zip(nodes, op.results, strict=True):
            self._values[value] = node
            if node.op in LEAVES:
                continue
            node.location = op.location
            name = _name_of(op, value)
            if name:
                node.name = name
                self.found.named[name] = node

    def _node(self, op: Operation) -> tuple[Node, ...]:
        """What the results of `op` are."""
        if isinstance(op, Read):
            return (self._parameter(op["variable"]),)
        if op.name == "nd.constant" or op.name == PREFIX + CONSTANT:
            return (Constant(self._number(op)),)
        if op.name == f"{PREFIX}value":
            return (self._values[op.operands[0]],)
        if op.name.startswith(PREFIX):
            return (self._saved(op),)
        if not isinstance(op, Op) or op.name.partition(".")[0] not in _DIALECTS or op.regions:
            hint = "graphs are made of layers and array maths: take the text from before 'fuse'"
            raise DlirError(f"'{op.name}' is no op of a graph", op.location, hint=hint)
        groups = [
            [self._values[value] for value in group] if isinstance(group, tuple) else self._one(group)
            for group in op.groups
        ]
        attributes = {name: op[name] for name in op.schema().attributes if name in op.attributes}
        node = Node(op.name, groups, attributes)
        return (node,) if len(op.results) == 1 else results(node, len(op.results))

    def _one(self, value: Value | None) -> Node | None:
        return None if value is None else self._values[value]

    def _saved(self, op: Operation) -> Node:
        """The node that an op of the dialect ``symbolic`` is."""
        name = op.name.removeprefix(PREFIX)
        cls = find_op(name)
        if cls is None and name not in (RESULT, SCALAR):
            raise DlirError(f"the file uses an op '{name}', which is not known here", op.location)
        attributes = {key: item for key, item in op.attributes.items() if key not in (NAME, GROUPS)}
        keywords = {key: item.value for key, item in attributes.items()}
        if cls is not None:
            known = cls.schema().attributes
            unknown = next((key for key in keywords if key not in known), None)
            if unknown is not None:
                raise DlirError(f"'{name}' has no attribute '{unknown}'", op.location)
        operands = iter(self._values[value] for value in op.operands)
        sizes = op.attributes[GROUPS].value if GROUPS in op.attributes else [-1] * len(op.operands)
        try:
            groups = [
                [next(operands) for _ in range(size)] if size >= 0 else next(operands) if size == -1 else None
                for size in sizes
            ]
        except (StopIteration, RuntimeError, TypeError):
            raise DlirError(f"'{GROUPS}' does not fit the operands of '{op.name}'", op.location) from None
        return Node(name, groups, keywords)

    def _parameter(self, name: str) -> Parameter:
        """The parameter of a variable, made when it is met first."""
        found = self.found.parameters.get(name)
        if found is None:
            op = self._variables[name]
            init = op["init"]
            if init is None:
                hint = "save it with values: save_checkpoint(path, module, arrays, variables)"
                raise DlirError(f"'@{name}' has no first value in the module", op.location, hint=hint)
            trainable = TRAINABLE not in op.attributes or bool(op.attributes[TRAINABLE].value)
            found = self.found.parameters[name] = Parameter(name, self._elements(init), trainable=trainable)
            found.location = op.location
        return found

    def _number(self, op: Operation) -> Any:
        value = op.attributes.get("value")
        if isinstance(value, DenseElementsAttr | DenseResourceAttr):
            return self._elements(value)
        number = None if value is None else value.value
        if not isinstance(number, bool | int | float):
            raise DlirError(f"'{op.name}' has no value", op.location)
        return number

    def _elements(self, attribute: Any) -> np.ndarray:
        if isinstance(attribute, DenseResourceAttr):
            return self._get(attribute.name, attribute.type)
        return attribute.value


def _name_of(op: Operation, value: Value) -> str | None:
    """What a person called a value: in the graph that was saved, by an importer, or in the text."""
    stated = op.attributes.get(NAME)
    if stated is not None:
        return str(stated.value)
    if isinstance(op.location, NameLoc):
        return op.location.name
    return value.name
