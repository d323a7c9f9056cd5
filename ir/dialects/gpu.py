"""The ``gpu`` dialect: the part of upstream's that kernels and their launches need.

A kernel is a ``gpu.func`` in a ``gpu.module``; memory shared by a block's threads is an extra block argument of it.
Products of matrices by a warp are in :mod:`.gpu_mma`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from dlir.ir.attributes import UNIT, Attribute, DenseArrayAttr, IntegerAttr, OpaqueAttr
from dlir.ir.builder import insert
from dlir.ir.core import Block, Operation, Region, UnregisteredOp, Value
from dlir.ir.dialects import gpu_mma  # noqa: F401 - registers its ops
from dlir.ir.dialects.enums import WordOp, Words
from dlir.ir.dialects.regions import only_block, spell
from dlir.ir.dialects.scalars import numbers_to_constants
from dlir.ir.errors import DlirError, InferError
from dlir.ir.op import INDEX, IO, READ, WRITE, Op, Scalar, Symbol, SymbolRef, Type
from dlir.ir.types import I1, I32, FunctionType, MemRefType, Shape

#: Memory spaces of memrefs: shared by the threads of a block, and private to one.
WORKGROUP = OpaqueAttr("#gpu.address_space<workgroup>")
PRIVATE = OpaqueAttr("#gpu.address_space<private>")


def workgroup(shape: Shape, dtype: Type) -> MemRefType:
    """The type of a buffer shared by the threads of a block."""
    return MemRefType(shape, dtype, None, WORKGROUP)


# ---------------------------------------------------------------- modules and functions


class GPUModule(Op, name="gpu.module"):
    """A list of functions that run on the GPU."""

    is_isolated = True
    is_symbol_table = True
    is_graph = True

    @staticmethod
    def infer(*, sym_name: Symbol, bodyRegion: Region) -> None: ...

    @classmethod
    def make(cls, name: str) -> GPUModule:
        """A module with nothing in it, not inserted anywhere."""
        return cls.create(regions=[Region([Block()])], sym_name=name)

    def verify(self) -> None:
        only_block(self)


class GPUFunc(Op, name="gpu.func"):
    """A function on the GPU; with the unit attribute ``gpu.kernel``, one that ``gpu.launch_func`` may name.

    Block arguments: the inputs, `workgroup_attributions` buffers shared by the block's threads, buffers of one thread.
    """

    is_isolated = True
    terminated_by = "gpu.return"
    parent_name = "gpu.module"
    discardable = ("sym_name", "workgroup_attributions", "known_block_size", "known_grid_size")

    @staticmethod
    def infer(
        *,
        sym_name: Symbol,
        function_type: FunctionType,
        arg_attrs: list | None = None,
        res_attrs: list | None = None,
        workgroup_attributions: int | None = None,
        workgroup_attrib_attrs: list | None = None,
        private_attrib_attrs: list | None = None,
        known_block_size: Attribute | None = None,
        known_grid_size: Attribute | None = None,
        body: Region,
    ) -> None: ...

    @classmethod
    def make(
        cls,
        name: str,
        inputs: Iterable[Type],
        shared: Iterable[MemRefType] = (),
        private: Iterable[MemRefType] = (),
        block_size: Sequence[int] | None = None,
    ) -> GPUFunc:
        """A kernel with an entry block and no ops yet, not inserted anywhere; `block_size` (x, y, z) if it is known."""
        inputs, shared = tuple(inputs), tuple(shared)
        op = cls.create(
            regions=[Region([Block([*inputs, *shared, *private])])],
            sym_name=name,
            function_type=FunctionType(inputs, ()),
            workgroup_attributions=len(shared),
            known_block_size=None if block_size is None else DenseArrayAttr(block_size, I32),
        )
        op.attributes["gpu.kernel"] = UNIT
        return op

    @property
    def is_kernel(self) -> bool:
        # LLVM 24 has it without the dialect's name.
        return "gpu.kernel" in self.attributes or "kernel" in self.attributes

    @property
    def inputs(self) -> list[Any]:
        """The block arguments that the launch gives."""
        return self.body.args[: len(self["function_type"].inputs)]

    @property
    def shared(self) -> list[Any]:
        """The block arguments that are memory shared by the block's threads."""
        first = len(self["function_type"].inputs)
        return self.body.args[first : first + (self["workgroup_attributions"] or 0)]

    @property
    def private(self) -> list[Any]:
        """The block arguments that are memory of one thread."""
        return self.body.args[len(self["function_type"].inputs) + (self["workgroup_attributions"] or 0) :]

    def verify(self) -> None:
        type = self["function_type"]
        if self.is_kernel and type.results:
            raise DlirError("a kernel cannot have results", self.location)
        blocks = self.regions[0].blocks
        if not blocks:
            raise DlirError("needs a body", self.location)
        args = [arg.type for arg in blocks[0].args]
        if tuple(args[: len(type.inputs)]) != type.inputs:
            raise DlirError(f"the entry block's arguments {spell(args)} do not begin with {type.inputs}", self.location)
        for arg, space in [*((a, WORKGROUP) for a in self.shared), *((a, PRIVATE) for a in self.private)]:
            if not isinstance(arg.type, MemRefType) or not (
                arg.type.space is space or isinstance(arg.type.space, IntegerAttr)
            ):
                raise DlirError(f"needs a memref in {space}, got {arg.type}", self.location)


class GPUReturn(Op, name="gpu.return"):
    """Return from a ``gpu.func``."""

    is_terminator = True
    parent_name = "gpu.func"

    @staticmethod
    def infer(*operands: Type) -> None: ...

    def verify(self) -> None:
        parent = self.parent_op
        if isinstance(parent, GPUFunc) and self.operand_types != parent["function_type"].results:
            results = parent["function_type"].results
            message = f"returns {spell(self.operand_types)}, but the function gives {spell(results)}"
            raise DlirError(message, self.location)


