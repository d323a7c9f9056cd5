"""The symbolic style: name inputs, write the maths, compile, call.

    A, B = Variable("A"), Variable("B")
    C = B * A
    D = C + Constant(1)
    f = compile(D)
    d = f(A=np.ones(10), B=np.ones(10) * 2)

Building a graph computes nothing.  Variables have no shape or dtype: a compiled function is specialised, once, for each set
of argument shapes and dtypes that it is called with.  ``nd`` and ``nn`` hold every small and big op:
``nd.exp(x)``, ``nn.dense(x, w, b, activation="relu")``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from dlir.backends.compiler import Program, compile_module
from dlir.ir.attributes import UNIT
from dlir.ir.builder import at_end
from dlir.ir.core import Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.errors import DlirError, did_you_mean
from dlir.ir.ops import func
from dlir.ir.ops import nd as build_nd
from dlir.ir.registry import dialect_ops, find_op
from dlir.ir.types import TensorType, dtype_from_numpy


class Node:
    """A value of the graph: op `op` of `inputs` (nodes, numbers or None), or a leaf."""

    __slots__ = ("attributes", "inputs", "name", "op")
    __array_ufunc__ = None  # NumPy arrays leave `array + node` to the node
    __hash__ = object.__hash__

    def __init__(self, op: str, inputs: Sequence[Any] = (), attributes: dict[str, Any] | None = None, name: str = ""):
        self.op = op
        self.inputs = [_as_input(item) for item in inputs]
        self.attributes = attributes or {}
        self.name = name

    def __str__(self) -> str:
        """The graph as text, one op a line, operands before their users."""
        names: dict[Node, str] = {}
        lines: list[str] = []
        for node in sorted_nodes([self]):
            names[node] = node.name or f"%{len(lines)}"
            if node.op not in ("variable", "constant"):
                extra = "".join(f", {key}={value!r}" for key, value in node.attributes.items())
                operands = ", ".join(names[item] for item in node.inputs if item is not None)
                lines.append(f"{names[node]} = {node.op}({operands}{extra})")
        return "\n".join(lines) or names[self]

    def __repr__(self) -> str:
        return f"<{self.op} {self.name}>" if self.name else f"<{self.op}>"

    def dot(self) -> str:
        """The graph as a drawing in Graphviz' language."""
        order = list(sorted_nodes([self]))
        number = {node: index for index, node in enumerate(order)}
        lines = ["digraph {", "  node [shape=box];"]
        for node, index in number.items():
            label = (node.name or node.op).replace("\\", "\\\\").replace('"', '\\"')
            lines.append(f'  n{index} [label="{label}"];')
            lines += [f"  n{number[item]} -> n{index};" for item in node.inputs if item is not None]
        return "\n".join([*lines, "}"])

    def __bool__(self) -> bool:
        raise TypeError("a symbolic value has no truth value while the graph is built; use nd.select(condition, a, b)")

    def __iter__(self) -> Any:
        raise TypeError("a symbolic value cannot be iterated over: its shape is not known while the graph is built")

    def __len__(self) -> int:
        raise TypeError("a symbolic value has no length while the graph is built")


def _operator(op: str, swapped: bool = False) -> Callable[..., Node]:
    if swapped:
        return lambda self, other: Node(op, (other, self))
    return lambda self, *others: Node(op, (self, *others))


for _pair in "add:add sub:sub mul:mul truediv:div floordiv:floor_divide mod:mod pow:pow matmul:matmul".split():
    _name, _, _op = _pair.partition(":")
    setattr(Node, f"__{_name}__", _operator(f"nd.{_op}"))
    setattr(Node, f"__r{_name}__", _operator(f"nd.{_op}", swapped=True))
for _pair in "neg:neg abs:abs eq:equal ne:not_equal lt:less le:less_equal gt:greater ge:greater_equal".split():
    _name, _, _op = _pair.partition(":")
    setattr(Node, f"__{_name}__", _operator(f"nd.{_op}"))


def _as_input(item: Any) -> Node | None:
    return item if item is None or isinstance(item, Node) else Constant(item)


def Variable(name: str) -> Node:
    """An input called `name`."""
    return Node("variable", name=name)


def Constant(value: Any) -> Node:
    """A constant; a Python number takes the dtype of what it meets, as in NumPy."""
    value = value if isinstance(value, bool | int | float) else np.asarray(value)
    return Node("constant", attributes={"value": value}, name=str(value) if np.ndim(value) == 0 else "")


