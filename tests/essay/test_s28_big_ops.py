"""S28: big ops are no restriction: what a user writes in small ops gives the same kernel text as the big op."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dlir.backends.compiler import lower_module
from dlir.backends.registry import emit_source
from dlir.frontends.symbolic import Spec, Variable, compile, nd, nn


def softmax(x):
    powers = nd.exp(x - nd.max(x, axes=(-1,), keepdims=True))
    return powers / nd.sum(powers, axes=(-1,), keepdims=True)


def layer_norm(x):
    centred = x - nd.mean(x, axes=(-1,), keepdims=True)
    return centred / nd.sqrt(nd.mean(centred * centred, axes=(-1,), keepdims=True) + 1e-5)


PAIRS = {
    "sigmoid": (lambda x: nn.sigmoid(x), lambda x: 1.0 / (1.0 + nd.exp(-x))),
    "relu": (lambda x: nn.relu(x), lambda x: nd.maximum(0.0, x)),
    "softmax": (lambda x: nn.softmax(x, axis=-1), softmax),
    "layer norm": (lambda x: nn.layer_norm(x, epsilon=1e-5), layer_norm),
    "silu": (lambda x: nd.silu(x), lambda x: x * (1.0 / (1.0 + nd.exp(-x)))),
    "gelu": (lambda x: nd.gelu(x), lambda x: 0.5 * x * (1.0 + nd.erf(x / math.sqrt(2.0)))),
}


def source(node, backend):
    module = compile(node).module(x=Spec((4, 16)))
    return emit_source(lower_module(module, backend), "main", {"cpu": "llvm", "cuda": "cuda"}[backend])


@pytest.mark.parametrize("name", list(PAIRS))
@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_big_and_small_give_the_same_kernel_text(name, backend, measured):
    big, small = PAIRS[name]
    x = Variable("x")
    assert source(big(x), backend) == source(small(x), backend)
    measured(f"{name}, {backend}: the same text")


@pytest.mark.parametrize("name", list(PAIRS))
def test_big_and_small_compute_the_same(name):
    big, small = PAIRS[name]
    x, array = Variable("x"), np.random.default_rng(0).normal(size=(4, 16)).astype(np.float32)
    one, two = (compile(make(x))(x=array) for make in (big, small))
    assert np.array_equal(one, two)
