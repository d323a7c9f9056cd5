"""Python numbers, and what is computed of them alone, take the dtype of what they meet."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends.symbolic import Constant, Parameter, Variable, compile, nd
from dlir.ir.errors import DlirError

X = Variable("x")
F4 = np.array([[1.0, -2.0, 3.0], [-4.0, 5.0, -6.0]], np.float32)
MASK = nd.select(X > 0.0, 1.0, 0.0)
IS = (F4 > 0).astype(np.float32)
ONES = np.ones((3, 2), np.float32)

CASES = {
    "a mask": (MASK * X, IS * F4),
    "a mask of integers": (nd.select(X > 0.0, 1, 0) * X, IS * F4),
    "one branch": (nd.select(X > 0.0, X, 0.0), IS * F4),
    "the other branch": (nd.select(X > 0.0, 0, X), (1 - IS) * F4),
    "a sum": ((Constant(1.0) + Constant(2.0)) * X, 3 * F4),
    "a quotient of integers": (Constant(1) / Constant(2) + X, F4 + 0.5),
    "a function": (nd.exp(Constant(0.0)) * X, F4),
    "bits, which floats have none of": (nd.bitwise_or(Constant(1), Constant(2)) * X, 3 * F4),
    "chosen by numbers": (nd.select(Constant(1.0) < Constant(2.0), 3.0, 4.0) - X, 3 - F4),
    "a product of matrices": (MASK @ ONES, IS @ ONES),
    "joined": (nd.concat([MASK, X], axis=0), np.concatenate([IS, F4])),
    "a mask as a condition": (nd.select(MASK, X, 0.0), IS * F4),
    "nested": (nd.sum(nd.maximum(MASK, 0.5) * X), (np.maximum(IS, 0.5) * F4).sum()),
    "a power": (X**2, F4**2),
    "a gradient": (nd.sum(MASK * X * X).grad(X), 2 * IS * F4),
    "a cotangent": ((X * X).grad(X, MASK), 2 * IS * F4),
    "a cotangent that is a number": ((X * X).grad(X, 3.0), 6 * F4),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("backend", ["ref", "cpu"])
def test_what_is_made_of_numbers_takes_the_dtype_of_the_floats_beside_it(name, backend):
    node, wanted = CASES[name]
    found = compile(node, backend=backend)(F4)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_where_it_meets_nothing_it_has_numpys_dtype():
    for node, dtype in [(MASK, "f8"), (nd.select(X > 0.0, 1, 0), "i8"), (Constant(1) / Constant(2), "f8")]:
        assert compile(node)(**({} if node.op == "nd.div" else {"x": F4})).dtype == dtype
    assert compile(X + nd.select(Constant(True), 1.5, 0.5))(np.ones(2, np.int32)).dtype == np.float64
    assert compile(X + nd.select(Constant(True), 1, 0))(np.ones(2, np.int8)).dtype == np.int8
    assert compile(X * np.float64(2.0))(F4).dtype == np.float64, "an array of rank 0 is no Python number"


def test_a_gradient_with_regard_to_such_a_value_is_through_all_that_it_meets():
    slope = compile(nd.sum(MASK * X).grad(MASK))(F4)
    np.testing.assert_array_equal(slope, F4)


def test_updates_take_the_dtype_of_the_parameter():
    w = Parameter("w", np.zeros((2, 3), np.float32))
    compile([], updates={w: MASK})(F4)
    np.testing.assert_array_equal(w.value, IS)
    with pytest.raises(DlirError, match="the update of 'count' is tensor<2x3xf64>"):
        compile([], updates={Parameter("count", np.zeros((2, 3), np.int32)): MASK})(F4)


def test_long_chains_of_numbers():
    number = Constant(0.0)
    for _ in range(2000):
        number = number + 1.0
    assert compile(number * X)(F4)[0, 0] == 2000
