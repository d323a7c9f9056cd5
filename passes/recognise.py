"""The ``recognise`` pass."""

from __future__ import annotations

from dataclasses import dataclass

from dlir.ir.core import Operation
from dlir.passes.manager import Pass
from dlir.passes.rewriter import rewrite
from dlir.passes.rules.recognise import RECOGNISE


@dataclass
class Recognise(Pass, name="recognise"):
    """Replace what is written out in small ops by the named op that it is: sigmoid, relu, mean, softmax, layer_norm.

    Only where that is the same bit for bit, and where no part of the formula is used elsewhere.
    """

    runs_on_functions = True

    def run(self, root: Operation) -> None:
        self.stats.update(rewrite(root, RECOGNISE))
