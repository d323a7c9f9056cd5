"""The meaning of single ops at their edges, stated as numbers or against NumPy, PyTorch and SciPy."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from dlir.ir.builder import at_end
from dlir.ir.core import Block
from dlir.ir.registry import find_op
from dlir.ir.types import BF16, F16, F32, F64, I1, I8, I32, I64, UI8, TensorType, dtype_from_numpy

NAN, INF = math.nan, math.inf


def make(name: str, *arrays: Any, **attributes: Any) -> Any:
    cls: Any = find_op(name)
    block = Block()
    operands = [block.add_arg(TensorType(a.shape, dtype_from_numpy(a.dtype))) for a in arrays]
    with at_end(block):
        return cls.build(*operands, **attributes).owner


@pytest.fixture
def both(tools: Any) -> Any:
    """Runs an op by `eval` and, if it is a primitive, by its scalar code, and sees that they agree."""

    def run(name: str, *arrays: Any, **attributes: Any) -> np.ndarray:
        arrays = tuple(map(np.asarray, arrays))
        op = make(name, *arrays, **attributes)
        found = tools.run_eval(op, arrays)
        if hasattr(op, "space"):
            points = np.asarray(tools.run_points(op, arrays))
            assert points.dtype == found.dtype
            if found.dtype == ml_dtypes.bfloat16:
                # NumPy's comparison does not take its NaN for one.
                np.testing.assert_array_equal(points.astype("f4"), found.astype("f4"))
            else:
                np.testing.assert_array_equal(points, found)
        return found

    return run


# ---------------------------------------------------------------- integer division


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8"])
def test_integer_division_is_defined_everywhere(both: Any, dtype: str) -> None:
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    values = np.array([low, low + 1, -7, -1, 0, 1, 7, high], dtype)
    a, b = (grid.ravel() for grid in np.meshgrid(values, values))
    quotient, remainder = both("nd.floor_divide", a, b), both("nd.mod", a, b)
    for x, y, q, r in zip(a.tolist(), b.tolist(), quotient.tolist(), remainder.tolist(), strict=True):
        if y == 0:
            assert (q, r) == (0, 0)
        elif (x, y) == (low, -1):
            assert (q, r) == (low, 0)
        else:
            assert (q, r) == divmod(x, y)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_float_division_is_numpys(both: Any, dtype: str) -> None:
    rng = np.random.default_rng(0)
    special = np.array([0.0, -0.0, 1, -1, 0.1, -0.1, 3, -3, 1e-30, 1e30, INF, -INF, NAN], dtype)
    wide = (rng.normal(size=2000) * 10.0 ** rng.integers(-3, 4, 2000)).astype(dtype)
    multiples = (rng.integers(-50, 50, 2000) * 0.1).astype(dtype)
    a, b = (grid.ravel() for grid in np.meshgrid(special, special))
    for x, y in ((a, b), (wide, wide[::-1].copy()), (multiples, np.full(2000, 0.1, dtype))):
        with np.errstate(all="ignore"):
            expected = np.floor_divide(x, y), np.remainder(x, y)
        found = both("nd.floor_divide", x, y), both("nd.mod", x, y)
        for ours, numpys in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, numpys)
            numbers = ~np.isnan(numpys)
            np.testing.assert_array_equal(np.signbit(ours[numbers]), np.signbit(numpys[numbers]))


def test_signs_of_zero_survive_in_the_scalar_code(tools: Any) -> None:
    a, b = np.array([-0.0, 0.0, 6.0, -6.0, -0.0, 1.0], "f4"), np.array([3.0, -3.0, -3.0, 3.0, -3.0, -INF], "f4")
    for name in ("nd.floor_divide", "nd.mod"):
        op = make(name, a, b)
        np.testing.assert_array_equal(np.signbit(tools.run_points(op, [a, b])), np.signbit(tools.run_eval(op, [a, b])))


def test_integer_powers(both: Any) -> None:
    base = np.array([0, 0, 1, -1, -1, 2, -2, 3, 5, 2, 2, -3, 7], "i4")
    exponent = np.array([0, -1, -5, -3, -4, -1, 3, 5, 0, 31, 40, 2, 30], "i4")
    expected = [1, 0, 1, -1, 1, 0, -8, 243, 1, -(2**31), 0, 9, (7**30 + 2**31) % 2**32 - 2**31]
    np.testing.assert_array_equal(both("nd.pow", base, exponent), expected)


# ---------------------------------------------------------------- cast


def test_float_to_integer_saturates(both: Any) -> None:
    x = np.array([NAN, INF, -INF, 1e30, -1e30, 127.9, 128.0, -128.9, -129.0, -0.9, 2.5, -2.5], "f4")
    expected = [0, 127, -128, 127, -128, 127, 127, -128, -128, 0, 2, -2]
    np.testing.assert_array_equal(both("nd.cast", x, dtype=I8), expected)
    np.testing.assert_array_equal(both("nd.cast", x.astype("f8"), dtype=I8), expected)
    edges = np.array([2.0**31, -(2.0**31), 2.0**31 - 128, -(2.0**31) - 256, 2.0**63, -(2.0**63)], "f4")
    top, low = 2**31 - 1, -(2**31)
    np.testing.assert_array_equal(both("nd.cast", edges, dtype=I32), [top, low, 2**31 - 128, low, top, low])
    big = np.array([2.0**63, -(2.0**63), 2.0**63 - 1024, NAN])
    np.testing.assert_array_equal(both("nd.cast", big, dtype=I64), [2**63 - 1, -(2**63), 2**63 - 1024, 0])
    np.testing.assert_array_equal(both("nd.cast", np.array([-3.0, 255.9, 256.0, NAN]), dtype=UI8), [0, 255, 255, 0])


def test_integer_casts_keep_the_low_bits(both: Any) -> None:
    x = np.array([300, -1, 128, -129, 2**31 - 1], "i4")
    np.testing.assert_array_equal(both("nd.cast", x, dtype=I8), x.astype("i1"))
    np.testing.assert_array_equal(both("nd.cast", x, dtype=I64), x)
    np.testing.assert_array_equal(both("nd.cast", np.array([-1, 5], "i1"), dtype=I32), [-1, 5])


def test_casts_to_and_from_bool(both: Any) -> None:
    np.testing.assert_array_equal(
        both("nd.cast", np.array([0.0, -0.0, 0.1, NAN, INF], "f4"), dtype=I1), [False, False, True, True, True]
    )
    flags = np.array([False, True])
    for dtype in (I8, I32, I64, F16, F32, F64, BF16):
        found = both("nd.cast", flags, dtype=dtype)
        assert found.astype("f8").tolist() == [0.0, 1.0]


def test_casts_between_floats_round_once(both: Any) -> None:
    x = np.array([1 / 3, 65520.0, 1e-8, -0.0, NAN, INF, 1 + 2**-8 + 2**-40])
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(both("nd.cast", x, dtype=F16), x.astype("f2"))
    np.testing.assert_array_equal(both("nd.cast", x, dtype=F32), x.astype("f4"))
    # By way of f32 the last one would be a tie, and round down to even.
    assert both("nd.cast", x, dtype=BF16)[-1] == ml_dtypes.bfloat16(1 + 2**-7)


def test_unsigned_bytes_become_floats(both: Any, tools: Any) -> None:
    x = np.array([0, 127, 128, 255], "u1")
    np.testing.assert_array_equal(tools.run_eval(make("nd.cast", x, dtype=F32), [x]), [0, 127, 128, 255])


# ---------------------------------------------------------------- NaN, extremes


@pytest.mark.parametrize("name", ["nd.maximum", "nd.minimum"])
def test_extrema_propagate_nan(both: Any, name: str) -> None:
    x, y = np.array([1.0, NAN, NAN, INF], "f4"), np.array([NAN, 1.0, NAN, -INF], "f4")
    found = both(name, x, y)
    assert np.isnan(found[:3]).all() and found[3] == (INF if name == "nd.maximum" else -INF)


def test_comparisons_with_nan(both: Any) -> None:
    x, y = np.array([NAN, 1.0], "f4"), np.array([NAN, NAN], "f4")
    for name in ("equal", "less", "less_equal", "greater", "greater_equal"):
        assert not both(f"nd.{name}", x, y).any()
    assert both("nd.not_equal", x, y).all()


def test_comparisons_of_bools(both: Any) -> None:
    a, b = np.array([False, False, True, True]), np.array([False, True, False, True])
    assert both("nd.less", a, b).tolist() == [False, True, False, False]
    assert both("nd.greater_equal", a, b).tolist() == [True, False, True, True]


def test_sign(both: Any) -> None:
    found = both("nd.sign", np.array([-2.0, -0.0, 0.0, 3.0, NAN, -INF], "f4"))
    np.testing.assert_array_equal(found, np.array([-1, 0, 0, 1, NAN, -1], "f4"))
    assert not np.signbit(found[1])
    assert both("nd.sign", np.array([-(2**31), 0, 5], "i4")).tolist() == [-1, 0, 1]


def test_rounding_to_integers(both: Any) -> None:
    x = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], "f4")
    assert both("nd.rint", x).tolist() == [-2, -2, 0, 0, 2, 2]
    assert both("nd.floor", x).tolist() == [-3, -2, -1, 0, 1, 2]
    assert both("nd.ceil", x).tolist() == [-2, -1, 0, 1, 2, 3]
    assert both("nd.floor", np.array([3, -3], "i4")).tolist() == [3, -3]


def test_erf(tools: Any) -> None:
    special = pytest.importorskip("scipy.special")
    x = np.linspace(-4, 4, 200).astype("f4")
    np.testing.assert_allclose(tools.run_eval(make("nd.erf", x), [x]), special.erf(x), 1e-6)


# ---------------------------------------------------------------- reductions


def test_half_precision_is_summed_in_f32(both: Any, tools: Any) -> None:
    """In f16 a sum of ones would stick at 2048."""
    x = np.ones(5000, "f2")
    assert tools.run_eval(make("nd.sum", x), [x]) == 5000
    assert both("nd.mean", x) == 1
    ones = np.ones((1, 5000), "f2")
    assert tools.run_eval(make("nd.matmul", ones, ones, transpose_b=True), [ones, ones])[0, 0] == 5000


def test_sums_keep_the_dtype(both: Any) -> None:
    assert both("nd.sum", np.full(3, 2**31 - 1, "i4")).dtype == np.int32
    assert both("nd.sum", np.full(2, 2**31 - 1, "i4")) == -2


def test_reductions_over_nothing(both: Any) -> None:
    empty = np.zeros((2, 0), "f4")
    assert both("nd.sum", empty, axes=(1,)).tolist() == [0, 0]
    assert np.isnan(both("nd.mean", empty, axes=(1,))).all()
    assert both("nd.max", empty, axes=(0,)).shape == (0,)


def test_max_and_min_propagate_nan_and_take_bools(both: Any) -> None:
    x = np.array([[1, NAN, 3], [1, 2, 3]], "f4")
    assert np.isnan(both("nd.max", x, axes=(1,))[0]) and both("nd.min", x, axes=(1,))[1] == 1
    flags = np.array([[True, False], [True, True], [False, False]])
    assert both("nd.max", flags, axes=(1,)).tolist() == [True, True, False]
    assert both("nd.min", flags, axes=(1,)).tolist() == [False, True, False]


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_argmax_takes_the_first_and_nan_is_largest(both: Any, axis: int) -> None:
    cases = [
        np.array([[1, 3, 3], [2, 2, 2], [-1, -5, -1]], "i4"),
        np.array([[NAN, 1, NAN], [-INF, -INF, -INF], [0.0, -0.0, NAN]], "f4"),
        np.array([[False, True, True], [False, False, False]]),
    ]
    for x in cases:
        found = both("nd.argmax", x, axis=axis)
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, np.argmax(x, axis))


def test_softmax_in_half_precision_rounds_once(both: Any) -> None:
    x = np.random.default_rng(0).normal(size=(3, 1000)).astype("f2")
    wide = np.exp(x.astype("f8") - x.max(-1, keepdims=True))
    expected = wide / wide.sum(-1, keepdims=True)
    np.testing.assert_allclose(both("nd.softmax", x).astype("f8"), expected, 6e-4, 6e-8)


def test_layer_norm_over_axes_that_are_not_the_last(both: Any) -> None:
    rng = np.random.default_rng(0)
    x, scale, bias = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 4)), rng.normal(size=(2, 4))
    mean, var = x.mean((0, 2), keepdims=True), x.var((0, 2), keepdims=True)
    expected = (x - mean) / np.sqrt(var + 0.1) * scale[:, None, :] + bias[:, None, :]
    np.testing.assert_allclose(both("nd.layer_norm", x, scale, bias, axes=(0, 2), epsilon=0.1), expected)


# ---------------------------------------------------------------- windows in one and three dimensions


@pytest.mark.parametrize("rank", [1, 3])
def test_convolution_and_pooling_of_any_rank(rank: int, tools: Any) -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    rng = np.random.default_rng(rank)
    x = rng.normal(size=(2, 4, *(5, 6, 7)[:rank]))
    w = rng.normal(size=(6, 2, *(2, 3, 2)[:rank]))
    expected = getattr(functional, f"conv{rank}d")(torch.tensor(x), torch.tensor(w), padding=1, stride=2, groups=2)
    op = make("nd.conv", x, w, padding=(1,) * rank, stride=(2,) * rank, groups=2)
    np.testing.assert_allclose(tools.run_eval(op, [x, w]), expected.numpy(), 1e-10)
    np.testing.assert_allclose(tools.run_points(op, [x, w]), expected.numpy(), 1e-10)
    for name in ("max", "avg"):
        pool = getattr(functional, f"{name}_pool{rank}d")
        op = make(f"nd.{name}_pool", x, kernel=(3,) * rank, stride=(2,) * rank, padding=(1,) * rank, ceil_mode=True)
        np.testing.assert_allclose(
            tools.run_eval(op, [x]), pool(torch.tensor(x), 3, 2, 1, ceil_mode=True).numpy(), 1e-10
        )


def test_padding_differs_by_side(both: Any) -> None:
    x = np.arange(1, 5, dtype="f4").reshape(1, 1, 4)
    assert both("nd.conv", x, np.ones((1, 1, 2), "f4"), padding=(0, 1)).tolist() == [[[3, 5, 7, 4]]]
    assert both("nd.max_pool", -x, kernel=(2,), stride=(1,), padding=(1, 0)).tolist() == [[[-1, -1, -2, -3]]]
    assert both("nd.avg_pool", x, kernel=(2,), stride=(1,), padding=(0, 1), count_include_pad=False)[0, 0, -1] == 4


# ---------------------------------------------------------------- movement


def test_slices_are_pythons(both: Any) -> None:
    x = np.arange(30, dtype="f4").reshape(5, 6)
    far = 2**63 - 1
    cases = [((1, -3), (far, -1), None, x[1:, -3:-1]), ((-1, 0), (-far, far), (-1, 4), x[::-1, ::4])]
    cases += [((3, 9), (1, far), None, x[3:1, 9:]), ((4, 5), (0, 1), (-2, -3), x[4:0:-2, 5:1:-3])]
    for start, stop, step, expected in cases:
        np.testing.assert_array_equal(both("nd.slice", x, start=start, stop=stop, step=step), expected)


def test_pad_with_a_value(both: Any) -> None:
    x = np.arange(4, dtype="f4").reshape(2, 2)
    found = both("nd.pad", x, low=(1, 0), high=(0, 2), value=-INF)
    np.testing.assert_array_equal(found, np.pad(x, ((1, 0), (0, 2)), constant_values=-INF))
    assert both("nd.pad", np.zeros((0, 2), "i4"), low=(1, 1), high=(1, 0), value=7.0).tolist() == [[7] * 3] * 2


def test_concat_of_many(both: Any) -> None:
    parts = [np.full((2, n), n, "i4") for n in (3, 0, 1, 2)]
    np.testing.assert_array_equal(both("nd.concat", *parts, axis=1), np.concatenate(parts, 1))


def test_concat_keeps_exact_types() -> None:
    assert make("nd.concat", np.zeros(2, "f4"), np.zeros(3, "f4"), axis=0).result.type is TensorType((5,), F32)
