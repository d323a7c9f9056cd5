"""The backends, and what each one compiles for.

A backend is a module with ``load(module, entry, weights)``, which makes an executable of a lowered module, and
``emit(module, entry)``, which gives the source that it would compile.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from dlir.ir.dialects.builtin import Module
from dlir.ir.errors import DlirError
from dlir.ir.tables import Table, plugin_code, unknown


@dataclass(frozen=True, slots=True)
class Backend:
    """`target` names the passes' target table; None: the module runs as it is."""

    name: str
    module: str
    target: str | None
    help: str
    #: What its source is called in ``dlir-opt --emit``.
    source: str | None = None

    def load(self, module: Module, entry: str, weights: Any, variables: Any = None) -> Any:
        """An executable of the function `entry` of `module`; the values of what calls change are in `variables`."""
        if variables is None:
            # A backend that knows no variables need not take them.
            return self.code.load(module, entry, weights)
        return self.code.load(module, entry, weights, variables)

    @property
    def code(self) -> Any:
        """The imported module; DlirError if it is a plugin's and cannot be imported."""
        plugin = BACKENDS.plugins.get(self.name)
        with nullcontext() if plugin is None else plugin_code(plugin):
            return importlib.import_module(self.module)


#: Backend by name; the line of a plugin's entry point names a `Backend` (``"package.module:BACKEND"``).
BACKENDS = Table(
    "backend",
    "dlir.backends",
    {
        backend.name: backend
        for backend in (
            Backend("cpu", "dlir.backends.cpu.backend", "cpu", "machine code through LLVM, the default", "llvm"),
            Backend("ref", "dlir.backends.ref.backend", None, "NumPy, op by op: the meaning of every op"),
            Backend("cuda", "dlir.backends.cuda.backend", "cuda", "CUDA C through NVRTC and CuPy", "cuda"),
            Backend("cuda-sim", "dlir.backends.cuda.simulated", "cuda", "the CUDA kernels run on the CPU, for tests"),
        )
    },
)


def find_backend(name: str) -> Backend:
    """The backend called `name`; DlirError with a suggestion if there is none."""
    if BACKENDS.find(name) is None:
        raise unknown(BACKENDS, name)
    found = BACKENDS.load(name)
    if not isinstance(found, Backend):
        raise DlirError(f"{BACKENDS.source(name)} is not a Backend")
    return found


def all_backends() -> Iterator[Backend]:
    """All backends, those of installed plugins last."""
    known = list(BACKENDS)
    yield from map(find_backend, known)
    yield from (find_backend(name) for name in BACKENDS.discover() if name not in known)


def emit_source(module: Module, entry: str, source: str) -> str:
    """The source text (``llvm``, ``cuda``) of a module that is lowered and mapped for that backend."""
    for backend in all_backends():
        if backend.source == source:
            return backend.code.emit(module, entry)
    raise DlirError(f"no backend emits '{source}'")
