"""float32 functions that compute in float64: sine, cosine and power.

Their range reduction needs more digits than float32 pairs give cheaply.  In float64 the rest is simple and the result
is rounded once, at half the vector width.
"""

from __future__ import annotations

import math
from fractions import Fraction

from dlir.backends.cpu.llvm_function import Value
from dlir.backends.cpu.llvm_types import literal

INFINITY = float("inf")
NAN = float("nan")

# Adding 1.5 * 2^52 leaves the nearest integer in the low bits of a float64.
MAGIC, MAGIC_BITS = 6755399441055744.0, 0x4338000000000000

PI = Fraction(0x3243F6A8885A308D313198A2E03707344A4093822299F31D0082EFA98EC4E6C89, 16**64)
TWO_OVER_PI = 0.6366197723675814
HALF_PI_HIGH, HALF_PI_LOW = 1.5707963267948966, 6.123233995736766e-17
# (sin(r) / r - 1) / r^2 and (cos(r) - 1 + r^2 / 2) / r^4 in r^2, |r| <= pi / 4
SIN = (2.7173667079733904e-06, -0.00019839232660223208, 0.008333329056091623, -0.16666666638641034)
COS = (-2.7198628037646564e-07, 2.4799372729153434e-05, -0.001388888316345652, 0.0416666666155093)

SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
# log2(m) = s A(s^2) with s = (m - 1) / (m + 1), m in [sqrt(1/2), sqrt(2)]
LOG2 = (
    0.282909626630162, 0.319905105910471, 0.41220926451620044,
    0.5770779422759985, 0.9617966941134751, 2.88539008177785,
)  # fmt: skip
# 2^r on |r| <= 1/2
EXP2 = (
    1.5201897929250186e-05, 0.00015469317316714988, 0.0013333922870286835, 0.00961802717276768,
    0.05550410352814041, 0.24022651198754053, 0.6931471807287237, 0.9999999999616218,
)  # fmt: skip

# From this exponent on, an argument of sin or cos is its 24-bit integer mantissa times a power of two out of a table.
LARGE_EXPONENT = 40
MANTISSA_BITS = 23


def _nearest(x: Value) -> tuple[Value, Value]:
    """`x` rounded to the nearest integer, as a float64 and as an i64; |x| < 2^50."""
    shifted = x + MAGIC
    return shifted - MAGIC, shifted.bits() - MAGIC_BITS


# Sine and cosine


def _residues_of_two_pi() -> list[tuple[float, float]]:
    """2^(e - 23) modulo 2 pi for e = LARGE_EXPONENT .. 127, in two parts of which the first has 29 bits.

    Before them stands 1, so that small arguments go the same way; after them NaN, for infinities and NaN.
    """
    table = [(1.0, 0.0)]
    for exponent in range(LARGE_EXPONENT, 128):
        residue = Fraction(2 ** (exponent - MANTISSA_BITS)) % (2 * PI)
        mantissa, scale = math.frexp(float(residue))
        high = math.ldexp(math.floor(mantissa * 2**29), scale - 29)
        table.append((high, float(residue - Fraction(high))))
    return [*table, (NAN, NAN)]


def _look_up(index: Value, name: str, entries: list[float]) -> Value:
    """Element `index` (an i32) of a constant table."""
    table = f"@dlir.{name}"
    type_ = f"[{len(entries)} x double]"
    values = ", ".join(f"double {literal(entry, 'double')}" for entry in entries)
    function = index.function
    function.declare(f"{table} = internal unnamed_addr constant {type_} [{values}]")
    wide = index.cast("zext", "i64")
    address = function.emit(f"getelementptr inbounds {type_}, ptr {table}, i64 0, i64 {wide.text}", "ptr")
    return function.emit(f"load double, ptr {address.text}, align 8", "double")


