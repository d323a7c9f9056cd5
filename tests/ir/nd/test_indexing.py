"""Reading and adding at indices: against NumPy and JAX, at the edges, and what is refused."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from dlir.ir.builder import at_end
from dlir.ir.core import Block
from dlir.ir.errors import DlirError
from dlir.ir.ops import nd, nn
from dlir.ir.registry import find_op
from dlir.ir.types import F32, I32, I64, UI8, UI32, UI64, TensorType


def run(name: str, *arrays: Any, **attributes: Any) -> np.ndarray:
    cls: Any = find_op(f"nd.{name}")
    return np.asarray(cls.eval(*map(np.asarray, arrays), **attributes))


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (0,), (1, 1, 4)])
def test_take_is_numpys(rng, axis, shape):
    x = rng.standard_normal((4, 5, 3))
    extent = x.size if axis is None else x.shape[axis]
    indices = rng.integers(-extent, extent, shape)
    np.testing.assert_array_equal(run("take", x, indices, axis=axis), np.take(x, indices, axis))


@pytest.mark.parametrize("dtype", ["i1", "i4", "i8", "u1", "u4"])
def test_an_index_outside_is_that_of_the_nearest_element(dtype):
    x = np.array([10.0, 11.0, 12.0])
    limits = np.iinfo(dtype)
    indices = np.array([limits.min, 0, 2, 3, limits.max], dtype)
    np.testing.assert_array_equal(run("take", x, indices, axis=0), [10, 10, 12, 12, 12])
    added = run("scatter_add", x, indices, np.ones(5), axis=0)
    np.testing.assert_array_equal(added, [12, 11, 15])
    if limits.min:
        np.testing.assert_array_equal(run("take", x, np.array([-1, -3, -4], dtype), axis=0), [12, 10, 10])


def test_take_along_axis_is_numpys(rng):
    x = rng.standard_normal((3, 6, 2))
    for axis in (0, 1, 2, -2):
        shape = list(x.shape)
        shape[axis] = 4
        indices = rng.integers(-x.shape[axis], x.shape[axis], shape)
        np.testing.assert_array_equal(
            run("take_along_axis", x, indices, axis=axis), np.take_along_axis(x, indices, axis)
        )


def test_additions_are_made_in_order_and_rounded_each():
    """A sum of its own for each index would keep the ones that a large number swallows."""
    for dtype, large in (("f4", 2.0**24), (ml_dtypes.bfloat16, 256.0)):
        x = np.zeros(2, dtype)
        updates = np.array([large, 1, 1, 1], dtype)
        found = run("scatter_add", x, np.zeros(4, int), updates, axis=0)
        assert found.dtype == x.dtype and float(found[0]) == large
        found = run("add_along_axis", x, np.zeros(4, int), updates[::-1].copy(), axis=0)
        assert float(found[0]) > large


def test_scatter_add_against_jax(rng):
    jax = pytest.importorskip("jax")
    x = rng.integers(-9, 9, (4, 5, 3)).astype("i4")
    for axis, shape in ((0, (7,)), (1, (2, 3)), (2, ()), (-1, (6,))):
        indices = rng.integers(-x.shape[axis], x.shape[axis], shape)
        axis %= 3
        updates = rng.integers(-9, 9, x.shape[:axis] + shape + x.shape[axis + 1 :]).astype("i4")
        where = (slice(None),) * axis + (indices,)
        wanted = jax.numpy.asarray(x).at[where].add(updates)
        np.testing.assert_array_equal(run("scatter_add", x, indices, updates, axis=axis), wanted)


def test_add_along_axis_against_torch(rng):
    torch = pytest.importorskip("torch")
    x = rng.integers(-9, 9, (3, 5, 4))
    for axis in range(3):
        shape = list(x.shape)
        shape[axis] = 7
        indices, updates = rng.integers(0, x.shape[axis], shape), rng.integers(-9, 9, shape)
        wanted = torch.scatter_add(*map(torch.from_numpy, [x]), axis, *map(torch.from_numpy, [indices, updates]))
        np.testing.assert_array_equal(run("add_along_axis", x, indices, updates, axis=axis), wanted.numpy())


def test_slices_that_begin_at_run_time(rng):
    x = rng.standard_normal((6, 5)).astype("f4")
    update = rng.standard_normal((2, 5)).astype("f4")
    for start in (-7, 0, 3, 4, 5, 99):
        first = min(max(start, 0), 4)
        here, zero = np.asarray(start, "i4"), np.asarray(start, "i8")
        np.testing.assert_array_equal(run("dynamic_slice", x, here, zero, slice_sizes=(2, 5)), x[first : first + 2])
        wanted = x.copy()
        wanted[first : first + 2] = update
        np.testing.assert_array_equal(run("dynamic_update_slice", x, update, here, zero), wanted)


def test_slices_against_jax(rng):
    jax = pytest.importorskip("jax")
    x, update = rng.standard_normal((6, 5)).astype("f4"), rng.standard_normal((3, 2)).astype("f4")
    for starts in [(0, 0), (2, 3), (4, 1), (50, 50)]:
        scalars = [np.asarray(start, "i4") for start in starts]
        wanted = jax.lax.dynamic_slice(x, starts, (3, 2))
        np.testing.assert_array_equal(run("dynamic_slice", x, *scalars, slice_sizes=(3, 2)), wanted)
        wanted = jax.lax.dynamic_update_slice(x, update, starts)
        np.testing.assert_array_equal(run("dynamic_update_slice", x, update, *scalars), wanted)


def test_one_hot():
    indices = np.array([[0, 2], [-1, 3]])
    wanted = np.array([[[1, 0, 0], [0, 0, 1]], [[0, 0, 1], [0, 0, 0]]], "f4")
    np.testing.assert_array_equal(run("one_hot", indices, depth=3, axis=-1, dtype=F32), wanted)
    np.testing.assert_array_equal(run("one_hot", indices, depth=3, axis=0, dtype=F32), np.moveaxis(wanted, -1, 0))


def test_erf_inv_against_scipy():
    special = pytest.importorskip("scipy.special")
    for dtype, near, far in (("f4", 3e-7, 1e-5), ("f8", 1e-15, 1e-8)):
        x = np.tanh(np.linspace(-6, 6, 4001)).astype(dtype)
        x = x[np.abs(x) < 1]
        found, wanted = run("erf_inv", x), special.erfinv(x.astype("f8"))
        middle = np.abs(x) < 0.9
        np.testing.assert_allclose(found[middle], wanted[middle], near, 0)
        np.testing.assert_allclose(found, wanted, far, 0)
    ends = run("erf_inv", np.array([-1, 1, -0.0, 1.5, np.nan], "f4"))
    np.testing.assert_array_equal(ends, np.array([-np.inf, np.inf, -0.0, np.nan, np.nan], "f4"))


def test_bits_against_numpy(rng):
    for dtype in ("i4", "u4", "i8", "u8", "u1"):
        a = rng.integers(0, 1 << 7, 50).astype(dtype) * np.asarray(-1).astype(dtype)
        b = rng.integers(0, 70, 50).astype(dtype)
        for name in ("bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"):
            np.testing.assert_array_equal(run(name, a, b), getattr(np, name)(a, b))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x, i, e: nd.take(x, x, axis=0), "needs integers, such as i64, as indices, got tensor<4x3xf32>"),
        (lambda x, i, e: nd.take(x, nd.cast(i, dtype=UI64), axis=0), "needs integers, such as i64"),
        (lambda x, i, e: nd.take(x, i, axis=2), "axis 2 is out of range"),
        (lambda x, i, e: nd.take(e, i, axis=0), "an axis without elements has nothing at any index"),
        (lambda x, i, e: nd.take_along_axis(x, i, axis=0), "needs indices of shape 4x3 .* got tensor<5xi64>"),
        (lambda x, i, e: nd.scatter_add(x, i, x), "needs updates of shape 5x3"),
        (lambda x, i, e: nd.scatter_add(x, i, nd.cast(x, dtype=I32)), "needs operands of one dtype"),
        (lambda x, i, e: nd.one_hot(i, depth=-1), "'depth' must not be negative"),
        (lambda x, i, e: nd.dynamic_slice(x, 1, slice_sizes=(1, 1)), "needs 2 starts, one for each dimension of"),
        (lambda x, i, e: nd.dynamic_slice(x, 1, i, slice_sizes=(1, 1)), "needs scalars as starts, got tensor<5xi64>"),
        (lambda x, i, e: nd.dynamic_slice(x, 1, 1, slice_sizes=(5, 1)), "does not fit into tensor<4x3xf32>"),
        (lambda x, i, e: nd.dynamic_update_slice(x, e, 0, 0), "does not fit|needs update of rank 2"),
        (lambda x, i, e: nd.left_shift(x, x), "takes integers, got f32"),
        (lambda x, i, e: nn.embedding(i, e), "needs weight of rank 2"),
    ],
)
def test_mistakes_are_named(make, message):
    block = Block([TensorType((4, 3), F32), TensorType((5,), I64), TensorType((0,), F32)])
    with at_end(block), pytest.raises(DlirError, match=message):
        make(*block.args)


def test_numbers_are_indices_and_shapes_broadcast():
    block = Block([TensorType((4, 3), F32), TensorType((1, 2), I64)])
    with at_end(block):
        x, i = block.args
        assert nd.take(x, 2, axis=1).type is TensorType((4,), F32)
        assert nd.take(x, [[0, 1]], axis=0).type is TensorType((1, 2, 3), F32)
        assert nd.take_along_axis(x, i, axis=1).type is TensorType((4, 2), F32)
        assert nd.dynamic_slice(x, 1, 0, slice_sizes=(2, 3)).type is TensorType((2, 3), F32)
        assert nd.bitwise_and(nd.cast(x, dtype=UI32), 255).type is TensorType((4, 3), UI32)
        assert nd.add(nd.cast(x, dtype=UI8), 1).type is TensorType((4, 3), UI8)
