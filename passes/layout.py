"""The ``layout`` pass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dlir.ir.builder import after, before
from dlir.ir.core import Block, Operation, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.decompose import Decomposed
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.nd.base import NdOp
from dlir.ir.dialects.nd.contraction import Conv, Matmul
from dlir.ir.dialects.nd.packing import Pack, Unpack
from dlir.ir.dialects.nd.pooling import Pool
from dlir.ir.errors import DlirError
from dlir.ir.ops import nd
from dlir.ir.types import ScalarType
from dlir.passes.hoist import frozen_variables
from dlir.passes.kernels.classify import FusionClass, fusion_class
from dlir.passes.kernels.clip import LEAST_ROWS
from dlir.passes.kernels.legality import is_fusible
from dlir.passes.manager import Pass, option
from dlir.passes.targets import cpu, cpu_tiles

#: Channels of a result up to which packing weights in each call takes less than packing windows.
NARROW = 8
#: Places at which changing weights are used from which on packing them in each call pays.
MANY_ROWS = 256


@dataclass
class Layout(Pass, name="layout"):
    """Lay out for a CPU what contractions with frozen weights read and write.

    Weights are packed in panels as wide as a register tile (`nd.pack`), which `hoist-constants` then does once.  Images
    between convolutions are stored with the channels last, through pooling and pointwise ops; what a function returns keeps
    its layout.

    Weights of convolutions that change are packed in each call, where there are many places to use them at or few channels
    to share what else would be packed.  The gradient of a kernel is a sum over all places of an image: of its cotangent vectors
    are read where the channels are last, and elsewhere it is packed as weights are.
    """

    vector_bytes: int = option(0, "bytes of a CPU's vector registers: 16, 32 or 64; 0: as on this machine", least=0)

    def run(self, module: Module) -> None:
        if self.vector_bytes not in (0, *cpu.TILE_VECTORS):
            raise DlirError(f"option 'vector-bytes' must be 0, 16, 32 or 64, got {self.vector_bytes}")
        variables = frozen_variables(module)
        for function in list(module.body.ops):
            if isinstance(function, Func) and not function.is_declaration and "dlir.kernel" not in function.attributes:
                for region in function.regions:
                    for block in region.blocks:
                        self._lay_out(block, _frozen_values(block, variables))

    @property
    def _vector_bytes(self) -> int:
        return self.vector_bytes or cpu.host_vector_bytes()

    def _lay_out(self, block: Block, frozen: dict[Value, None]) -> None:
        images: dict[Value, None] = {}
        for op in list(block.ops):
            if not _is_static(op) or isinstance(op, Pack):
                continue
            if isinstance(op, Unpack):
                if _is_unpacked_image(op.results[0]):
                    images[op.results[0]] = None
                continue
            if isinstance(op, Conv | Matmul) and op.operands[0] not in frozen:
                if op.operands[1] in frozen:
                    self._pack_weights(op, op.operands[0] in images)
                elif isinstance(op, Conv) and _is_kernel_gradient(op):
                    self._lay_out_gradient(op)
                    continue
                elif isinstance(op, Conv) and (_is_narrow(op) or _rows(op) >= MANY_ROWS):
                    self._pack_weights(op, op.operands[0] in images)
            if _is_image(op, images):
                self._store_channels_last(op, images)

    def _pack_weights(self, op: Conv | Matmul, is_deep: bool) -> None:
        """Let `op` read its weights from panels of columns, if it is large enough.

        A panel of a convolution goes over the channels last if those of its image lie side by side (`is_deep`).
        """
        weights = op.operands[1]
        if _is_packed(weights):
            return
        if isinstance(op, Conv):
            axis = 0
            order = channels_last(weights.rank) if is_deep else tuple(range(weights.rank))
        else:
            axis = 0 if op["transpose_b"] else 1
            order = (axis, 1 - axis)
        columns = cpu_tiles.panel_columns(op, self._vector_bytes)
        if columns is None:
            return
        tiles, axes = (columns,), (axis,)
        with before(op):
            packed = nd.pack(weights, inner_dims_pos=axes, inner_tiles=tiles, outer_dims_perm=order)
            seen = nd.unpack(packed, shape=weights.shape, inner_dims_pos=axes, inner_tiles=tiles, outer_dims_perm=order)
            op.set_operands([op.operands[0], seen])
        self.stats["packed"] += 1

    def _lay_out_gradient(self, op: Conv) -> None:
        """Let `op`, the gradient of a kernel, read vectors of its second operand, and no padding if it reads few channels."""
        if not self._has_vectors(op.operands[1]):
            self._pack_weights(op, False)
            if not _is_packed(op.operands[1]):
                return
        if op.operands[0].shape[0] < LEAST_ROWS:
            self._store_padded(op)

    def _has_vectors(self, cotangent: Value) -> bool:
        """Whether the channels of an image, seen as a kernel, lie side by side in whole vectors."""
        while (source := cotangent.defining_op) is not None and source.name == "nd.transpose":
            cotangent = source.operands[0]
        channels, dtype = cotangent.shape[1], cotangent.dtype
        if not _is_unpacked_image(cotangent) or not isinstance(dtype, ScalarType):
            return False
        lanes = self._vector_bytes // dtype.bytes
        return channels % lanes == 0 or (channels >= 4 and lanes % channels == 0)

    def _store_padded(self, op: Conv) -> None:
        """Let `op` read an image whose padding is in memory."""
        image, rank = op.operands[0], op.operands[0].rank
        padding = op["padding"] or (0,)
        if not any(padding):
            return
        low, high = (padding[: rank - 2], padding[rank - 2 :] or padding)
        with before(op):
            padded = nd.pack(nd.pad(image, low=(0, 0, *low), high=(0, 0, *high)))
            found = nd.conv(
                nd.unpack(padded, shape=padded.shape),
                op.operands[1],
                stride=op["stride"],
                dilation=op["dilation"],
                groups=op["groups"],
            )
        op.replace_by([found])

    def _store_channels_last(self, op: Operation, images: dict[Value, None]) -> None:
        (value,) = op.results
        users = [user for user in value.users if is_fusible(user) and not isinstance(user, Pack)]
        if not users:
            return
        with after(op):
            order = channels_last(value.rank)
            stored = nd.pack(value, outer_dims_perm=order)
            seen = nd.unpack(stored, shape=value.shape, outer_dims_perm=order)
        for user in dict.fromkeys(users):
            user.set_operands([seen if operand is value else operand for operand in user.operands])
        images[seen] = None
        self.stats["channels-last"] += 1


def channels_last(rank: int) -> tuple[int, ...]:
    """The order of dimensions that has the second one last."""
    return (0, *range(2, rank), 1)


def _frozen_values(block: Block, variables: Mapping[str, object]) -> dict[Value, None]:
    """The values that depend on nothing but frozen variables and constants."""
    found: dict[Value, None] = {}
    for op in block.ops:
        if op.name == "state.read":
            is_fixed = op.get("variable") in variables
        else:
            is_fixed = isinstance(op, NdOp) and is_fusible(op) and all(value in found for value in op.operands)
        if is_fixed:
            found.update(dict.fromkeys(op.results))
    return found


def _is_static(op: Operation) -> bool:
    return isinstance(op, NdOp) and all(value.type.is_static for value in (*op.operands, *op.results))


def _is_kernel_gradient(op: Conv) -> bool:
    """Whether `op` sums over more places than it has, as the gradient of a kernel does."""
    return math.prod(op.operands[1].shape[2:]) > math.prod(op.results[0].shape[2:])


def _rows(op: Conv) -> int:
    """At how many places the weights are used."""
    batch, _, *places = op.results[0].shape
    return batch * math.prod(places)


def _is_narrow(op: Conv) -> bool:
    """Whether few channels of the result would share what a window of the image is packed for."""
    return op.results[0].shape[1] <= NARROW


def _is_unpacked_image(value: Value) -> bool:
    """Whether `value` is stored with its channels last, and seen as if they were not."""
    op = value.defining_op
    return isinstance(op, Unpack) and op["inner_tiles"] is None and op["outer_dims_perm"] == channels_last(value.rank)


def _is_packed(value: Value) -> bool:
    return value.defining_op is not None and value.defining_op.name == "nd.unpack"


def _is_image(op: Operation, images: dict[Value, None]) -> bool:
    """Whether the result of `op` is to have its channels last."""
    if len(op.results) != 1 or not is_fusible(op):
        return False
    shape = op.results[0].shape
    if isinstance(op, Conv):
        # Where each channel is a group, everything is pointwise in the channels.
        is_whole = op["groups"] == 1 and _is_packed(op.operands[1])
        return is_whole or (op.operands[0] in images and op["groups"] == shape[1])
    sources = [value for value in op.operands if value in images]
    if isinstance(op, Pool):
        return bool(sources) and len(op["kernel"]) == len(shape) - 2
    is_pointwise = isinstance(op, Decomposed) or fusion_class(op) is FusionClass.ELEMENTWISE
    return is_pointwise and any(value.shape == shape for value in sources)
