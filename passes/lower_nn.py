"""The ``lower-nn`` pass."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from dlir.ir.builder import before
from dlir.ir.core import Operation
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.decompose import decompose_op
from dlir.ir.dialects.nn.base import Layer
from dlir.passes.manager import Pass


@dataclass
class LowerNn(Pass, name="lower-nn"):
    """Replace each layer (`nn.*`, or a plugin's) by the array ops that define it.  Named `nd` formulas, such as softmax,
    stay."""

    def run(self, module: Module) -> None:
        layers = deque(op for op in module.walk() if is_layer(op))
        while layers:
            op = layers.popleft()
            assert isinstance(op, Layer)
            previous = op.previous
            with before(op):
                values = decompose_op(op)
            made = op.previous
            op.replace_by(values)
            self.stats["lowered"] += 1
            # A layer may be defined by smaller layers.
            while made is not None and made is not previous:
                layers += [inner for inner in made.walk() if is_layer(inner)]
                made = made.previous


def is_layer(op: Operation) -> bool:
    """Whether `op` is a layer: it has a definition in smaller ops, and is no array op itself."""
    return isinstance(op, Layer)
