"""The ``robust`` dialect: losses that outliers do not dominate."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nn.base import Layer, need_floats
from dlir.ir.op import InferError, Tensor
from dlir.ir.ops import nd


class Huber(Layer, name="robust.huber"):
    """x*x/2 where abs(x) <= delta, else delta*(abs(x) - delta/2): a parabola that goes on as a straight line.

    P. J. Huber, "Robust estimation of a location parameter", 1964.
    """

    @staticmethod
    def infer(x: Tensor, *, delta: float = 1.0) -> Tensor:
        need_floats(x)
        if not delta > 0:
            raise InferError(f"needs a positive delta, got {delta}")
        return x

    @staticmethod
    def decompose(x: Value, *, delta: float = 1.0) -> Value:
        size = nd.abs(x)
        near = nd.mul(nd.mul(size, size), 0.5)
        far = nd.mul(nd.sub(size, delta / 2), delta)
        return nd.select(nd.less_equal(size, delta), near, far)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        shape = tuple(rng.choice([0, 1, 2, 5]) for _ in range(rng.integers(4)))
        x = (3 * rng.standard_normal(shape)).astype(rng.choice(["f4", "f8"]))
        return [x], {"delta": float(rng.choice([0.5, 1.0, 2.0]))}
