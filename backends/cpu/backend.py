"""The CPU backend's entry points: see :mod:`dlir.backends.registry`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dlir.backends.artifact_cache import ArtifactCache
from dlir.backends.cpu import jit, threads
from dlir.backends.cpu.buffers import aligned_array
from dlir.backends.cpu.emit import ENTRY, emit_module
from dlir.backends.cpu.executable import Executable, Weights
from dlir.backends.executable import signature_of
from dlir.backends.global_arrays import initialized_arrays
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func, find_function
from dlir.ir.initializers import initializers_for, is_initializer


def load(module: Module, entry: str, weights: Weights | None) -> Executable:
    """Machine code for function `entry` of a module lowered for the CPU; DlirError if it holds what cannot run here."""
    target = jit.host_target()
    function = find_function(module, entry)
    functions = [function, *(item.function for item in initializers_for(module, function))]
    emitted = {item: emit_module(module, item, target) for item in functions}
    sources = [jit.Source(text, is_initializer(item)) for item in functions for text in emitted[item].parts]
    codes = iter(jit.object_codes(sources, ArtifactCache("cpu"), threads.thread_count()))
    objects = {item: [next(codes) for _ in emitted[item].parts] for item in functions}

    def linked(function: Func, variables: Mapping[str, np.ndarray]) -> Executable:
        imports = threads.symbols() if emitted[function].is_parallel else {}
        library = jit.link(objects[function], [ENTRY], imports)
        return Executable(signature_of(function), emitted[function], library, weights, variables)

    def initialized(function: Func, variables: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        executable = linked(function, variables)
        return executable(out=[aligned_array(type) for type in executable.signature.results])

    return linked(function, initialized_arrays(module, function, initialized))


def emit(module: Module, entry: str) -> str:
    """The LLVM IR that `load` compiles."""
    return emit_module(module, find_function(module, entry), jit.host_target()).ir
