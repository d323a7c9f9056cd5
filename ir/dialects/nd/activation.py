"""Activations: formulas for one element.  f16 and bf16 are computed in f32 and rounded once."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Composite
from dlir.ir.dialects.nd.checks import need_kind
from dlir.ir.dialects.nd.composite import FloatComposite, narrowed, widened
from dlir.ir.dialects.nd.gradients import of_first
from dlir.ir.dialects.nd.samples import pick, random_array, random_dtype, random_shape
from dlir.ir.op import Tensor
from dlir.ir.ops import nd


class Relu(Composite, name="nd.relu"):
    """max(x, 0); NaN for NaN."""

    @staticmethod
    def infer(x: Tensor) -> Tensor:
        need_kind(x.dtype, "iuf")
        return x

    @staticmethod
    def decompose(x: Value) -> Value:
        return nd.maximum(x, 0)

    @of_first
    def vjp(self, g: Value) -> Value:
        """0 at 0."""
        return nd.select(nd.greater(self.result, 0), g, 0)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        return [random_array(rng, random_shape(rng), random_dtype(rng, "iuf"), special=True)], {}


class FloatActivation(FloatComposite):
    """Base of activations of floats without attributes."""

    @classmethod
    def infer(cls, x: Tensor) -> Tensor:
        need_kind(x.dtype, "f")
        return x

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        return [random_array(rng, random_shape(rng), random_dtype(rng, "f"), special=True)], {}


class Sigmoid(FloatActivation, name="nd.sigmoid"):
    """1 / (1 + exp(-x)); 0 and 1 far from zero."""

    @staticmethod
    def decompose(x: Value) -> Value:
        return narrowed(nd.div(1.0, nd.add(1.0, nd.exp(nd.neg(widened(x))))), x)

    @of_first
    def vjp(self, g: Value) -> Value:
        y = widened(self.result)
        return narrowed(nd.mul(widened(g), nd.mul(y, nd.sub(1.0, y))), g)


class Silu(FloatActivation, name="nd.silu"):
    """x * sigmoid(x), also called swish, computed as x / (1 + exp(-x)); NaN for -inf, as in PyTorch."""

    @staticmethod
    def decompose(x: Value) -> Value:
        wide = widened(x)
        return narrowed(nd.div(wide, nd.add(1.0, nd.exp(nd.neg(wide)))), x)

    @of_first
    def vjp(self, g: Value) -> Value:
        x = widened(self.operands[0])
        share = nd.sigmoid(x)
        slope = nd.mul(share, nd.add(nd.mul(x, nd.sub(1.0, share)), 1.0))
        return narrowed(nd.mul(widened(g), slope), g)


class Gelu(FloatComposite, name="nd.gelu"):
    """x times the normal distribution's probability of a value below x; NaN for -inf, as in PyTorch.

    `approximate` is `none`, 0.5 * x * (1 + erf(x / sqrt(2))), or `tanh`,
    0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) (Hendrycks and Gimpel, 2016).
    """

    @staticmethod
    def infer(x: Tensor, *, approximate: Literal["none", "tanh"] = "none") -> Tensor:
        need_kind(x.dtype, "f")
        return x

    @staticmethod
    def decompose(x: Value, *, approximate: Literal["none", "tanh"] = "none") -> Value:
        wide = widened(x)
        if approximate == "tanh":
            cube = nd.mul(nd.mul(wide, wide), wide)
            inner = nd.mul(math.sqrt(2 / math.pi), nd.add(wide, nd.mul(0.044715, cube)))
            curve = nd.tanh(inner)
        else:
            curve = nd.erf(nd.mul(wide, math.sqrt(0.5)))
        return narrowed(nd.mul(nd.mul(0.5, wide), nd.add(1.0, curve)), x)

    @of_first
    def vjp(self, g: Value) -> Value:
        x = widened(self.operands[0])
        if self["approximate"] == "tanh":
            # Beyond 10 the slope is 0 or 1, and the cube could be infinite.
            x = nd.maximum(nd.minimum(x, 10.0), -10.0)
            square = nd.mul(x, x)
            curve = nd.tanh(nd.mul(nd.mul(x, math.sqrt(2 / math.pi)), nd.add(nd.mul(square, 0.044715), 1.0)))
            bend = nd.mul(math.sqrt(2 / math.pi), nd.add(nd.mul(square, 3 * 0.044715), 1.0))
            steep = nd.mul(nd.mul(x, bend), nd.sub(1.0, nd.mul(curve, curve)))
            slope = nd.mul(0.5, nd.add(nd.add(curve, 1.0), steep))
        else:
            share = nd.mul(0.5, nd.add(nd.erf(nd.mul(x, math.sqrt(0.5))), 1.0))
            density = nd.mul(nd.exp(nd.mul(nd.mul(x, x), -0.5)), 1 / math.sqrt(2 * math.pi))
            slope = nd.add(share, nd.mul(x, density))
        return narrowed(nd.mul(widened(g), slope), g)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, random_shape(rng), random_dtype(rng, "f"), special=True)
        return [x], {"approximate": pick(rng, ["none", "tanh"])}


class HardSigmoid(FloatComposite, name="nd.hardsigmoid"):
    """max(0, min(1, alpha * x + beta)), straight lines in place of a sigmoid; NaN for NaN."""

    @staticmethod
    def infer(x: Tensor, *, alpha: float = 1 / 6, beta: float = 0.5) -> Tensor:
        need_kind(x.dtype, "f")
        return x

    @staticmethod
    def decompose(x: Value, *, alpha: float = 1 / 6, beta: float = 0.5) -> Value:
        line = nd.add(nd.mul(widened(x), alpha), beta)
        return narrowed(nd.maximum(nd.minimum(line, 1.0), 0.0), x)

    @of_first
    def vjp(self, g: Value) -> Value:
        """0 where the lines meet, as in PyTorch."""
        y = self.result
        is_sloped = nd.logical_and(nd.greater(y, 0.0), nd.less(y, 1.0))
        return nd.select(is_sloped, nd.mul(g, self["alpha"]), 0.0)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, random_shape(rng), random_dtype(rng, "f"), special=True)
        return [x], {} if rng.random() < 0.5 else {"alpha": 0.2, "beta": 0.25}


class HardSwish(FloatActivation, name="nd.hardswish"):
    """x * max(0, min(6, x + 3)) / 6, straight lines in place of silu's sigmoid; NaN for -inf, as in PyTorch."""

    @staticmethod
    def decompose(x: Value) -> Value:
        wide = widened(x)
        gate = nd.maximum(nd.minimum(nd.add(wide, 3.0), 6.0), 0.0)
        return narrowed(nd.div(nd.mul(wide, gate), 6.0), x)

    @of_first
    def vjp(self, g: Value) -> Value:
        """0 at -3 and 1 at 3, as in PyTorch."""
        x = widened(self.operands[0])
        slope = nd.select(nd.less(x, 3.0), nd.add(nd.div(x, 3.0), 0.5), 1.0)
        return narrowed(nd.mul(widened(g), nd.select(nd.greater(x, -3.0), slope, 0.0)), g)


