"""S22: every big op is the small ops that it decomposes into."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends.symbolic import Variable, compile, nd, nn
from dlir.ir.registry import dialect_ops


def arrays(**shapes):
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def agree(big, small, inputs):
    for backend in ("ref", "cpu"):
        one, two = compile(big, backend=backend)(**inputs), compile(small, backend=backend)(**inputs)
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)


def test_every_big_op_states_its_decomposition():
    for cls in dialect_ops("nn").values():
        assert callable(getattr(cls, "decompose", None)), cls.op_name


def test_dense_is_matmul_add_maximum():
    x, w, b = map(Variable, "xwb")
    small = nd.maximum(nd.matmul(x, w) + b, 0.0)
    agree(nn.dense(x, w, b, activation="relu"), small, arrays(x=(4, 3), w=(3, 5), b=(5,)))


def test_softmax_is_written_out():
    x = Variable("x")
    e = nd.exp(x - nd.max(x, axes=(1,), keepdims=True))
    agree(nn.softmax(x, axis=1), e / nd.sum(e, axes=(1,), keepdims=True), arrays(x=(4, 7)))


def test_layer_norm_is_written_out():
    x, g, b = map(Variable, "xgb")
    centred = x - nd.mean(x, axes=(1,), keepdims=True)
    variance = nd.mean(centred * centred, axes=(1,), keepdims=True)
    small = centred * nd.rsqrt(variance + 1e-5) * g + b
    agree(nn.layer_norm(x, g, b, epsilon=1e-5), small, arrays(x=(4, 6), g=(6,), b=(6,)))


def test_batch_norm_is_written_out():
    x, g, b, m, v = map(Variable, "xgbmv")
    inputs = arrays(x=(2, 3, 4, 4), g=(3,), b=(3,), m=(3,), v=(3,))
    inputs["v"] = np.abs(inputs["v"])
    channel = [nd.reshape(t, shape=(1, 3, 1, 1)) for t in (g, b, m, v)]
    small = (x - channel[2]) / nd.sqrt(channel[3] + 1e-5) * channel[0] + channel[1]
    agree(nn.batch_norm(x, g, b, m, v, epsilon=1e-5), small, inputs)


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh"])
def test_activations_are_small_ops(name):
    x = Variable("x")
    small = {"relu": nd.maximum(x, 0.0), "sigmoid": 1.0 / (1.0 + nd.exp(-x)), "tanh": nd.tanh(x)}[name]
    agree(getattr(nn, name)(x), small, arrays(x=(3, 5)))
