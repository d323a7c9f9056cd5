"""The reference interpreter: runs a module at any level, op by op, by what the ops say they mean.

It is the oracle that the other backends are compared with, so it is made to be right and to notice mistakes, not to be
fast: fresh buffers hold NaN, indices are checked, inputs and constants cannot be written to.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from dlir.backends.ref import buffers, control
from dlir.backends.ref.code import drive
from dlir.backends.ref.machine import Changes, Machine, Weights
from dlir.backends.variables import Binding, VariableStore, commit
from dlir.ir.attributes import IntegerAttr
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.errors import DlirError
from dlir.ir.initializers import initializers_for
from dlir.ir.limits import MAX_BYTES, check_type
from dlir.ir.location import UNKNOWN
from dlir.ir.state import state_of
from dlir.ir.types import MemRefType, ShapedType, Type

#: The modules that say how ops with regions and buffers run.
RUNNERS = (buffers, control)


class Reference:
    """A module to be interpreted; it must be verified, and must not change afterwards.

    `weights` gives the array of a ``dense_resource`` by its name.  No single tensor or buffer may need more than
    `max_bytes`.  What calls write to variables and globals is kept in `variables`.
    """

    def __init__(
        self,
        module: Module,
        weights: Weights | None = None,
        max_bytes: int = MAX_BYTES,
        variables: VariableStore | None = None,
    ) -> None:
        self._module = module
        self._store = VariableStore() if variables is None else variables
        self._machine = Machine(module, weights, max_bytes, self._store)
        self._lock = threading.RLock()
        #: The variables of the functions whose variables have their first values.
        self._ready: dict[Func, Binding] = {}

    def run(self, entry: str, inputs: Sequence[Any]) -> list[np.ndarray]:
        """Call function `entry` with one array (or number) per input; returns one array per result.

        Below level 3, the roles of buffers are attributes of the function's arguments: inputs (``dlir.input``) are
        read-only unless they are donated or hold a result too, results (``dlir.result``) and the arena are made here.
        Without roles, the function gets copies of the inputs, in order.  DlirError for inputs that do not fit and
        whatever goes wrong.
        """
        function = self._machine.symbol(entry, Func, UNKNOWN)
        self.initialize(entry)
        binding = self._ready[function]
        if not binding:
            return self._call(function, inputs)
        with self._lock:
            return binding.run(self._call, function, inputs, binding.written)

    def initialize(self, entry: str) -> None:
        """Run the initialisers of the variables that function `entry` needs, if that has not been done."""
        machine = self._machine
        function = machine.symbol(entry, Func, UNKNOWN)
        with self._lock:
            if function in self._ready:
                return
            for item in initializers_for(self._module, function):
                names = [variable["sym_name"] for variable in item.variables]
                if all(name in (self._store if name in machine.mutable else machine.initialized) for name in names):
                    continue
                found = self._binding(item.function).run(self._call, item.function, ())
                for name, value in zip(names, found, strict=True):
                    value.setflags(write=False)
                    if name in machine.mutable:
                        self._store.bind(name, value.dtype, value.shape, partial(np.array, value))
                    else:
                        machine.initialized[name] = value
            self._ready[function] = self._binding(function)

    def _binding(self, function: Func) -> Binding:
        return Binding(self._store, state_of(self._module, function), self._machine.first_value)

    def _call(self, function: Func, inputs: Sequence[Any], written: Sequence[str] = ()) -> list[np.ndarray]:
        machine = self._machine
        frame = _Frame(machine, function, inputs)
        machine.active.clear()
        machine.changes = changes = Changes()
        with np.errstate(all="ignore"):
            returned = drive(machine.call(function, frame.arguments, function.location))
        # Results may be views of variables.
        results = frame.results(returned)
        found = {**changes.buffers, **changes.values}
        names = [name for name in written if name in found]
        commit([machine.variable(name) for name in names], [found[name] for name in names])
        return results


class _Frame:
    """The arguments of one call, by their roles."""

    def __init__(self, machine: Machine, function: Func, inputs: Sequence[Any]) -> None:
        self.machine = machine
        self.function = function
        self.inputs = inputs
        self.destinations: dict[int, np.ndarray] = {}
        roles = [function.arg_attributes(index) for index in range(len(function.type.inputs))]
        self.has_roles = any(name in role for role in roles for name in _ROLES)
        count = sum("dlir.input" in role for role in roles) if self.has_roles else len(roles)
        if len(inputs) != count:
            raise DlirError(f"'@{function.symbol}' takes {count} inputs, got {len(inputs)}", function.location)
        self.arguments = [self._argument(index, role) for index, role in enumerate(roles)]

    def _argument(self, index: int, role: dict[str, Any]) -> Any:
        type = self.function.type.inputs[index]
        name = self.function.body.args[index].name or str(index)
        source = _number(role, "dlir.input") if self.has_roles else index
        result = _number(role, "dlir.result")
        if source is not None:
            if not 0 <= source < len(self.inputs):
                raise DlirError(f"argument '{name}' is input {source} of {len(self.inputs)}", self.function.location)
            may_write = result is not None or "dlir.donated" in role or not self.has_roles
            value = self._input(name, type, self.inputs[source], may_write)
        elif isinstance(type, MemRefType) and type.is_static:
            value = self.machine.allocate(type.shape, type.dtype, self.function.location)  # type: ignore[arg-type]
        else:
            raise DlirError(f"argument '{name}' has no role that says what to give it", self.function.location)
        if result is not None:
            self.destinations[result] = value
        return value

    def _input(self, name: str, type: Type, given: Any, may_write: bool) -> Any:
        """An input as a value of `type`."""
        dtype = type.dtype if isinstance(type, ShapedType) else type
        shape = type.shape if isinstance(type, ShapedType) else ()
        wanted = self._dtype(name, dtype)
        array = np.asarray(given)
        fits = array.ndim == len(shape) and all(want in (None, dim) for want, dim in zip(shape, array.shape))
        if not fits or array.dtype != wanted:
            found = f"{array.dtype} of shape {list(array.shape)}"
            raise DlirError(f"argument '{name}' must be {type}, got {found}", self.function.location)
        if not isinstance(type, ShapedType):
            return array[()]
        check_type(type.with_shape(array.shape), self.machine.max_bytes, self.function.location)
        if may_write and isinstance(type, MemRefType):
            return np.array(array, order="C")
        shown = np.ascontiguousarray(array).reshape(array.shape).view()
        shown.setflags(write=False)
        return shown

    def _dtype(self, name: str, dtype: Type) -> np.dtype:
        try:
            return dtype.numpy  # type: ignore[attr-defined]
        except (AttributeError, TypeError):
            raise DlirError(f"argument '{name}' of type {dtype} cannot be given", self.function.location) from None

    def results(self, returned: Sequence[Any]) -> list[np.ndarray]:
        """What the call gave: the destinations in the order of their numbers, then what the function returned."""
        written = [self.destinations[number] for number in sorted(self.destinations)]
        # What is returned may be a view of an input or of a constant.
        return written + [np.array(value) for value in returned]


_ROLES = ("dlir.input", "dlir.result", "dlir.arena")


def _number(role: dict[str, Any], name: str) -> int | None:
    found = role.get(name)
    return found.value if isinstance(found, IntegerAttr) else None
