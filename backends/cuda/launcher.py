"""Running kernels on a GPU with CuPy, which is imported when the first function is loaded."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from dlir.backends.cuda import nvrtc
from dlir.backends.cuda.cublaslt import CublasLt
from dlir.backends.cuda.executable import element_dtype
from dlir.backends.cuda.program import KernelLaunch
from dlir.ir.dialects.kernel import Matmul
from dlir.ir.errors import DlirError
from dlir.ir.types import MemRefType

_DLPACK_CUDA = 2


def import_cupy() -> Any:
    """CuPy, with a GPU that it can use; DlirError that says what is missing."""
    try:
        import cupy
    except ImportError:
        raise DlirError("the CUDA backend needs CuPy, which is not installed", hint=nvrtc.HINT) from None
    if not cupy.cuda.is_available():
        raise DlirError("there is no CUDA GPU that CuPy can use", hint="use --backend=cpu, or cuda-sim for tests")
    return cupy


class CupyDevice:
    """The GPU that is current when this is made, with the kernels of one translation unit."""

    reuses_memory = True

    def __init__(self, source: str) -> None:
        self._cupy = import_cupy()
        self._device = self._cupy.cuda.Device()
        self.place: Hashable = ("cuda", self._device.id)
        image = nvrtc.compile_cubin(source, architecture(self._device.compute_capability)).image
        # What RawModule does, from memory instead of a file.
        self._module = self._cupy.cuda.Module()
        self._module.load(image)
        self._kernels: dict[str, Any] = {}
        self._cublaslt: CublasLt | None = None

    # ------------------------------------------------------------ running

    def launch(self, step: KernelLaunch, arrays: Sequence[Any]) -> None:
        """Start a kernel on the current stream."""
        kernel = self._kernels.get(step.kernel)
        if kernel is None:
            kernel = self._kernels[step.kernel] = self._module.get_function(step.kernel)
        kernel(step.grid, step.block, tuple(arrays))

    def multiply(self, op: Matmul, arrays: Sequence[Any]) -> None:
        """Start a product of matrices on the current stream."""
        if self._cublaslt is None:
            self._cublaslt = CublasLt(self._device.id, self._cupy.cuda.alloc)
        self._cublaslt.multiply(op, [self.address(array) for array in arrays], self._cupy.cuda.get_current_stream().ptr)

    def active(self) -> AbstractContextManager[Any]:
        """Within this context the GPU is the current one."""
        return self._device

    def copy(self, source: Any, target: Any) -> None:
        """Copy on the current stream."""
        self._cupy.copyto(target, source)

    def queue(self) -> Hashable:
        """The current stream."""
        return self._cupy.cuda.get_current_stream().ptr

    def finish(self) -> None:
        """Wait for the current stream."""
        self._cupy.cuda.get_current_stream().synchronize()

    # ------------------------------------------------------------ memory

    def dtype(self, type: MemRefType) -> np.dtype:
        """CuPy has no bfloat16: it travels as uint16."""
        return element_dtype(type)

    def is_native(self, value: Any) -> bool:
        """Whether `value` lies on a GPU."""
        if isinstance(value, self._cupy.ndarray):
            return True
        if isinstance(value, np.ndarray | np.generic | bool | int | float | list | tuple):
            return False
        if hasattr(value, "__cuda_array_interface__"):
            return True
        device = getattr(value, "__dlpack_device__", None)
        return device is not None and device()[0] == _DLPACK_CUDA

    def adopt(self, value: Any) -> Any:
        """A CuPy array over the same memory."""
        if isinstance(value, self._cupy.ndarray):
            return value
        if hasattr(value, "__cuda_array_interface__"):
            return self._cupy.asarray(value)
        return self._cupy.from_dlpack(value)

    def upload(self, array: np.ndarray, keep: bool) -> Any:
        """A copy on the GPU."""
        return self._cupy.asarray(_plain(array), order="C")

    def download(self, array: Any, dtype: np.dtype) -> np.ndarray:
        """A copy in main memory, when the current stream has got that far."""
        return self._cupy.asnumpy(array).view(dtype)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """From CuPy's memory pool."""
        return self._cupy.empty(shape, dtype)

    def address(self, array: Any) -> int:
        return int(array.data.ptr)


def architecture(capability: str) -> str:
    """The newest architecture that NVRTC compiles for and that runs on a GPU of this compute capability, as ``"90"``.

    Code for one architecture runs on later ones of the same generation only.  DlirError if there is none.
    """
    wanted = int(capability)
    numbers = [int(name.removeprefix("sm_")) for name in nvrtc.architectures()]
    fitting = [number for number in numbers if number <= wanted and number // 10 == wanted // 10]
    if not fitting:
        version = ".".join(map(str, nvrtc.version()))
        raise DlirError(f"NVRTC {version} does not compile for a GPU of compute capability {wanted / 10}")
    return f"sm_{max(fitting)}"


def _plain(array: np.ndarray) -> np.ndarray:
    """The array in a dtype that CuPy knows."""
    return array.view(np.uint16) if str(array.dtype) == "bfloat16" else array
