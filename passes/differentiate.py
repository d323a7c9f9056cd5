"""The ``differentiate`` pass."""

from __future__ import annotations

from dataclasses import dataclass

from dlir.ir.builder import InsertionPoint, insertion_point
from dlir.ir.core import Operation
from dlir.ir.dialects.diff import Gradient, Jvp, StopGradient
from dlir.ir.effects import is_removable
from dlir.passes.autodiff.activity import Between
from dlir.passes.autodiff.expand import expand
from dlir.passes.manager import Pass


@dataclass
class Differentiate(Pass, name="differentiate"):
    """Replace each `diff` op by the ops that compute the gradient, in program order, so that gradients have gradients.

    Then `diff.stop_gradient` has been heeded, and goes.
    """

    runs_on_functions = True

    def run(self, root: Operation) -> None:
        waiting = _questions(root)
        while waiting:
            op = waiting.pop()
            assert op.parent is not None
            made: list[Operation] = []
            with insertion_point(InsertionPoint(op.parent, op, op.location, made.append)):
                values = expand(op)
            above = Between(op.operands, ()).needed
            op.replace_by(values)
            self.stats["expanded"] += 1
            # What rules made in vain, and what only the op named: a loss that is not returned.
            for other in reversed(above + made):
                if other.parent is not None and not other.is_used and is_removable(other):
                    other.erase()
            waiting += reversed([other for other in made if isinstance(other, Gradient)])
        for stop in [op for op in root.walk() if isinstance(op, StopGradient)]:
            stop.replace_by(stop.operands)


def _questions(root: Operation) -> list[Gradient | Jvp]:
    """The `diff` ops, the first one last."""
    return [op for op in root.walk() if isinstance(op, Gradient | Jvp)][::-1]
