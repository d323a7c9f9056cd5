"""Nodes: values of a graph that is written down and not computed yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dlir.frontends.symbolic.arguments import line_of_user, result_count, sorted_arguments, with_known_keywords
from dlir.ir.errors import DlirError, did_you_mean
from dlir.ir.registry import dialect_ops, find_op
from dlir.ir.types import dtype_from_numpy

#: Nodes that stand for no op: leaves, one result of an op with several, and a value that must be a scalar.
VARIABLE, CONSTANT, PARAMETER, RESULT, SCALAR = "variable", "constant", "parameter", "result", "scalar"
LEAVES = (VARIABLE, CONSTANT, PARAMETER)


def _binary(op: str) -> Callable[[Any, Any], Node]:
    return lambda self, other: Node(op, (self, other))


def _swapped(op: str) -> Callable[[Any, Any], Node]:
    return lambda self, other: Node(op, (other, self))


def _unary(op: str) -> Callable[[Any], Node]:
    return lambda self: Node(op, (self,))


class Node:
    """A value of the graph: op `op` of `inputs` (nodes, numbers or None; a list is one group of operands), or a leaf.

    `location` is the line of the program that made it: mistakes that show when shapes are known are reported there.
    """

    __slots__ = ("__weakref__", "attributes", "inputs", "location", "name", "op", "segments")
    __hash__ = object.__hash__

    __add__, __radd__ = _binary("nd.add"), _swapped("nd.add")
    __sub__, __rsub__ = _binary("nd.sub"), _swapped("nd.sub")
    __mul__, __rmul__ = _binary("nd.mul"), _swapped("nd.mul")
    __truediv__, __rtruediv__ = _binary("nd.div"), _swapped("nd.div")
    __floordiv__, __rfloordiv__ = _binary("nd.floor_divide"), _swapped("nd.floor_divide")
    __mod__, __rmod__ = _binary("nd.mod"), _swapped("nd.mod")
    __pow__, __rpow__ = _binary("nd.pow"), _swapped("nd.pow")
    __matmul__, __rmatmul__ = _binary("nd.matmul"), _swapped("nd.matmul")
    __lt__ = _binary("nd.less")
    __le__ = _binary("nd.less_equal")
    __gt__ = _binary("nd.greater")
    __ge__ = _binary("nd.greater_equal")
    __eq__ = _binary("nd.equal")  # type: ignore[assignment]
    __ne__ = _binary("nd.not_equal")  # type: ignore[assignment]
    __neg__, __abs__ = _unary("nd.neg"), _unary("nd.abs")

    def __init__(self, op: str, inputs: Sequence[Any] = (), attributes: dict[str, Any] | None = None, name: str = ""):
        self.op = op
        self.inputs: list[Node | None] = []
        #: The size of each group of operands, None for a single one.
        self.segments: list[int | None] = []
        for item in inputs:
            if isinstance(item, list | tuple) and (not item or any(isinstance(part, Node) for part in item)):
                self.inputs += map(as_node, item)
                self.segments.append(len(item))
            else:
                self.inputs.append(as_node(item))
                self.segments.append(None)
        self.attributes = attributes or {}
        self.name = name
        self.location = line_of_user()

    def named(self, name: str) -> Node:
        """This node, which from now on is called `name`."""
        self.name = name
        return self

    def with_inputs(self, inputs: Sequence[Node | None]) -> Node:
        """A copy of this node with other inputs, as many as it has."""
        copy = Node.__new__(Node)
        for slot in ("attributes", "location", "name", "op", "segments"):
            setattr(copy, slot, getattr(self, slot))
        copy.inputs = list(inputs)
        return copy

    @property
    def groups(self) -> list[Any]:
        """The inputs as the op takes them: a node, None, or a list of nodes for a group."""
        return self.grouped(self.inputs)

    def grouped(self, items: Sequence[Any]) -> list[Any]:
        """One item for each input, as the op takes them: a list for a group."""
        groups: list[Any] = []
        position = 0
        for size in self.segments:
            end = position + (1 if size is None else size)
            groups.append(items[position] if size is None else list(items[position:end]))
            position = end
        return groups

    @with_known_keywords
    def grad(self, wrt: Any, cotangent: Any = None) -> Any:
        """The gradient with regard to `wrt`: a node for a node, a list for a list.

        It is that of the sum of all elements, each times its element of `cotangent` (ones, if that is not given).
        """
        from dlir.frontends.symbolic.gradient import grad

        return grad(self, wrt, cotangent)

    def __str__(self) -> str:
        """The graph as text, one op a line, operands before their users."""
        from dlir.frontends.symbolic.listing import listing

        return listing([self])

    def __repr__(self) -> str:
        return f"<{self.op} {self.name}>" if self.name else f"<{self.op}>"

    def dot(self) -> str:
        """The graph as a drawing in Graphviz' language."""
        from dlir.frontends.drawing import picture_of_nodes

        return picture_of_nodes([self]).dot()

    def svg(self) -> str:
        """The graph as a drawing for a browser; notebooks show it by themselves."""
        from dlir.frontends.drawing import picture_of_nodes

        return picture_of_nodes([self]).svg()

    def _repr_svg_(self) -> str:
        return self.svg()

    def save(self, path: Any) -> None:
        """Write the graph and the values of its parameters to one file, for `load`."""
        from dlir.frontends.symbolic.saving import save

        save(path, self)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Node:
        """``np.exp(x)`` and ``array + x`` are nodes, too."""
        op = f"nd.{_OF_UFUNCS.get(ufunc.__name__, ufunc.__name__)}"
        if method != "__call__" or keywords or find_op(op) is None:
            what = f"np.{ufunc.__name__}" + (f".{method}" if method != "__call__" else "")
            raise TypeError(
                f"{what} does not take a symbolic value like this; the ops of graphs are in nd, such as nd.sum(x)"
            )
        return Node(op, inputs)

    def __bool__(self) -> bool:
        raise TypeError("a symbolic value has no truth value while the graph is built; use nd.select(condition, a, b)")

    def __iter__(self) -> Any:
        raise TypeError("a symbolic value cannot be iterated over: its shape is not known while the graph is built")

    def __len__(self) -> int:
        raise TypeError("a symbolic value has no length while the graph is built")

    def __index__(self) -> int:
        raise TypeError(
            "a symbolic value is no number while the graph is built, so it cannot count a loop or be an index"
        )

    def __float__(self) -> float:
        raise TypeError(
            "a symbolic value is no number while the graph is built; compile(x) makes the function that gives it"
        )

    __int__ = __index__

    def __getitem__(self, index: Any) -> Any:
        hint = "use nd.slice(x, start=..., stop=...), or nd.take for indices that are values"
        raise TypeError(f"a symbolic value cannot be indexed: its shape is not known while the graph is built; {hint}")

    def __getattr__(self, name: str) -> Any:
        if name in ("shape", "dtype", "ndim", "size"):
            raise AttributeError(
                f"a symbolic value has no {name} while the graph is built: it comes with the arguments of a call"
            )
        if name == "T":
            raise AttributeError("a symbolic value has no T; use nd.transpose(x)")
        hint = f"; use nd.{name}(x, ...)" if not name.startswith("_") and find_op(f"nd.{name}") is not None else ""
        raise AttributeError(f"a symbolic value has no attribute '{name}'{hint}")


