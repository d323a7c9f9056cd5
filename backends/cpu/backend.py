"""The CPU backend's entry points: see :mod:`dlir.backends.registry`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dlir.backends.artifact_cache import ArtifactCache
from dlir.backends.cpu import jit, threads
from dlir.backends.cpu.buffers import aligned_array
from dlir.backends.cpu.emitted import ENTRY, Emitted
from dlir.backends.cpu.executable import Executable, Weights
from dlir.backends.executable import signature_of
from dlir.backends.function_code import FunctionCode
from dlir.backends.global_arrays import global_array, initialized_arrays
from dlir.backends.variables import Binding, VariableStore
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func, find_function
from dlir.ir.dialects.memref import Global
from dlir.ir.initializers import initializers_for, is_initializer
from dlir.ir.state import state_of


def machine() -> tuple[str, ...]:
    """What machine code depends on besides the module."""
    return jit.host_key()


def compile_code(module: Module, entry: str) -> dict[str, FunctionCode]:
    """Machine code for function `entry` of a module lowered for the CPU and for the initialisers of what it uses, by symbol.

    DlirError if it holds what cannot run here.
    """
    from dlir.backends.cpu.emit import emit_module

    target = jit.host_target()
    function = find_function(module, entry)
    functions = [function, *(item.function for item in initializers_for(module, function))]
    emitted = {item: emit_module(module, item, target) for item in functions}
    sources = [jit.Source(text, is_initializer(item)) for item in functions for text in emitted[item].parts]
    objects = iter(jit.object_codes(sources, ArtifactCache("cpu"), threads.thread_count()))
    return {
        item.symbol: FunctionCode(
            tuple(next(objects) for _ in code.parts),
            tuple(op["sym_name"] for op in code.globals),
            code.scratch_bytes,
            code.is_parallel,
        )
        for item, code in emitted.items()
    }


def load(module: Module, entry: str, weights: Weights | None, variables: VariableStore | None = None) -> Executable:
    """Machine code for function `entry` of a module lowered for the CPU; DlirError if it holds what cannot run here.

    The values of what calls change are in `variables`.
    """
    return load_code(module, entry, compile_code(module, entry), weights, variables)


def load_code(
    module: Module,
    entry: str,
    codes: Mapping[str, FunctionCode],
    weights: Weights | None,
    variables: VariableStore | None = None,
) -> Executable:
    """What `compile_code` has made, ready to run; of `module` only variables and the heads of functions are looked at."""
    store = VariableStore() if variables is None else variables
    function = find_function(module, entry)
    variables_by_name = {op["sym_name"]: op for op in module.body.ops if isinstance(op, Global)}

    def linked(function: Func, computed: Mapping[str, np.ndarray]) -> Executable:
        code = codes[function.symbol]
        imports = threads.symbols() if code.is_parallel else {}
        library = jit.link(code.objects, [ENTRY], imports)
        found = tuple(variables_by_name[name] for name in code.globals)
        emitted = Emitted("", (), found, code.scratch_bytes, code.is_parallel)
        binding = Binding(store, state_of(module, function), lambda op: global_array(op, weights))
        return Executable(signature_of(function), emitted, library, weights, computed, binding)

    def initialized(function: Func, computed: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        executable = linked(function, computed)
        return executable(out=[aligned_array(type) for type in executable.signature.results])

    return linked(function, initialized_arrays(module, function, store, initialized))


def emit(module: Module, entry: str) -> str:
    """The LLVM IR that `load` compiles."""
    from dlir.backends.cpu.emit import emit_module

    return emit_module(module, find_function(module, entry), jit.host_target()).ir
