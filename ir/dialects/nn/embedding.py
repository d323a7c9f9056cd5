"""Embedding: the rows of a table of weights, by number."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd.checks import need_kind, need_rank
from dlir.ir.dialects.nd.gather import Take
from dlir.ir.dialects.nd.indexing import random_indices
from dlir.ir.dialects.nd.samples import random_array, random_dtype, random_shape
from dlir.ir.dialects.nn.base import Layer
from dlir.ir.op import Tensor
from dlir.ir.ops import nd


class Embedding(Layer, name="nn.embedding"):
    """Row ``indices[...]`` of `weight`: [*indices] and [rows, features] -> [*indices, features].

    A negative index counts from the end; one that is outside is that of the nearest row.
    """

    @staticmethod
    def infer(indices: Tensor, weight: Tensor) -> Tensor:
        need_kind(weight.dtype, "f")
        need_rank("weight", weight, 2, "rows, features")
        return Take.infer(weight, indices, axis=0)

    @staticmethod
    def decompose(indices: Value, weight: Value) -> Value:
        return nd.take(weight, indices, axis=0)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        rows, features = int(rng.integers(1, 6)), int(rng.integers(0, 5))
        indices = random_indices(rng, random_shape(rng, 1), rows)
        return [indices, random_array(rng, (rows, features), random_dtype(rng, "f"))], {}
