"""A donated array belongs to the call that took it: no other call takes it, and the results live on."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from dlir.frontends.symbolic import Variable, compile, donation
from dlir.ir.errors import DlirError

A, B = Variable("A"), Variable("B")


@pytest.mark.parametrize("backend", ["cpu", "ref"])
def test_an_array_is_not_taken_again_after_it_was_donated(backend):
    f = compile(B * A + 1.0, donate="B", name="f", backend=backend)
    a, b = np.ones(3), np.full(3, 2.0)
    d = f(A=a, B=b)
    for call in (lambda: f(A=a, B=b), lambda: compile(A * 2.0)(b), lambda: f(A=b, B=a)):
        with pytest.raises(DlirError, match="was donated before, to input 'B' of 'f'") as caught:
            call()
        assert "give a copy" in (caught.value.diagnostics[0].hint or "")
    assert np.array_equal(f(A=a, B=d), np.full(3, 4.0)), "the result is an array of its own, wherever it lives"
    b[...] = 5.0
    assert np.array_equal(f(A=a, B=b[...]), np.full(3, 6.0)), "a view says that the memory was filled anew"


def test_what_was_not_donated_is_taken_again():
    f = compile(B * A + 1.0, donate="B")
    a = np.ones(3)
    for _ in range(3):
        assert np.array_equal(f(A=a, B=np.full(3, 2.0)), np.full(3, 3.0))


def test_a_call_that_was_refused_takes_nothing():
    f = compile(B * A + 1.0, donate="B")
    b = np.ones(3)
    with pytest.raises(DlirError):
        f(A=np.ones(4), B=b)
    assert np.array_equal(f(A=np.ones(3), B=b), np.full(3, 2.0))


def test_nothing_is_remembered_of_arrays_that_are_gone():
    gc.collect()
    before = len(donation._GONE)
    f = compile(B + 1.0, donate="B")
    for _ in range(50):
        f(np.zeros(3))
    gc.collect()
    assert len(donation._GONE) <= before + 1