class Ops:
    """The ops of one dialect as functions of nodes."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect

    def __getattr__(self, name: str) -> Callable[..., Node]:
        full = f"{self._dialect}.{name}"
        cls = find_op(full)
        if cls is None:
            known = [op.partition(".")[2] for op in dialect_ops(self._dialect)]
            raise AttributeError(f"there is no op '{full}'" + (f"; {h}" if (h := did_you_mean(name, known)) else ""))
        return lambda *inputs, **attributes: Node(full, inputs, attributes)


nd = Ops("nd")
nn = Ops("nn")


def sorted_nodes(roots: Iterable[Node]) -> Iterable[Node]:
    """All nodes that `roots` need, each after its inputs; without recursion."""
    done: dict[Node, None] = {}
    stack = [(root, False) for root in reversed(list(roots))]
    while stack:
        node, ready = stack.pop()
        if ready:
            done[node] = None
        elif node not in done:
            stack.append((node, True))
            stack.extend((item, False) for item in reversed(node.inputs) if item is not None and item not in done)
    return done


def to_module(outputs: Sequence[Node], types: dict[str, TensorType], donate: Iterable[str] = ()) -> Module:
    """The graph as a module with one function ``@main``, whose arguments are `types` in order."""
    module = Module.empty()
    function = Func.make("main", types.values(), names=types)
    function.set_arg_attributes([{"dlir.donated": UNIT} if name in set(donate) else {} for name in types])
    module.body.append(function)
    values: dict[Node, Any] = {}
    arguments = dict(zip(types, function.body.args, strict=True))
    with at_end(function.body):
        for node in sorted_nodes(outputs):
            if node.op == "variable":
                values[node] = arguments[node.name]
            elif node.op == "constant":
                values[node] = node.attributes["value"]
            else:
                operands = [None if item is None else values[item] for item in node.inputs]
                cls = find_op(node.op)
                assert cls is not None
                values[node] = cls.build(*operands, **node.attributes)
        func.return_(*[_materialise(values[node]) for node in outputs])
    function.update_type()
    return module


def _materialise(value: Any) -> Value:
    return value if isinstance(value, Value) else build_nd.constant(value=np.asarray(value))


class Function:
    """A compiled graph.  Call it with one array per variable, by name; it returns one array, or a list for a list."""

    def __init__(self, outputs: Sequence[Node], single: bool, donate: Iterable[str], backend: str, level: str) -> None:
        self.outputs = list(outputs)
        self.names = list(dict.fromkeys(n.name for n in sorted_nodes(self.outputs) if n.op == "variable"))
        self._single, self._donate, self._backend, self._level = single, tuple(donate), backend, level
        self._programs: dict[Any, Program] = {}
        for name in self._donate:
            if name not in self.names:
                raise DlirError(f"cannot donate '{name}': it is not an input", hint=did_you_mean(name, self.names))

    def __call__(self, **arrays: Any) -> Any:
        ordered = self._order(arrays)
        results = self._program(ordered)(*ordered)
        return results[0] if self._single else list(results)

    def lower(self, **arrays: Any) -> Program:
        """The program specialised for arguments like these; see it for its IR at each stage, kernels and memory."""
        return self._program(self._order(arrays))

    @property
    def compilations(self) -> int:
        """How many specialisations were compiled."""
        return len(self._programs)

    def position_of(self, node: Node) -> int:
        """Where output `node` stands among the results; DlirError for one that was not asked for when compiling."""
        for position, output in enumerate(self.outputs):
            if output is node:
                return position
        hint = "name it in compile([...]) to have it returned"
        raise DlirError(f"{node!r} is not an output of this function, so its value is not kept", hint=hint)

    def _order(self, arrays: dict[str, Any]) -> list[np.ndarray]:
        if arrays.keys() != set(self.names):
            for name in arrays:
                if name not in self.names:
                    raise DlirError(f"there is no input '{name}'", hint=did_you_mean(name, self.names))
            missing = ", ".join(f"'{name}'" for name in self.names if name not in arrays)
            raise DlirError(f"input {missing} is missing")
        return [np.asarray(arrays[name]) for name in self.names]

    def _program(self, arrays: list[np.ndarray]) -> Program:
        key = tuple([(array.shape, array.dtype) for array in arrays])
        program = self._programs.get(key)
        if program is None:
            types = {
                name: TensorType(array.shape, dtype_from_numpy(array.dtype))
                for name, array in zip(self.names, arrays, strict=True)
            }
            module = to_module(self.outputs, types, self._donate)
            program = self._programs[key] = compile_module(module, backend=self._backend, level=self._level)
        return program


def compile(
    outputs: Node | Sequence[Node], *, donate: Iterable[str] = (), backend: str = "cpu", level: str = "O2"
) -> Function:
    """Make a function of the variables that `outputs` need.

    `donate` names inputs whose memory the results may take: those arrays hold garbage after a call.  `level` is O0 (op by
    op), O1 or O2.
    """
    single = isinstance(outputs, Node)
    return Function([outputs] if isinstance(outputs, Node) else outputs, single, donate, backend, level)
