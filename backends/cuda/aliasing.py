"""Which arguments of kernels share no memory with another one, seen from the launches: they may be ``__restrict__``."""

from __future__ import annotations

from dlir.ir.core import Operation
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.gpu import GPUFunc, GPUModule, LaunchFunc
from dlir.ir.errors import DlirError
from dlir.ir.types import MemRefType
from dlir.passes.kernels.overlap import overlapping

#: Kernels with the numbers of their arguments.
Restricted = set[tuple[GPUFunc, int]]


def restricted_arguments(module: Module) -> Restricted:
    """The memref arguments that overlap no other one at any launch in `module`."""
    restricted: Restricted = set()
    shared: Restricted = set()
    for launch in module.walk():
        if isinstance(launch, LaunchFunc):
            kernel = _kernel(module, launch)
            types = enumerate(kernel["function_type"].inputs)
            restricted.update((kernel, number) for number, type in types if isinstance(type, MemRefType))
            for pair in overlapping(launch.arguments):
                shared.update((kernel, number) for number in pair)
    return restricted - shared


def _kernel(module: Module, launch: LaunchFunc) -> GPUFunc:
    owner, _, name = launch["kernel"].partition("::")
    found: Operation | None = module.symbol(owner)
    for op in found.body.ops if isinstance(found, GPUModule) else ():
        if isinstance(op, GPUFunc) and op["sym_name"] == name:
            return op
    raise DlirError(f"the CUDA backend cannot run '@{launch['kernel']}', which is no gpu.func", launch.location)
