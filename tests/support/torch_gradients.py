"""The gradients of one function here and in PyTorch, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from support.gradients import function_of, gradient, run
from support.torch_peer import from_torch, to_torch

from dlir.ir.ops import nd

TOLERANCE = {"float64": 1e-11, "float32": 1e-5, "float16": 2e-3, "bfloat16": 1.6e-2}


def draw(*shape: int, dtype: Any = "f8", seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def ours(build: Callable[..., Any], arrays: Sequence[np.ndarray], weights: np.ndarray, order: int = 1) -> list[Any]:
    """Gradients of the result, weighed with `weights`; of order 2: of the sum of squares of those gradients."""
    floats = [number for number, array in enumerate(arrays) if array.dtype.kind not in "iub"]

    def made(*args: Any) -> Any:
        *args, weight = args
        inputs = [args[number] for number in floats]
        found = gradient(build(*args), weight, inputs)
        if order == 1:
            return found
        total = None
        for one in found:
            square = nd.sum(nd.mul(one, one))
            total = square if total is None else nd.add(total, square)
        return gradient(total, (), inputs)

    main = function_of(made, [*arrays, weights])
    with np.errstate(all="ignore"):
        return run(main, *arrays, weights)


def theirs(build: Callable[..., Any], arrays: Sequence[np.ndarray], weights: np.ndarray, order: int = 1) -> list[Any]:
    """The same of PyTorch."""
    import torch

    args = [to_torch(array) for array in arrays]
    inputs = [arg.requires_grad_() for arg in args if arg.is_floating_point()]
    total = (build(*args) * to_torch(weights)).sum()
    found = torch.autograd.grad(total, inputs, create_graph=order == 2, materialize_grads=True)
    if order == 2:
        squares = sum((one * one).sum() for one in found)
        if not squares.requires_grad:
            return [np.zeros_like(from_torch(one.detach())) for one in inputs]
        found = torch.autograd.grad(squares, inputs, materialize_grads=True)
    return [from_torch(one.detach()) for one in found]


def same(
    build: Callable[..., Any],
    peer: Callable[..., Any],
    *arrays: np.ndarray,
    order: int = 1,
    weights: np.ndarray | None = None,
    tolerance: float = 0.0,
) -> list[np.ndarray]:
    """Our gradients, which must be PyTorch's."""
    if weights is None:
        weights = draw(*peer(*map(to_torch, arrays)).shape, seed=9).astype(arrays[0].dtype)
    mine, expected = ours(build, arrays, weights, order), theirs(peer, arrays, weights, order)
    for one, other in zip(mine, expected, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        near = tolerance or TOLERANCE[one.dtype.name]
        finite = other[np.isfinite(other)].astype("f8")
        scale = max(1.0, np.abs(finite).max(initial=0.0))
        np.testing.assert_allclose(one.astype("f8"), other.astype("f8"), near, near * scale)
    return mine
