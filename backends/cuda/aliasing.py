"""Which arguments of kernels never overlap what the kernel writes, seen from the launches.

A kernel's pointer may be ``__restrict__`` if, at every launch, the memory behind it shares no byte with that of another
argument, or only with arguments that are read.  In-place kernels are why this needs a look.
"""

from __future__ import annotations

from collections.abc import Iterator

from dlir.ir.core import Operation, Value
from dlir.ir.dialects.arith.constant import constant_value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.gpu import GPUFunc, LaunchFunc
from dlir.ir.types import MemRefType

#: Kernels with the numbers of their arguments.
Restricted = set[tuple[GPUFunc, int]]

#: What an argument refers to: a buffer of its own, and the bytes in it, of which the end is None if it is not known.
_Extent = tuple[Value | str, int, int | None]


def restricted_arguments(module: Module) -> Restricted:
    """The memref arguments that overlap no other one at any launch in `module`."""
    restricted: Restricted = set()
    overlapping: Restricted = set()
    for launch in _launches(module):
        kernel = _kernel(module, launch)
        extents = [
            (index, _extent(value))
            for index, value in enumerate(launch.arguments)
            if isinstance(value.type, MemRefType)
        ]
        for index, extent in extents:
            restricted.add((kernel, index))
            if any(other != index and _overlap(extent, found) for other, found in extents):
                overlapping.add((kernel, index))
    return restricted - overlapping


def _launches(module: Module) -> Iterator[LaunchFunc]:
    for op in module.walk():
        if isinstance(op, LaunchFunc):
            yield op


def _kernel(module: Module, launch: LaunchFunc) -> GPUFunc:
    owner, _, name = launch["kernel"].partition("::")
    found: Operation | None = module.symbol(owner)
    assert found is not None
    for op in found.body.ops:
        if isinstance(op, GPUFunc) and op["sym_name"] == name:
            return op
    raise AssertionError(f"the verifier accepts no launch of the unknown kernel {launch['kernel']}")


def _extent(value: Value) -> _Extent:
    low, high = 0, value.type.nbytes
    while (op := value.defining_op) is not None:
        match op.name:
            case "memref.view":
                offset = constant_value(op.operands[1])
                if offset is None:
                    return op.operands[0], 0, None
                low, high = low + offset, high + offset
            case "memref.get_global":
                return op.get("name"), low, high
            case "memref.collapse_shape" | "memref.expand_shape" | "memref.cast":
                pass
            case "memref.alloc":
                return value, low, high
            case _:
                return value, 0, None
        value = op.operands[0]
    return value, low, high


def _overlap(one: _Extent, two: _Extent) -> bool:
    if one[0] is not two[0] and one[0] != two[0]:
        return False
    return (two[2] is None or one[1] < two[2]) and (one[2] is None or two[1] < one[2])
