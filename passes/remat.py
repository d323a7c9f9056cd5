"""The ``remat`` pass."""

from __future__ import annotations

from dataclasses import dataclass

from dlir.ir.core import Operation
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.errors import DlirError
from dlir.ir.types import TensorType
from dlir.passes.autodiff.early import compute_early
from dlir.passes.autodiff.mincut import cheapest_again
from dlir.passes.autodiff.segments import least_work
from dlir.passes.autodiff.tape import Tape
from dlir.passes.manager import Pass, option

#: How often the peak, which moves, is lowered.
_ROUNDS = 8
#: What the peak must shrink to, to be worth it: a little less in the text may be nothing after fusion.
_LESS = 0.95


@dataclass
class Remat(Pass, name="remat"):
    """Compute again, next to where it is used late, what would take memory over a function's peak (rematerialisation).

    By itself only what costs little: chains of elementwise ops and reductions, by a minimum cut, and only where fewer bytes
    are kept.  With `budget`, whole stretches, matrix products included, until temporaries need no more than so many bytes;
    a chain of n equal layers can be trained with O(sqrt(n)) of their results in memory.
    """

    above: int = option(8 << 20, "bytes of temporaries up to which cheap things are left alone", least=0)
    budget: int = option(0, "bytes that temporaries may take at one time; 0: compute only cheap things again", least=0)

    def run(self, module: Module) -> None:
        for function in [op for op in module.body.ops if isinstance(op, Func)]:
            if _is_straight_and_static(function):
                self._lower_peak(function)
                if self.budget:
                    self._fit(function)

    def _lower_peak(self, function: Func) -> None:
        for _ in range(_ROUNDS):
            tape = Tape(function.body)
            peak, place = tape.peak()
            again = cheapest_again(tape, place, peak * (1 - _LESS)) if peak > self.above else []
            places = tape.places(again, place)
            if not places or tape.peak(places, place)[0] > peak * _LESS:
                return
            tape.write(places, place)
            self.stats["recomputed"] += len(places)

    def _fit(self, function: Func) -> None:
        self.stats["moved"] += compute_early(function.body)
        tape = Tape(function.body)
        plan = least_work(tape, self.budget)
        if plan.peak > self.budget:
            raise DlirError(
                f"'@{function.symbol}' cannot do with {self.budget} bytes for temporaries, counted before fusion",
                function.location,
                hint=f"the least that was found is {plan.peak} bytes: remat{{budget={plan.peak}}}",
            )
        tape.write(plan.places, plan.place)
        self.stats["recomputed"] += len(plan.places)


def _is_straight_and_static(function: Func) -> bool:
    """Whether `function` is one block of ops over tensors whose shapes are known."""
    if function.is_declaration or len(function.regions[0].blocks) != 1 or function.body.first is function.body.last:
        return False
    return all(_is_static(op) for op in function.body.ops)


def _is_static(op: Operation) -> bool:
    types = [*op.operand_types, *op.result_types]
    return all(isinstance(type, TensorType) and type.is_static for type in types)
