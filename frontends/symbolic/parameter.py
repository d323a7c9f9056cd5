"""Parameters: variables that keep a value from call to call, such as weights and the state of an optimiser."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import numpy as np

from dlir.backends.variables import VariableStore
from dlir.frontends.symbolic.arguments import with_known_keywords
from dlir.frontends.symbolic.node import PARAMETER, VARIABLE, Node, sorted_nodes
from dlir.ir.errors import DlirError
from dlir.ir.types import TensorType, dtype_from_numpy

#: Held while first values are computed.
_MAKING = threading.RLock()


class Parameter(Node):
    """A node whose value stays from call to call; all functions that use it see the same one.

    `value` is its first value: an array, or a node without inputs that computes it when it is asked for the first time
    (``random.normal(random.key(seed=0), shape=(3, 4))``).  Calls of functions with `updates` change it, and so does
    assigning to `value`; shape and dtype stay.  Optimisers leave it alone if it is not `trainable`.
    """

    __slots__ = ("_first", "_store", "trainable")

    @with_known_keywords
    def __init__(self, name: str, value: Any, *, trainable: bool = True) -> None:
        if not isinstance(name, str) or not name:
            raise DlirError(f"a parameter needs a name, got {name!r}")
        super().__init__(PARAMETER, name=name)
        self.trainable = trainable
        self._store: ParameterStore | None = None
        self._first: Node | None = value if isinstance(value, Node) else None
        if self._first is None:
            self._store = ParameterStore({name: self._checked(value)})
        else:
            free = [node.name for node in sorted_nodes([self._first]) if node.op == VARIABLE]
            if free:
                raise DlirError(f"the first value of '{name}' must not depend on input '{free[0]}'", self.location)

    @property
    def value(self) -> np.ndarray:
        """A copy of the value now.  Assigning gives it a new one, which must have the same shape and dtype."""
        return self.store[self.name]

    @value.setter
    def value(self, value: Any) -> None:
        self.store[self.name] = value

    @property
    def type(self) -> TensorType:
        """The type of the value."""
        array = self.store.array(self.name)
        return TensorType(array.shape, dtype_from_numpy(array.dtype))

    @property
    def store(self) -> ParameterStore:
        """Where the value is."""
        if self._store is None:
            with _MAKING:
                if self._store is None:
                    self._store = ParameterStore({self.name: self._checked(_computed(self._first))})
        return self._store

    def named(self, name: str) -> Node:
        """DlirError: a parameter keeps the name that it was made with."""
        raise DlirError(f"parameter '{self.name}' cannot be called '{name}': its name is that of its value in files")

    def _checked(self, value: Any) -> np.ndarray:
        array = np.asarray(value)
        try:
            dtype_from_numpy(array.dtype)
        except TypeError:
            raise DlirError(
                f"parameter '{self.name}' cannot hold values of dtype {array.dtype}", self.location
            ) from None
        return array


class ParameterStore(VariableStore):
    """The values of parameters, as the variables of programs.

    A parameter has a store for itself, and each function one with all its parameters.  They have the same arrays, so they
    take turns together.
    """

    _shared = VariableStore()
    _is_spread = False

    def __init__(self, values: dict[str, np.ndarray]) -> None:
        super().__init__(values)
        self._turns = self._shared._turns

    @classmethod
    def joined(cls, parameters: Iterable[Parameter]) -> ParameterStore:
        """A store that has the values of all `parameters`, whose names differ."""
        found = cls({})
        for parameter in parameters:
            found._cells.update(parameter.store._cells)
        return found

    def array(self, name: str) -> np.ndarray:
        """The array of a variable, for its shape and dtype."""
        return self._cells[name].array

    @property
    def is_spread(self) -> bool:
        """Whether any parameter has a copy in another memory, whichever store had it made."""
        return ParameterStore._is_spread

    @is_spread.setter
    def is_spread(self, value: bool) -> None:
        ParameterStore._is_spread = ParameterStore._is_spread or value


def _computed(first: Node | None) -> np.ndarray:
    from dlir.frontends.symbolic.function import compile

    assert first is not None
    return np.asarray(compile(first)())