class Elu(FloatComposite, name="nd.elu"):
    """x above zero, alpha * (exp(x) - 1) elsewhere, precise near 0."""

    @staticmethod
    def infer(x: Tensor, *, alpha: float = 1.0) -> Tensor:
        need_kind(x.dtype, "f")
        return x

    @staticmethod
    def decompose(x: Value, *, alpha: float = 1.0) -> Value:
        wide = widened(x)
        return narrowed(nd.select(nd.greater(wide, 0.0), wide, nd.mul(alpha, nd.expm1(wide))), x)

    @of_first
    def vjp(self, g: Value) -> Value:
        """alpha at 0, as in PyTorch."""
        # Of the result where it has the sign of x: then x need not be kept.
        y, alpha = widened(self.result), self["alpha"]
        is_line = nd.greater(y if alpha >= 0 else widened(self.operands[0]), 0.0)
        wide = widened(g)
        return narrowed(nd.select(is_line, wide, nd.mul(wide, nd.add(y, alpha))), g)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, random_shape(rng), random_dtype(rng, "f"), special=True)
        return [x], {"alpha": float(rng.choice([1.0, 0.5]))}


class LeakyRelu(FloatComposite, name="nd.leaky_relu"):
    """x above zero, alpha * x elsewhere."""

    @staticmethod
    def infer(x: Tensor, *, alpha: float = 0.01) -> Tensor:
        need_kind(x.dtype, "f")
        return x

    @staticmethod
    def decompose(x: Value, *, alpha: float = 0.01) -> Value:
        wide = widened(x)
        return narrowed(nd.select(nd.greater(wide, 0.0), wide, nd.mul(alpha, wide)), x)

    @of_first
    def vjp(self, g: Value) -> Value:
        """alpha at 0, as in PyTorch."""
        return nd.select(nd.greater(self.operands[0], 0.0), g, nd.mul(g, self["alpha"]))

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        x = random_array(rng, random_shape(rng), random_dtype(rng, "f"), special=True)
        return [x], {"alpha": float(rng.choice([0.01, 0.25]))}
