"""The base of layers, and the activations that some of them apply to their result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.decompose import Decomposed
from dlir.ir.dialects.nd.checks import need_kind, need_shape, same_dtype
from dlir.ir.dialects.nd.operands import tensors
from dlir.ir.op import Tensor
from dlir.ir.ops import nd

Activation = Literal[
    "none",
    "relu",
    "sigmoid",
    "tanh",
    "softmax",
    "log_softmax",
    "gelu",
    "gelu_tanh",
    "silu",
    "hardswish",
    "hardsigmoid",
    "elu",
    "leaky_relu",
]


class Layer(Decomposed):
    """Base of all ``nn`` ops: a shape rule, and a decomposition into ``nd`` ops, which is its meaning.

    Builders take NumPy arrays as operands.  Dimensions may be dynamic, the batch above all.
    """

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        return tensors(groups)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        """Operands (NumPy arrays, as ``eval`` takes them) and attributes, drawn at random."""
        raise TypeError("a layer must define sample")


class Mirror(Layer):
    """Base of layers that are one op of ``nd``, `of`, under the name that it has in networks."""

    def __init_subclass__(cls, of: Any = None, **keywords: Any) -> None:
        if of is not None:
            for name, value in (("infer", of.infer), ("decompose", of.build), ("sample", of.sample)):
                setattr(cls, name, staticmethod(value))
        super().__init_subclass__(**keywords)


def activate(x: Value, activation: Activation) -> Value:
    """The activation of `x` with its usual constants; softmax and log_softmax go along the last axis."""
    if activation == "none":
        return x
    if activation == "gelu_tanh":
        return nd.gelu(x, approximate="tanh")
    function: Callable[[Value], Value] = getattr(nd, activation)
    return function(x)


def need_floats(x: Tensor, *weights: Tensor | None) -> None:
    """InferError unless all are floats of one dtype."""
    need_kind(x.dtype, "f")
    same_dtype(x, *(weight for weight in weights if weight is not None))


def need_vector(name: str, type: Tensor | None, length: int | None, why: str) -> None:
    """InferError unless operand `name`, if it is there, has one element for each of `length` things."""
    if type is not None:
        need_shape(name, type, (length,), why)
