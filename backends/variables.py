"""The values of variables that calls, programs and Python change.

    store = VariableStore()
    step = compile_module(training, weights, variables=store)
    accuracy = compile_module(evaluation, weights, variables=store)
    step(x, labels)
    accuracy(x)                         # sees what `step` has written
    saved = store.snapshot()
    store["w"] = np.zeros_like(saved["w"])

Compiled code has the addresses of the arrays, so these stay where they are for as long as the store lives, and whoever writes
a variable writes into its array.  Programs of a GPU have copies of their own in its memory, which are brought up to date
before they are used.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from operator import setitem
from typing import Any, Protocol, TypeVar

import numpy as np

from dlir.backends.executable import numpy_dtype, spell_array
from dlir.ir.errors import DlirError, did_you_mean
from dlir.ir.state import State

Result = TypeVar("Result")

#: Bytes that the arrays begin at a multiple of.
ALIGNMENT = 64
#: Calls that only read may run at one time; so many do not wait for each other.
_TURNS = 4


class Memory(Protocol):
    """A device with memory of its own."""

    @property
    def place(self) -> Hashable:
        """Equal for the same memory; None for the host's."""

    def upload(self, array: np.ndarray, keep: bool) -> Any:
        """A NumPy array in the device's memory; with `keep`, a copy that may be written to."""

    def download(self, array: Any, dtype: np.dtype) -> np.ndarray:
        """The device's array as a NumPy array of `dtype`."""

    def copy(self, source: Any, target: Any) -> None:
        """Copy an array of the device into another."""


