"""Compiled graphs: functions that are specialised for the shapes and dtypes that they are called with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dlir.backends.compiler import Program, compile_module
from dlir.backends.registry import find_backend
from dlir.frontends.symbolic import donation
from dlir.frontends.symbolic.arguments import element_type, line_of_user, with_known_keywords
from dlir.frontends.symbolic.graph import Graph, Updates, checked_updates
from dlir.frontends.symbolic.node import Constant, Node
from dlir.frontends.symbolic.parameter import Parameter, ParameterStore
from dlir.frontends.symbolic.specialisations import Compilation, Specialisations
from dlir.ir.dialects.builtin import Module
from dlir.ir.errors import DlirError, did_you_mean
from dlir.ir.types import TensorType, dtype_from_numpy
from dlir.passes.pipelines import PIPELINES
from dlir.textir.checkpoint import save_checkpoint

if TYPE_CHECKING:
    from dlir.frontends.drawing import Picture


@dataclass(frozen=True)
class Options:
    """How graphs are compiled; see `compile`."""

    backend: str = "cpu"
    level: str = "O2"
    check_numerics: bool = False
    freeze: bool = False


@with_known_keywords
def compile(
    outputs: Node | Sequence[Node],
    *,
    updates: Updates = (),
    inputs: Sequence[Node | str] | None = None,
    donate: str | Node | Iterable[str | Node] = (),
    backend: str = "cpu",
    level: str = "O2",
    name: str = "main",
    limit: int = 16,
    freeze: bool = False,
    check_numerics: bool = False,
) -> Function:
    """Make a function of the variables that `outputs` and `updates` need.

    `updates` gives parameters their new values, as pairs or a mapping: they see all values from before the call, and take
    effect together when it returns; if it fails, none does.
    `inputs` is the order of the arguments for calls without names.
    `donate` names inputs whose memory the results may take: those arrays hold garbage after a call, and no other call takes
    them.  `level` is O0 (op by op), O1, O2 or O3.  At most `limit` programs, one for each set of argument types, are kept.
    `freeze` takes parameters for constants, with the values that they have now: they are laid out for the machine once, and
    what follows from them alone is computed once.  With `check_numerics` a call raises DlirError for the first op that makes
    a NaN or an infinity, with the line that made the node, and updates nothing; that takes longer.
    """
    for option, value in (("backend", backend), ("level", level), ("name", name)):
        if not isinstance(value, str):
            raise DlirError(
                f"'{option}' is a text, got {value!r}", hint="O0, O1, O2 or O3" if option == "level" else None
            )
    find_backend(backend)
    if level not in PIPELINES:
        raise DlirError(f"there is no level '{level}'", hint=did_you_mean(level, PIPELINES) or "O0, O1, O2 and O3 are")
    if not isinstance(limit, int) or limit < 1:
        raise DlirError(f"'limit' is the number of programs to keep, at least 1, not {limit!r}")
    given = [donate] if isinstance(donate, str | Node) else donate
    donated = tuple(item.name if isinstance(item, Node) else item for item in given)
    nodes = [outputs] if isinstance(outputs, Node) else _outputs(outputs)
    graph = Graph(nodes, checked_updates(updates), donated)
    if freeze and graph.updates:
        target = graph.updates[0][0]
        raise DlirError(f"cannot freeze parameters and update '{target.name}'", hint="compile two functions")
    options = Options(backend, level, check_numerics, freeze)
    return Function(graph, isinstance(outputs, Node), inputs, options, name, limit)


class Function:
    """A compiled graph.  Call it with one array per variable, by name; it returns one array, or a list for a list.

    Without names, arguments are taken in the order of the `inputs` that were given to `compile`, or if there is only one.
    """

    def __init__(
        self,
        graph: Graph,
        single: bool,
        inputs: Sequence[Node | str] | None,
        options: Options,
        name: str,
        limit: int,
    ) -> None:
        self.graph = graph
        self.names = graph.inputs
        self.__name__ = name
        self._single, self._options = single, options
        self._frozen = self._values() if options.freeze else None
        self._order = _positions(inputs, graph.inputs)
        self._known = frozenset(self.names)
        self._programs = Specialisations(limit)

    def __call__(self, /, *positional: Any, **arrays: Any) -> Any:
        ordered = self._arranged(positional, arrays)
        donation.check_arrays(self.names, ordered)
        results: Sequence[Any] = self._program(ordered)(*ordered)
        if self.graph.donate:
            given = [item for item in zip(self.names, ordered, strict=True) if item[0] in self.graph.donate]
            results = donation.take(self.__name__, given, results)
        return results[0] if self._single else list(results)

    def __repr__(self) -> str:
        return f"<function {self.__name__}({', '.join(self.names)}), {self.compilations} compilations>"

    @property
    def outputs(self) -> list[Node]:
        """The nodes whose values a call returns."""
        return self.graph.outputs

    @property
    def parameters(self) -> list[Parameter]:
        """The parameters that a call reads or updates."""
        return list(self.graph.parameters.values())

    def lower(self, /, *positional: Any, **arrays: Any) -> Program:
        """The program specialised for arguments like these; see it for its IR at each stage, kernels and memory.

        Arguments are not read: anything with a shape and a dtype will do, such as `Spec`.
        """
        return self._program(self._arranged(positional, arrays))

    def module(self, /, *positional: Any, **arrays: Any) -> Module:
        """The graph as a module for arguments like these, before any pass."""
        return self.graph.module(self._types(self._arranged(positional, arrays)))

    @property
    def compilations(self) -> int:
        """How many specialisations were compiled."""
        return self._programs.compiled

    @property
    def history(self) -> list[Compilation]:
        """The compilations, the last 256 of them, with what made them necessary."""
        return list(self._programs.history)

    def explain(self) -> str:
        """Why it was compiled each time: which argument's shape or dtype was new."""
        return self._programs.explain(self.__name__)

    def draw(self, kind: str, /, *positional: Any, **arrays: Any) -> Picture:
        """A drawing: "graph" (the nodes), "folded" (the kernels) or "backward" (with the ops of the gradients).

        The last two are for arguments like these.  A drawing has `svg`, `dot` and `save`; notebooks show it.
        """
        from dlir.frontends.drawing.stages import picture_of_graph, picture_of_program

        if kind == "graph":
            return picture_of_graph(self.graph)
        return picture_of_program(self.lower(*positional, **arrays), kind)

    def save(self, path: Any) -> None:
        """Write the graph, its updates and the values of all parameters to one file, in one step, for `load_function`."""
        from dlir.frontends.symbolic.saving import save_graph

        save_graph(path, self.graph, self._single, self._frozen)

    def export(self, path: Any, /, *positional: Any, **arrays: Any) -> None:
        """Write the module for arguments like these, with the values of all parameters, for ``dlir-run`` and ``dlir-opt``."""
        values = self._values() if self._frozen is None else self._frozen
        save_checkpoint(path, self.module(*positional, **arrays), values)

    def position_of(self, node: Node) -> int:
        """Where output `node` stands among the results; DlirError for one that was not asked for when compiling."""
        for position, output in enumerate(self.outputs):
            if output is node:
                return position
        hint = "name it in compile([...]) to have it returned"
        raise DlirError(f"{node!r} is not an output of this function, so its value is not kept", hint=hint)

    def _arranged(self, positional: Sequence[Any], arrays: Mapping[str, Any]) -> list[Any]:
        """One array per input, in order; DlirError for one that is missing, too much or given twice."""
        given = arrays
        if positional:
            given = {**arrays, **dict(zip(self._named(positional, arrays), positional, strict=True))}
        if given.keys() != self._known:
            for name in given:
                if name not in self.names:
                    hint = did_you_mean(name, self.names) or f"inputs: {', '.join(self.names) or 'none'}"
                    raise DlirError(f"there is no input '{name}'", hint=hint)
            missing = ", ".join(f"'{name}'" for name in self.names if name not in given)
            raise DlirError(f"input {missing} is missing")
        return [_as_array(given[name]) for name in self.names]

    def _named(self, positional: Sequence[Any], given: Mapping[str, Any]) -> list[str]:
        """The names of arguments without names."""
        if len(positional) > len(self.names):
            takes = f"{len(self.names)} argument{'s' * (len(self.names) != 1)} ({', '.join(self.names)})"
            raise DlirError(f"'{self.__name__}' takes {takes}, got {len(positional)}")
        if self._order is None and len(self.names) > 1:
            hint = f"call it with {', '.join(f'{name}=...' for name in self.names)}, or give compile(..., inputs=[...])"
            raise DlirError("it is not clear which argument is which input", hint=hint)
        names = (self._order or self.names)[: len(positional)]
        for name in names:
            if name in given:
                raise DlirError(f"input '{name}' is given twice")
        return names

    def _types(self, arrays: Sequence[Any]) -> dict[str, TensorType]:
        return {name: _type_of(name, array) for name, array in zip(self.names, arrays, strict=True)}

    def _program(self, arrays: Sequence[Any]) -> Program:
        key = tuple([(array.shape, array.dtype) for array in arrays])
        return self._programs.find(key) or self._programs.make(key, self._types(arrays), self._compile)

    def _compile(self, types: Mapping[str, TensorType]) -> Program:
        module = self.graph.module(types, is_mutable=self._frozen is None)
        options = {name: getattr(self._options, name) for name in ("backend", "level", "check_numerics")}
        if self._frozen is not None:
            return compile_module(module, self._frozen.__getitem__, **options)
        return compile_module(module, variables=ParameterStore.joined(self.parameters), **options)

    def _values(self) -> dict[str, np.ndarray]:
        """The values of all parameters now."""
        return ParameterStore.joined(self.parameters).snapshot()