#: The ops of NumPy's functions whose names differ.
_OF_UFUNCS = {
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "power": "pow",
    "remainder": "mod",
    "negative": "neg",
    "absolute": "abs",
}


def as_node(item: Any) -> Node | None:
    """`item` as a node; None stays None."""
    return item if item is None or isinstance(item, Node) else Constant(item)


def Variable(name: str) -> Node:
    """An input called `name`."""
    if not isinstance(name, str) or not name:
        raise DlirError(f"a variable needs a name, got {name!r}", line_of_user())
    return Node(VARIABLE, name=name)


def Constant(value: Any) -> Node:
    """A constant; a Python number takes the dtype of what it meets, as in NumPy."""
    value = value if type(value) in (bool, int, float) else np.asarray(value)  # np.float64 is a float, too
    if isinstance(value, np.ndarray):
        try:
            dtype_from_numpy(value.dtype)
        except TypeError:
            message = f"a constant is a number or an array of numbers, and this has the dtype {value.dtype}"
            raise DlirError(message, line_of_user(), hint="name an input with Variable(name)") from None
    return Node(CONSTANT, attributes={"value": value}, name=str(value) if np.ndim(value) == 0 else "")


def results(node: Node, count: int) -> tuple[Node, ...]:
    """The results of an op that has `count` of them."""
    return tuple(Node(RESULT, [node], {"index": index}) for index in range(count))


class UnknownOp(DlirError, AttributeError):
    """There is no op of this name."""


class Ops:
    """The ops of one dialect as functions of nodes."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect

    def __getattr__(self, name: str) -> Callable[..., Any]:
        full = f"{self._dialect}.{name}"
        cls = find_op(full)
        if cls is None:
            known = [op.partition(".")[2] for op in dialect_ops(self._dialect)]
            raise UnknownOp(f"there is no op '{full}'", hint=did_you_mean(name, known))

        def make(*inputs: Any, **keywords: Any) -> Any:
            node = Node(full, *sorted_arguments(cls, inputs, keywords))
            count = result_count(cls)
            return node if count is None else results(node, count)

        make.__name__, make.__doc__ = name, cls.__doc__
        return make

    def __dir__(self) -> list[str]:
        return [name.partition(".")[2] for name in dialect_ops(self._dialect)]


nd = Ops("nd")
nn = Ops("nn")
random = Ops("random")


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


def replaced(roots: Sequence[Node], changes: Mapping[Node, Node]) -> list[Node]:
    """`roots` with other nodes in place of those that `changes` names; these may be made of what they replace.

    Nodes that use what is replaced are copied, and all others stay the same.
    """
    found: dict[Node, Node] = {}
    for node in sorted_nodes(roots):
        inputs = [None if item is None else found[item] for item in node.inputs]
        is_same = all(new is old for new, old in zip(inputs, node.inputs, strict=True))
        found[node] = changes[node] if node in changes else node if is_same else node.with_inputs(inputs)
    return [found[root] for root in roots]
