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
        shape = array.shape if number or not dynamic_batch else (None, *array.shape[1:])
        operands.append(block.add_arg(TensorType(shape, dtype_from_numpy(array.dtype))))
    with at_end(block):
        cls.build(*operands, **attributes)
    assert isinstance(block.last, cls)
    return block.last


def run_decomposed(op: Op, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Decompose `op` in its block, and run what came of it."""
    block = op.parent
    assert block is not None
    with at_end(block):
        (result,) = decompose_op(op)
    values: dict[Value, Any] = dict(zip(block.args, arrays, strict=True))
    for made in block.ops:
        if made is op:
            continue
        assert isinstance(made, Op) and made.name.startswith("nd."), f"{op.name} is defined by {made.name}"
        values.update(zip(made.results, made.evaluate([values[v] for v in made.operands]), strict=True))
    assert result.type is op.result.type
    return np.asarray(values[result])


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_decomposition_into_nd(name: str) -> None:
    cls = LAYERS[name]
    assert issubclass(cls, Decomposed) and cls.__doc__
    for arrays, attributes in draws(cls):
        op = make(cls, arrays, attributes)
        present = [a for a in arrays if a is not None]
        (expected,) = op.evaluate(present)
        found = run_decomposed(op, present)
        assert TensorType(found.shape, dtype_from_numpy(found.dtype)) is op.result.type
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", LAYERS)
def test_the_batch_may_be_dynamic(name: str) -> None:
    cls = LAYERS[name]
    tried = 0
    for arrays, attributes in draws(cls):
        axes = [] if name == "nn.flatten" else [attributes.get("axis", -1)]
        if arrays[0].ndim < 2 or any(axis % arrays[0].ndim == 0 for axis in axes):
            continue
        if name == "nn.flatten" and 0 in arrays[0].shape[1:]:
            continue
        tried += 1
        op = make(cls, arrays, attributes, dynamic_batch=True)
        present = [a for a in arrays if a is not None]
        np.testing.assert_array_equal(run_decomposed(op, present), op.evaluate(present)[0])
        assert op.result.type.shape[0] is None
    assert tried > 5
