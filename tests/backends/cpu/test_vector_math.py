"""Elementary functions against float64 NumPy: accuracy in ulp over all exponents, and the special values."""

import math
import re

import numpy as np
import pytest

from dlir.backends.cpu import jit, vector_math

# The module's documented bounds.
BOUNDS = {
    "exp": 1.0, "exp2": 0.8, "expm1": 1.4, "log": 0.8, "log1p": 1.4, "log2": 1.0, "log10": 1.0, "tanh": 1.4,
    "erf": 0.9, "sin": 0.6, "cos": 0.6, "pow": 0.51,
}  # fmt: skip
SPECIAL = np.array(
    [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 1.0, -1.0, 88.8, -104.5, 3e38, -3e38], np.float32
)


def reference(name, *inputs):
    with np.errstate(all="ignore"):
        wide = [x.astype(np.float64) for x in inputs]
        if name == "erf":
            return np.array([math.erf(x) for x in wide[0]])
        return {"pow": np.power}.get(name, getattr(np, name, None))(*wide)


def error_in_ulps(got, want):
    """|got - want| over the spacing of float32 at `want`; infinite where one of them is NaN or infinite alone."""
    with np.errstate(all="ignore"):
        rounded = want.astype(np.float32)
        spacing = np.spacing(np.maximum(np.abs(rounded), np.finfo(np.float32).tiny)).astype(np.float64)
        error = np.abs(got.astype(np.float64) - want) / spacing
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    return np.where(same & ~np.isfinite(rounded), 0.0, np.where(np.isnan(error), np.inf, error))


def every_exponent(count):
    """float32 values evenly spread over the bit patterns: both signs, all exponents, NaN."""
    return np.linspace(0, 2**32 - 1, count).astype(np.uint64).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("name", sorted(set(BOUNDS) - {"pow"}))
def test_float32_is_accurate(elementwise, name):
    function = elementwise(name)
    near_one = np.linspace(0.5, 2.0, 30_001).astype(np.float32)
    dense = np.linspace(-20.0, 100.0, 60_001).astype(np.float32)
    x = np.concatenate([every_exponent(60_001), near_one, near_one - np.float32(1.0), dense])
    errors = error_in_ulps(function(x), reference(name, x))
    worst = errors.argmax()
    assert errors[worst] <= BOUNDS[name], f"{name}({x[worst]!r}) is {errors[worst]} ulp off"


@pytest.mark.parametrize("name", sorted(set(BOUNDS) - {"pow"}))
def test_float32_special_values_have_numpys_signs(elementwise, name):
    with np.errstate(over="ignore"):
        want = reference(name, SPECIAL).astype(np.float32)
    got = elementwise(name)(SPECIAL)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    kept = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got[kept]), np.signbit(want[kept]))


def test_tails_of_exp_are_subnormal_not_flushed(elementwise):
    x = np.linspace(-103.9, -87.4, 1001).astype(np.float32)
    got = elementwise("exp")(x)
    assert (got[x > -103] > 0).all()
    assert error_in_ulps(got, reference("exp", x)).max() <= BOUNDS["exp"]


@pytest.mark.parametrize("name", ["exp", "exp2"])
def test_scaling_in_one_instruction_gives_the_same_bits(elementwise, name):
    if not jit.host_target().has_ldexp:
        pytest.skip("this CPU or LLVM has no such instruction")
    x = np.concatenate([every_exponent(60_001), np.linspace(-160, 140, 60_001).astype(np.float32)])
    one, two = elementwise(name), elementwise(name, "f32", True)
    np.testing.assert_array_equal(one(x).view(np.uint32), two(x).view(np.uint32))
    assert re.search(r"call <\d+ x float> @llvm.ldexp", str(jit.optimised(two.ir)))


def test_log_of_subnormals(elementwise):
    x = np.geomspace(1.5e-45, 1.1e-38, 1001).astype(np.float32)
    for name in ("log", "log2", "log10"):
        assert error_in_ulps(elementwise(name)(x), reference(name, x)).max() <= BOUNDS[name]


def test_sin_and_cos_of_huge_arguments(elementwise):
    x = np.geomspace(1e5, 3e38, 2001).astype(np.float32)
    for name in ("sin", "cos"):
        assert error_in_ulps(elementwise(name)(x), reference(name, x)).max() <= BOUNDS[name]


def test_pow_is_accurate(elementwise):
    rng = np.random.default_rng(0)
    x = np.exp(rng.uniform(-87, 88, 50_000)).astype(np.float32)
    y = (rng.uniform(-100, 100, x.size) / np.log(x.astype(np.float64))).astype(np.float32)
    power = elementwise("pow")
    for exponent in (y, np.full_like(x, 2.0), np.full_like(x, 0.5), np.full_like(x, -1.0)):
        assert error_in_ulps(power(x, exponent), reference("pow", x, exponent)).max() <= BOUNDS["pow"]


def test_pow_has_numpys_special_cases(elementwise):
    values = np.array(
        [0, -0.0, 1, -1, 2, -2, 0.5, -0.5, 3, -3, np.inf, -np.inf, np.nan, 1e-40, 2**24 + 1, 2.5], np.float32
    )
    x, y = (grid.ravel() for grid in np.meshgrid(values, values))
    got, want = elementwise("pow")(x, y), reference("pow", x, y)
    assert error_in_ulps(got, want).max() <= BOUNDS["pow"]
    kept = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got[kept]), np.signbit(want[kept]))


@pytest.mark.parametrize("name", vector_math.functions("f64"))
def test_float64_agrees_with_the_c_library(elementwise, name):
    x = np.linspace(0.05, 0.95, 101) + (1.0 if name == "acosh" else 0.0)
    inputs = (x, x[::-1]) if name in ("pow", "atan2") else (x,)
    oracle = getattr(math, name)
    want = [oracle(*row) for row in zip(*(v.tolist() for v in inputs))]
    np.testing.assert_allclose(elementwise(name, "f64")(*inputs), want, rtol=4e-16)


@pytest.mark.parametrize("name", sorted(set(vector_math.functions("f32")) - set(BOUNDS)))
def test_rare_float32_functions_round_the_float64_one(elementwise, name):
    x = np.linspace(0.05, 0.95, 101, dtype=np.float32) + np.float32(name == "acosh")
    inputs = (x, x[::-1]) if name == "atan2" else (x,)
    oracle = getattr(math, name)
    want = np.array([oracle(*row) for row in zip(*(v.tolist() for v in inputs))])
    assert error_in_ulps(elementwise(name)(*inputs), want).max() <= 0.501


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_the_vectoriser_widens_float32_functions(elementwise, name):
    optimised = str(jit.optimised(elementwise(name).ir))
    assert re.search(r"call <\d+ x (float|double)> @llvm.fma", optimised)


def test_unknown_function_is_named():
    with pytest.raises(KeyError, match=r"gamma\.f32"):
        vector_math.prelude([("gamma", "f32")])


def test_prelude_is_the_same_for_any_order_of_names():
    names = [("sin", "f32"), ("cos", "f32"), ("exp", "f64"), ("tanh", "f64")]
    text = vector_math.prelude(names)
    assert text == vector_math.prelude(reversed(names))
    assert text.count("@dlir.two_pi.high = ") == 1
