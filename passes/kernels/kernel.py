"""A kernel while it is being lowered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dlir.ir.affine import AffineExpr, constant
from dlir.ir.core import Value
from dlir.ir.ops import arith
from dlir.passes.kernels.emit import Emitter
from dlir.passes.kernels.plan import Loop, Plan


@dataclass(eq=False)
class Kernel:
    """What the emission of a schedule works on: result number i of the plan is stored in `targets[i]`."""

    plan: Plan
    targets: list[Value]
    emitter: Emitter
    tile: tuple[int, ...] = ()
    #: The operands that lie in the memory of a target: which one.
    inplace: dict[Value, Value] = field(default_factory=dict)

    def store_outputs(self, loop: Loop, point: Sequence[AffineExpr]) -> None:
        """Compute and store the results of a loop at one point: everything is read before anything is written."""
        emitter = self.emitter
        places = [(number, tuple(expr.substitute(point) for expr in index)) for number, index in loop.outputs]
        found = [emitter.element(self.plan.values[number], index) for number, index in places]
        for scalar, (number, index) in zip(found, places):
            emitter.buffers.store(emitter, scalar, self.targets[number], index)

    def at_most(self, size: int, extent: int, start: AffineExpr) -> int | Value:
        """`size`, or what is left of `extent` from `start` on where that can be less."""
        if size == 0 or extent % size == 0:
            return size
        left = self.emitter.index(-start + extent)
        return arith.minsi(left, self.emitter.index(constant(size)))
