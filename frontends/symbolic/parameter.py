"""Parameters: variables that keep a value from call to call, such as weights and the state of an optimiser."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from dlir.frontends.symbolic.node import PARAMETER, VARIABLE, Node, sorted_nodes
from dlir.ir.errors import DlirError
from dlir.ir.types import TensorType, dtype_from_numpy

#: One lock for all values: they are read and replaced one at a time, and whole updates hold it.
_LOCK = threading.RLock()


class Parameter(Node):
    """A node whose value stays from call to call; all functions that use it see the same one.

    `value` is its first value: an array, or a node without inputs that computes it when it is asked for the first time
    (``random.normal(random.key(0), shape=(3, 4))``).  Calls of functions with `updates` change it, and so does assigning to
    `value`; shape and dtype stay.  Optimisers leave it alone if it is not `trainable`.
    """

    __slots__ = ("_array", "_first", "trainable")

    def __init__(self, name: str, value: Any, *, trainable: bool = True) -> None:
        if not isinstance(name, str) or not name:
            raise DlirError(f"a parameter needs a name, got {name!r}")
        super().__init__(PARAMETER, name=name)
        self.trainable = trainable
        self._array: np.ndarray | None = None
        self._first: Node | None = value if isinstance(value, Node) else None
        if self._first is None:
            self._array = _checked(np.array(value), name)
        else:
            free = [node.name for node in sorted_nodes([self._first]) if node.op == VARIABLE]
            if free:
                raise DlirError(f"the first value of '{name}' must not depend on input '{free[0]}'", self.location)

    @property
    def value(self) -> np.ndarray:
        """A copy of the value now.  Assigning gives it a new one, which must have the same shape and dtype."""
        with _LOCK:
            return self.array.copy()

    @value.setter
    def value(self, value: Any) -> None:
        found = np.asarray(value)
        with _LOCK:
            old = self.array
            if isinstance(value, bool | int | float) and old.shape == () and np.can_cast(type(value), old.dtype, "same_kind"):
                found = found.astype(old.dtype)
            if (found.shape, found.dtype) != (old.shape, old.dtype):
                message = f"parameter '{self.name}' is {_spell(old)}, and cannot become {_spell(found)}"
                raise DlirError(message, hint="shape and dtype of a parameter stay: make another one")
            self._array = np.array(found)

    @property
    def array(self) -> np.ndarray:
        """The value now, without a copy: not to be kept or written to."""
        if self._array is None:
            with _LOCK:
                if self._array is None:
                    self._array = _checked(_computed(self._first), self.name)
        return self._array

    @property
    def type(self) -> TensorType:
        """The type of the value."""
        array = self.array
        return TensorType(array.shape, dtype_from_numpy(array.dtype))


def _computed(first: Node | None) -> np.ndarray:
    from dlir.frontends.symbolic.function import compile

    assert first is not None
    return np.array(compile(first)())


def _checked(array: np.ndarray, name: str) -> np.ndarray:
    try:
        dtype_from_numpy(array.dtype)
    except TypeError:
        raise DlirError(f"parameter '{name}' cannot hold {array.dtype} values") from None
    return array


def _spell(array: np.ndarray) -> str:
    return f"{array.dtype} of shape {list(array.shape)}"
