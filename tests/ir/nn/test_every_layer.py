"""Checks that every layer passes, of the nn dialect and of plugins, found through the registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from support.registered import sampled_ops

from dlir.ir.builder import at_end
from dlir.ir.core import Block, Value
from dlir.ir.dialects.decompose import Decomposed, decompose_op
from dlir.ir.dialects.nn.base import Layer
from dlir.ir.op import Op
from dlir.ir.types import TensorType, dtype_from_numpy

LAYERS = sampled_ops(Layer)
#: Layers of which other operands than the first have the batch, too, and how many dimensions fewer they may have.
BATCHED = {"nn.attention": 0, "nn.cross_entropy": 1, "nn.mse_loss": 0}


def draws(cls: Any) -> Any:
    rng = np.random.default_rng(sum(map(ord, cls.op_name)))
    for _ in range(30):
        yield cls.sample(rng)


def make(cls: Any, arrays: Sequence[Any], attributes: dict[str, Any], dynamic_batch: bool = False) -> Op:
    """The layer on block arguments of the arrays' types; with a dynamic first dimension of x, if asked for."""
    block = Block()
    operands: list[Value | None] = []
    for number, array in enumerate(arrays):
        if array is None:
            operands.append(None)
            continue
        has_batch = not number or array.ndim >= arrays[0].ndim - BATCHED.get(cls.op_name, -9)
        shape = (None, *array.shape[1:]) if dynamic_batch and has_batch else array.shape
        operands.append(block.add_arg(TensorType(shape, dtype_from_numpy(array.dtype))))
    with at_end(block):
        cls.build(*operands, **attributes)
    assert isinstance(block.last, cls)
    return block.last


def run_decomposed(op: Op, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Decompose `op` in its block, and run what came of it."""
    block = op.parent
    assert block is not None
    with at_end(block):
        results = decompose_op(op)
    values: dict[Value, Any] = dict(zip(block.args, arrays, strict=True))
    for made in block.ops:
        if made is op:
            continue
        assert isinstance(made, Op) and made.name.startswith(("nd.", "random.")), f"{op.name} is defined by {made.name}"
        values.update(zip(made.results, made.evaluate([values[v] for v in made.operands]), strict=True))
    assert [result.type for result in results] == list(op.result_types)
    return [np.asarray(values[result]) for result in results]


def assert_same(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> None:
    """Equal, NaN included, which NumPy does not know of in bf16."""
    for one, two in zip(found, expected, strict=True):
        assert one.dtype == two.dtype
        is_half = one.dtype.itemsize == 2 and one.dtype.kind not in "iu"
        np.testing.assert_array_equal(one.astype("f4") if is_half else one, two.astype("f4") if is_half else two)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_decomposition_into_nd(name: str) -> None:
    cls = LAYERS[name]
    assert issubclass(cls, Decomposed) and cls.__doc__
    for arrays, attributes in draws(cls):
        op = make(cls, arrays, attributes)
        present = [a for a in arrays if a is not None]
        found = run_decomposed(op, present)
        types = [TensorType(result.shape, dtype_from_numpy(result.dtype)) for result in found]
        assert types == list(op.result_types)
        assert_same(found, op.evaluate(present))


@pytest.mark.parametrize("name", LAYERS)
def test_the_batch_may_be_dynamic(name: str) -> None:
    cls = LAYERS[name]
    tried = 0
    for arrays, attributes in draws(cls):
        axes = [] if name == "nn.flatten" else [attributes.get("axis", -1)]
        if arrays[0].ndim < 2 or any(axis % arrays[0].ndim == 0 for axis in axes):
            continue
        if name == "nn.attention" and (arrays[0].ndim < 3 or arrays[1].shape[:1] != arrays[0].shape[:1]):
            continue
        if name == "nn.flatten" and 0 in arrays[0].shape[1:]:
            continue
        tried += 1
        op = make(cls, arrays, attributes, dynamic_batch=True)
        present = [a for a in arrays if a is not None]
        assert_same(run_decomposed(op, present), op.evaluate(present))
        assert attributes.get("reduction", "none") != "none" or op.results[0].type.shape[0] is None
    assert tried > 5
