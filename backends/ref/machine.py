"""A module prepared for interpretation: its symbols, and the code of its blocks, made on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dlir.backends.ref.code import MAKERS, Code, Step, Task, mark_dead
from dlir.backends.ref.evaluation import eval_step
from dlir.backends.variables import VariableStore
from dlir.ir.attributes import DenseElementsAttr, UnitAttr
from dlir.ir.core import Block, Operation
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.regions import only_block
from dlir.ir.dialects.state import Variable
from dlir.ir.errors import DlirError, did_you_mean
from dlir.ir.limits import check_type
from dlir.ir.location import Location
from dlir.ir.op import Op
from dlir.ir.state import mutable_variables
from dlir.ir.types import MemRefType, ScalarType, TensorType, Type

#: Gives the array of a ``dense_resource`` by its name.
Weights = Callable[[str], Any]


@dataclass
class Changes:
    """What a call has written to variables, which get it when the call returns."""

    #: New values, by variable.
    values: dict[str, np.ndarray] = field(default_factory=dict)
    #: The call's own copies of globals that it may write to, by name.
    buffers: dict[str, np.ndarray] = field(default_factory=dict)


class Machine:
    """The code of a module, made on demand.  The module must not change while it is in use."""

    def __init__(self, module: Module, weights: Weights | None, max_bytes: int, store: VariableStore) -> None:
        self.weights = weights
        self.store = store
        self.mutable = mutable_variables(module)
        #: The store's arrays of what calls change, by name.
        self.live: dict[str, np.ndarray] = {}
        self.changes = Changes()
        self.max_bytes = max_bytes
        self.symbols: dict[str, Operation] = {}
        for op in module.body.ops:
            name = op.get("sym_name")
            if name is not None:
                self.symbols[name] = op
        self.codes: dict[Block, Code] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.globals: dict[str, np.ndarray] = {}
        #: What initialisers computed and nobody changes, by variable.
        self.initialized: dict[str, np.ndarray] = {}
        #: The functions that are being called now.
        self.active: dict[Func, None] = {}

    # ------------------------------------------------------------ running

    def call(self, function: Func, arguments: Sequence[Any], location: Location) -> Task:
        """Run the body of `function` in an environment of its own; returns what it returns."""
        if function.is_declaration:
            raise DlirError(f"'@{function.symbol}' has no body", location)
        if function in self.active:
            raise DlirError(f"'@{function.symbol}' calls itself; recursion is not supported", location)
        if len(function.regions[0].blocks) > 1:
            hint = "write loops and branches as scf.for, scf.while and scf.if"
            raise DlirError(
                f"'@{function.symbol}' has several blocks: only one can be run", function.location, hint=hint
            )
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

    def variable(self, name: str) -> np.ndarray:
        """The store's array of a variable that calls change; not to be written to."""
        if name not in self.live:
            op = self.mutable[name]
            type = op["type"]
            self.live[name] = self.store.bind(name, type.dtype.numpy, type.shape, lambda: self.first_value(op))
        return self.live[name]

    def first_value(self, op: Any) -> np.ndarray:
        """What a variable or a global holds before the first call; not to be written to.

        DlirError if nobody says.
        """
        init = op["init"] if isinstance(op, Variable) else op["initial_value"]
        if init is None:
            raise DlirError(f"'@{op['sym_name']}' has no value here", op.location)
        if isinstance(init, UnitAttr):
            return self.allocate(op["type"].shape, op["type"].dtype, op.location)
        return self.elements(init, op.location)

    def elements(self, attribute: Any, location: Location) -> np.ndarray:
        """The array of ``dense`` or ``dense_resource`` elements, in the type's shape; not to be written to."""
        type = attribute.type
        check_type(type, self.max_bytes, location)
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
        check_type(MemRefType(shape, dtype), self.max_bytes, location)
        array = np.empty(shape, dtype.numpy)
        if array.dtype.kind == "b":
            array.fill(True)
        else:
            array.reshape(-1).view(np.uint8).fill(0xFF)
        return array

    # ------------------------------------------------------------ making code

    def code(self, block: Block) -> Code:
        """The code of `block`."""
        if block not in self.codes:
            # Inner blocks first, so that making the code of a nest does not recurse.
            blocks = [block]
            for outer in blocks:
                blocks += [inner for op in outer.ops for region in op.regions for inner in region.blocks]
            for inner in reversed(blocks):
                self.codes[inner] = self._make(inner)
        return self.codes[block]

    def _make(self, block: Block) -> Code:
        ops = list(block.ops)
        if not ops or not ops[-1].is_terminator:
            location = block.parent_op.location if block.parent_op else ops[-1].location
            raise DlirError("a block without a terminator cannot be run", location)
        *body, ending = ops
        steps = [self._step(op) for op in body]
        mark_dead(body, steps)
        return Code(block.args, steps, ending, ending.operands)

    def _step(self, op: Operation) -> Step:
        if not isinstance(op, Op):
            raise DlirError(f"'{op.name}' is not registered, so that its meaning is not known", op.location)
        for result in op.results:
            if isinstance(result.type, TensorType):
                check_type(result.type, self.max_bytes, op.location)
        maker = MAKERS.get(op.name)
        return maker(self, op) if maker is not None else eval_step(self, op)
