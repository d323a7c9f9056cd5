"""The ``recognise`` pass."""

from __future__ import annotations

from dataclasses import dataclass

from dlir.ir.core import Operation
from dlir.passes.manager import Pass, option
from dlir.passes.rewriter import rewrite
from dlir.passes.rules.attention import ATTENTION
from dlir.passes.rules.recognise import FORMULAS, RECOGNISE


@dataclass
class Recognise(Pass, name="recognise"):
    """Replace what is written out in small ops by the named op that it is: activations, softmax, norms, attention.

    Only where no part of the formula is used elsewhere.  Results are the same, bit for bit or up to rounding and where the
    formula as written overflows on the way.
    """

    exact: bool = option(False, "leave alone what would not be the same bit for bit")

    runs_on_functions = True

    def run(self, root: Operation) -> None:
        self.stats.update(rewrite(root, RECOGNISE if self.exact else (*RECOGNISE, *FORMULAS, *ATTENTION)))
