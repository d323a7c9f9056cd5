"""Launching kernels in cuda-sim: the host's counterpart of CuPy's RawModule.

Every launch checks what compute-sanitizer would on a device: bounds of every array that was passed and of every fixed
array, alignment, data races within and between blocks, reads of uninitialised shared memory, barriers that not all
threads reach and shuffles whose lanes do not meet.
"""

from __future__ import annotations

import ctypes
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dlir.backends.cuda.sim import toolchain

Order = Literal["forward", "reverse", "random"]
ORDERS: tuple[Order, ...] = ("forward", "reverse", "random")

_MAX_GRID = (2**31 - 1, 65535, 65535)
_MAX_THREADS = 1024
#: Arrays of one launch lie at least this far apart, so that an index that runs over cannot land in a neighbour.
_GAP = 4096
_ALIGNMENT = 256


class KernelFault(RuntimeError):
    """A kernel did what CUDA leaves undefined; the message names the block, the thread and the access."""


class SimModule:
    """The kernels of a CUDA C text, compiled for the host."""

    def __init__(self, source: str) -> None:
        self.names = toolchain.kernel_names(source)
        payload = toolchain.build(source, self.names)
        with tempfile.TemporaryDirectory(prefix="dlir-cuda-sim-") as folder:
            path = Path(folder, "kernels.so")
            path.write_bytes(payload)
            self._library = ctypes.CDLL(str(path))
        self._lock = threading.Lock()

    def kernel(self, name: str) -> SimKernel:
        """The kernel called `name`; KeyError if the text has none."""
        if name not in self.names:
            raise KeyError(name)
        return SimKernel(name, self._library, self._lock)


class SimKernel:
    """One kernel: call it with a grid, a block and its arguments."""

    def __init__(self, name: str, library: ctypes.CDLL, lock: threading.Lock) -> None:
        self.name = name
        self._library = library
        self._lock = lock  # the runtime of a library runs one launch at a time
        self._enter = ctypes.cast(getattr(library, f"dlir_sim_enter_{name}"), ctypes.c_void_p)
        self._arity = int(getattr(library, f"dlir_sim_arity_{name}")())

    def __call__(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[np.ndarray | np.generic],
        *,
        order: Order = "forward",
        seed: int = 0,
    ) -> None:
        """Run the kernel to its end, reading and writing the arrays in `args` (C-contiguous; overlap is allowed).

        `order` is the order in which threads and blocks run; a correct kernel's result does not depend on it.
        ValueError for a launch that CUDA refuses too, KernelFault for what the kernel does wrong.
        """
        grid3, block3 = _three(grid), _three(block)
        if not all(1 <= extent <= limit for extent, limit in zip(grid3, _MAX_GRID)):
            raise ValueError(f"{self.name}: grid {grid3} is out of range")
        if min(block3) < 1 or block3[0] * block3[1] * block3[2] > _MAX_THREADS:
            raise ValueError(f"{self.name}: block {block3} is out of range")
        if len(args) != self._arity:
            raise ValueError(f"{self.name} takes {self._arity} arguments, not {len(args)}")
        arena = _Arena(args)
        with self._lock:
            message = self._launch(grid3, block3, arena, ORDERS.index(order), seed)
        if message:
            raise KernelFault(f"{self.name}: {message}")
        arena.copy_back(self.name)

    def _launch(
        self, grid: tuple[int, int, int], block: tuple[int, int, int], arena: _Arena, order: int, seed: int
    ) -> str:
        low, high = ctypes.c_void_p(), ctypes.c_void_p()
        self._library.dlir_sim_shared(ctypes.byref(low), ctypes.byref(high))
        message = ctypes.create_string_buffer(512)
        launch = _Launch(
            enter=self._enter,
            args=ctypes.cast(arena.table, ctypes.c_void_p),
            shared_low=low,
            shared_high=high,
            regions=ctypes.cast(arena.regions, ctypes.c_void_p),
            region_count=len(arena.regions),
            message=ctypes.cast(message, ctypes.c_void_p),
            message_size=len(message),
            grid=grid,
            block=block,
            order=order,
            seed=seed & 0xFFFFFFFF,
        )
        failed = self._library.dlir_sim_launch(ctypes.byref(launch))
        return message.value.decode() if failed else ""


class _Region(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("low", "high", "unit", "argument")]


