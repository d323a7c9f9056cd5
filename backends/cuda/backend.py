"""The CUDA backend's entry points: see :mod:`dlir.backends.registry`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dlir.backends.cuda.emit import emit_kernels
from dlir.backends.cuda.executable import Executable, Memory
from dlir.backends.cuda.launcher import CupyDevice, import_cupy
from dlir.backends.cuda.program import read_program
from dlir.backends.executable import signature_of
from dlir.backends.global_arrays import Weights, global_array, initialized_arrays
from dlir.backends.variables import Binding, VariableStore
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func, find_function
from dlir.ir.errors import DlirError
from dlir.ir.state import state_of


def load(module: Module, entry: str, weights: Weights | None, variables: VariableStore | None = None) -> Executable:
    """Function `entry` of a module mapped for CUDA, on the current GPU; DlirError if there is none.

    The values of what calls change are in `variables`.
    """
    import_cupy()
    return load_on(CupyDevice, module, entry, weights, variables)


def load_on(
    make_device: Callable[[str], Memory],
    module: Module,
    entry: str,
    weights: Weights | None,
    variables: VariableStore | None = None,
) -> Executable:
    """Function `entry` on the device that `make_device` makes for the kernels' text."""
    store = VariableStore() if variables is None else variables
    function = find_function(module, entry)
    source = emit_kernels(module)
    device = make_device(source.text)

    def loaded(function: Func, computed: Mapping[str, Any]) -> Executable:
        program = read_program(module, function, source.names)
        binding = Binding(store, state_of(module, function), lambda op: global_array(op, weights))
        return Executable(signature_of(function), program, module, weights, device, computed, binding)

    def initialized(function: Func, computed: Mapping[str, Any]) -> Sequence[Any]:
        return loaded(function, computed).on_device()

    return loaded(function, initialized_arrays(module, function, store, initialized, device.download))


def emit(module: Module, entry: str) -> str:
    """The CUDA C text of the module's kernels; DlirError if it has none."""
    source = emit_kernels(module)
    if not source.names:
        is_librarys = any(op.name == "kernel.matmul" for op in module.walk())
        hint = "lower it with --target=cuda -O2, or map{target=cuda}"
        raise DlirError("the module has no GPU kernels", hint="cuBLASLt computes all of it" if is_librarys else hint)
    return source.text
