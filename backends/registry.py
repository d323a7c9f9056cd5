"""The backends, and what each one compiles for.

A backend is a module with ``load(module, entry, weights)``, which makes an executable of a lowered module, and
``emit(module, entry)``, which gives the source that it would compile.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from dlir.ir.dialects.builtin import Module
from dlir.ir.errors import DlirError, did_you_mean


@dataclass(frozen=True, slots=True)
class Backend:
    """`target` names the passes' target table; None: the module runs as it is."""

    name: str
    module: str
    target: str | None
    help: str
    #: What its source is called in ``dlir-opt --emit``.
    source: str | None = None

    def load(self, module: Module, entry: str, weights: Any) -> Any:
        """An executable of the function `entry` of `module`."""
        return importlib.import_module(self.module).load(module, entry, weights)


BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend("cpu", "dlir.backends.cpu.backend", "cpu", "machine code through LLVM, the default", "llvm"),
        Backend("ref", "dlir.backends.ref.backend", None, "NumPy, op by op: the meaning of every op"),
        Backend("cuda", "dlir.backends.cuda.backend", "cuda", "CUDA C through NVRTC and CuPy", "cuda"),
        Backend("cuda-sim", "dlir.backends.cuda.simulated", "cuda", "the CUDA kernels run on the CPU, for tests"),
    )
}


def find_backend(name: str) -> Backend:
    """The backend called `name`; DlirError with a suggestion if there is none."""
    if name not in BACKENDS:
        hint = did_you_mean(name, BACKENDS) or f"backends: {', '.join(BACKENDS)}"
        raise DlirError(f"unknown backend '{name}'", hint=hint)
    return BACKENDS[name]


def emit_source(module: Module, entry: str, source: str) -> str:
    """The source text (``llvm``, ``cuda``) of a module that is lowered and mapped for that backend."""
    for backend in BACKENDS.values():
        if backend.source == source:
            return importlib.import_module(backend.module).emit(module, entry)
    raise DlirError(f"no backend emits '{source}'")
