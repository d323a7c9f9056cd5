"""Dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd.checks import need_kind
from dlir.ir.dialects.nd.gradients import extents
from dlir.ir.dialects.nd.indexing import zeros_like
from dlir.ir.dialects.nd.samples import random_array, random_dtype, random_shape
from dlir.ir.dialects.nn.base import Layer
from dlir.ir.dialects.random.keys import need_key, random_key
from dlir.ir.op import InferError, Tensor
from dlir.ir.ops import nd, random


class Dropout(Layer, name="nn.dropout"):
    """x with each element set to 0 with probability `rate`, and the others divided by ``1 - rate``; x if not `training`.

    Which elements are kept follows from `key` alone, so a gradient needs no stored mask; use a key of its own for each
    layer and step (`random.split`, `random.fold_in`).
    """

    @staticmethod
    def infer(x: Tensor, key: Tensor, *, rate: float = 0.5, training: bool = True) -> Tensor:
        need_kind(x.dtype, "f")
        need_key(key)
        if not 0.0 <= rate <= 1.0:
            raise InferError(f"'rate' must be in 0 .. 1, got {rate}")
        return x

    @staticmethod
    def decompose(x: Value, key: Value, *, rate: float = 0.5, training: bool = True) -> Value:
        if not training or rate == 0.0:
            return x
        if rate == 1.0:
            return zeros_like(x)
        keep = random.bernoulli(key, 1.0 - rate, x if None in x.shape else None, shape=extents(x))
        found: Value = nd.select(keep, nd.mul(x, 1.0 / (1.0 - rate)), zeros_like(x))
        return found

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, random_shape(rng, 1), random_dtype(rng, "f"), special=True)
        rate = float(rng.choice([0.0, 0.1, 0.5, 0.9, 1.0]))
        return [x, random_key(rng)], {"rate": rate, "training": bool(rng.random() < 0.8)}
