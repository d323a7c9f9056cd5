"""Memory for results and temporaries that outlives a call, so that kernels write into pages that are already mapped.

Touching fresh pages costs as much as a memory-bound kernel.  A result is an ordinary NumPy array; its memory returns to
the pool when the last array, view or DLPack consumer that refers to it is gone.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import mmap
import operator
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import cast

import numpy as np

from dlir.backends.cpu.llvm_types import static_shape
from dlir.backends.executable import numpy_dtype
from dlir.ir.types import TensorType

ALIGNMENT = 64
# Below this, malloc recycles as well as we could, faster.  Such results are aligned as NumPy aligns, to 16 bytes.
SMALL_BYTES = 64 << 10
DEFAULT_MAX_IDLE_BYTES = 1 << 30
MAX_IDLE_ARENAS = 8
# NaN in every floating type, and -1.
POISON = 0xFF


class ResultPool:
    """Result arrays whose memory is recycled; safe to use from several threads.

    Memory that nobody refers to is kept up to `max_idle_bytes`, the most recently returned longest.  With `poison`, new
    results are filled with NaN (all bits set), so that a test sees elements that a kernel did not write.

    Every step is one indivisible operation of a dict or deque, and nothing ever waits: an array may die, or a signal
    handler ask for one, at any point of a call, and a forked child may find other threads stopped in the middle of one.
    """

    def __init__(self, max_idle_bytes: int = DEFAULT_MAX_IDLE_BYTES, *, poison: bool = False) -> None:
        self._max_idle_bytes = max_idle_bytes
        self._poison = poison
        # Blocks by size, oldest return first, with the number of their return.
        self._idle: dict[int, deque[tuple[int, mmap.mmap]]] = {}
        self._returns = itertools.count()

    @property
    def idle_bytes(self) -> int:
        """Bytes that the pool holds for later results."""
        idle = self._idle.copy()
        return sum(map(operator.mul, idle, map(len, idle.values())))

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An uninitialised C-contiguous array, aligned to 64 bytes from 64 KiB on; MemoryError if memory is short."""
        return self.allocator(shape, dtype)()

    def allocator(self, shape: tuple[int, ...], dtype: np.dtype) -> Callable[[], np.ndarray]:
        """A function that gives a new result of this kind, for callers that need many."""
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes >= SMALL_BYTES:
            allocate: Callable[[], np.ndarray] = partial(self._lend, shape, dtype, _block_size(nbytes))
        else:
            allocate = partial(np.empty, shape, dtype)
        return partial(_poisoned, allocate) if self._poison else allocate

    def clear(self) -> None:
        """Return all idle memory to the system."""
        self._idle.clear()

    def _lend(self, shape: tuple[int, ...], dtype: np.dtype, size: int) -> np.ndarray:
        # An array's base is its owner, whatever is viewed or exported; the owner's death is what returns the block.
        owner = _Loan(shape, dtype, self._take(size))
        owner.pool = self
        return owner.view(np.ndarray)

    def _take(self, size: int) -> mmap.mmap:
        try:
            # The one returned last is most likely still in the CPU's caches.
            return self._idle[size].pop()[1]
        except (KeyError, IndexError):
            return self._fresh(size)

    def _fresh(self, size: int) -> mmap.mmap:
        try:
            return _map(size)
        except OSError:
            self.clear()
        try:
            return _map(size)
        except OSError as error:
            raise MemoryError(f"cannot allocate {size} bytes for a result: {error.strerror}") from None

    def give(self, block: mmap.mmap) -> None:
        """Take back a block."""
        self._idle.setdefault(len(block), deque()).append((next(self._returns), block))
        while self.idle_bytes > self._max_idle_bytes:
            # Another thread may have taken what was the oldest.
            with contextlib.suppress(ValueError, IndexError):
                min((blocks for blocks in self._idle.copy().values() if blocks), key=_oldest).popleft()


class _Loan(np.ndarray):
    """The owner of a lent block, never seen by users."""

    #: Not set in views of this class, which NumPy makes of an array's base.
    pool: ResultPool | None = None

    def __del__(self) -> None:
        if self.pool is not None:
            self.pool.give(cast(mmap.mmap, self.base))


def _oldest(blocks: deque[tuple[int, mmap.mmap]]) -> int:
    return blocks[0][0]


class ArenaPool:
    """Arenas of `nbytes` for one function's temporaries: one for each call in flight."""

    def __init__(self, nbytes: int, *, poison: bool = False) -> None:
        self._nbytes = nbytes
        self._poison = poison
        self._idle: list[np.ndarray] = []

    def take(self) -> np.ndarray:
        """Bytes aligned to 64, to be given back after the call."""
        try:
            arena = self._idle.pop()
        except IndexError:
            arena = aligned_bytes(self._nbytes)
        if self._poison:
            arena.fill(POISON)
        return arena

    def give(self, arena: np.ndarray) -> None:
        """Take back an arena."""
        if len(self._idle) < MAX_IDLE_ARENAS:
            self._idle.append(arena)


def aligned_bytes(nbytes: int) -> np.ndarray:
    """`nbytes` uninitialised bytes at a multiple of 64."""
    block = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + nbytes]


def aligned_array(type: TensorType) -> np.ndarray:
    """An uninitialised array for a tensor of static shape, at a multiple of 64 bytes."""
    return aligned_bytes(type.nbytes).view(numpy_dtype(type)).reshape(static_shape(type))


def _poisoned(allocate: Callable[[], np.ndarray]) -> np.ndarray:
    result = allocate()
    result.reshape(-1).view(np.uint8).fill(POISON)
    return result


def _block_size(nbytes: int) -> int:
    """`nbytes` rounded up by at most an eighth, so that results of nearly one size share blocks."""
    granule = max(mmap.PAGESIZE, 1 << (nbytes.bit_length() - 4))
    return -(-nbytes // granule) * granule


def _map(size: int) -> mmap.mmap:
    """Fresh pages.  Private: what the default would share with a forked child is this process's results."""
    if hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return mmap.mmap(-1, size)
