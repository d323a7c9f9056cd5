"""Attention written out in small ops, as ``nd.attention``.

Text cannot say it: scores may be scaled and masked in several ways, or not, and a mask is causal because of what it holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np

from dlir.ir.core import Value
from dlir.ir.op import Op
from dlir.ir.ops import nd
from dlir.ir.types import F32, F64
from dlir.passes.patterns.vocabulary import splat_of
from dlir.passes.rewriter import defined_by, pattern
from dlir.passes.rules.constants import elements_of

#: What is added to a score to hide a key is at most this: e to the power of it is 0, whatever the score.
HIDDEN = -1e9
#: Ops and elements of a mask that is computed from constants, to see what it holds.
MASK_OPS = 32
MASK_ELEMENTS = 1 << 24


@dataclass(frozen=True)
class _Choice:
    """A bool mask: it says which keys are seen, or which are hidden; `number` is the score of those that are hidden."""

    condition: Value
    hides: bool
    number: Any

    def seen(self) -> Value:
        return nd.logical_not(self.condition) if self.hides else self.condition

    def added(self) -> Value:
        """The mask as one to add."""
        return nd.select(self.seen(), np.zeros((), self.number.dtype), np.asarray(self.number))


@dataclass
class _Scores:
    """What was found between the softmax and the product of queries and keys."""

    scale: float = 1.0
    causal: bool = False
    choices: list[_Choice] = field(default_factory=list)
    #: Masks that are added.
    added: list[Value] = field(default_factory=list)
    product: Any = None


@pattern("nd.matmul", benefit=3, depth=8, ignores=("rounding", "inf", "nan"))
def written_attention(op: Any) -> Value | None:
    """matmul(softmax(mask(scale * matmul(q, swap(k)))), v) -> attention(q, k, v, mask) with scale and causal.

    The mask is ``select(seen, scores, c)``, ``select(hidden, c, scores)``, with c at most HIDDEN, or ``scores + mask``; the
    scale a product or quotient of scores, queries or keys and a number.  It holds up to rounding; a query that sees nothing
    gives 0 instead of NaN where c is -inf.
    """
    softmax = defined_by(op.operands[0], "nd.softmax")
    if softmax is None or op["transpose_a"] or op["transpose_b"] or softmax.operands[0].dtype not in (F32, F64):
        return None
    weights = softmax.operands[0]
    if not softmax.results[0].has_one_use or softmax["axis"] not in (-1, weights.rank - 1):
        return None
    found = _read_scores(weights)
    if found is None:
        return None
    q, found.scale = _unscaled(_swapped(found.product.operands[0], found.product["transpose_a"]), found.scale)
    k, found.scale = _unscaled(_swapped(found.product.operands[1], not found.product["transpose_b"]), found.scale)
    v = op.operands[1]
    shape = weights.shape
    masks = [*(choice.condition for choice in found.choices), *found.added]
    if not all(_broadcasts(mask.shape, shape) for mask in masks):
        return None
    mask = _mask(found)
    default = q.shape[-1] and abs(found.scale * math.sqrt(q.shape[-1]) - 1) < 1e-6
    return nd.attention(q, k, v, mask, scale=None if default else found.scale, causal=found.causal)


ATTENTION = (written_attention,)


def _read_scores(value: Value) -> _Scores | None:
    """What `value` is, from the softmax back to the product; None if something else is in between."""
    found = _Scores()
    while value.has_one_use:
        op: Any = value.defining_op
        if op is None:
            return None
        if op.name == "nd.matmul":
            found.product = op
            return found
        if op.name in ("nd.mul", "nd.div"):
            scaled = _without_scale(op)
            if scaled is None:
                return None
            value, factor = scaled
            found.scale *= factor
            continue
        if found.scale != 1.0 or op.name not in ("nd.select", "nd.add"):
            return None  # where there is a scale already, it is the mask's, too
        scores = _without_select(op, found) if op.name == "nd.select" else _without_sum(op, found)
        if scores is None:
            return None
        value = scores
    return None


# ---------------------------------------------------------------- scale


def _without_scale(op: Any) -> tuple[Value, float] | None:
    """The factor that is no number, and the number, of a product or quotient."""
    pairs = [op.operands] if op.name == "nd.div" else [op.operands, op.operands[::-1]]
    for value, other in pairs:
        number = splat_of(other)
        if number is not None and math.isfinite(number) and number > 0:
            return value, 1 / float(number) if op.name == "nd.div" else float(number)
    return None


def _unscaled(value: Value, scale: float) -> tuple[Value, float]:
    """A value without the number that it is multiplied with, and the scale with it."""
    op: Any = value.defining_op
    if op is not None and op.name in ("nd.mul", "nd.div") and value.has_one_use:
        found = _without_scale(op)
        if found is not None:
            return found[0], scale * found[1]
    return value, scale


def _swapped(value: Value, is_swapped: bool) -> Value:
    """`value`, its last two dimensions exchanged if it is so; without two transposes that undo each other."""
    if not is_swapped:
        return value
    rank = value.rank
    perm = (*range(rank - 2), rank - 1, rank - 2)
    op: Any = value.defining_op
    if op is not None and op.name == "nd.transpose" and tuple(op["perm"] or range(rank)[::-1]) == perm:
        return op.operands[0]
    return nd.transpose(value, perm=perm)


# ---------------------------------------------------------------- masks


def _without_select(op: Any, found: _Scores) -> Value | None:
    """The scores that a choice between them and a very negative number leaves; the mask goes to `found`."""
    condition, one, two = op.operands
    for scores, other, hides in ((one, two, False), (two, one, True)):
        number = splat_of(other)
        if number is None or number > HIDDEN or _product_below(scores) is None:
            continue
        choice = _Choice(_source(condition), hides, number)
        values = _computed(choice.condition)
        if values is not None and _is_causal(values != hides, scores.shape):
            found.causal = True
        elif number != -math.inf and abs(float(number)) * float(np.finfo(number.dtype).eps) < 64:
            return None  # a query that sees nothing would weigh keys by their scores
        else:
            found.choices.append(choice)
        return scores
    return None


def _without_sum(op: Any, found: _Scores) -> Value | None:
    """The scores to which a mask is added; the mask goes to `found`."""
    for scores, other in (op.operands, op.operands[::-1]):
        if _product_below(scores) is None:
            continue
        mask = _source(other)
        values = _computed(mask)
        if values is not None and not np.isnan(values).any():
            hides = values <= HIDDEN
            if ((values == 0) | hides).all() and _is_causal(~hides, scores.shape):
                found.causal = True
                return scores
        found.added.append(mask)
        return scores
    return None


def _product_below(value: Value) -> Any:
    """The product that scores start from, below anything that scales or masks them; None if there is none."""
    waiting = [value]
    for _ in range(MASK_OPS):
        if not waiting:
            return None
        here = waiting.pop()
        op: Any = here.defining_op
        if op is None or not here.has_one_use:
            continue
        if op.name == "nd.matmul":
            return op
        if op.name in ("nd.mul", "nd.div", "nd.add", "nd.select"):
            waiting += op.operands
    return None


def _source(value: Value) -> Value:
    """What `value` is a broadcast of."""
    while (op := defined_by(value, "nd.broadcast_to")) is not None:
        value = op.operands[0]
    return value


def _mask(found: _Scores) -> Value | None:
    """All masks as one operand of the attention."""
    if not found.added and all(choice.number == -math.inf for choice in found.choices):
        return reduce(nd.logical_and, [choice.seen() for choice in found.choices]) if found.choices else None
    return reduce(nd.add, [*(choice.added() for choice in found.choices), *found.added])


def _broadcasts(shape: tuple[int | None, ...], to: tuple[int | None, ...]) -> bool:
    return len(shape) <= len(to) and all(one in (1, two) for one, two in zip(shape[::-1], to[::-1]))


def _is_causal(seen: np.ndarray, shape: tuple[int | None, ...]) -> bool:
    """Whether a mask for scores of this shape lets query t see keys 0 to t, and no others."""
    if seen.ndim < 2 or seen.size == 0 or seen.shape[-2:] != shape[-2:]:
        return False
    each = seen.reshape(-1, *seen.shape[-2:])
    return bool((each == np.tril(np.ones(seen.shape[-2:], bool))).all())


def _computed(value: Value) -> np.ndarray | None:
    """What `value` holds if it follows from constants in a few ops; None if it does not."""
    order: dict[Value, None] = {}
    waiting = [(value, False)]
    while waiting:
        here, is_ready = waiting.pop()
        op: Any = here.defining_op
        if is_ready:
            order[here] = None
        elif here not in order:
            type = here.type
            if not isinstance(op, Op) or len(op.results) != 1 or not op.name.startswith("nd.") or len(order) > MASK_OPS:
                return None
            if not type.is_static or type.size > MASK_ELEMENTS:
                return None
            waiting += [(here, True), *((operand, False) for operand in op.operands)]
    known: dict[Value, Any] = {}
    for here in order:
        op = here.defining_op
        elements = elements_of(here)
        known[here] = elements.value if elements is not None else op.evaluate([known[v] for v in op.operands])[0]
    return np.asarray(known[value])
