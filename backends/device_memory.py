"""How much memory the device of a backend has, and whether a plan fits into it."""

from __future__ import annotations

import os
import sys

from dlir.backends.registry import Backend
from dlir.ir.dialects.func import Func
from dlir.ir.types import MemRefType
from dlir.passes.memory.budget import check_device


def check_fits(function: Func, backend: Backend) -> None:
    """DlirError if a call of a planned `function` needs more memory than there is: what is missing, and for what."""
    if not any(isinstance(arg.type, MemRefType) for arg in function.body.args):
        return
    available = device_bytes(backend)
    if available is not None:
        device = "the GPU" if backend.name == "cuda" else "this machine"
        check_device(function, available, device)


def fits(needed: int, backend: Backend) -> bool:
    """Whether the device has `needed` bytes, as far as that is known."""
    available = device_bytes(backend)
    return available is None or needed <= available


def device_bytes(backend: Backend) -> int | None:
    """Bytes of memory of the device that `backend` runs on; None if that is not known."""
    if backend.name == "cuda":
        cupy = sys.modules.get("cupy")  # only if it is in use already: importing it is slow
        return None if cupy is None else int(cupy.cuda.Device().mem_info[1])
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on this system
        return None
