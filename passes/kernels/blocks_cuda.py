"""A work item as the work of one thread, or of one block of threads."""

from __future__ import annotations

from collections.abc import Hashable

from dlir.ir.builder import at_start, before, insert
from dlir.ir.core import Operation, Region, Value
from dlir.ir.dialects.gpu import WORKGROUP, GPUFunc
from dlir.ir.dialects.regions import region_of
from dlir.ir.dialects.scf import If, Parallel, Yield
from dlir.ir.errors import DlirError
from dlir.ir.ops import arith, gpu
from dlir.ir.types import MemRefType, Type
from dlir.passes.kernels.barriers_cuda import Divergent, insert_barriers
from dlir.passes.kernels.choose_cuda import Mapping
from dlir.passes.kernels.loops_cuda import Box, add, distribute, move_into, multiply, serialize
from dlir.passes.kernels.reduce_cuda import BlockReduction, neutral

#: Bytes of shared memory that every GPU gives a block without being asked.
SHARED_LIMIT = 48 << 10

_VIEWS = ("memref.reinterpret_cast", "memref.cast")


def map_to_threads(loop: Parallel, mapping: Mapping) -> None:
    """Give each thread of the grid every so many-th item, so that neighbouring threads have neighbouring items."""
    for inner in reversed([op for op in loop.walk() if isinstance(op, Parallel)]):
        if inner is not loop:
            serialize(inner)
    with before(loop):
        number = add(multiply(gpu.block_id("x"), mapping.threads), gpu.thread_id("x"))
    distribute(loop, number, mapping.grid * mapping.threads, ())
    loop.erase()


def map_to_tiles(kernel: GPUFunc, loop: Parallel, mapping: Mapping) -> None:
    """Give each block one item, whose body already tells its threads apart."""
    _Block(kernel, mapping.threads, {}).take_item(loop).share_scratch().finish()


def map_to_block(kernel: GPUFunc, loop: Parallel | None, mapping: Mapping, shared: dict[int, int]) -> int:
    """Give each block one item of `loop`, or the whole body; the number of barriers that this takes.

    `shared` says which argument an argument may share memory with.
    """
    block = _Block(kernel, mapping.threads, shared)
    if loop is not None:
        block.take_item(loop)
    return block.share_loops().share_scratch().guard_stores().finish()


class _Block:
    """Rewrites the body of one kernel."""

    def __init__(self, kernel: GPUFunc, threads: int, shared: dict[int, int]) -> None:
        self.kernel = kernel
        self.threads = threads
        self.shared = shared
        self.divergent: Divergent = {}
        self.buffers: dict[tuple[Type, Hashable], Value] = {}
        with at_start(kernel.body, kernel.location):
            self.thread: Value = gpu.thread_id("x")

    def take_item(self, loop: Parallel) -> _Block:
        """Put the body of `loop` in its place, for the item that is the block's number."""
        body = self.kernel.body
        ending = body.terminator
        ending.detach()
        with before(loop):
            counters = Box(loop).counters(gpu.block_id("x"))
        move_into(loop, body, counters)
        loop.erase()
        body.append(ending)
        return self

    # ------------------------------------------------------------ loops

    def share_loops(self) -> _Block:
        """Share out the points of parallel loops among the threads; loops inside those run in order."""
        loops = [op for op in self.kernel.walk() if isinstance(op, Parallel)]
        outer = [op for op in loops if not _inside_parallel(op)]
        for loop in reversed(loops):
            if loop not in outer:
                serialize(loop)
        reduction = BlockReduction(self.thread, self.threads, self._buffer, self._mark_alone)
        for loop in outer:
            self._share_loop(loop, reduction)
        return self

    def _share_loop(self, loop: Parallel, reduction: BlockReduction) -> None:
        regions = list(loop.body.terminator.regions)
        starts = [neutral(region) for region in regions]
        if None in starts:
            # How partial results would begin is not known: every thread computes the whole.
            serialize(loop)
            return
        inits = loop.group("initVals")
        with before(loop):
            firsts = [arith.constant(start, init.type) for start, init in zip(starts, inits)]
            box = Box(loop)
            mine = distribute(loop, self.thread, self.threads, firsts)
            results = reduction.all(mine.results, regions, inits) if regions else []
        self.divergent[mine] = (*box.extents, *box.lowers, *box.steps)
        loop.replace_by(results)

    def _mark_alone(self, op: Operation) -> None:
        self.divergent[op] = None

    # ------------------------------------------------------------ memory

    def share_scratch(self) -> _Block:
        """Make the buffers that an item allocates memory shared by the block's threads."""
        for op in list(self.kernel.walk()):
            if op.name == "memref.alloca" and not self._is_divergent(op):
                result = op.results[0]
                if not result.type.is_static:
                    raise DlirError(f"scratch of unknown size {result.type} inside a kernel", op.location)
                place = self._buffer(MemRefType(result.shape, result.dtype, None, WORKGROUP), result)
                _set_space(result)
                op.replace_by([place])
        return self

    def guard_stores(self) -> _Block:
        """Let one thread write what all threads compute alike."""
        stores = [op for op in self.kernel.walk() if op.name == "memref.store" and not self._is_divergent(op)]
        if not stores:
            return self
        with before(self._after_thread()):
            is_first = arith.cmpi("eq", self.thread, 0)
        for op in stores:
            with before(op):
                guard = If.create(
                    is_first, regions=[region_of((), lambda: None, Yield.build), Region()], result_types=()
                )
                insert(guard)
            op.move_before(guard.body.terminator)
            self._mark_alone(guard)
        return self

    def finish(self) -> int:
        """State the shared memory and put barriers where they are needed; how many."""
        kernel = self.kernel
        used = sum(arg.type.nbytes for arg in self.buffers.values())
        if used > SHARED_LIMIT:
            raise DlirError(
                f"this kernel needs {used} bytes of shared memory for one work item, but a block has {SHARED_LIMIT}",
                kernel.location,
                hint="fuse less into it, or give it another schedule",
            )
        kernel.set("workgroup_attributions", len(self.buffers))
        return insert_barriers(kernel.body, self.divergent, self._memory) if self.divergent else 0

    def _buffer(self, type: Type, key: Hashable) -> Value:
        """A buffer in shared memory, the same for the same type and key."""
        if (type, key) not in self.buffers:
            self.buffers[type, key] = self.kernel.body.add_arg(type, location=self.kernel.location)
        return self.buffers[type, key]

    def _memory(self, buffer: Value) -> Hashable:
        """What tells memrefs apart that share no memory."""
        while (op := buffer.defining_op) is not None and op.operands:
            buffer = op.operands[0]
        if buffer in self.kernel.inputs:
            number = buffer.index
            while number in self.shared:
                number = self.shared[number]
            return number
        return buffer

    # ------------------------------------------------------------ places

    def _is_divergent(self, op: Operation) -> bool:
        parent = op.parent_op
        while parent is not None:
            if parent in self.divergent:
                return True
            parent = parent.parent_op
        return False

    def _after_thread(self) -> Operation:
        following = self.thread.owner.next
        assert following is not None
        return following


def _inside_parallel(op: Operation) -> bool:
    parent = op.parent_op
    while parent is not None:
        if isinstance(parent, Parallel):
            return True
        parent = parent.parent_op
    return False


def _set_space(buffer: Value) -> None:
    """Say in the types of all views of `buffer` that it is shared memory."""
    waiting = [buffer]
    while waiting:
        for user in waiting.pop().users:
            if user.name in _VIEWS:
                (view,) = user.results
                view.type = MemRefType(view.shape, view.dtype, view.type.layout, WORKGROUP)
                waiting.append(view)
