"""What formulas, scans, quantifiers and adaptive pooling infer, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlir.ir.builder import at_end
from dlir.ir.core import Block
from dlir.ir.errors import DlirError, InferError
from dlir.ir.op import Tensor
from dlir.ir.ops import nd
from dlir.ir.registry import find_op
from dlir.ir.types import BF16, F16, F32, F64, I1, I32, I64

N = None


def infer(name: str, *shapes: Any, of: Any = F32, **attributes: Any) -> Any:
    cls: Any = find_op(name)
    types = [s if isinstance(s, Tensor) or s is None else Tensor(s, of) for s in shapes]
    block = Block()
    with at_end(block):
        return cls.build(*(t and block.add_arg(t) for t in types), **attributes).type


def message(name: str, *shapes: Any, **attributes: Any) -> str:
    with pytest.raises(DlirError) as caught:
        infer(name, *shapes, **attributes)
    assert caught.value.message.startswith(f"'{name}' ")
    return str(caught.value)


def generic(name: str, *types: Tensor) -> None:
    """`infer` on types as they stand in text, with nothing prepared."""
    cls: Any = find_op(name)
    cls.infer(*types)


def evaluate(name: str, *arrays: Any, **attributes: Any) -> np.ndarray:
    cls: Any = find_op(name)
    keywords = {n: attributes.get(n, spec.default) for n, spec in cls.schema().attributes.items()}
    with np.errstate(all="ignore"):
        return np.asarray(cls.eval(*arrays, **keywords))


@pytest.mark.parametrize("name", "gelu silu hardswish hardsigmoid elu leaky_relu expm1".split())
def test_activations(name: str) -> None:
    assert infer(f"nd.{name}", (N, 0, 3), of=BF16) is Tensor((N, 0, 3), BF16)
    # Builders turn integers into floats; the op itself does not take them.
    assert infer(f"nd.{name}", (2,), of=I32) is Tensor((2,), F64)
    with pytest.raises(InferError, match="takes floats, got i32"):
        generic(f"nd.{name}", Tensor((2,), I32))


def test_gelu_has_two_forms() -> None:
    assert "'tanh'" in message("nd.gelu", (2,), approximate="tan")


def test_log_softmax() -> None:
    assert infer("nd.log_softmax", (N, 3), axis=-1).shape == (N, 3)
    assert "axis 2 is out of range for an array of rank 2" in message("nd.log_softmax", (2, 3), axis=2)
    assert "axis 1 has no elements" in message("nd.log_softmax", (2, 0))
    assert "out of range" in message("nd.log_softmax", ())


def test_rms_norm() -> None:
    assert infer("nd.rms_norm", (N, 3, 4), (3, 4), axes=(-2, -1)).shape == (N, 3, 4)
    assert infer("nd.rms_norm", (2, 3), None).shape == (2, 3)
    assert "needs scale of shape 4 (axes [1] of tensor<2x4xf32>)" in message("nd.rms_norm", (2, 4), (2,))
    assert "name an axis twice" in message("nd.rms_norm", (2, 4), None, axes=(1, -1))
    with pytest.raises(InferError, match="one dtype"):
        generic("nd.rms_norm", Tensor((2, 4), F32), Tensor((4,), F64))


def test_attention() -> None:
    assert infer("nd.attention", (N, 8, 5, 4), (N, 8, 7, 4), (N, 8, 7, 6)).shape == (N, 8, 5, 6)
    assert infer("nd.attention", (2, N, 4), (2, N, 4), (2, N, 6), causal=True).shape == (2, N, 6)
    assert infer("nd.attention", (3, 1, 5, 4), (2, 7, 4), (7, 6)).shape == (3, 2, 5, 6)
    assert "differ in features: 4 and 3" in message("nd.attention", (5, 4), (7, 3), (7, 6))
    assert "differ in positions: 7 and 8" in message("nd.attention", (5, 4), (7, 4), (8, 6))
    assert "needs q of rank 2 or more" in message("nd.attention", (4,), (7, 4), (7, 6))
    assert "batch shapes 2 and 3 do not broadcast" in message("nd.attention", (2, 5, 4), (3, 7, 4), (3, 7, 6))
    assert "needs 'scale'" in message("nd.attention", (5, 0), (7, 0), (7, 6))
    assert "needs 'scale'" in message("nd.attention", (5, N), (7, N), (7, 6))
    assert infer("nd.attention", (5, 0), (7, 0), (7, 6), scale=1.0).shape == (5, 6)


def test_the_mask_of_attention() -> None:
    shapes = (2, 5, 4), (2, 7, 4), (2, 7, 6)
    for mask in ((5, 7), (1, 7), (2, 5, 7), (2, 1, 7), (), (7,)):
        assert infer("nd.attention", *shapes, Tensor(mask, I1)).shape == (2, 5, 6)
    assert "does not broadcast to the scores' shape tensor<2x5x7xf32>" in message("nd.attention", *shapes, (3, 2, 5, 7))
    assert "scores and mask of shapes" in message("nd.attention", *shapes, Tensor((5, 6), I1))


def test_reductions() -> None:
    assert infer("nd.prod", (N, 3), axes=(1,)).shape == (N,)
    assert infer("nd.prod", (2, 3), of=I1) is Tensor((), I64)
    assert infer("nd.any", (2, N), axes=(-1,), keepdims=True) is Tensor((2, 1), I1)
    assert infer("nd.all", (2, 3), of=F16) is Tensor((), I1)
    assert "axis 2 is out of range" in message("nd.all", (2, 3), axes=(2,))
    assert infer("nd.argmin", (N, 3), axis=1) is Tensor((N,), I64)
    assert "has no elements" in message("nd.argmin", (2, 0), axis=1)


def test_reductions_over_nothing() -> None:
    empty = np.zeros((0, 2), "f4")
    np.testing.assert_array_equal(evaluate("nd.prod", empty, axes=(0,)), [1, 1])
    np.testing.assert_array_equal(evaluate("nd.any", empty.astype(bool), axes=(0,)), [False, False])
    np.testing.assert_array_equal(evaluate("nd.all", empty.astype(bool), axes=(0,)), [True, True])


def test_any_and_all_take_nan_for_true() -> None:
    block = Block()
    with at_end(block):
        found = nd.any(np.array([0.0, np.nan]))
    values: dict[Any, Any] = {}
    for op in block.ops:
        values.update(zip(op.results, op.evaluate([values[v] for v in op.operands])))
    assert bool(values[found]) is True


@pytest.mark.parametrize("name", ["argmin", "argmax"])
def test_positions_are_numpys(name: str) -> None:
    rng = np.random.default_rng(0)
    for dtype in ("f4", "i1", "?"):
        x = rng.integers(0, 3, (4, 6)).astype(dtype)
        for axis in (0, -1):
            np.testing.assert_array_equal(evaluate(f"nd.{name}", x, axis=axis), getattr(np, name)(x, axis))
    x = np.array([[1, np.nan, -np.inf, np.nan], [np.inf, np.inf, np.inf, 5], [0.0, -0.0, 0.0, -0.0]], "f4")
    np.testing.assert_array_equal(evaluate(f"nd.{name}", x, axis=1), getattr(np, name)(x, 1))


def test_cumsum() -> None:
    assert infer("nd.cumsum", (N, 3), axis=-1).shape == (N, 3)
    assert infer("nd.cumsum", (3,), of=I1, axis=0) is Tensor((3,), I64)
    assert "axis 1 is out of range" in message("nd.cumsum", (3,), axis=1)
    assert "needs attribute 'axis'" in message("nd.cumsum", (3,))
    wrapped = evaluate("nd.cumsum", np.array([100, 100, 100], "i1"), axis=0)
    np.testing.assert_array_equal(wrapped, [100, -56, 44])
    for axis in (0, 1):
        assert evaluate("nd.cumsum", np.zeros((0, 3), "f4"), axis=axis, exclusive=True).shape == (0, 3)


def test_adaptive_pooling() -> None:
    assert infer("nd.adaptive_avg_pool", (N, 3, N, 8), output_size=(2, 3)).shape == (N, 3, 2, 3)
    assert "'output_size' must be at least 1" in message("nd.adaptive_max_pool", (2, 8), output_size=(0,))
    assert "have no elements" in message("nd.adaptive_max_pool", (2, 0), output_size=(1,))
    assert "does not fit" in message("nd.adaptive_avg_pool", (4,), output_size=(1, 1))
    assert "takes floats" in message("nd.adaptive_avg_pool", (4,), of=I32, output_size=(1,))
    x = np.array([[1, np.nan, 2, 3, 4]], "f4")
    np.testing.assert_array_equal(evaluate("nd.adaptive_max_pool", x, output_size=(3,)), [[np.nan, np.nan, 4]])
