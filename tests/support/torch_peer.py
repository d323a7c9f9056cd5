"""Arrays and programs on both sides: dlir's backends and PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from dlir.backends.compiler import compile_module
from dlir.ir.builder import at_end
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.ops import func
from dlir.ir.types import TensorType, dtype_from_numpy

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def to_torch(array: np.ndarray | None) -> Any:
    """An array as a tensor of its own; bf16 by its bits, because NumPy itself does not have it."""
    import torch

    if array is None:
        return None
    if array.dtype == BFLOAT16:
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(array.copy())


def from_torch(tensor: Any) -> np.ndarray:
    """A tensor as an array."""
    import torch

    if tensor.dtype == torch.bfloat16:
        return tensor.contiguous().view(torch.int16).numpy().view(BFLOAT16)
    return tensor.numpy()


def run_all(makers: Sequence[Callable[..., Any]], inputs: Sequence[Sequence[np.ndarray]], backend: str) -> list[Any]:
    """One program of which result i (or each result of a tuple) is what maker i makes of its inputs."""
    arrays = [array for group in inputs for array in group]
    types = [TensorType(array.shape, dtype_from_numpy(array.dtype)) for array in arrays]
    module = Module.empty()
    function = Func.make("main", types, names=[f"x{i}" for i in range(len(types))])
    module.body.append(function)
    rest = iter(function.body.args)
    results: list[Any] = []
    with at_end(function.body):
        for maker, group in zip(makers, inputs, strict=True):
            made = maker(*(next(rest) for _ in group))
            results += made if isinstance(made, tuple) else [made]
        func.return_(*results)
    function.update_type()
    return list(compile_module(module, backend=backend)(*arrays))


def assert_near(name: str, got: np.ndarray, want: np.ndarray, tolerance: float) -> None:
    """Equal shape and dtype, and numbers within `tolerance`, relative and absolute; NaN is equal to NaN."""
    assert got.shape == want.shape, f"{name}: {got.shape} for {want.shape}"
    assert got.dtype == want.dtype, f"{name}: {got.dtype} for {want.dtype}"
    one, two = (a.astype("f8") if a.dtype.kind not in "iub" else a for a in (got, want))
    np.testing.assert_allclose(one, two, rtol=tolerance, atol=tolerance, err_msg=name)
