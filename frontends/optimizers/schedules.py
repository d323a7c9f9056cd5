"""Learning rates that change: each is a function of the number of steps done so far, a node in f64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from dlir.frontends.optimizers.base import need_at_least
from dlir.frontends.symbolic.node import Node, nd

#: From the count of steps to the learning rate.
Schedule = Callable[[Node], Any]


def constant(rate: float) -> Schedule:
    """Always `rate`."""
    need_at_least("rate", rate, 0)
    return lambda step: rate


def step_decay(rate: float, every: int, factor: float = 0.1) -> Schedule:
    """`rate`, times `factor` after each `every` steps (``torch.optim.lr_scheduler.StepLR``)."""
    need_at_least("every", every, 1)
    need_at_least("factor", factor, 0)
    return lambda step: rate * nd.pow(factor, nd.floor(step / every))


def cosine(rate: float, steps: int, least: float = 0.0) -> Schedule:
    """From `rate` down to `least` in `steps` steps along half a cosine, and then `least` (``CosineAnnealingLR``)."""
    need_at_least("steps", steps, 1)
    return lambda step: least + (rate - least) * (1.0 + nd.cos(nd.minimum(step, steps) * (math.pi / steps))) / 2.0


def warmup(schedule: Schedule | float, steps: int, start: float = 1 / 3) -> Schedule:
    """In `steps` steps from `start` times the schedule's first rate up to that rate (``LinearLR``), then the schedule."""
    need_at_least("steps", steps, 1)
    need_at_least("start", start, 0)
    after = schedule if callable(schedule) else constant(schedule)

    def rate(step: Node) -> Any:
        part = start + (1.0 - start) * nd.minimum(step, steps) / steps
        return part * after(nd.maximum(step - steps, 0.0))

    return rate