def _quadrant(x: Value) -> tuple[Value, Value]:
    """(r, q): x = r + q pi / 2 up to multiples of 2 pi, |r| <= pi / 4, q an i64 of which two bits matter."""
    bits = x.bits()
    exponent = ((bits >> 23) & 0xFF) - 127
    large = exponent.compare("sge", LARGE_EXPONENT)
    index = large.select(exponent - (LARGE_EXPONENT - 1), Value(x.function, "i32", "0"))
    mantissa = ((bits & -0x7F800001) | ((127 + MANTISSA_BITS) << 23)).bits()
    factor = large.select(mantissa, x).cast("fpext", "double")
    highs, lows = zip(*_residues_of_two_pi())
    product = factor * _look_up(index, "two_pi.high", list(highs))  # exact: 24 bits by 29
    k, k_int = _nearest(product * TWO_OVER_PI)
    r = (-k).fma(HALF_PI_HIGH, product)
    r = (-k).fma(HALF_PI_LOW, r)
    return factor.fma(_look_up(index, "two_pi.low", list(lows)), r), k_int


def _sine_of_quadrant(r: Value, q: Value) -> Value:
    square = r * r
    sine = (square * square.polynomial(SIN)).fma(r, r)
    cosine = square.fma(-0.5, (square * square).fma(square.polynomial(COS), 1.0))
    magnitude = (q & 1).compare("eq", 0).select(sine, cosine)
    return (q & 2).compare("eq", 0).select(magnitude, -magnitude).cast("fptrunc", "float")


def sin(x: Value) -> Value:
    r, q = _quadrant(x)
    return x.compare("oeq", 0.0).select(x, _sine_of_quadrant(r, q))


def cos(x: Value) -> Value:
    r, q = _quadrant(x)
    return _sine_of_quadrant(r, q + 1)


# Power


def _log2(x: Value) -> Value:
    """log2 of a float64 that is 0, inf, NaN or within the range of float32; relative error below 2^-44."""
    k = (x.bits() - SQRT_HALF_BITS) >> 52
    mantissa = (x.bits() - (k << 52)).bits()
    s = (mantissa - 1.0) / (mantissa + 1.0)
    # k + 1.5 * 2^52 by its bits: AVX2 has no conversion from i64.
    exponent = (k + MAGIC_BITS).bits() - MAGIC
    result = s.fma((s * s).polynomial(LOG2), exponent)
    result = x.compare("oeq", 0.0).select(-INFINITY, result)
    return x.compare("ult", INFINITY).select(x.compare("uno", 0.0).select(x, result), x)


def _exp2(x: Value) -> Value:
    """2^x as a float64 that rounds correctly to float32, out of whose range x is cut off."""
    x = x.clamp(-160.0, 140.0)
    k, k_int = _nearest(x)
    return (x - k).polynomial(EXP2) * ((k_int + 1023) << 52).bits()


def power(x: Value, y: Value) -> Value:
    """x^y with C's and NumPy's special cases: 1^y = x^0 = 1 even for NaN; (-x)^y by the parity of y, else NaN."""
    exponent = y.cast("fpext", "double")
    logarithm = _log2(abs(x).cast("fpext", "double"))
    # log 1 = 0 wins over an infinite y; so does y = 0 over an infinite logarithm.
    product = logarithm.compare("oeq", 0.0).select(0.0 * logarithm, exponent * logarithm)
    magnitude = _exp2(exponent.compare("oeq", 0.0).select(exponent, product)).cast("fptrunc", "float")

    half = y * 0.5
    is_integer = y.intrinsic("trunc").compare("oeq", y)
    is_odd = is_integer & half.intrinsic("trunc").compare("une", half)
    negative = x.bits().compare("slt", 0)
    signed = (is_odd & negative).select(-magnitude, magnitude)
    # A finite negative base has no real power to a broken exponent.
    undefined = x.compare("olt", 0.0) & x.compare("ogt", -INFINITY) & (is_integer ^ -1)
    result = undefined.select(NAN, signed)
    is_one = x.compare("oeq", 1.0) | y.compare("oeq", 0.0)
    # NaN in y is not seen by a product with log 1.
    result = y.compare("uno", 0.0).select(y, result)
    return is_one.select(1.0, result)
