"""Embedding, dropout and looked-up losses with their gradients, on every backend, against PyTorch and JAX."""

from __future__ import annotations

import numpy as np
import pytest
from support.cuda import need_simulator
from support.gradients import gradient
from support.torch_peer import run_all

from dlir.ir.ops import nd, nn

BACKENDS = ("ref", "cpu", "cuda-sim")


@pytest.fixture(params=BACKENDS)
def backend(request):
    if request.param == "cuda-sim":
        need_simulator()
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_rows_that_come_often_collect_all_gradients(backend, rng):
    torch = pytest.importorskip("torch")
    indices = rng.integers(0, 7, (6, 9))
    weight, weights = rng.standard_normal((7, 5)), rng.standard_normal((6, 9, 5))

    def ours(i, w, c):
        rows = nn.embedding(i, w)
        loss = nd.sum(nd.mul(nd.tanh(rows), c))
        return rows, *gradient(loss, [], w)

    rows, slope = run_all([ours], [[indices, weight, weights]], backend)
    w = torch.from_numpy(weight).requires_grad_()
    theirs = torch.nn.functional.embedding(torch.from_numpy(indices), w)
    (torch.tanh(theirs) * torch.from_numpy(weights)).sum().backward()
    np.testing.assert_array_equal(rows, theirs.detach().numpy())
    np.testing.assert_allclose(slope, w.grad.numpy(), 1e-12, 1e-12)


def test_the_loss_of_labels_and_its_gradient(backend, rng):
    torch = pytest.importorskip("torch")
    x, labels = rng.standard_normal((8, 11)), rng.integers(0, 11, 8)

    def ours(x, labels):
        chosen = nd.take_along_axis(nd.log_softmax(x, axis=1), nd.reshape(labels, shape=(8, 1)), axis=1)
        loss = nd.neg(nd.mean(chosen))
        return loss, *gradient(loss, [], x)

    loss, slope = run_all([ours], [[x, labels]], backend)
    peer = torch.from_numpy(x).requires_grad_()
    theirs = torch.nn.functional.cross_entropy(peer, torch.from_numpy(labels))
    theirs.backward()
    np.testing.assert_allclose(loss, theirs.detach().numpy(), 1e-12)
    np.testing.assert_allclose(slope, peer.grad.numpy(), 1e-12, 1e-14)


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_dropout_keeps_what_jax_keeps_and_so_does_its_gradient(backend, rng, rate, dtype):
    jax = pytest.importorskip("jax")
    x = rng.standard_normal((13, 21)).astype(dtype)
    x[0, 0] = np.inf
    key = jax.random.key(11)

    def ours(x, k):
        kept, evaluated = nn.dropout(x, k, rate=rate), nn.dropout(x, k, rate=rate, training=False)
        return kept, evaluated, *gradient(kept, nd.broadcast_to(nd.cast(3.0, dtype=x.dtype), shape=(13, 21)), x)

    kept, same, slope = run_all([ours], [[x, np.asarray(jax.random.key_data(key))]], backend)
    np.testing.assert_array_equal(same, x)
    mask = np.asarray(jax.random.bernoulli(key, np.float32(1 - rate), (13, 21)))
    scale = x.dtype.type(0 if rate == 1 else 1 / (1 - rate))
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(kept, np.where(mask, x * scale, 0).astype(dtype))
    np.testing.assert_array_equal(slope, np.where(mask, 3 * scale, 0).astype(dtype))
    assert np.count_nonzero(mask) > 0 if rate < 1 else not mask.any()


def test_a_cache_that_grows_a_row_at_a_time(backend, rng):
    jax = pytest.importorskip("jax")
    cache, row = rng.standard_normal((2, 6, 4)).astype("f4"), rng.standard_normal((2, 1, 4)).astype("f4")

    def ours(cache, row, place):
        grown = nd.dynamic_update_slice(cache, row, 0, place, 0)
        last = nd.dynamic_slice(grown, 0, place, 0, slice_sizes=(2, 2, 4))
        return grown, last, *gradient(nd.sum(nd.mul(last, last)), [], [cache, row])

    def theirs(cache, row):
        grown = jax.lax.dynamic_update_slice(cache, row, (0, place, 0))
        return grown, jax.lax.dynamic_slice(grown, (0, place, 0), (2, 2, 4))

    for place in (0, 3, 5):
        found = run_all([ours], [[cache, row, np.asarray(place)]], backend)
        slopes = jax.grad(lambda c, r: (theirs(c, r)[1] ** 2).sum(), (0, 1))(cache, row)
        for one, other in zip(found, (*theirs(cache, row), *slopes), strict=True):
            np.testing.assert_allclose(one, np.asarray(other), 1e-6)