class _Launch(ctypes.Structure):
    """Mirrors ``struct Launch`` of runtime.h."""

    _fields_ = [
        ("enter", ctypes.c_void_p),
        ("args", ctypes.c_void_p),
        ("shared_low", ctypes.c_void_p),
        ("shared_high", ctypes.c_void_p),
        ("regions", ctypes.c_void_p),
        ("region_count", ctypes.c_uint64),
        ("message", ctypes.c_void_p),
        ("message_size", ctypes.c_uint64),
        ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3),
        ("order", ctypes.c_uint32),
        ("seed", ctypes.c_uint32),
    ]


@dataclass
class _Span:
    """A stretch of the caller's memory that one or more overlapping arguments cover."""

    low: int
    high: int
    unit: int
    argument: int
    writable: bool
    copy: Any = None  # uint8 array that the kernel works on

    @property
    def bytes(self) -> np.ndarray:
        """The caller's memory itself."""
        return np.frombuffer(memoryview((ctypes.c_uint8 * (self.high - self.low)).from_address(self.low)), np.uint8)


class _Arena:
    """Copies of a launch's arrays, far apart from each other, and the argument table that points to them."""

    def __init__(self, args: Sequence[np.ndarray | np.generic]) -> None:
        self.spans = _merge(args)
        room = sum(span.high - span.low + _GAP + _ALIGNMENT for span in self.spans)
        self._memory = np.empty(room + _GAP + _ALIGNMENT, np.uint8)
        place = -self._memory.ctypes.data % _ALIGNMENT
        self.regions = (_Region * len(self.spans))()
        for region, span in zip(self.regions, self.spans):
            # The copy is as aligned as the original, so that a misaligned access shows.
            start = place + span.low % _ALIGNMENT
            size = span.high - span.low
            span.copy = self._memory[start : start + size]
            span.copy[:] = span.bytes
            low = span.copy.ctypes.data
            region.low, region.high, region.unit, region.argument = low, low + size, span.unit, span.argument
            place += size + _GAP + _ALIGNMENT - size % _ALIGNMENT
        self._values = [self._value(arg) for arg in args]
        self.table = (ctypes.c_void_p * max(1, len(args)))(*map(ctypes.addressof, self._values))

    def _value(self, arg: np.ndarray | np.generic) -> Any:
        if isinstance(arg, np.generic):
            return ctypes.create_string_buffer(arg.tobytes(), arg.nbytes)
        if arg.nbytes == 0:
            return ctypes.c_void_p(self._memory.ctypes.data)
        address = arg.ctypes.data
        for span in self.spans:
            if span.low <= address < span.high:
                return ctypes.c_void_p(span.copy.ctypes.data + address - span.low)
        raise AssertionError("every array lies in a span")

    def copy_back(self, kernel: str) -> None:
        """Bring what the kernel wrote to the caller's arrays."""
        for span in self.spans:
            if np.array_equal(span.bytes, span.copy):
                continue
            if not span.writable:
                raise KernelFault(f"{kernel}: argument {span.argument} is read-only and was written to")
            span.bytes[:] = span.copy


def _merge(args: Sequence[np.ndarray | np.generic]) -> list[_Span]:
    """One span for each group of overlapping arrays."""
    spans = []
    for index, arg in enumerate(args):
        if isinstance(arg, np.ndarray):
            if not arg.flags.c_contiguous:
                raise ValueError(f"argument {index} is not contiguous")
            if arg.nbytes:
                low = arg.ctypes.data
                spans.append(_Span(low, low + arg.nbytes, arg.itemsize, index, arg.flags.writeable))
    spans.sort(key=lambda span: (span.low, span.argument))
    merged: list[_Span] = []
    for span in spans:
        last = merged[-1] if merged else None
        if last is not None and span.low < last.high:
            last.high = max(last.high, span.high)
            # Cells of the first array must also delimit the elements of the others.
            last.unit = 1 if (span.low - last.low) % min(span.unit, last.unit) else min(span.unit, last.unit)
            last.argument = min(last.argument, span.argument)
            last.writable = last.writable or span.writable
        else:
            merged.append(span)
    return merged


def _three(extents: Sequence[int]) -> tuple[int, int, int]:
    x, y, z = (*extents, 1, 1)[:3]
    return int(x), int(y), int(z)
