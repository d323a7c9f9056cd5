"""What `compile` can be told: which numbers are watched, and which parameters are constants."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends.symbolic import Parameter, Variable, compile, load_function, nd, nn
from dlir.ir.errors import DlirError

X = Variable("x")


@pytest.mark.parametrize("backend", ["ref", "cpu"])
def test_the_line_that_made_the_first_nan_is_named_and_nothing_is_updated(backend):
    w = Parameter("w", np.array([1.0, 2.0]))
    root = nd.log(X)
    loss = nd.sum(root * w)
    step = compile(loss, updates={w: w - loss.grad(w)}, backend=backend, check_numerics=True)
    assert step(x=np.ones(2)) == 0
    before = w.value
    with pytest.raises(DlirError, match=r"'nd\.log'.* is the first op that makes a NaN or an infinity") as caught:
        step(x=np.array([1.0, -1.0]))
    place = caught.value.diagnostics[0].location
    assert (place.file, place.line) == (__file__, root.location.line)
    assert np.array_equal(w.value, before)
    # Not watched, it goes on.
    assert np.isnan(compile(loss, backend=backend)(x=np.array([1.0, -1.0])))


def test_frozen_parameters_have_the_values_that_they_had():
    w = Parameter("w", np.arange(6.0).reshape(3, 2))
    free, frozen = compile(X @ w), compile(X @ w, freeze=True)
    at = np.ones((2, 3))
    w.value = w.value * 2
    assert np.array_equal(free(at), 2 * frozen(at)) and np.array_equal(frozen(at), [[6, 9], [6, 9]])
    # A shape that comes later sees the same values.
    assert np.array_equal(frozen(np.ones((1, 3))), [[6, 9]])


def test_frozen_weights_are_packed_once():
    w = Parameter("w", np.ones((256, 128), np.float32))
    free, frozen = (
        compile(X @ w, freeze=is_frozen).lower(np.ones((64, 256), np.float32)) for is_frozen in (False, True)
    )
    assert free.stats["layout"].get("packed", 0) == 0 and frozen.stats["layout"]["packed"] == 1
    assert "nd.pack" not in frozen.as_text("lowered") and free.variables.names == ("w",)


def test_frozen_values_are_those_that_are_saved_and_exported(tmp_path):
    w = Parameter("w", np.ones(3))
    frozen = compile(X * w, freeze=True)
    w.value = np.zeros(3)
    frozen.save(tmp_path / "f.safetensors")
    assert np.array_equal(load_function(tmp_path / "f.safetensors")(np.ones(3)), np.ones(3))
    frozen.export(tmp_path / "g.safetensors", np.ones(3))
    assert np.array_equal(load_function(tmp_path / "g.safetensors")(np.ones(3)), np.ones(3))


def test_what_is_updated_cannot_be_frozen():
    w = Parameter("w", np.ones(3))
    with pytest.raises(DlirError, match="cannot freeze parameters and update 'w'"):
        compile(X, updates={w: w + 1.0}, freeze=True)


@pytest.mark.parametrize("dtype", ["float32", "f32", np.float32, "f4", np.dtype("f4")])
def test_dtypes_are_numpys_or_the_irs(dtype):
    assert compile(nd.cast(X, dtype=dtype))(np.ones(2)).dtype == np.float32


def test_dtypes_that_mean_nothing_or_two_things():
    for dtype, message, hint in [
        ("flaot32", "there is no dtype 'flaot32'", "did you mean 'float32'?"),
        ("i8", "the dtype 'i8' may mean two things", "write 'int8' or 'int64'"),
        (np.complex64, "there is no dtype", "dtypes: "),
    ]:
        with pytest.raises(DlirError, match=message) as caught:
            nd.cast(X, dtype=dtype)
        (diagnostic,) = caught.value.diagnostics
        assert hint in (diagnostic.hint or "") and diagnostic.location.file == __file__


def test_activations_of_a_frozen_network_agree():
    rng = np.random.default_rng(0)
    w, b = Parameter("w", rng.standard_normal((40, 30)).astype("f4")), Parameter("b", rng.random(30).astype("f4"))
    y = nn.softmax(nn.dense(X, w, b, activation="relu"))
    at = rng.standard_normal((16, 40)).astype("f4")
    np.testing.assert_allclose(compile(y, freeze=True)(at), compile(y)(at), rtol=1e-5, atol=1e-6)
