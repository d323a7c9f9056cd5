"""A module prepared for interpretation: each block becomes a list of Python functions over an environment.

An environment maps the values of one function call to NumPy values.  Ops with regions are generators that yield the blocks
they want run, and one loop (`Program.drive`) runs them all from an explicit stack: how deep regions and calls are nested
never touches Python's own stack.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dlir.backends.ref.limits import check_bytes
from dlir.ir.attributes import DenseElementsAttr, DenseResourceAttr
from dlir.ir.core import Block, Operation, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.regions import only_block
from dlir.ir.errors import DlirError, InferError, did_you_mean
from dlir.ir.location import Location
from dlir.ir.op import Op, results_of, spread_groups
from dlir.ir.types import MemRefType, ScalarType, ShapedType, TensorType, Type

Environment = dict[Value, Any]
Weights = Callable[[str], Any]

#: A run that wants other blocks run: it yields generators and is sent what they return.
Task = Generator["Task", Any, Any]


@dataclass(slots=True)
class Step:
    """One op: `run` computes its results into the environment, by itself or, if `is_task`, as a `Task`."""

    run: Callable[[Environment], Any]
    is_task: bool = False
    #: Tensors that nothing needs after this step.
    dead: list[Value] = field(default_factory=list)


@dataclass(slots=True)
class Code:
    """A block as steps; its value is what its terminator's operands hold."""

    args: list[Any]
    steps: list[Step]
    ending: Operation
    returned: tuple[Value, ...]
    is_flat: bool

    def execute(self, environment: Environment, arguments: Sequence[Any]) -> list[Any]:
        """Run a block without tasks."""
        environment.update(zip(self.args, arguments))
        for step in self.steps:
            step.run(environment)
            for value in step.dead:
                del environment[value]
        return [environment[value] for value in self.returned]

    def task(self, environment: Environment, arguments: Sequence[Any]) -> Task:
        """Run any block."""
        environment.update(zip(self.args, arguments))
        for step in self.steps:
            if step.is_task:
                yield step.run(environment)
            else:
                step.run(environment)
            for value in step.dead:
                del environment[value]
        return [environment[value] for value in self.returned]


Maker = Callable[["Program", Any], Step]

#: Op name -> what makes its step.  Ops that are not here run by their `eval`.
MAKERS: dict[str, Maker] = {}


def runs(*names: str) -> Callable[[Maker], Maker]:
    """Decorator: the function makes the steps of the ops called `names`."""

    def enter(maker: Maker) -> Maker:
        MAKERS.update(dict.fromkeys(names, maker))
        return maker

    return enter


class Program:
    """The code of a module, made on demand.  The module must not change while it is in use."""

    def __init__(self, module: Module, weights: Weights | None, max_bytes: int) -> None:
        self.weights = weights
        self.max_bytes = max_bytes
        self.symbols: dict[str, Operation] = {}
        for op in module.body.ops:
            name = op.get("sym_name")
            if name is not None:
                self.symbols[name] = op
        self.codes: dict[Block, Code] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.globals: dict[str, np.ndarray] = {}
        #: The functions that are being called now.
        self.active: dict[Func, None] = {}

    # ------------------------------------------------------------ running

    def drive(self, task: Task) -> Any:
        """Run `task` and all that it asks for; returns what it returns."""
        stack = [task]
        sent: Any = None
        while stack:
            try:
                stack.append(stack[-1].send(sent))
                sent = None
            except StopIteration as stop:
                stack.pop()
                sent = stop.value
        return sent

    def call(self, function: Func, arguments: Sequence[Any], location: Location) -> Task:
        """Run the body of `function` in an environment of its own; returns what it returns."""
        if function.is_declaration:
            raise DlirError(f"'@{function.symbol}' has no body", location)
        if function in self.active:
            raise DlirError(f"'@{function.symbol}' calls itself; recursion is not supported", location)
        self.active[function] = None
        found = yield self.code(only_block(function)).task({}, arguments)
        del self.active[function]
        return found

    # ------------------------------------------------------------ looking up

    def symbol(self, name: str, kind: type, location: Location) -> Any:
        """The op of class `kind` that defines symbol `name`; DlirError if there is none."""
        found = self.symbols.get(name)
        if not isinstance(found, kind):
            names = [name for name, op in self.symbols.items() if isinstance(op, kind)]
            raise DlirError(f"there is no {kind.__name__.lower()} '@{name}'", location, hint=did_you_mean(name, names))
        return found

    def elements(self, attribute: Any, location: Location) -> np.ndarray:
        """The array of ``dense`` or ``dense_resource`` elements, in the type's shape; not to be written to."""
        type = attribute.type
        check_bytes(type, self.max_bytes, location)
        if isinstance(attribute, DenseElementsAttr):
            return attribute.value
        name = attribute.name
        if name not in self.constants:
            if self.weights is None:
                raise DlirError(f"the weights '{name}' are needed, but none are given", location)
            array = np.asarray(self.weights(name))
            if array.dtype != type.dtype.numpy or array.shape != type.shape:
                raise DlirError(f"the weights '{name}' are {array.dtype} of shape {array.shape}, not {type}", location)
            self.constants[name] = array
        return self.constants[name]

    def allocate(self, shape: Sequence[int], dtype: Type, location: Location) -> np.ndarray:
        """A buffer whose bytes are all ones (NaN, -1, true), so that reading before writing shows."""
        assert isinstance(dtype, ScalarType)
        check_bytes(MemRefType(shape, dtype), self.max_bytes, location)
        array = np.empty(shape, dtype.numpy)
        if array.dtype.kind == "b":
            array.fill(True)
        else:
            array.reshape(-1).view(np.uint8).fill(0xFF)
        return array

    # ------------------------------------------------------------ making code

    def code(self, block: Block) -> Code:
        """The code of `block`."""
        found = self.codes.get(block)
        if found is None:
            found = self.codes[block] = self._make(block)
        return found

    def _make(self, block: Block) -> Code:
        ops = list(block.ops)
        if not ops or not ops[-1].is_terminator:
            location = block.parent_op.location if block.parent_op else ops[-1].location
            raise DlirError("a block without a terminator cannot be run", location)
        *body, ending = ops
        steps = [self._step(op) for op in body]
        _mark_dead(body, steps)
        is_flat = not any(step.is_task for step in steps)
        return Code(block.args, steps, ending, ending.operands, is_flat)

    def _step(self, op: Operation) -> Step:
        if not isinstance(op, Op):
            raise DlirError(f"'{op.name}' is not registered, so that its meaning is not known", op.location)
        for result in op.results:
            if isinstance(result.type, TensorType):
                check_bytes(result.type, self.max_bytes, op.location)
        maker = MAKERS.get(op.name)
        return maker(self, op) if maker is not None else eval_step(self, op)


