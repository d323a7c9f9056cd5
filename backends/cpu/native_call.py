"""Calls from Python into an entry point, for a fraction of a microsecond.

`ctypes` and `array.ctypes.data` cost about a microsecond an array.  Instead a built-in function made of machine code
(native_call.ll) reads the arrays' C structs and checks them itself.  Where the structs are not laid out as expected
(another Python implementation, a debug build), ctypes does it.
"""

from __future__ import annotations

import ctypes
import functools
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from dlir.backends.artifact_cache import ArtifactCache
from dlir.backends.cpu import jit

# Flags of NumPy arrays.
C_CONTIGUOUS, ALIGNED, WRITEABLE = 0x001, 0x100, 0x400
_METH_FASTCALL = 0x80
# Bytes of an array's C struct up to its flags.
_FIELDS_END = 68


@dataclass(frozen=True, slots=True)
class Argument:
    """An array that a call takes, and its place in the entry point's table."""

    place: int
    dtype: np.dtype
    shape: tuple[int, ...]
    is_written: bool = False
    #: Whether no other array may share its memory.
    is_exclusive: bool = False

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def flags(self) -> int:
        """What the array must be, as NumPy's flags."""
        return C_CONTIGUOUS | ALIGNED | (WRITEABLE if self.is_written else 0)


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """Machine code and what to call it with: arrays in the order of `arguments`, and pointers that stay the same."""

    library: jit.Library
    name: str
    arguments: tuple[Argument, ...]
    constants: tuple[tuple[int, int], ...] = ()
    """Places in the table, and pointers."""
    releases_gil: bool = False

    @property
    def table_size(self) -> int:
        return len(self.arguments) + len(self.constants)


#: Called with plain arrays; returns None, or the position of the first one that does not fit (-1: their number).
NativeCall = Callable[..., int | None]


def make_call(entry: EntryPoint) -> NativeCall:
    """The fastest way to call `entry` that works here."""
    return _fast_call(entry) if can_call_fast() else PlainCall(entry)


class PlainCall:
    """Calls through ctypes."""

    def __init__(self, entry: EntryPoint) -> None:
        self._entry = entry
        maker = ctypes.CFUNCTYPE if entry.releases_gil else ctypes.PYFUNCTYPE
        self._function = entry.library.function(entry.name, maker(None, ctypes.c_void_p))

    def __call__(self, *arrays: Any) -> int | None:
        entry = self._entry
        if len(arrays) != len(entry.arguments):
            return -1
        table = (ctypes.c_void_p * max(1, entry.table_size))()
        for position, (array, argument) in enumerate(zip(arrays, entry.arguments)):
            if type(array) is not np.ndarray or array.dtype != argument.dtype or array.shape != argument.shape:
                return position
            if array.flags.num & argument.flags != argument.flags:
                return position
            table[argument.place] = array.ctypes.data
        for position, argument in enumerate(entry.arguments):
            others = arrays[:position] + arrays[position + 1 :]
            if argument.is_exclusive and any(np.may_share_memory(arrays[position], other) for other in others):
                return position
        for place, pointer in entry.constants:
            table[place] = pointer
        self._function(table)
        return None


# ---------------------------------------------------------------- built-in functions


class _MethodDef(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


class _Description(np.ndarray):
    """What native_call.ll reads (its `self`); it keeps alive what it and the function refer to by address."""

    entry: EntryPoint
    runtime: _Runtime


def _fast_call(entry: EntryPoint) -> NativeCall:
    words = [
        entry.library[entry.name],
        len(entry.arguments),
        max(1, entry.table_size),
        len(entry.constants),
        int(entry.releases_gil),
        id(np.ndarray),
        id(None),
        sum(argument.is_exclusive for argument in entry.arguments),
    ]
    for argument in entry.arguments:
        words += [argument.place, id(argument.dtype), argument.flags, argument.nbytes]
        words += [argument.is_exclusive, len(argument.shape), *argument.shape]
    for place, pointer in entry.constants:
        words += [place, pointer]
    description = np.array(words, np.uint64).view(_Description)
    description.entry = entry
    return _runtime().function(description)


class _Runtime:
    """The machine code of native_call.ll, once per process."""

    def __init__(self) -> None:
        text = resources.files("dlir.backends.cpu").joinpath("native_call.ll").read_text(encoding="utf-8")
        names = "PyLong_FromSsize_t PyEval_SaveThread PyEval_RestoreThread Py_IncRef".split()
        imports = {name: ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0 for name in names}
        self._library = jit.compile_ir(text, ["dlir.call"], imports, ArtifactCache("cpu"))
        self._method = _MethodDef(b"call", self._library["dlir.call"], _METH_FASTCALL, None)
        self._new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(
            ("PyCFunction_NewEx", ctypes.pythonapi)
        )

    def function(self, description: _Description) -> Any:
        """A built-in function whose `self` is `description`."""
        # Two threads may have made a runtime each, and only one of those stays in the cache.
        description.runtime = self
        return self._new(ctypes.addressof(self._method), description, None)


@functools.cache
def _runtime() -> _Runtime:
    return _Runtime()


@functools.cache
def can_call_fast() -> bool:
    """Whether objects and arrays lie in memory as native_call.ll reads them."""
    if sys.implementation.name != "cpython" or sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    samples: list[np.ndarray] = [
        np.zeros((2, 3), np.float32),
        np.zeros((), np.int8),
        np.zeros((4, 5), np.float64)[::2, 1:],
    ]
    return all(_lies_as_expected(sample) for sample in samples)


def _lies_as_expected(array: np.ndarray) -> bool:
    """Whether the fields of an array's C struct are where NumPy's ABI (since 1.7) puts them."""
    base = id(array)
    if object.__sizeof__(array) < _FIELDS_END or array.__array_interface__["data"][0] == 0:
        return False

    def word(offset: int) -> int:
        return ctypes.c_uint64.from_address(base + offset).value

    extents = (ctypes.c_int64 * array.ndim).from_address(word(32)) if array.ndim else ()
    return (
        word(8) == id(np.ndarray)
        and word(16) == array.ctypes.data
        and ctypes.c_int32.from_address(base + 24).value == array.ndim
        and tuple(extents) == array.shape
        and word(56) == id(array.dtype)
        and ctypes.c_int32.from_address(base + 64).value == array.flags.num
    )
