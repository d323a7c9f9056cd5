"""The CPU backend's entry points: see :mod:`dlir.backends.registry`."""

from __future__ import annotations

from dlir.backends.artifact_cache import ArtifactCache
from dlir.backends.cpu import jit, threads
from dlir.backends.cpu.emit import ENTRY, emit_module
from dlir.backends.cpu.executable import Executable, Weights
from dlir.backends.executable import signature_of
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import find_function


def load(module: Module, entry: str, weights: Weights | None) -> Executable:
    """Machine code for function `entry` of a module lowered for the CPU; DlirError if it holds what cannot run here."""
    function = find_function(module, entry)
    emitted = emit_module(module, function, jit.host_target())
    imports = threads.symbols() if emitted.is_parallel else {}
    library = jit.compile_ir(emitted.ir, [ENTRY], imports, ArtifactCache("cpu"))
    return Executable(signature_of(function), emitted, library, weights)


def emit(module: Module, entry: str) -> str:
    """The LLVM IR that `load` compiles."""
    return emit_module(module, find_function(module, entry), jit.host_target()).ir
