"""Random numbers are those of JAX's default generator, bit for bit where integers say it all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlir.ir.registry import find_op
from dlir.ir.types import BF16, F16, F32, F64, I32, UI8, UI16, UI32, UI64

jax = pytest.importorskip("jax")

SEEDS = [0, 1, 42, (1 << 31) - 1, (1 << 40) + 17, -3]


@pytest.fixture(autouse=True)
def generator() -> Any:
    """JAX with 64 bits, and the form of its generator that these numbers are of."""
    with jax.enable_x64(True), jax.threefry_partitionable(True):
        yield


def ours(name: str, *arrays: Any, **attributes: Any) -> np.ndarray:
    """What ``random.<name>`` means."""
    cls: Any = find_op(f"random.{name}")
    specs = cls.schema().attributes
    return np.asarray(cls.eval(*arrays, **{**{n: spec.default for n, spec in specs.items()}, **attributes}))


def both_keys(seed: int) -> tuple[np.ndarray, Any]:
    return ours("key", seed=seed), jax.random.key(seed, impl="threefry2x32")


def equal(found: np.ndarray, wanted: Any) -> None:
    wanted = np.asarray(wanted)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


def ulps(found: np.ndarray, wanted: Any) -> np.ndarray:
    wanted = np.asarray(wanted)
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    return np.abs(found - wanted) / np.spacing(np.abs(wanted))


@pytest.mark.parametrize("seed", SEEDS)
def test_keys(seed):
    mine, theirs = both_keys(seed)
    equal(mine, jax.random.key_data(theirs))
    for count in (0, 1, 2, 7):
        equal(ours("split", mine, count=count), jax.random.key_data(jax.random.split(theirs, count)))
    for data in (0, 1, 12345, (1 << 32) - 1):
        wanted = jax.random.key_data(jax.random.fold_in(theirs, np.uint32(data)))
        equal(ours("fold_in", mine, np.asarray(data, np.uint32)), wanted)
        equal(ours("fold_in", mine, np.asarray(data, np.int64)), wanted)


@pytest.mark.parametrize("dtype", [UI8, UI16, UI32, UI64])
def test_bits(dtype):
    for seed in SEEDS[::2]:
        mine, theirs = both_keys(seed)
        for shape in [(), (1,), (7, 3), (2, 0)]:
            equal(ours("bits", mine, shape=shape, dtype=dtype), jax.random.bits(theirs, shape, dtype.numpy))


@pytest.mark.parametrize("dtype", [F16, BF16, F32, F64])
def test_uniform(dtype):
    for seed in SEEDS[::2]:
        mine, theirs = both_keys(seed)
        equal(ours("uniform", mine, shape=(31, 5), dtype=dtype), jax.random.uniform(theirs, (31, 5), dtype.numpy))
        found = ours("uniform", mine, shape=(400,), minval=-1.5, maxval=3.0, dtype=dtype).astype("f8")
        wanted = np.asarray(jax.random.uniform(theirs, (400,), dtype.numpy, -1.5, 3.0)).astype("f8")
        # XLA rounds the product and the sum together.
        np.testing.assert_allclose(found, wanted, 0, 4.5 * np.finfo(dtype.numpy).eps if dtype in (F32, F64) else 0)


@pytest.mark.parametrize("dtype", [F32, F64])
def test_bernoulli(dtype):
    for seed in SEEDS[::2]:
        mine, theirs = both_keys(seed)
        for p in (0.0, 0.1, 0.5, 1.0):
            p = dtype.numpy.type(p)
            equal(ours("bernoulli", mine, np.asarray(p), shape=(9, 11)), jax.random.bernoulli(theirs, p, (9, 11)))
        p = np.linspace(0, 1, 11, dtype=dtype.numpy)
        equal(ours("bernoulli", mine, p, shape=(9, 11)), jax.random.bernoulli(theirs, p, (9, 11)))


def test_normal():
    """The inverse of the error function differs in the last bits, relatively more in its tails."""
    for seed in SEEDS[::2]:
        mine, theirs = both_keys(seed)
        assert ulps(ours("normal", mine, shape=(500,)), jax.random.normal(theirs, (500,), "f4")).max() <= 3
        wide = jax.random.normal(theirs, (500,), "f8")
        np.testing.assert_allclose(ours("normal", mine, shape=(500,), dtype=F64), wide, 1e-14, 1e-14)
        cut = jax.random.truncated_normal(theirs, -2, 1.5, (500,), "f4")
        found = ours("truncated_normal", mine, shape=(500,), lower=-2.0, upper=1.5)
        np.testing.assert_allclose(found, cut, 1e-5, 1e-6)


@pytest.mark.parametrize("count", [0, 1, 10, 1625, 1626])
def test_permutation(count):
    for seed in SEEDS[:2]:
        mine, theirs = both_keys(seed)
        wanted = np.asarray(jax.random.permutation(theirs, count))
        np.testing.assert_array_equal(ours("permutation", mine, count=count), wanted)
        assert ours("permutation", mine, count=count, dtype=I32).dtype == np.int32
