"""Reductions over the threads of a block: shuffles within warps, then shared memory across them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from dlir.ir.builder import insert
from dlir.ir.core import Operation, Region, Value
from dlir.ir.dialects.arith import constant_value
from dlir.ir.dialects.gpu import workgroup
from dlir.ir.dialects.regions import region_of
from dlir.ir.dialects.scf import If, Yield
from dlir.ir.ops import arith, gpu, memref
from dlir.ir.types import BF16, F16, F32, I1, I32, I64, INDEX, IntegerType, Type
from dlir.passes.kernels.loops_cuda import combine, combining_op

WARP = 32

_NEUTRAL: dict[str, float] = {
    "arith.addf": 0.0,
    "arith.mulf": 1.0,
    "arith.maximumf": -math.inf,
    "arith.minimumf": math.inf,
    "arith.addi": 0,
    "arith.muli": 1,
    "arith.andi": -1,
    "arith.ori": 0,
    "arith.xori": 0,
    "arith.maxui": 0,
    "arith.minui": -1,
}


def neutral(region: Region) -> float | None:
    """The neutral element of what a region of ``scf.reduce`` combines with; None if it is not a monoid known here."""
    name = combining_op(region)
    type = region.block.args[0].type
    if name in ("arith.maxsi", "arith.minsi") and isinstance(type, IntegerType) and type.width > 1:
        limits = np.iinfo(type.numpy)
        return int(limits.min if name == "arith.maxsi" else limits.max)
    found = None if name is None else _NEUTRAL.get(name)
    # A constant of type i1 is a bool.
    return bool(found) if found is not None and type is I1 else found


class BlockReduction:
    """Combines one value of each thread over the block, and gives the result to all threads.

    `share` makes a buffer in shared memory for a type and a key, and `alone` marks an op that only some threads run.
    """

    def __init__(
        self,
        thread: Value,
        threads: int,
        share: Callable[[Type, object], Value],
        alone: Callable[[Operation], None],
    ) -> None:
        self.thread = thread
        self.threads = threads
        self.share = share
        self.alone = alone
        self.count = 0

    def all(self, values: Sequence[Value], regions: Sequence[Region], inits: Sequence[Value]) -> list[Value]:
        """The combined values, with `inits` among them; emitted at the insertion point.  Barriers come later."""
        values = self._within(values, regions, WARP)
        if self.threads > WARP:
            values = self._across(values, regions)
        return [
            value if constant_value(init) == neutral(region) else combine(region, init, value)
            for value, region, init in zip(values, regions, inits)
        ]

    def _within(self, values: Sequence[Value], regions: Sequence[Region], width: int) -> list[Value]:
        """Combine over each group of `width` neighbours."""
        values = list(values)
        offset = 1
        while offset < width:
            others = [_from_lane(value, offset) for value in values]
            values = [combine(region, one, two) for region, one, two in zip(regions, values, others)]
            offset *= 2
        return values

    def _across(self, values: Sequence[Value], regions: Sequence[Region]) -> list[Value]:
        """Combine the warps' values: each warp leaves its own in shared memory, and every warp combines all of them."""
        warps = self.threads // WARP
        # Two sets of buffers in turn: a warp may still read one when another is done with this reduction.
        turn = self.count % 2
        self.count += 1
        buffers = [self.share(workgroup((warps,), v.type), (turn, i)) for i, v in enumerate(values)]
        warp, lane = arith.divui(self.thread, WARP), arith.remui(self.thread, WARP)

        def leave() -> None:
            for value, buffer in zip(values, buffers):
                memref.store(value, buffer, [warp])

        is_first = arith.cmpi("eq", lane, 0)
        regions_of_guard = [region_of((), leave, Yield.build), Region()]
        self.alone(insert(If.create(is_first, regions=regions_of_guard, result_types=())))
        place = arith.remui(self.thread, warps)
        return self._within([memref.load(buffer, [place]) for buffer in buffers], regions, warps)


def _from_lane(value: Value, offset: int) -> Value:
    """The value of the thread whose lane differs in the bit `offset`."""
    type = value.type
    if type in (F16, BF16):
        return arith.truncf(_from_lane(arith.extf(value, result_types=[F32]), offset), result_types=[type])
    if type is INDEX:
        return arith.index_cast(_from_lane(arith.index_cast(value, result_types=[I64]), offset), result_types=[type])
    if isinstance(type, IntegerType) and type.width < 32:
        return arith.trunci(_from_lane(arith.extui(value, result_types=[I32]), offset), result_types=[type])
    exchanged, _ = gpu.shuffle(value, arith.constant(offset, I32), arith.constant(WARP, I32), mode="xor")
    return exchanged
