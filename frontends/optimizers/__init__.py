"""Optimisers written in array ops: an update of a parameter is an expression like any other.

    adam = Adam(cosine(1e-3, steps=1000), clip=by_global_norm(1.0))
    step = compile(loss, updates=adam.updates(loss))

Definitions and defaults are PyTorch's.
"""

from dlir.frontends.optimizers.base import Optimizer
from dlir.frontends.optimizers.clipping import by_global_norm, by_value
from dlir.frontends.optimizers.rules import SGD, Adagrad, Adam, AdamW, RMSprop
from dlir.frontends.optimizers.schedules import constant, cosine, step_decay, warmup

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSprop",
    "by_global_norm",
    "by_value",
    "constant",
    "cosine",
    "step_decay",
    "warmup",
]
