"""The ``recognise`` pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from dlir.ir.core import Operation, Value
from dlir.ir.dialects.kernel import FUSE
from dlir.passes.manager import Pass, option
from dlir.passes.rewriter import Pattern, rewrite
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
        patterns: Sequence[Pattern] = RECOGNISE if self.exact else (*RECOGNISE, *FORMULAS, *ATTENTION)
        if any(FUSE in op.attributes for op in root.walk() if op is not root):
            patterns = [replace(item, apply=partial(_apply_outside_groups, item)) for item in patterns]
        self.stats.update(rewrite(root, patterns))


def _apply_outside_groups(pattern: Pattern, op: Operation) -> Value | Sequence[Value] | None:
    """Apply `pattern` unless the text says of an op that it may take which kernel it is to be in."""
    level = {op: None}
    for _ in range(pattern.depth):
        if any(FUSE in found.attributes for found in level):
            return None
        defining = [value.defining_op for found in level for value in found.operands]
        level = {found: None for found in defining if found is not None}
    return pattern.apply(op)
