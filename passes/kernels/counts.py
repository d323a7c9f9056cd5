"""What kernels compute and move, counted: operations on floats, calls of functions such as exp, and bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dlir.ir.byte_counts import human_bytes
from dlir.ir.core import Operation
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.nd.attention import Attention
from dlir.ir.dialects.nd.base import Primitive
from dlir.ir.traversal import clone
from dlir.ir.types import ShapedType
from dlir.passes.kernels.expand import expand_all
from dlir.passes.kernels.probe import Probe

#: Scalar ops that count as one operation on floats.
_FLOPS = tuple(f"arith.{name}f" for name in ("add", "sub", "mul", "div", "rem", "neg", "maximum", "minimum", "maxnum"))
#: Functions of `math` that are a single instruction.
_FLOPS += ("math.absf", "math.floor", "math.ceil", "math.roundeven", "math.copysign")


@dataclass(frozen=True, slots=True)
class KernelCost:
    """What one kernel computes and moves in a call; its name tells the ops in it.

    `flops` counts each addition, product, quotient, maximum ... of floats, `transcendentals` the calls of functions, and
    `bytes_accessed` the operands and results, each once.  What a kernel computes again for later elements is not counted.
    """

    name: str
    flops: int
    transcendentals: int
    bytes_accessed: int

    @property
    def intensity(self) -> float:
        """Operations for each byte moved."""
        return (self.flops + self.transcendentals) / self.bytes_accessed if self.bytes_accessed else math.inf


@dataclass(frozen=True, slots=True)
class CostAnalysis:
    """The costs of all kernels of a call, in order, and in all."""

    kernels: tuple[KernelCost, ...]

    @property
    def flops(self) -> int:
        return sum(item.flops for item in self.kernels)

    @property
    def transcendentals(self) -> int:
        return sum(item.transcendentals for item in self.kernels)

    @property
    def bytes_accessed(self) -> int:
        return sum(item.bytes_accessed for item in self.kernels)

    def __str__(self) -> str:
        """A table, a line for each kernel."""
        total = KernelCost("total", self.flops, self.transcendentals, self.bytes_accessed)
        rows = [("flops", "functions", "bytes", "flops/byte", "kernel")]
        for item in (*self.kernels, total):
            moved = human_bytes(item.bytes_accessed)
            rows.append((f"{item.flops:,}", f"{item.transcendentals:,}", moved, f"{item.intensity:.2f}", item.name))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        return "\n".join("  ".join([*(cell.rjust(width) for cell, width in zip(row, widths)), row[4]]) for row in rows)


def cost_analysis(function: Func) -> CostAnalysis:
    """The costs of a function after ``fuse``: one entry for each ``kernel.region``, whose shapes are static."""
    return CostAnalysis(tuple(_cost(op) for op in function.walk() if op.name == "kernel.region"))


def _cost(region: Operation) -> KernelCost:
    name = "+".join(_names(region))
    values = [*region.operands, *region.results]
    moved = sum(value.type.nbytes for value in values if isinstance(value.type, ShapedType))
    copy = clone(region)
    expand_all(copy.body)
    counted = [_count(op) for op in copy.body.ops]
    return KernelCost(name, sum(flops for flops, _ in counted), sum(calls for _, calls in counted), moved)


def _names(region: Operation) -> list[str]:
    """The ops of a kernel, without those that only move or make values."""
    silent = ("kernel.yield", "nd.constant", "nd.broadcast_to", "nd.reshape")
    ops = [op.name.partition(".")[2] for op in region.body.ops if op.name not in silent]
    return ops or ["copy"]


def _count(op: Operation) -> tuple[int, int]:
    """Operations on floats and function calls of one op."""
    if isinstance(op, Attention):
        return _attention(*(operand.type.shape for operand in op.operands[:3]))
    if not isinstance(op, Primitive) or not op.operands:
        return 0, 0
    space = op.space()
    points = math.prod(space.extents)
    if not points:
        return 0, 0
    names = [inner.name for inner in Probe(op).block.ops]
    flops = sum(name in _FLOPS for name in names)
    calls = sum(name.startswith("math.") and name not in _FLOPS for name in names)
    if space.monoid is not None and space.scan is None:
        flops += op.results[0].type.dtype.numpy.kind == "f"
    return flops * points, calls * points


def _attention(q: Sequence[int], k: Sequence[int], v: Sequence[int]) -> tuple[int, int]:
    """Both products, and of each score the scaling, maximum, difference, sum and quotient."""
    scores = math.prod(q[:-1]) * k[-2]
    return scores * (2 * q[-1] + 2 * v[-1] + 5), scores
