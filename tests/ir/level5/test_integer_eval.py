"""Integer ops against Python's unbounded integers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from dlir.ir.builder import at_end
from dlir.ir.core import Block
from dlir.ir.dialects.arith import INTEGER_PREDICATES
from dlir.ir.ops import arith
from dlir.ir.ops import math as dmath
from dlir.ir.types import I1, I8, I32, I64, INDEX, IntegerType

TYPES = [I1, I8, I32, I64, INDEX]


def width(dtype):
    return dtype.width if isinstance(dtype, IntegerType) else 64


def signed(bits, w):
    """The number that `bits` stand for in two's complement."""
    bits %= 1 << w
    return bits - (1 << w) if bits >> (w - 1) else bits


def unsigned(bits, w):
    return bits % (1 << w)


def truncated(a, b):
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


# Each takes the operands as unsigned numbers and the width.
S = {
    "addi": lambda a, b, w: a + b,
    "subi": lambda a, b, w: a - b,
    "muli": lambda a, b, w: a * b,
    "divsi": lambda a, b, w: truncated(signed(a, w), signed(b, w)) if b else 0,
    "divui": lambda a, b, w: a // b if b else 0,
    "remsi": lambda a, b, w: int(math.fmod(signed(a, w), signed(b, w))) if b and w < 64 else _remsi(a, b, w),
    "remui": lambda a, b, w: a % b if b else 0,
    "floordivsi": lambda a, b, w: signed(a, w) // signed(b, w) if b else 0,
    "ceildivsi": lambda a, b, w: -(-signed(a, w) // signed(b, w)) if b else 0,
    "ceildivui": lambda a, b, w: -(-a // b) if b else 0,
    "andi": lambda a, b, w: a & b,
    "ori": lambda a, b, w: a | b,
    "xori": lambda a, b, w: a ^ b,
    "shli": lambda a, b, w: a << b if b < w else 0,
    "shrui": lambda a, b, w: a >> b if b < w else 0,
    "shrsi": lambda a, b, w: signed(a, w) >> min(b, w - 1),
    "maxsi": lambda a, b, w: max(signed(a, w), signed(b, w)),
    "minsi": lambda a, b, w: min(signed(a, w), signed(b, w)),
    "maxui": lambda a, b, w: max(a, b),
    "minui": lambda a, b, w: min(a, b),
}

RELATIONS = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}


def _remsi(a, b, w):
    if not b:
        return 0
    a, b = signed(a, w), signed(b, w)
    return a - b * truncated(a, b)


def interesting(dtype):
    """Numbers at the edges of the type, as NumPy scalars."""
    w = width(dtype)
    numbers = {
        0,
        1,
        2,
        3,
        7,
        w - 1,
        w,
        (1 << (w - 1)) - 1,
        1 << (w - 1),
        (1 << (w - 1)) + 1,
        (1 << w) - 1,
        (1 << w) - 2,
    }
    numbers |= {0x5A5A5A5A5A5A5A5A, 100}
    return [scalar(n, dtype) for n in sorted({n % (1 << w) for n in numbers})]


def scalar(number, dtype):
    return np.bool_(number & 1) if dtype is I1 else dtype.numpy.type(signed(number, width(dtype)))


def bits(value, dtype):
    return unsigned(int(value), width(dtype))


def evaluated(build, operands, dtype):
    """What the op that `build` makes gives for these operands."""
    block = Block([dtype] * len(operands))
    with at_end(block):
        build(*block.args)
    (result,) = block.last.evaluate(operands)
    assert np.asarray(result).dtype == block.last.result.type.numpy
    return result


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("name", S)
def test_binary_ops_are_those_of_python_integers_modulo_the_width(name, dtype):
    w = width(dtype)
    for a, b in itertools.product(interesting(dtype), repeat=2):
        got = evaluated(getattr(arith, name), [a, b], dtype)
        want = S[name](bits(a, dtype), bits(b, dtype), w)
        if w == 1 and name in ("shli", "shrui", "shrsi") and b:
            continue  # by the width or more: nothing is promised
        assert bits(got, dtype) == unsigned(want, w), (name, a, b)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("predicate", INTEGER_PREDICATES)
def test_comparisons(predicate, dtype):
    w = width(dtype)
    read = unsigned if predicate.startswith("u") else signed
    for a, b in itertools.product(interesting(dtype), repeat=2):
        got = evaluated(lambda x, y: arith.cmpi(predicate, x, y), [a, b], dtype)
        want = RELATIONS[predicate[-2:]](read(bits(a, dtype), w), read(bits(b, dtype), w))
        assert bool(got) == want, (predicate, a, b)


def test_vectors_are_computed_by_element():
    a, b = np.array([1, -7, 127], np.int8), np.array([3, 2, 1], np.int8)
    assert arith.addi.__self__.eval(a, b).tolist() == [4, -5, -128]
    assert arith.divsi.__self__.eval(a, b).tolist() == [0, -3, 127]


def test_absolute_value_of_the_least_integer_is_itself():
    assert evaluated(dmath.absi, [np.int8(-128)], I8) == -128
    assert evaluated(dmath.absi, [np.int64(-3)], I64) == 3


CASTS = [
    ("extsi", I1, I8, lambda n: signed(n, 1)),
    ("extsi", I8, I64, lambda n: signed(n, 8)),
    ("extui", I1, I32, lambda n: n),
    ("extui", I8, I32, lambda n: n),
    ("trunci", I64, I8, lambda n: n),
    ("trunci", I32, I1, lambda n: n),
    ("index_cast", INDEX, I32, lambda n: n),
    ("index_cast", I32, INDEX, lambda n: signed(n, 32)),
    ("index_castui", I8, INDEX, lambda n: n),
]


@pytest.mark.parametrize(("name", "source", "target", "meaning"), CASTS)
def test_casts_between_integers(name, source, target, meaning):
    for value in interesting(source):
        got = evaluated(lambda x: getattr(arith, name)(x, target), [value], source)
        assert bits(got, target) == unsigned(meaning(bits(value, source)), width(target)), value
