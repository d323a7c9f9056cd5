"""Kernels for the grid of a GPU: work items become blocks or threads, loops inside an item the work of a block's threads.

A kernel's outermost parallel loop is over independent work items.  An item is either

- one thread's: what is inside runs in order, and neighbouring threads have neighbouring items; or
- one block's: parallel loops inside are shared out among its threads, and reductions end in the block's.  What is not in
  such a loop all threads compute alike; scratch is memory that they share.

A kernel that is a call of a library (``kernel.matmul``) stays one, which the host makes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dlir.ir.attributes import UNIT
from dlir.ir.builder import at_end, before
from dlir.ir.core import Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Call, Func
from dlir.ir.dialects.gpu import GPUFunc, GPUModule, launch
from dlir.ir.dialects.kernel import Matmul
from dlir.ir.dialects.scf import Parallel
from dlir.ir.effects import is_removable
from dlir.ir.errors import DlirError
from dlir.ir.ops import gpu, memref
from dlir.ir.traversal import clone
from dlir.ir.types import Type
from dlir.passes.inline import inline_call
from dlir.passes.kernels.blocks_cuda import map_to_block, map_to_threads, map_to_tiles
from dlir.passes.kernels.choose_cuda import Mapping, choose_mapping
from dlir.passes.kernels.loops_cuda import Box
from dlir.passes.kernels.overlap import overlapping
from dlir.passes.kernels.split_cuda import Stage, Temporary, items_of, split_reductions

MAX_BLOCKS = 2**31 - 1


@dataclass
class _Launch:
    """A kernel on the GPU: its symbol, the launch, and what it takes after the caller's operands."""

    kernel: str
    grid: int
    threads: int
    temporaries: list[Temporary]
    globals: list[tuple[Type, str]]


def map_cuda(module: Module, stats: Counter[str]) -> None:
    """Make the kernels of `module` functions of one ``gpu.module``, and their calls launches."""
    kernels = [
        op
        for op in module.body.ops
        if isinstance(op, Func) and op.attributes.get("dlir.kernel") is UNIT and not op.is_declaration
    ]
    if not kernels:
        return
    target = GPUModule.make(_free_name(module, "kernels"))
    calls: dict[str, list[Call]] = {kernel.symbol: [] for kernel in kernels}
    for op in module.walk():
        if isinstance(op, Call) and op["callee"] in calls:
            calls[op["callee"]].append(op)
    for kernel in kernels:
        if isinstance(kernel.body.first, Matmul):
            for call in calls[kernel.symbol]:
                inline_call(call, kernel)
                stats["library"] += 1
            kernel.erase()
            continue
        shared = _shared_arguments(calls[kernel.symbol])
        stages = [part for stage in _split(kernel) for part in split_reductions(stage, shared)]
        launches = [_map_stage(stage, target, shared, stats) for stage in stages]
        for call in calls[kernel.symbol]:
            _launch_all(call, [item for item in launches if item is not None])
        kernel.erase()
    if target.body.first is not None:
        module.body.append(target)
        # Upstream wants to be told that launches may occur.
        module.attributes["gpu.container_module"] = UNIT


def _free_name(module: Module, name: str) -> str:
    taken = {op.get("sym_name") for op in module.body.ops}
    number = 0
    while name in taken:
        number += 1
        name = f"{name.rpartition('_')[0] or name}_{number}"
    return name


def _shared_arguments(calls: Sequence[Call]) -> dict[int, int]:
    """For each argument that shares memory with an earlier one at some call, the number of that one."""
    found: dict[int, int] = {}
    for call in calls:
        for one, two in overlapping(call.operands):
            found[two] = min(found.get(two, one), found.get(one, one))
    return found


def _launch_all(call: Call, launches: Sequence[_Launch]) -> None:
    """Launch instead of calling."""
    with before(call):
        temporaries: dict[Temporary, Value] = {}
        for item in launches:
            for one in item.temporaries:
                if one not in temporaries:
                    temporaries[one] = memref.alloc(one.type, alignment=64)
            extra = [temporaries[one] for one in item.temporaries]
            extra += [memref.get_global(type, name=name) for type, name in item.globals]
            launch(item.kernel, [item.grid], [item.threads], [*call.operands, *extra])
        for buffer in temporaries.values():
            memref.dealloc(buffer)
    call.erase()


# ---------------------------------------------------------------- stages


def _split(kernel: Func) -> list[Func]:
    """The kernel as functions that each have one loop over items: what a loop writes, a later one may read.

    Only launches make blocks wait for each other.  A kernel that does more between its loops than computing indices is
    one item, and stays whole.
    """
    acting = [op for op in kernel.body.ops if not is_removable(op) and not op.is_terminator]
    if len(acting) < 2 or not all(isinstance(op, Parallel) and not op.results for op in acting):
        return [kernel]
    stages = []
    for number in range(len(acting)):
        stage = clone(kernel)
        others = [op for op in stage.body.ops if isinstance(op, Parallel)]
        for position, op in enumerate(others):
            if position != number:
                op.erase()
        stages.append(stage)
    return stages


def _map_stage(part: Stage, target: GPUModule, shared: dict[int, int], stats: Counter[str]) -> _Launch | None:
    """Make `part`, whose body is taken apart, a kernel in `target`; None if it has no work."""
    stage = part.function
    loop = items_of(stage)
    items = 1 if loop is None else Box(loop).size
    if items == 0:
        stats["empty"] += 1
        return None
    if items is None:
        raise DlirError("the number of work items of this kernel is not known", stage.location)
    mapping = choose_mapping(stage, loop, items)
    if mapping.grid > MAX_BLOCKS:
        raise DlirError(f"this kernel has {items} work items, more than a GPU has blocks", stage.location)
    kernel, found = _make_kernel(stage, target, mapping)
    stats[mapping.kind] += 1
    if mapping.kind == "threads" and loop is not None:
        map_to_threads(loop, mapping)
    elif mapping.kind == "tile" and loop is not None:
        map_to_tiles(kernel, loop, mapping)
    else:
        stats["barriers"] += map_to_block(kernel, loop, mapping, shared)
    _erase_unused(kernel)
    return _Launch(
        f"{target['sym_name']}::{kernel['sym_name']}", mapping.grid, mapping.threads, part.temporaries, found
    )


def _make_kernel(stage: Func, target: GPUModule, mapping: Mapping) -> tuple[GPUFunc, list[tuple[Type, str]]]:
    """A kernel in `target` with the body of `stage`; globals become arguments."""
    reads = [op for op in stage.walk() if op.name == "memref.get_global"]
    found = {op.get("name"): op.results[0].type for op in reads}
    types = [*stage.type.inputs, *found.values()]
    name = f"kernel_{sum(1 for _ in target.body.ops)}"
    kernel = GPUFunc.make(name, types, block_size=(mapping.threads, 1, 1))
    kernel.location = stage.location
    args = kernel.body.args
    for old, new in zip(stage.body.args, args):
        old.replace_by(new)
        new.name = old.name
    places = dict(zip(found, args[len(stage.type.inputs) :]))
    for op in reads:
        op.replace_by([places[op.get("name")]])
    for op in list(stage.body.ops):
        op.detach()
        if not op.is_terminator:
            kernel.body.append(op)
    with at_end(kernel.body, stage.location):
        gpu.return_()
    target.body.append(kernel)
    return kernel, [(type, symbol) for symbol, type in found.items()]


def _erase_unused(kernel: GPUFunc) -> None:
    """Erase what only the loops' old bounds and counters used."""
    for op in reversed(list(kernel.walk())):
        if op.parent is not None and not op.is_used and is_removable(op):
            op.erase()
