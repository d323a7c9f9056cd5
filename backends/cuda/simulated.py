"""cuda-sim as a backend: what the CUDA backend would launch, run and checked on the host."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np

from dlir.backends.cuda.backend import load_on
from dlir.backends.cuda.executable import ALIGNMENT, Executable
from dlir.backends.cuda.program import KernelLaunch
from dlir.backends.cuda.sim.module import Order, SimModule
from dlir.backends.executable import numpy_dtype
from dlir.backends.global_arrays import Weights
from dlir.backends.variables import VariableStore
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.kernel import Matmul
from dlir.ir.types import MemRefType

#: NaN in every floating type, and -1: nobody gets away with reading what was never written.
_POISON = 0xFF


class SimDevice:
    """The host in the place of a GPU; threads and blocks run in `order`."""

    #: New memory is poisoned.
    reuses_memory = False
    #: The host's memory.
    place = None

    def __init__(self, source: str, order: Order = "forward", seed: int = 0) -> None:
        self._module = SimModule(source)
        self._order: Order = order
        self._seed = seed

    def launch(self, step: KernelLaunch, arrays: Sequence[Any]) -> None:
        """Run a kernel; KernelFault for what it does wrong."""
        kernel = self._module.kernel(step.kernel)
        kernel(step.grid, step.block, arrays, order=self._order, seed=self._seed)

    def multiply(self, op: Matmul, arrays: Sequence[Any]) -> None:
        """What the library does, by NumPy."""
        op.compute(arrays)

    def active(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def copy(self, source: Any, target: Any) -> None:
        target[...] = source

    def queue(self) -> Hashable:
        return None

    def finish(self) -> None:
        """Nothing: kernels have run when `launch` returns."""

    def dtype(self, type: MemRefType) -> np.dtype:
        return numpy_dtype(type)

    def is_native(self, value: Any) -> bool:
        return False

    def adopt(self, value: Any) -> Any:
        return value

    def upload(self, array: np.ndarray, keep: bool) -> np.ndarray:
        """The array itself, read-only, or a copy."""
        if keep:
            return np.array(array, order="C")
        is_fit = array.flags.c_contiguous and array.ctypes.data % ALIGNMENT == 0
        shown = (array if is_fit else array.copy()).view()
        shown.flags.writeable = False
        return shown

    def download(self, array: Any, dtype: np.dtype) -> np.ndarray:
        return array

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        found = np.empty(shape, dtype)
        found.reshape(-1).view(np.uint8).fill(_POISON)
        return found

    def address(self, array: Any) -> int:
        return int(array.ctypes.data)


def load(
    module: Module,
    entry: str,
    weights: Weights | None,
    variables: VariableStore | None = None,
    *,
    order: Order = "forward",
    seed: int = 0,
) -> Executable:
    """Function `entry` of a module mapped for CUDA, in cuda-sim; DlirError if this machine cannot run it."""
    return load_on(partial(SimDevice, order=order, seed=seed), module, entry, weights, variables)