class Spec:
    """A shape and a dtype, for `Function.lower` in place of an array."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: int | Sequence[int], dtype: Any = "float32") -> None:
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if not all(isinstance(extent, int | np.integer) and extent >= 0 for extent in self.shape):
            hint = "a function is specialised for shapes that are known, such as Spec((64, 3))"
            raise DlirError(f"a shape is made of numbers from 0 on, got {shape!r}", line_of_user(), hint=hint)
        self.dtype = element_type(dtype).numpy

    def __repr__(self) -> str:
        return f"Spec({self.shape}, '{self.dtype}')"


def _outputs(items: Any) -> list[Node]:
    """The outputs as nodes; DlirError for what is none."""
    hint = "build the graph from Variable(name), and give a node, or a list of nodes"
    if not isinstance(items, list | tuple):
        raise DlirError(f"cannot compile {items!r}, which is not a node", hint=hint)
    found = []
    for item in items:
        if item is None:
            raise DlirError("an output is None, which is not a node", hint=hint)
        if isinstance(item, str | list | tuple | dict):
            raise DlirError(f"an output is {item!r}, which is not a node", hint=hint)
        found.append(item if isinstance(item, Node) else Constant(item))
    return found


def _as_array(value: Any) -> Any:
    return value if isinstance(value, np.ndarray | Spec) else np.asarray(value)


def _type_of(name: str, array: Any) -> TensorType:
    try:
        return TensorType(array.shape, dtype_from_numpy(array.dtype))
    except TypeError:
        hint = None
        if not array.dtype.isnative:
            hint = "give it in this machine's byte order: x.astype(x.dtype.newbyteorder('='))"
        message = f"input '{name}' has values of dtype {array.dtype}, which are no numbers that fit"
        raise DlirError(message, hint=hint) from None


def _positions(inputs: Sequence[Node | str] | None, names: Sequence[str]) -> list[str] | None:
    """The names of `inputs`; DlirError unless those are the inputs, each once."""
    if inputs is None:
        return None
    found = [item.name if isinstance(item, Node) else item for item in inputs]
    for name in found:
        if name not in names:
            raise DlirError(f"there is no input '{name}'", hint=did_you_mean(name, names))
    missing = ", ".join(f"'{name}'" for name in names if name not in found)
    if missing or len(found) > len(names):
        raise DlirError(f"'inputs' must name each input once{f': {missing} is missing' if missing else ''}")
    return found
