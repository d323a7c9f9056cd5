"""First values of parameters: random arrays whose variance suits the layer, with the names and numbers of jax.nn.initializers.

    w = Parameter("w", glorot_uniform(0, (784, 512)))

Each function takes a key, or a number that one is made of, and a shape, and returns a node.  A layer's weights have `fan_in`
inputs and `fan_out` outputs: the extents of `in_axis` and `out_axis`, times those of all other axes (the window of a
convolution).  The defaults are for weights [inputs, outputs]; convolutions' [outputs, inputs, *window] take ``in_axis=1,
out_axis=0``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from dlir.frontends.symbolic.arguments import element_type
from dlir.frontends.symbolic.node import Node, nd, random
from dlir.ir.errors import DlirError
from dlir.ir.types import F32, ScalarType

Fan = Literal["fan_in", "fan_out", "fan_avg"]
Distribution = Literal["uniform", "normal", "truncated_normal"]

#: The standard deviation of a normal distribution that is cut off at -2 and 2.
_TRUNCATED = 0.87962566103423978


def uniform(key: Node | int, shape: int | Sequence[int], scale: float = 1e-2, dtype: Any = F32) -> Node:
    """Numbers from 0 to `scale`, all equally likely."""
    return _drawn("uniform", key, shape, dtype) * _number(scale, dtype)


def normal(key: Node | int, shape: int | Sequence[int], stddev: float = 1e-2, dtype: Any = F32) -> Node:
    """Numbers of the normal distribution with mean 0 and this standard deviation."""
    return _drawn("normal", key, shape, dtype) * _number(stddev, dtype)


def truncated_normal(
    key: Node | int,
    shape: int | Sequence[int],
    stddev: float = 1e-2,
    dtype: Any = F32,
    lower: float = -2.0,
    upper: float = 2.0,
) -> Node:
    """Numbers of the normal distribution from `lower` to `upper`, times `stddev`."""
    return _drawn("truncated_normal", key, shape, dtype, lower=lower, upper=upper) * _number(stddev, dtype)


def variance_scaling(
    key: Node | int,
    shape: int | Sequence[int],
    scale: float,
    mode: Fan,
    distribution: Distribution,
    dtype: Any = F32,
    in_axis: int = -2,
    out_axis: int = -1,
) -> Node:
    """Numbers with mean 0 and variance `scale` / fan; a truncated normal distribution is cut off at twice its deviation."""
    fan_in, fan_out = fans(shape, in_axis, out_axis)
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}.get(mode)
    if fan is None:
        raise DlirError(f"'mode' must be fan_in, fan_out or fan_avg, got {mode!r}")
    # With no inputs there is nothing to scale.
    variance = _as_float(scale / fan if fan else 0.0, dtype)
    if distribution == "uniform":
        unit = _drawn("uniform", key, shape, dtype, minval=-1.0, maxval=1.0)
        return unit * _number(np.sqrt(_as_float(3, dtype) * variance), dtype)
    if distribution == "normal":
        return _drawn("normal", key, shape, dtype) * _number(np.sqrt(variance), dtype)
    if distribution == "truncated_normal":
        deviation = np.sqrt(variance) / _as_float(_TRUNCATED, dtype)
        return _drawn("truncated_normal", key, shape, dtype) * _number(deviation, dtype)
    raise DlirError(f"'distribution' must be uniform, normal or truncated_normal, got {distribution!r}")


def fans(shape: int | Sequence[int], in_axis: int = -2, out_axis: int = -1) -> tuple[int, int]:
    """How many numbers go into each output of a layer with weights of this shape, and come from each input."""
    shape = (shape,) if isinstance(shape, int) else shape
    rank = len(shape)
    if not all(-rank <= axis < rank for axis in (in_axis, out_axis)) or in_axis % rank == out_axis % rank:
        hint = "give 'in_axis' and 'out_axis'" if rank > 1 else "a bias starts with zeros or 'normal'"
        raise DlirError(f"weights of shape {list(shape)} have no inputs and outputs", hint=hint)
    window = math.prod(extent for axis, extent in enumerate(shape) if axis not in (in_axis % rank, out_axis % rank))
    return shape[in_axis] * window, shape[out_axis] * window


def _scaled(name: str, doc: str, scale: float, mode: Fan, distribution: Distribution) -> Callable[..., Node]:
    def initializer(
        key: Node | int, shape: int | Sequence[int], dtype: Any = F32, in_axis: int = -2, out_axis: int = -1
    ) -> Node:
        return variance_scaling(key, shape, scale, mode, distribution, dtype, in_axis, out_axis)

    initializer.__name__ = initializer.__qualname__ = name
    initializer.__doc__ = doc
    return initializer


glorot_uniform = _scaled("glorot_uniform", "Variance 2 / (fan_in + fan_out), uniform.", 1.0, "fan_avg", "uniform")
glorot_normal = _scaled("glorot_normal", "Variance 2 / (fan_in + fan_out).", 1.0, "fan_avg", "truncated_normal")
he_uniform = _scaled("he_uniform", "Variance 2 / fan_in, uniform: for relu.", 2.0, "fan_in", "uniform")
he_normal = _scaled("he_normal", "Variance 2 / fan_in: for relu.", 2.0, "fan_in", "truncated_normal")
lecun_uniform = _scaled("lecun_uniform", "Variance 1 / fan_in, uniform.", 1.0, "fan_in", "uniform")
lecun_normal = _scaled("lecun_normal", "Variance 1 / fan_in.", 1.0, "fan_in", "truncated_normal")


def zeros(shape: int | Sequence[int], dtype: Any = F32) -> Node:
    """Zeros, for a bias."""
    return nd.broadcast_to(_number(0, dtype), shape=shape)


def ones(shape: int | Sequence[int], dtype: Any = F32) -> Node:
    """Ones, for the scale of a norm."""
    return nd.broadcast_to(_number(1, dtype), shape=shape)


def _drawn(op: str, key: Node | int, shape: int | Sequence[int], dtype: Any, **bounds: float) -> Node:
    if isinstance(key, int):
        key = random.key(seed=key)
    found: Node = getattr(random, op)(key, shape=shape, dtype=_scalar_type(dtype), **bounds)
    return found


def _scalar_type(dtype: Any) -> ScalarType:
    found: ScalarType = element_type(dtype)
    return found


def _as_float(value: Any, dtype: Any) -> Any:
    """`value` rounded to a float dtype, in which all that is computed with it is rounded too."""
    return _scalar_type(dtype).numpy.type(value)


def _number(value: Any, dtype: Any) -> np.ndarray:
    return np.asarray(_as_float(value, dtype))
