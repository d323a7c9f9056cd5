"""Parameters belong to themselves: every function that uses one sees the same value."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from support.cuda import need_simulator

from dlir.frontends.symbolic import Parameter, Variable, compile, nd, random


def test_a_value_is_copied_in_and_out():
    first = np.zeros(3)
    w = Parameter("w", first)
    first[:] = 1
    w.value[:] = 2
    assert np.array_equal(w.value, np.zeros(3))
    given = np.full(3, 5.0)
    w.value = given
    given[:] = 6
    assert np.array_equal(w.value, np.full(3, 5.0))


def test_a_first_value_is_computed_once_when_it_is_needed(monkeypatch):
    calls = []
    w = Parameter("w", random.uniform(random.key(seed=3), shape=(4, 2)))
    monkeypatch.setattr("dlir.frontends.symbolic.function.compile_module", _counted(calls))
    assert not calls
    first = w.value
    f = compile(w + 0.0)
    assert np.array_equal(f(), first) and np.array_equal(w.value, first) and len(calls) == 2
    assert first.shape == (4, 2) and (first >= 0).all() and (first < 1).all()


def _counted(calls):
    from dlir.backends.compiler import compile_module

    return lambda *args, **options: calls.append(args) or compile_module(*args, **options)


def test_functions_with_different_parameters_share_those_they_have_in_common():
    a, b, c = (Parameter(name, np.float64(number)) for number, name in enumerate("abc"))
    left, right = compile([], updates={a: a + b}), compile(b * 10.0 + c, updates={b: b + 1.0})
    left()
    assert right() == 12.0
    left()
    assert (a.value, b.value, c.value) == (3.0, 2.0, 2.0)


def test_models_may_use_the_same_names():
    one, two = Parameter("w", np.ones(2)), Parameter("w", np.zeros(3))
    f, g = compile([], updates={one: one * 2.0}), compile([], updates={two: two + 1.0})
    f(), g(), f()
    assert np.array_equal(one.value, np.full(2, 4.0)) and np.array_equal(two.value, np.ones(3))


def test_backends_share_values():
    need_simulator()
    w = Parameter("w", np.ones(3, np.float32))
    functions = [compile([], updates={w: w * 2.0 + 1.0}, backend=name) for name in ("cpu", "cuda-sim", "ref")]
    want = np.ones(3)
    for turn in range(7):
        functions[turn % 3]()
        want = want * 2 + 1
        if turn == 4:
            w.value = want = np.zeros(3, np.float32)
    assert np.array_equal(w.value, want)


def test_threads_do_not_lose_updates():
    w = Parameter("w", np.zeros(1000))
    functions = [compile([], updates={w: w + 1.0}), compile(nd.sum(w), updates={w: w + 1.0})]
    for f in functions:
        f()

    def work(f):
        for _ in range(50):
            f()
            assert len(set(w.value.tolist())) == 1

    threads = [threading.Thread(target=work, args=(functions[n % 2],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.array_equal(w.value, np.full(1000, 202.0))


def test_gradients_with_regard_to_parameters_and_what_is_between():
    w, x = Parameter("w", np.array([1.0, 2.0])), Variable("x")
    h = w * x
    loss = nd.sum(h * h)
    by_w, by_h, by_x = compile(loss.grad([w, h, x]))(x=np.array([3.0, 4.0]))
    assert (
        np.array_equal(by_h, [6.0, 16.0]) and np.array_equal(by_w, [18.0, 64.0]) and np.array_equal(by_x, [6.0, 32.0])
    )


@pytest.mark.parametrize("value", [3, 2.5, True, [1.0, 2.0], np.int8(4)])
def test_first_values_have_numpys_dtypes(value):
    assert Parameter("w", value).value.dtype == np.asarray(value).dtype