def _mark_dead(ops: Sequence[Operation], steps: Sequence[Step]) -> None:
    """Let go of each tensor after the last op of the block that uses it, directly or in its regions."""
    position = {op: index for index, op in enumerate(ops)}
    for index, op in enumerate(ops):
        for result in op.results:
            if not isinstance(result.type, TensorType):
                continue
            last: int | None = index
            for user in result.users:
                ancestor: Operation | None = user
                while ancestor is not None and ancestor.parent is not op.parent:
                    ancestor = ancestor.parent_op
                where = None if ancestor is None else position.get(ancestor)
                if where is None:
                    last = None  # the terminator needs it
                    break
                last = max(last or 0, where)
            if last is not None:
                steps[last].dead.append(result)


# ---------------------------------------------------------------- ops with an eval


def eval_step(program: Program, op: Op) -> Step:
    """The step of an op that runs by its ``eval``."""
    function = getattr(type(op), "eval", None)
    if function is None:
        raise DlirError(f"'{op.name}' cannot be interpreted", op.location)
    keywords = {name: _resolve(program, op, value) for name, value in op.keywords.items()}
    if not op.schema().infers:
        keywords["result_types"] = op.result_types
    operands, results, types = op.operands, op.results, op.result_types
    gather = _gatherer(op)
    is_dynamic = any(isinstance(type, TensorType) and not type.is_static for type in types)

    def run(environment: Environment) -> None:
        values = [environment[operand] for operand in operands]
        arguments = gather(values)
        checked = _runtime_types(program, op, arguments) if is_dynamic else types
        try:
            found = function(*arguments, **keywords)
        except DlirError as error:
            raise error.at(op.location) from None
        except (ArithmeticError, IndexError, MemoryError, ValueError) as error:
            raise DlirError(f"'{op.name}' failed: {error}", op.location) from error
        values = list(found) if isinstance(found, tuple) else [found]
        for result, type, value in zip(results, checked, values, strict=True):
            environment[result] = _as_value(op, type, value)

    return Step(run)


def _gatherer(op: Op) -> Callable[[list[Any]], list[Any]]:
    """What puts the operands' values, in order, in the places where ``eval`` takes them."""
    schema = op.schema()
    places = spread_groups(schema, op.schema().group(range(len(op.operands)), op.get("operandSegmentSizes")))
    if places == list(range(len(op.operands))):
        return lambda values: values

    def pick(place: Any, values: list[Any]) -> Any:
        return tuple(values[i] for i in place) if isinstance(place, tuple) else None if place is None else values[place]

    return lambda values: [pick(place, values) for place in places]


def _resolve(program: Program, op: Op, value: Any) -> Any:
    """An attribute's value, with elements that live outside of the text read."""
    if isinstance(value, DenseElementsAttr | DenseResourceAttr):
        return DenseElementsAttr(program.elements(value, op.location).view(), value.type)
    return value


def _runtime_types(program: Program, op: Op, arguments: list[Any]) -> tuple[Type, ...]:
    """The result types for the operands' shapes in this run: checks that dynamic dimensions agree, and sizes."""
    names = [spec for spec in op.schema().operands]
    groups = op.groups
    values = iter(_flatten(arguments))

    def refine(value: Value) -> Type:
        array = next(values)
        return TensorType(array.shape, value.dtype) if isinstance(value.type, TensorType) else value.type

    types: list[Any] = []
    for _, group in zip(names, groups, strict=True):
        types.append(tuple(map(refine, group)) if isinstance(group, tuple) else group and refine(group))
    schema = op.schema()
    try:
        inferred = results_of(
            type(op).infer(*spread_groups(schema, types), **op.keywords, **dict.fromkeys(schema.regions))
        )
    except InferError as error:
        raise DlirError(f"'{op.name}' {error.message}", op.location) from None
    for found in inferred:
        check_bytes(found, program.max_bytes, op.location)
    return inferred


def _flatten(arguments: Sequence[Any]) -> Iterator[Any]:
    for item in arguments:
        if isinstance(item, tuple):
            yield from item
        elif item is not None:
            yield item


def _as_value(op: Op, type: Type, value: Any) -> Any:
    """`value` as its type wants it: an array for a tensor or vector, else a NumPy scalar."""
    if isinstance(type, ShapedType):
        value = np.asarray(value)
        fits = value.ndim == type.rank and all(want in (None, dim) for want, dim in zip(type.shape, value.shape))
        if not fits or value.dtype != type.dtype.numpy:  # type: ignore[attr-defined]
            raise DlirError(f"'{op.name}' gave {value.dtype} of shape {value.shape} where its type is {type}", op.location)
    return value
