"""The ``lower-nn`` pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dlir.ir.core import Operation, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.kernel import FUSE
from dlir.ir.dialects.nn.base import Layer
from dlir.ir.op import spread_groups
from dlir.passes.conversion import (
    ConversionRewriter,
    ConversionTarget,
    NoMatch,
    apply_partial_conversion,
    conversion,
)
from dlir.passes.conversion.pattern import Answer
from dlir.passes.manager import Pass


@dataclass
class LowerNn(Pass, name="lower-nn"):
    """Replace each layer (`nn.*`, or a plugin's) by the array ops that define it.  Named `nd` formulas, such as softmax,
    stay."""

    def run(self, module: Module) -> None:
        target = ConversionTarget()
        target.mark_unknown_op_dynamically_legal(lambda op: not isinstance(op, Layer), "layers may not stay")
        target.add_illegal_dialect("nn")
        fired = apply_partial_conversion(module, target, [decompose_layer])
        self.stats["lowered"] = fired.total()


@conversion()
def decompose_layer(op: Operation, operands: Sequence[Value], rewriter: ConversionRewriter) -> Answer:
    """A layer becomes its definition in smaller ops, which may be layers again."""
    if not isinstance(op, Layer):
        return NoMatch("only a layer has a definition in smaller ops")
    schema = op.schema()
    groups: list[Any] = schema.group(operands, op.get("operandSegmentSizes"))
    results = type(op).decompose(*spread_groups(schema, groups), **op.keywords)
    hand_on_group(op, results if isinstance(results, tuple) else (results,), operands)
    return results


def hand_on_group(op: Operation, results: Sequence[Value], operands: Sequence[Value]) -> None:
    """Let the ops that make `results` from `operands` be in the kernel that `op`, which they replace, was to be in."""
    group = op.attributes.get(FUSE)
    waiting = [value for value in results if value not in operands]
    while waiting and group is not None:
        maker = waiting.pop().defining_op
        if maker is not None and FUSE not in maker.attributes:
            maker.attributes[FUSE] = group
            waiting += [value for value in maker.operands if value not in operands]
