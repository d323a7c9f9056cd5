"""S19: update statements: right-hand sides read old values, and all take effect together when the call returns."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends.symbolic import Parameter, Variable, compile, nd


def model():
    w = Parameter("w", np.array([1.0, 2.0, 3.0]))
    m = Parameter("m", np.zeros(3))
    x = Variable("x")
    loss = nd.sum((w * x) ** 2.0)
    return w, m, loss, loss.grad(w)


@pytest.mark.parametrize("backend", ["ref", "cpu"])
@pytest.mark.parametrize("level", ["O0", "O1", "O2"])
def test_right_hand_sides_read_old_values(level, backend, measured):
    w, m, loss, gw = model()
    step = compile([loss], updates=[(w, w - 0.1 * m), (m, 0.9 * m + gw)], backend=backend, level=level)
    want_w, want_m, x = w.value, m.value, np.array([1.0, 0.5, 2.0])
    for _ in range(5):
        (found,) = step(x=x)
        np.testing.assert_allclose(found, ((want_w * x) ** 2).sum())
        want_w, want_m = want_w - 0.1 * want_m, 0.9 * want_m + 2 * want_w * x * x
        np.testing.assert_allclose(w.value, want_w)
        np.testing.assert_allclose(m.value, want_m)
    measured("[(w, w - lr*m), (m, 0.9*m + gw)] reads old values on ref and cpu")


@pytest.mark.parametrize("backend", ["ref", "cpu"])
def test_two_parameters_change_places(backend):
    a, b = Parameter("a", np.arange(4.0)), Parameter("b", -np.arange(4.0))
    swap = compile([], updates={a: b, b: a}, backend=backend)
    assert swap() == []
    assert np.array_equal(a.value, -np.arange(4.0)) and np.array_equal(b.value, np.arange(4.0))
    swap()
    assert np.array_equal(a.value, np.arange(4.0))


def test_a_call_that_fails_changes_nothing(measured):
    w, m, loss, gw = model()
    step = compile([loss], updates=[(w, w - 0.1 * gw), (m, gw)])
    step(x=np.ones(3))
    before = w.value, m.value
    for wrong in (np.ones(4), "abc", np.ones(3) * 1j):
        with pytest.raises(Exception, match="."):
            step(x=wrong)
    assert np.array_equal(w.value, before[0]) and np.array_equal(m.value, before[1])
    measured("a call that fails changes nothing")


def test_imperative_updates_interleave(measured):
    w, _, loss, gw = model()
    step = compile([loss, gw], updates={w: w - 0.1 * gw})
    want = w.value
    for turn in range(6):
        if turn % 2:
            w.value = want = want * 0.5
        _, gradient = step(x=np.ones(3))
        np.testing.assert_allclose(gradient, 2 * want)
        want = want - 0.1 * gradient
        np.testing.assert_allclose(w.value, want)
    w.value = want = w.value - 0.1 * gradient
    np.testing.assert_allclose(compile(w)(), want)
    measured("w.value = ... between calls is seen by the next")


def test_what_the_outputs_return_is_from_before_the_update():
    w = Parameter("w", np.float64(1.0))
    assert [float(compile(w, updates={w: w + 1.0})()) for _ in range(3)] == [1.0, 2.0, 3.0]


def test_training_and_prediction_share_their_weights():
    w, _, loss, gw = model()
    predict, step = compile(w * Variable("x")), compile(loss, updates={w: w - 0.1 * gw})
    x = np.ones(3)
    first = predict(x=x)
    step(x=x)
    assert np.allclose(predict(x=x), first * 0.8)
    # And so does a program for other shapes.
    assert np.allclose(predict(x=np.ones((2, 3))), first * 0.8)
