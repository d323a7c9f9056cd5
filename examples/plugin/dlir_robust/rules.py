"""Rules of the ``robust`` dialect; on wherever a program uses the dialect."""

from __future__ import annotations

from typing import Any

from dlir.ir.core import Value
from dlir.ir.ops import OpNamespace
from dlir.passes.rewriter import defined_by, pattern

robust = OpNamespace("robust")


@pattern("robust.huber")
def huber_is_even(op: Any) -> Value | None:
    """huber(neg(x)) -> huber(x): it only looks at abs(x), so this is exact."""
    inner = defined_by(op.operands[0], "nd.neg")
    return robust.huber(inner.operands[0], delta=op["delta"]) if inner else None


RULES = (huber_is_even,)
