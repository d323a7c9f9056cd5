"""S26: the op-by-op plan gives what the optimised one gives."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends.symbolic import Variable, compile, nd, nn


def programs():
    x, y = Variable("x"), Variable("y")
    yield "chain", nd.maximum(nd.exp(x * 0.5) - y, y) * (x + 1.0)
    yield "row", nn.softmax(x + y) * nd.sum(y, axes=(1,), keepdims=True)
    yield "matrix", nn.dense(x, nd.transpose(y), activation="tanh") + 1.0
    yield "several outputs", [x * y, nd.mean(x * y, axes=(0,)), nd.reshape(x, shape=(-1,)) + 2.0]


@pytest.mark.parametrize("name,outputs", list(programs()), ids=lambda item: item if isinstance(item, str) else "")
@pytest.mark.parametrize("level", ["O0", "O1"])
def test_op_by_op_equals_optimised(name, outputs, level, measured):
    rng = np.random.default_rng(0)
    inputs = {v: rng.standard_normal((6, 8)).astype(np.float32) for v in "xy"}
    dumb, clever = compile(outputs, level=level)(**inputs), compile(outputs)(**inputs)
    reference = compile(outputs, backend="ref")(**inputs)
    for one, two, three in zip(*(r if isinstance(r, list) else [r] for r in (dumb, clever, reference)), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(one, three, rtol=1e-5, atol=1e-6)
        measured(f"{name}, {level}: differs by {np.abs(one - two).max():.1g} at most")


def test_the_dumb_plan_needs_more_memory():
    x = Variable("x")
    node = x @ x @ x @ x @ x
    inputs = {"x": np.eye(10, dtype=np.float32)}
    assert compile(node).lower(**inputs).memory.planned < compile(node, level="O0").lower(**inputs).memory.planned