class LaunchFunc(Op, name="gpu.launch_func"):
    """Run a kernel on a grid of blocks of threads; see `launch`."""

    effects = frozenset({READ, WRITE, IO})

    @staticmethod
    def infer(
        asyncDependencies: tuple[Type, ...],
        gridSizeX: Scalar,
        gridSizeY: Scalar,
        gridSizeZ: Scalar,
        blockSizeX: Scalar,
        blockSizeY: Scalar,
        blockSizeZ: Scalar,
        clusterSizeX: Scalar | None,
        clusterSizeY: Scalar | None,
        clusterSizeZ: Scalar | None,
        dynamicSharedMemorySize: Scalar | None,
        kernelOperands: tuple[Type, ...],
        asyncObject: Type | None,
        *,
        kernel: SymbolRef,
    ) -> None: ...

    @property
    def grid(self) -> tuple[Any, ...]:
        """The number of blocks in x, y and z."""
        return tuple(self.groups[1:4])

    @property
    def block(self) -> tuple[Any, ...]:
        """The number of threads of a block in x, y and z."""
        return tuple(self.groups[4:7])

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What the kernel gets."""
        return self.group("kernelOperands")

    def _is_on_device(self) -> bool:
        op = self.parent_op
        while op is not None and not isinstance(op, GPUModule):
            op = op.parent_op
        return op is not None

    def verify_symbols(self, lookup: Callable[[str], Operation | None]) -> None:
        found = lookup(self["kernel"])
        if isinstance(found, UnregisteredOp) or self._is_on_device():
            return  # of another dialect, or compiled already; as upstream, only launches by the host are looked at
        if not isinstance(found, GPUFunc) or not found.is_kernel:
            raise DlirError(f"'@{self['kernel']}' is not a gpu.func with gpu.kernel", self.location)
        types = tuple(value.type for value in self.arguments)
        if types != found["function_type"].inputs:
            wanted = spell(found["function_type"].inputs)
            raise DlirError(f"'@{self['kernel']}' takes {wanted}, got {spell(types)}", self.location)


def launch(
    kernel: str,
    grid: Sequence[Value | int],
    block: Sequence[Value | int],
    arguments: Sequence[Value],
    dynamic_shared_memory: Value | None = None,
) -> LaunchFunc:
    """A ``gpu.launch_func`` of `kernel`, named ``module::function``, with up to three dimensions of blocks and threads.

    `dynamic_shared_memory` is a number of bytes, an i32.
    """
    from dlir.ir.dialects.scf import as_index

    sizes = [as_index(size) for dims in (grid, block) for size in [*dims, 1, 1, 1][:3]]
    groups = [(), *sizes, None, None, None, dynamic_shared_memory, tuple(arguments), None]
    return insert(LaunchFunc.create(*groups, kernel=SymbolRef(kernel)))


# ---------------------------------------------------------------- where a thread is


DIMENSION = Words("#gpu<dim ", ("x", "y", "z"), newer="#gpu.dim<")


class DimensionOp(WordOp):
    """Base of ops that tell a number per dimension: ``gpu.thread_id("x")``."""

    __slots__ = ()
    words: ClassVar[dict[str, Words]] = {"dimension": DIMENSION}

    @staticmethod
    def infer(*, dimension: Attribute, upper_bound: Attribute | None = None) -> Type:
        return INDEX

    @classmethod
    def create(cls, *operands: Any, **keywords: Any) -> Any:
        """As `Op.create`; the dimension may be the first argument."""
        if operands:
            keywords["dimension"], *operands = operands  # type: ignore[assignment]
        return super().create(*operands, **keywords)


class ThreadId(DimensionOp, name="gpu.thread_id"):
    """The thread's number in its block."""


class BlockId(DimensionOp, name="gpu.block_id"):
    """The block's number in the grid."""


class BlockDim(DimensionOp, name="gpu.block_dim"):
    """The number of threads in a block."""


class GridDim(DimensionOp, name="gpu.grid_dim"):
    """The number of blocks in the grid."""


class LaneId(Op, name="gpu.lane_id"):
    """The thread's number in its warp."""

    @staticmethod
    def infer(*, upper_bound: Attribute | None = None) -> Type:
        return INDEX


# ---------------------------------------------------------------- threads together


class Barrier(WordOp, name="gpu.barrier"):
    """Wait for all threads of the block; what they wrote before is seen after.

    LLVM 24 states the `scope`, LLVM 22 knows no other than the block.  `address_spaces` says whose writes are meant; here it
    is all.
    """

    effects = frozenset({READ, WRITE})
    words: ClassVar[dict[str, Words]] = {"scope": Words("#gpu.barrier_scope<", ("workgroup",))}

    @staticmethod
    def infer(*, scope: Attribute | None = None, address_spaces: list | None = None) -> None: ...


class Shuffle(WordOp, name="gpu.shuffle"):
    """The value of another lane, and whether there is one: ``gpu.shuffle(x, offset, width, mode="xor")``.

    The lane is this one's number xor, plus (down) or minus (up) `offset`, or `offset` (idx), among `width` lanes.
    """

    words: ClassVar[dict[str, Words]] = {
        "mode": Words("#gpu<shuffle_mode ", ("xor", "down", "up", "idx"), newer="#gpu.shuffle_mode<")
    }

    @staticmethod
    def infer(value: Type, offset: Scalar, width: Scalar, *, mode: Attribute) -> tuple[Type, Type]:
        if offset is not I32 or width is not I32:
            raise InferError(f"needs offset and width of type i32, got {offset} and {width}")
        return value, I1

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        return [groups[0], *numbers_to_constants(groups[1:], I32)]
