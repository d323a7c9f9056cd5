"""First values of parameters are those of jax.nn.initializers."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends import initializers
from dlir.frontends.symbolic import Parameter, compile, random
from dlir.ir.errors import DlirError
from dlir.ir.types import F64

jax = pytest.importorskip("jax")
SCALED = "glorot_uniform glorot_normal he_uniform he_normal lecun_uniform lecun_normal".split()


def near(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, 2e-6, 2e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("name", SCALED)
def test_scaled_by_fan(name):
    make, theirs = getattr(initializers, name), getattr(jax.nn.initializers, name)
    near(compile(make(7, (30, 20)))(), np.asarray(theirs()(jax.random.key(7), (30, 20), "f4")))
    window = compile(make(7, (8, 4, 3, 3), in_axis=1, out_axis=0))()
    near(window, np.asarray(theirs(in_axis=1, out_axis=0)(jax.random.key(7), (8, 4, 3, 3), "f4")))


def test_plain_distributions():
    key = jax.random.key(3)
    for name, argument in (("uniform", 0.5), ("normal", 0.02), ("truncated_normal", 0.02)):
        found = compile(getattr(initializers, name)(3, (50,), argument))()
        near(found, np.asarray(getattr(jax.nn.initializers, name)(argument)(key, (50,), "f4")))


def test_parameters_take_them_and_keys_may_be_split():
    key = random.fold_in(random.key(seed=1), 5)
    w = Parameter("w", initializers.he_normal(key, (6, 4), dtype="f8"))
    assert w.value.shape == (6, 4) and w.value.dtype == np.float64
    other = Parameter("v", initializers.he_normal(random.fold_in(random.key(seed=1), 6), (6, 4), dtype=F64))
    assert not np.array_equal(w.value, other.value)
    np.testing.assert_array_equal(compile(initializers.ones((2, 3)))(), np.ones((2, 3), "f4"))
    np.testing.assert_array_equal(compile(initializers.zeros((3,)))(), np.zeros(3, "f4"))


def test_mistakes_are_named():
    with pytest.raises(DlirError, match=r"weights of shape \[5\] have no inputs and outputs"):
        initializers.glorot_uniform(0, (5,))
    with pytest.raises(DlirError, match="'mode' must be"):
        initializers.variance_scaling(0, (5, 5), 1.0, "fan", "normal")  # type: ignore[arg-type]
    with pytest.raises(DlirError, match="'distribution' must be"):
        initializers.variance_scaling(0, (5, 5), 1.0, "fan_in", "flat")  # type: ignore[arg-type]
