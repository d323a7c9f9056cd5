"""The ``fold-scales`` pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dlir.ir.builder import before
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.effects import NONE, effects_of, is_removable
from dlir.ir.ops import nd
from dlir.ir.types import F32, F64, TensorType
from dlir.passes.hoist import frozen_variables
from dlir.passes.manager import Pass
from dlir.passes.patterns.vocabulary import splat_of
from dlir.passes.rules.constants import constant

#: Ops that may stand between a contraction and its result in a chain of scales and shifts.
_STEPS = ("nd.add", "nd.sub", "nd.mul", "nd.div")


@dataclass
class FoldScales(Pass, name="fold-scales"):
    """Fold what scales and shifts the channels of a product or convolution into weights that nobody writes.

    (conv(x, w) + b - mean) * scale + beta -> conv(x, w * scale) + ((b - mean) * scale + beta): batch normalization with
    given statistics leaves one addition, and `hoist-constants` computes the new weights once.  Up to rounding; f32 and f64.
    """

    def run(self, module: Module) -> None:
        frozen = frozen_variables(module)
        for function in list(module.body.ops):
            if isinstance(function, Func) and not function.is_declaration and "dlir.kernel" not in function.attributes:
                fixed = _Fixed(frozen)
                folded = sum(_fold(op, fixed) for op in list(function.walk()) if op.name in ("nd.conv", "nd.matmul"))
                if folded:
                    self.stats["folded"] += folded
                    _drop_unused(function)


def _drop_unused(function: Func) -> None:
    for op in reversed(list(function.walk())):
        if op is not function and op.parent is not None and not op.is_used and is_removable(op):
            op.erase()


class _Fixed:
    """Which values follow from constants and variables that nobody writes."""

    def __init__(self, frozen: dict[str, Any]) -> None:
        self.frozen = frozen
        self.known: dict[Operation, bool] = {}

    def __contains__(self, value: Value) -> bool:
        waiting = [value.defining_op]
        while waiting:
            op = waiting[-1]
            if op is None:
                return False
            needed = [operand.defining_op for operand in op.operands]
            missing = [other for other in needed if other is not None and other not in self.known]
            if op not in self.known and missing and self._may_be(op):
                waiting += missing
                continue
            waiting.pop()
            self.known[op] = self._may_be(op) and all(other is not None and self.known[other] for other in needed)
        assert value.defining_op is not None
        return self.known[value.defining_op]

    def _may_be(self, op: Operation) -> bool:
        if op.name == "state.read":
            return op.get("variable") in self.frozen
        static = all(isinstance(type, TensorType) and type.is_static for type in op.result_types)
        return op.name.startswith("nd.") and static and not op.regions and effects_of(op) == NONE


@dataclass
class _Chain:
    """``contraction * scale + shift`` is `end`; None stands for no scale and no shift."""

    end: Value
    steps: int = 0
    scale: Value | None = None
    shift: Value | None = None


def _fold(op: Any, fixed: _Fixed) -> bool:
    """Fold the chain of scales and shifts behind `op`; whether there was one."""
    (result,) = op.results
    if result.dtype not in (F32, F64) or not result.type.is_static:
        return False
    axis = 1 if op.name == "nd.conv" else result.rank - 1
    ops = _steps(result, axis, fixed)
    scales = any(step.name in ("nd.mul", "nd.div") for step in ops)
    weights = op.operands[1]
    if len(ops) < 2 - scales or (scales and (weights not in fixed or (op.name == "nd.matmul" and weights.rank != 2))):
        return False
    with before(ops[-1]):
        chain = _Chain(result)
        for step in ops:
            _add(chain, step)
        if chain.scale is not None:
            scaled = nd.mul(weights, _for_weights(op, chain.scale, axis, result.rank))
            result = type(op).build(op.operands[0], scaled, **op.keywords)
        found = result if chain.shift is None else nd.add(result, chain.shift)
    ops[-1].replace_by([found])
    return True


def _steps(value: Value, axis: int, fixed: _Fixed) -> list[Any]:
    """The scales and shifts by fixed values, one for each channel, that lead on from `value`, each the only use."""
    found: list[Any] = []
    while value.has_one_use:
        (op,) = value.users
        if op.name not in _STEPS or (op.name in ("nd.div", "nd.sub") and op.operands[0] is not value):
            break
        one, two = op.operands
        other = two if one is value else one
        if other is value or other not in fixed or not _is_of_channels(other, value, axis):
            break
        found.append(op)
        value = op.results[0]
    return found


def _is_of_channels(value: Value, like: Value, axis: int) -> bool:
    """Whether `value` is a broadcast of an array with extents only along `axis` of `like`, or of a number."""
    if splat_of(value) is not None:
        return True
    value = _source(value)
    shape = (1,) * (like.rank - value.rank) + tuple(value.shape)
    return all(extent == 1 for number, extent in enumerate(shape) if number != axis)


def _source(value: Value) -> Value:
    """What `value` is a broadcast of."""
    while (op := value.defining_op) is not None and op.name == "nd.broadcast_to":
        value = op.operands[0]
    return value


def _small(value: Value) -> Value:
    """What `value` is a broadcast of; one number where it is that everywhere."""
    number = splat_of(value)
    return _source(value) if number is None else constant(number, TensorType((), value.dtype))


def _add(chain: _Chain, op: Any) -> None:
    """Add a step to a chain."""
    one, two = op.operands
    other = _small(two if one is chain.end else one)
    if op.name == "nd.add":
        chain.shift = other if chain.shift is None else nd.add(chain.shift, other)
    elif op.name == "nd.sub":
        chain.shift = nd.neg(other) if chain.shift is None else nd.sub(chain.shift, other)
    else:
        apply = nd.mul if op.name == "nd.mul" else nd.div
        if chain.scale is None and op.name == "nd.mul":
            chain.scale = other
        else:
            chain.scale = apply(1.0 if chain.scale is None else chain.scale, other)
        chain.shift = None if chain.shift is None else apply(chain.shift, other)
    chain.end = op.results[0]


def _for_weights(op: Any, scale: Value, axis: int, rank: int) -> Value:
    """The scale of each channel, in a shape that broadcasts against the weights."""
    channels = (1,) * (rank - scale.rank) + tuple(scale.shape)
    count = channels[axis]
    if op.name == "nd.conv":
        return nd.reshape(scale, shape=(count, *(1,) * (op.operands[1].rank - 1)))
    return nd.reshape(scale, shape=(count, 1) if op["transpose_b"] else (count,))
