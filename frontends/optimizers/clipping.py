"""Keeping gradients from being too large, as in ``torch.nn.utils``."""

from __future__ import annotations

from collections.abc import Sequence

from dlir.frontends.optimizers.base import Clip, need_at_least
from dlir.frontends.symbolic.node import Node, nd


def by_value(limit: float) -> Clip:
    """Each element between `-limit` and `limit` (``clip_grad_value_``)."""
    need_at_least("limit", limit, 0)
    return lambda gradients: [nd.minimum(nd.maximum(item, -limit), limit) for item in gradients]


def by_global_norm(limit: float) -> Clip:
    """All gradients scaled by one factor, so that their common 2-norm is at most `limit` (``clip_grad_norm_``)."""
    need_at_least("limit", limit, 0)

    def clip(gradients: Sequence[Node]) -> list[Node]:
        total = nd.sum(gradients[0] * gradients[0])
        for item in gradients[1:]:
            total = total + nd.sum(item * item)
        factor = nd.minimum(limit / (nd.sqrt(total) + 1e-6), 1.0)
        return [item * factor for item in gradients]

    return clip
