"""What builders of nd ops accept: Python numbers, arrays, broadcasting and promotion, by NumPy 2's rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlir.ir.builder import at_end
from dlir.ir.core import Block, Value
from dlir.ir.errors import DlirError
from dlir.ir.op import Op, Tensor
from dlir.ir.ops import nd
from dlir.ir.types import BF16, F16, F32, F64, I1, I8, I16, I32, I64, dtype_from_numpy

DTYPES = [I1, I8, I16, I32, I64, F16, F32, F64]


def build(function: Any, *types: Tensor) -> Value:
    """Call `function` on block arguments of these types."""
    block = Block(types)
    with at_end(block):
        return function(*block.args)


def ops(value: Value) -> list[str]:
    block = value.parent_block
    assert block is not None
    return [op.name for op in block.ops]


def run(value: Value, *arrays: np.ndarray) -> np.ndarray:
    """Run the block in which `value` stands."""
    block = value.parent_block
    assert block is not None
    values: dict[Value, Any] = dict(zip(block.args, arrays, strict=True))
    for op in block.ops:
        assert isinstance(op, Op)
        values.update(zip(op.results, op.evaluate([values[v] for v in op.operands]), strict=True))
    return np.asarray(values[value])


@pytest.mark.parametrize("a", DTYPES, ids=str)
@pytest.mark.parametrize("b", DTYPES, ids=str)
def test_dtypes_promote_as_in_numpy(a: Any, b: Any) -> None:
    for name, function in (("add", np.add), ("mul", np.multiply), ("div", np.true_divide), ("maximum", np.maximum)):
        expected = function(np.ones(2, a.numpy), np.ones(2, b.numpy)).dtype
        found = build(getattr(nd, name), Tensor((2,), a), Tensor((2,), b)).dtype
        if name == "div" and not {a, b} & {F16, F32, F64}:
            # NumPy has no true division of two small integers in half precision: it is always f64.
            assert found is F64 and expected in (np.float64, np.float16)
        else:
            assert found is dtype_from_numpy(expected), name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("number", [True, 2, 1.5], ids=["bool", "int", "float"])
def test_python_numbers_are_weak(dtype: Any, number: Any) -> None:
    expected = (np.ones(2, dtype.numpy) * number).dtype
    assert build(lambda x: nd.mul(x, number), Tensor((2,), dtype)).dtype is dtype_from_numpy(expected)
    assert build(lambda x: nd.mul(number, x), Tensor((2,), dtype)).dtype is dtype_from_numpy(expected)


def test_numpy_scalars_and_arrays_are_not_weak() -> None:
    x = Tensor((2,), F32)
    assert build(lambda x: nd.add(x, np.float64(1)), x).dtype is F64
    assert build(lambda x: nd.add(x, np.ones((3, 1), "f4")), x).shape == (3, 2)
    assert build(lambda x: nd.add(x, [1.0, 2.0]), x).dtype is F64


def test_bfloat16_joins_the_others() -> None:
    x = Tensor((2,), BF16)
    assert build(lambda x: nd.mul(x, 1.5), x).dtype is BF16
    for other, expected in ((F16, F32), (F32, F32), (F64, F64), (I32, BF16), (I1, BF16)):
        assert build(nd.add, x, Tensor((2,), other)).dtype is expected


@pytest.mark.parametrize("dtype", [I1, I8, I16, I32, I64, F16, F32, F64], ids=str)
def test_functions_of_integers_take_the_float_that_numpy_takes(dtype: Any) -> None:
    expected = np.exp(np.ones(2, dtype.numpy)).dtype
    assert build(nd.exp, Tensor((2,), dtype)).dtype is dtype_from_numpy(expected)


def test_a_number_that_does_not_fit_is_refused() -> None:
    with pytest.raises(DlirError, match="the number 300 is out of bounds for i8"):
        build(lambda x: nd.add(x, 300), Tensor((2,), I8))
    with pytest.raises(DlirError, match="takes tensors, arrays and numbers, got a str"):
        build(lambda x: nd.add(x, "1"), Tensor((2,), F32))


def test_numbers_become_splats_of_the_full_shape() -> None:
    value = build(lambda x: nd.add(x, 1), Tensor((3, 4), F32))
    assert ops(value) == ["nd.constant", "nd.add"]
    x = np.ones((3, 4), "f4")
    np.testing.assert_array_equal(run(value, x), x + 1)


def test_equal_operands_need_nothing() -> None:
    assert ops(build(nd.add, Tensor((3, None), F32), Tensor((3, None), F32))) == ["nd.add"]


@pytest.mark.parametrize(
    ("left", "right"),
    [((3, 4), (4,)), ((3, 1), (1, 4)), ((), (2, 3)), ((2, 1, 4), (3, 1)), ((0, 3), (1, 1)), ((1,), (0,)), ((5,), ())],
)
def test_shapes_broadcast_as_in_numpy(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=left), rng.normal(size=right)
    value = build(nd.sub, Tensor(left, F64), Tensor(right, F64))
    np.testing.assert_array_equal(run(value, a, b), a - b)
    assert value.shape == (a - b).shape


N = None


@pytest.mark.parametrize(
    ("shapes", "sizes"),
    [
        (((N, 4), (4,)), ((3, 4), (4,))),
        (((4,), (N, 4)), ((4,), (3, 4))),
        (((N, 1), (1, N)), ((3, 1), (1, 4))),
        (((N, 1), (1, N)), ((1, 1), (1, 1))),
        (((N, 3, 1), (N,)), ((2, 3, 1), (5,))),
        (((N, N), (N, 1)), ((2, 3), (2, 1))),
        (((), (N, N)), ((), (2, 0))),
    ],
)
def test_dynamic_shapes_broadcast(shapes: Any, sizes: Any) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=size) for size in sizes]
    value = build(nd.sub, *(Tensor(shape, F64) for shape in shapes))
    np.testing.assert_array_equal(run(value, *arrays), arrays[0] - arrays[1])


def test_three_dynamic_operands_broadcast() -> None:
    """No single operand has all dimensions: they are taken from one after the other."""
    types = [Tensor((N, 1, 1), I1), Tensor((1, N, 1), F32), Tensor((1, 1, N), F32)]
    value = build(nd.select, *types)
    assert value.shape == (N, N, N)
    condition = np.array([True, False]).reshape(2, 1, 1)
    x, y = np.ones((1, 3, 1), "f4"), np.arange(4, dtype="f4").reshape(1, 1, 4)
    np.testing.assert_array_equal(run(value, condition, x, y), np.where(condition, x, y))


def test_dynamic_dimensions_do_not_broadcast() -> None:
    with pytest.raises(DlirError, match=r"shapes \?x4 and 3x4 do not broadcast; a dynamic dimension"):
        build(nd.add, Tensor((N, 4), F32), Tensor((3, 4), F32))
    with pytest.raises(DlirError, match="shapes 2x3 and 4 do not broadcast"):
        build(nd.add, Tensor((2, 3), F32), Tensor((4,), F32))


def test_logic_takes_any_dtype() -> None:
    value = build(nd.logical_and, Tensor((3,), F32), Tensor((3,), I32))
    np.testing.assert_array_equal(
        run(value, np.array([0, 1, np.nan], "f4"), np.array([1, 2, 3], "i4")), [False, True, True]
    )


def test_select_promotes_only_what_it_chooses_from() -> None:
    value = build(lambda c, x: nd.select(c, x, 0), Tensor((2,), I1), Tensor((3, 2), F32))
    assert value.type is Tensor((3, 2), F32)


def test_a_whole_formula() -> None:
    x = np.random.default_rng(0).normal(size=(4, 5)).astype("f4")
    value = build(lambda v: nd.div(1, nd.add(1.0, nd.exp(nd.neg(v)))), Tensor((4, 5), F32))
    assert value.dtype is F32
    np.testing.assert_allclose(run(value, x), 1 / (1 + np.exp(-x)), 1e-6)