class VariableStore:
    """Named arrays, shared by programs and Python; safe to use from several threads.

    `values` are first values; the variables of a program that are not among them get theirs from the program, when it is
    loaded.  What is read is a copy, and what is written is copied.  A call that writes variables waits until no other call
    of a program of this store is running, and so does writing from Python.
    """

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self._cells: dict[str, _Cell] = {}
        self._adding = threading.RLock()
        #: Whether some array has a copy in another memory.
        self.is_spread = False
        # Who reads takes one of these, who writes all of them, in order.  They are reentrant, as a signal handler may make a
        # call between the steps of one, and made of C, so that an interrupt comes before one is taken or after `with` has
        # it in hand.
        self._turns = tuple(threading.RLock() for _ in range(_TURNS))
        for name, value in (values or {}).items():
            array = np.asarray(value)
            self._cells[name] = _Cell(_aligned_copy(array))

    # ------------------------------------------------------------ from Python

    def __getitem__(self, name: str) -> np.ndarray:
        """A copy of the value; DlirError if there is no such variable."""
        return self.snapshot([name])[name]

    def __setitem__(self, name: str, value: Any) -> None:
        """Copy a value of the variable's dtype and shape into it; DlirError if it is something else."""
        self.update({name: value})

    def __contains__(self, name: object) -> bool:
        return name in self._cells

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._cells))

    def __len__(self) -> int:
        return len(self._cells)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the variables, in the order in which they were added."""
        return tuple(self._cells)

    def snapshot(self, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Copies of all values, or of those named, as they are between two calls."""
        cells = {name: self._cell(name) for name in (self if names is None else names)}
        return self.shared(lambda: {name: cell.home().copy() for name, cell in cells.items()})

    def update(self, values: Mapping[str, Any]) -> None:
        """Copy new values into several variables at once; DlirError, and nothing is changed, if one does not fit."""
        cells = [self._cell(name) for name in values]
        arrays = [_fitting(name, value, cell) for (name, value), cell in zip(values.items(), cells)]

        def write() -> None:
            for cell in cells:
                cell.home()
                cell.current = {None}
            commit([cell.array for cell in cells], arrays)

        self.exclusively(write)

    def _cell(self, name: str) -> _Cell:
        found = self._cells.get(name)
        if found is None:
            raise DlirError(f"there is no variable '{name}' in the store", hint=did_you_mean(name, self._cells))
        return found

    # ------------------------------------------------------------ for programs

    def bind(self, name: str, dtype: np.dtype, shape: Sequence[int], first: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of a variable, which stays in its place; `first` gives its value if there is none yet.

        DlirError if there is one of another dtype or shape.
        """
        with self._adding:
            cell = self._cells.get(name)
            if cell is None:
                cell = self._cells[name] = _Cell(_aligned_copy(np.asarray(first())))
        array = cell.array
        if array.dtype != dtype or array.shape != tuple(shape):
            wanted, found = spell_array(dtype, shape), spell_array(array.dtype, array.shape)
            raise DlirError(f"variable '{name}' is {found} in the store, but the program needs {wanted}")
        return array

    def on_device(self, name: str, device: Memory) -> Any:
        """The device's array of a variable that has been bound; it stays in its place, too."""
        cell = self._cells[name]
        if device.place is None:
            return cell.array

        def add() -> Any:
            if device.place not in cell.copies:
                cell.copies[device.place] = device.upload(cell.home(), True), device
                cell.current = cell.current | {device.place}
                self.is_spread = True
            return cell.copies[device.place][0]

        return self.exclusively(add)

    def bring(self, names: Iterable[str], place: Hashable, written: Iterable[str] = ()) -> None:
        """Bring variables up to date in a device's memory (None: the host's), where those `written` will change now."""
        for name in names:
            self._cells[name].bring(place)
        for name in written:
            self._cells[name].current = {place}

    def exclusively(self, call: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function while no other call or Python code uses the variables."""
        one, two, three, four = self._turns
        with one, two, three, four:
            return call(*arguments)

    def shared(self, call: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function while nobody writes variables."""
        with self._turns[(threading.get_ident() >> 12) % _TURNS]:
            return call(*arguments)


class Binding:
    """The variables of one function in a store: their arrays, and how a call takes its turn."""

    def __init__(self, store: VariableStore, state: State, first: Callable[[Any], np.ndarray]) -> None:
        """`first` gives the first value of a variable, from its op, if the store has none."""
        self.store = store
        self.written = state.written
        self.arrays = {name: _bind(store, name, op, first) for name, op in state.variables.items()}
        #: Whose memory calls use.
        self.place: Hashable = None
        self._take = store.exclusively if state.written else store.shared

    def __bool__(self) -> bool:
        """Whether there are any variables, so that calls must take turns."""
        return bool(self.arrays)

    def run(self, call: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function in its turn, with the variables up to date."""
        return self._take(self._run, call, arguments)

    def _run(self, call: Callable[..., Result], arguments: Sequence[Any]) -> Result:
        if self.store.is_spread:
            self.store.bring(self.arrays, self.place, self.written)
        return call(*arguments)


def _bind(store: VariableStore, name: str, op: Any, first: Callable[[Any], np.ndarray]) -> np.ndarray:
    shape = tuple(extent or 0 for extent in op["type"].shape)  # variables have static shapes
    try:
        return store.bind(name, numpy_dtype(op["type"]), shape, lambda: first(op))
    except DlirError as error:
        raise error.at(op.location) from None


class _Cell:
    """A variable: its array, its copies in other memories, and which of them hold its value."""

    __slots__ = ("array", "copies", "current")

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.copies: dict[Hashable, tuple[Any, Memory]] = {}
        #: Places whose array holds the value; None is the host's.
        self.current: set[Hashable] = {None}

    def home(self) -> np.ndarray:
        """The array in the host's memory, up to date."""
        self.bring(None)
        return self.array

    def bring(self, place: Hashable) -> None:
        """Bring the array in one place up to date."""
        if place in self.current:
            return
        if place is not None and None not in self.current:
            self.bring(None)
        if place is None:
            array, device = self.copies[next(iter(self.current))]
            self.array[...] = device.download(array, self.array.dtype)
        else:
            array, device = self.copies[place]
            device.copy(device.upload(self.array, False), array)
        self.current = self.current | {place}


def commit(targets: Sequence[np.ndarray], sources: Sequence[np.ndarray]) -> None:
    """Copy each source into its target: all of them, whenever an interrupt comes.

    Python looks for signals between its own instructions, and this is a single one.
    """
    put: Any = setitem
    deque(map(put, targets, repeat(...), sources), maxlen=0)


def _fitting(name: str, value: Any, cell: _Cell) -> np.ndarray:
    """`value` as an array of the variable's type; numbers and lists are converted."""
    wanted = cell.array
    is_array = isinstance(value, np.ndarray | np.generic)
    try:
        if value is None:
            raise TypeError("it is no number")  # NumPy makes NaN of it
        array = np.asarray(value) if is_array else np.asarray(value, wanted.dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise DlirError(f"variable '{name}' cannot be set to a {type(value).__name__}: {error}") from None
    if array.dtype != wanted.dtype or array.shape != wanted.shape:
        needs, found = spell_array(wanted.dtype, wanted.shape), spell_array(array.dtype, array.shape)
        raise DlirError(f"variable '{name}' is {needs}, got {found}: a variable keeps its type")
    # A plain array, whose copying runs no code of its class.
    return np.array(array, wanted.dtype, order="C")


def _aligned_copy(array: np.ndarray) -> np.ndarray:
    block = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    found = block[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    found[...] = array
    return found
