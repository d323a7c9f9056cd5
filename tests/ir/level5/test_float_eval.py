"""Float ops against exact rational arithmetic and the IEEE 754 rules for NaN, infinities and zeros."""

from __future__ import annotations

import importlib.util
import itertools
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dlir.ir.builder import at_end
from dlir.ir.core import Block
from dlir.ir.dialects.arith import FLOAT_PREDICATES
from dlir.ir.ops import arith
from dlir.ir.ops import math as dmath
from dlir.ir.types import BF16, F16, F32, F64, I1, I8, I32, I64

_spec = importlib.util.spec_from_file_location("rounding", Path(__file__).with_name("rounding.py"))
rounding = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(rounding)
rounded = rounding.rounded

FLOATS = [F16, BF16, F32, F64]
INF, NAN = math.inf, math.nan


def evaluated(build, operands, types):
    block = Block(types)
    with at_end(block):
        build(*block.args)
    (result,) = block.last.evaluate(operands)
    assert np.asarray(result).dtype == block.last.result.type.numpy
    return result


def numbers(dtype, count=200):
    """Finite numbers of `dtype` of all magnitudes."""
    rng = np.random.default_rng(7)
    size = np.dtype(dtype.numpy).itemsize
    found = rng.integers(0, 256, (count, size), np.uint8).view(dtype.numpy).reshape(-1)
    return [x for x in found if np.isfinite(np.float64(x))]


def same(got, want):
    """Equal, telling zeros apart and NaN equal to NaN."""
    got, want = float(got), float(want)
    return (math.isnan(got) and math.isnan(want)) or (got == want and math.copysign(1, got) == math.copysign(1, want))


EXACT = {
    "addf": lambda a, b: a + b,
    "subf": lambda a, b: a - b,
    "mulf": lambda a, b: a * b,
    "divf": lambda a, b: a / b,
}


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", EXACT)
def test_arithmetic_is_correctly_rounded(name, dtype):
    values = numbers(dtype)
    for a, b in zip(values, reversed(values), strict=True):
        if not b:
            continue
        exact = EXACT[name](Fraction(float(a)), Fraction(float(b)))
        if exact:
            got = evaluated(getattr(arith, name), [a, b], [dtype] * 2)
            assert float(got) == rounded(exact, dtype.numpy), (a, b)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_fma_rounds_once(dtype):
    one_up = dtype.numpy.type(1) + np.finfo(np.float32).eps if dtype is F32 else None
    values = numbers(dtype, 300)
    triples = list(zip(values, values[1:], values[2:], strict=False))
    # Cases in which the product must keep all its bits, and ties that the small addend decides.
    small = [dtype.numpy.type(x) for x in (1.0, 1.5, -1.25, 2.0**-12, -(2.0**-20), 3.0, 1.0 / 3.0, -1.0 / 3.0)]
    triples += itertools.product(small, small, small)
    if one_up is not None:
        triples += [(one_up, one_up, np.float32(-1)), (one_up, -one_up, np.float32(1))]
    for a, b, c in triples:
        exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
        if exact:
            got = evaluated(dmath.fma, [a, b, c], [dtype] * 3)
            assert float(got) == rounded(exact, dtype.numpy), (a, b, c)


def test_fma_of_infinities_and_nan():
    for dtype in (F32, F64):
        of = dtype.numpy.type
        assert math.isnan(evaluated(dmath.fma, [of(INF), of(0), of(1)], [dtype] * 3))
        assert math.isnan(evaluated(dmath.fma, [of(INF), of(1), of(-INF)], [dtype] * 3))
        assert evaluated(dmath.fma, [of(2), of(INF), of(1)], [dtype] * 3) == INF
        assert evaluated(dmath.fma, [of(1e30), of(1e30), of(INF)], [dtype] * 3) == INF
    huge = np.float64(1.7e308)
    assert evaluated(dmath.fma, [huge, np.float64(-2), np.float64(0)], [F64] * 3) == -INF


@pytest.mark.parametrize("target", [F16, BF16, F32], ids=str)
def test_truncf_rounds_float64_once(target):
    ties = [1 + 2.0**-8 + 2.0**-40, 1 + 2.0**-8 - 2.0**-40, 1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-11 + 2.0**-40]
    ties += [2.0**-133 * (1 + 2.0**-30), 2.0**-134, 3e38, 3.5e38, 65519.99, 65520.0]
    for value in map(np.float64, [*ties, *(-t for t in ties), *map(float, numbers(F32))]):
        got = evaluated(lambda x: arith.truncf(x, target), [value], [F64])
        assert float(got) == rounded(Fraction(float(value)), target.numpy), value


@pytest.mark.parametrize("target", FLOATS, ids=str)
def test_integers_become_the_nearest_float(target):
    tie = (1 << 62) + (1 << 54)
    values = [
        0,
        1,
        -1,
        2049,
        2051,
        65519,
        65520,
        257,
        tie,
        tie + 1,
        tie - 1,
        -tie - 1,
        (1 << 63) - 1,
        -(1 << 63),
        1 << 53,
    ]
    for value in values:
        got = evaluated(lambda x: arith.sitofp(x, target), [np.int64(value)], [I64])
        assert float(got) == rounded(Fraction(value), target.numpy), value
        pattern = value % (1 << 64)
        got = evaluated(lambda x: arith.uitofp(x, target), [np.int64(value)], [I64])
        assert float(got) == rounded(Fraction(pattern), target.numpy), pattern


def test_bools_as_floats():
    assert evaluated(lambda x: arith.sitofp(x, F32), [np.bool_(True)], [I1]) == -1.0
    assert evaluated(lambda x: arith.uitofp(x, F32), [np.bool_(True)], [I1]) == 1.0


@pytest.mark.parametrize("source", [F32, F64], ids=str)
@pytest.mark.parametrize(("name", "target", "low", "high"), [
    ("fptosi", I8, -128, 127),
    ("fptosi", I32, -(1 << 31), (1 << 31) - 1),
    ("fptosi", I64, -(1 << 63), (1 << 63) - 1),
    ("fptoui", I8, 0, 255),
    ("fptoui", I64, 0, (1 << 64) - 1),
    ("fptoui", I1, 0, 1),
])  # fmt: skip
def test_floats_become_integers_towards_zero_and_saturate(name, target, low, high, source):
    values = [0.0, -0.0, 0.9, -0.9, 1.5, -1.5, 127.9, 128.0, -128.9, -129.0, 255.5, 256.0, 2147483520.0, 2.0**31]
    values += [2.0**63, -(2.0**63), 2.0**63 * 1.0000002, 2.0**64, 1e30, -1e30, INF, -INF, NAN]
    for value in map(source.numpy.type, values):
        got = evaluated(lambda x: getattr(arith, name)(x, target), [value], [source])
        exact = 0 if math.isnan(value) else value if math.isinf(value) else int(value)
        want = int(min(max(exact, low), high))
        assert int(got) % (1 << (8 * np.asarray(got).itemsize)) == want % (1 << (8 * np.asarray(got).itemsize)), value


MEANING = {
    "eq": lambda a, b: a == b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "ne": lambda a, b: a != b,
    "ord": lambda a, b: True,
    "uno": lambda a, b: False,
}


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("predicate", FLOAT_PREDICATES)
def test_comparisons(predicate, dtype):
    for a, b in itertools.product([0.0, -0.0, 1.0, -2.5, INF, -INF, NAN], repeat=2):
        unordered = math.isnan(a) or math.isnan(b)
        if predicate in ("true", "false"):
            want = predicate == "true"
        elif predicate in ("ord", "uno"):
            want = unordered == (predicate == "uno")
        else:
            want = predicate[0] == "u" if unordered else MEANING[predicate[1:]](a, b)
        operands = [dtype.numpy.type(a), dtype.numpy.type(b)]
        assert bool(evaluated(lambda x, y: arith.cmpf(predicate, x, y), operands, [dtype] * 2)) == want, (a, b)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_maximum_and_minimum_keep_nan_and_order_zeros(dtype):
    for a, b in itertools.product([0.0, -0.0, 1.0, -2.5, INF, -INF, NAN], repeat=2):
        operands = [dtype.numpy.type(a), dtype.numpy.type(b)]
        ordered = sorted((a, b), key=lambda x: (x, math.copysign(1, x)))
        least, most = (NAN, NAN) if math.isnan(a) or math.isnan(b) else ordered
        assert same(evaluated(arith.maximumf, operands, [dtype] * 2), most), (a, b)
        assert same(evaluated(arith.minimumf, operands, [dtype] * 2), least), (a, b)
        least, most = (b, b) if math.isnan(a) else (a, a) if math.isnan(b) else (min(a, b), max(a, b))
        for name, want in (("maxnumf", most), ("minnumf", least)):
            got = float(evaluated(getattr(arith, name), operands, [dtype] * 2))
            assert got == want or (math.isnan(got) and math.isnan(want)), (name, a, b)


FUNCTIONS = {
    "exp": math.exp, "expm1": math.expm1, "log": math.log, "log1p": math.log1p, "sqrt": math.sqrt, "tanh": math.tanh,
    "erf": math.erf, "sin": math.sin, "cos": math.cos, "rsqrt": lambda x: 1 / math.sqrt(x),
    "absf": abs, "floor": math.floor, "ceil": math.ceil, "trunc": math.trunc, "roundeven": round,
}  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_those_of_the_c_library(name, dtype):
    tolerance = {"f16": 2e-3, "bf16": 1.6e-2, "f32": 4e-7, "f64": 1e-15}[str(dtype)]
    for value in (0.25, 0.5, 1.0, 1.5, 2.5, 3.0, 10.0):
        got = evaluated(getattr(dmath, name), [dtype.numpy.type(value)], [dtype])
        assert math.isclose(float(got), FUNCTIONS[name](value), rel_tol=tolerance, abs_tol=tolerance), value


def test_remainder_power_and_sign():
    pair = [F32, F32]
    of = np.float32
    assert evaluated(arith.remf, [of(-7.5), of(2)], pair) == of(-1.5)
    assert evaluated(dmath.powf, [of(2), of(10)], pair) == 1024
    assert math.isnan(evaluated(dmath.powf, [of(-8), of(1 / 3)], pair))
    assert same(evaluated(dmath.copysign, [of(3), of(-0.0)], pair), -3.0)
    assert same(evaluated(arith.negf, [of(0.0)], [F32]), -0.0)
    assert same(evaluated(dmath.absf, [of(-0.0)], [F32]), 0.0)


def test_bitcast_keeps_the_bits():
    assert evaluated(lambda x: arith.bitcast(x, I32), [np.float32(1)], [F32]) == 0x3F800000
    assert evaluated(lambda x: arith.bitcast(x, F32), [np.int32(-1)], [I32]).view(np.uint32) == 0xFFFFFFFF


def test_select_takes_the_condition_by_element_or_for_all():
    select = arith.select.__self__.eval
    a, b = np.arange(3), -np.arange(3)
    assert select(np.bool_(False), a, b) is b
    assert select(np.array([True, False, True]), a, b).tolist() == [0, -1, 2]


def test_integers_of_eight_bits_as_floats():
    assert evaluated(lambda x: arith.sitofp(x, F16), [np.int8(-128)], [I8]) == -128
    assert evaluated(lambda x: arith.uitofp(x, F16), [np.int8(-128)], [I8]) == 128
