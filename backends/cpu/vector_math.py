"""Elementary functions as LLVM IR text, written so that the loop vectoriser widens them.

`prelude({("exp", "f32")})` gives the definition of `@dlir.exp.f32`; the emitter calls functions by that rule, `symbol`.

float32 functions are straight-line code: range reduction, a polynomial, reassembly with integer arithmetic on the
exponent.  They keep NaN, infinities, signed zeros and subnormals, carry no fast-math flags (rounding by a magic
constant must not be reassociated), and stay within these bounds, measured against float64 over all exponents.  The
polynomials are minimax fits whose coefficients were rounded to float32 one after the other.

    exp 1.0   exp2 0.8   expm1 1.4   log 0.8   log1p 1.4   log2 1.0   log10 1.0   tanh 1.4   erf 0.9      (ulp)
    sin, cos 0.6, pow 0.51: float64 inside, rounded once

float64 functions, and the rarer float32 ones, call the C library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dlir.backends.cpu.llvm_function import Function, Value
from dlir.backends.cpu.vector_math_wide import cos, power, sin

INFINITY = float("inf")
NAN = float("nan")

LOG2_E = 1.4426950408889634
LOG2_E_HIGH, LOG2_E_LOW = 1.44269502162933349609375, 1.92596299112661746887e-8
LOG10_E_HIGH, LOG10_E_LOW = 0.4342944920063018798828125, -1.0103050118726031e-8
LOG10_2_HIGH, LOG10_2_LOW = 0.30102920532226562, 7.9034151667e-7
# ln 2 in two parts; the high one has so few bits that its product with an exponent is exact.
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4
SQRT_HALF_BITS = 0x3F3504F3
SMALLEST_NORMAL = 2.0**-126
# Adding 1.5 * 2^23 leaves the nearest integer in the low bits of a float32.
MAGIC, MAGIC_BITS = 12582912.0, 0x4B400000

# (e^r - 1 - r) / r^2 on |r| <= ln(2) / 2
EXP = (0.000197396919, 0.00139351154, 0.00833357126, 0.041666463, 0.166666657, 0.5)
# (2^r - 1) / r on |r| <= 1/2
EXP2 = (1.43292436e-05, 0.000154521607, 0.00133379526, 0.00961808674, 0.0555040501, 0.240226507, 0.693147182)
# (log(1 + r) - r + r^2 / 2) / r^3 on [sqrt(1/2), sqrt(2)] - 1
LOG = (
    0.0674417838, -0.116678193, 0.118842952, -0.124065883, 0.142203316,
    -0.166679755, 0.200020716, -0.250000089, 0.333333135,
)  # fmt: skip
# (tanh(x) / x - 1) / x^2 in x^2, |x| <= 0.56
TANH_NEAR = (-0.00616961392, 0.021000376, -0.0538357571, 0.13332437, -0.333333135)
# erf(x) / x - 1 in x^2, |x| <= 0.93; and log(erfc(t)) / t + 1 on [0.92, 3.95]
ERF_NEAR = (7.99664995e-05, -0.000804976968, 0.00519240508, -0.0268557314, 0.112836257, -0.376126289, 0.128379166)
ERF_FAR = (-1.12300122e-05, 0.000322794018, -0.0036424296, 0.0237620194, -0.106236845, -0.635151327, -0.12864849)


def symbol(name: str, dtype: str) -> str:
    """The function's name in LLVM IR: `@dlir.exp.f32`."""
    return f"@dlir.{name}.{dtype}"


def prelude(names: Iterable[tuple[str, str]], *, has_ldexp: bool = False) -> str:
    """Definitions and declarations of the functions `(name, dtype)`, dtype `f32` or `f64`, in a fixed order.

    With `has_ldexp`, the target scales vectors by powers of two in one instruction.  A KeyError names a function that
    does not exist.
    """
    declarations: dict[str, None] = {}
    definitions = []
    for name, dtype in sorted(names):
        body, arity = _body(name, dtype)
        function = Function(symbol(name, dtype), {"f32": "float", "f64": "double"}[dtype], arity, has_ldexp=has_ldexp)
        definitions.append(function.text(body))
        declarations |= function.declarations
    return "\n".join([*declarations, *definitions])


def functions(dtype: str) -> list[str]:
    """The names that `prelude` knows for `dtype`."""
    return sorted({*LIBRARY, *INTRINSIC, *(FLOAT32 if dtype == "f32" else ())})


def _body(name: str, dtype: str) -> tuple[Callable[..., Value], int]:
    arity = 2 if name in ("pow", "atan2") else 1
    if dtype == "f32" and name in FLOAT32:
        return FLOAT32[name], arity
    if name in INTRINSIC:
        return lambda *x: x[0].intrinsic(name, *x[1:]), arity
    if name in LIBRARY:
        return lambda *x: _library_call(name, *x), arity
    raise KeyError(f"no function {name}.{dtype}")


def _library_call(name: str, *arguments: Value) -> Value:
    """The C library's float64 function, also for float32, where it costs little more and rounds once."""
    function, type_ = arguments[0].function, arguments[0].type
    wide = [x if type_ == "double" else x.cast("fpext", "double") for x in arguments]
    parameters = ", ".join("double" for _ in wide)
    function.declare(f"declare double @{name}({parameters}) nounwind willreturn memory(none)")
    result = function.emit(f"call double @{name}({', '.join(f'double {x.text}' for x in wide)})", "double")
    return result if type_ == "double" else result.cast("fptrunc", type_)


# Exponentials


def _nearest(x: Value, scale: float) -> tuple[Value, Value]:
    """`x * scale` rounded to the nearest integer, as a float32 and as an i32; |x * scale| < 2^22."""
    shifted = x.fma(scale, MAGIC)
    return shifted - MAGIC, shifted.bits() - MAGIC_BITS


def _power_of_two(k: Value) -> Value:
    """2^k for an i32 in [-126, 127]."""
    return ((k + 127) << 23).bits()


def _reduced_expm1(x: Value) -> tuple[Value, Value]:
    """(k, p) with e^x = 2^k (1 + p) and |log(1 + p)| <= ln(2) / 2; |x| must be below 2^20."""
    k, k_int = _nearest(x, LOG2_E)
    r = k.fma(-LN2_HIGH, x)
    r = k.fma(-LN2_LOW, r)
    return k_int, (r * r).fma(r.polynomial(EXP), r)


def _scale(x: Value, k: Value) -> Value:
    """`x * 2^k` for |k| <= 252: two factors, so that only the last one can overflow or round a subnormal."""
    if x.function.has_ldexp:
        return x.ldexp(k)
    half = k >> 1
    return x * _power_of_two(half) * _power_of_two(k - half)


def exp(x: Value) -> Value:
    k, p = _reduced_expm1(x.clamp(-104.0, 89.0))
    return _scale(p + 1.0, k)


def exp2(x: Value) -> Value:
    x = x.clamp(-151.0, 129.0)
    k, k_int = _nearest(x, 1.0)
    r = x - k
    return _scale(r.polynomial(EXP2).fma(r, 1.0), k_int)


def expm1(x: Value) -> Value:
    k, p = _reduced_expm1(x.clamp(-17.5, 89.0))
    half = _power_of_two(k - 1)  # half of 2^k, which may itself be out of range
    result = half.fma(p, half - 0.5) * 2.0
    # Halving would lose the last bit of a subnormal.
    return abs(x).compare("olt", 2.0**-25).select(x, result)


def tanh(x: Value) -> Value:
    """a + a^3 P(a^2) near zero; 1 - 2 / (e^2a + 1) further out, with a = |x|."""
    a = abs(x)
    a = a.compare("ogt", 9.1).select(9.1, a)
    square = a * a
    near = (a * square).fma(square.polynomial(TANH_NEAR), a)
    k, p = _reduced_expm1(a + a)
    scale = _power_of_two(k)
    far = 1.0 - 2.0 / scale.fma(p, scale + 1.0)
    return a.compare("ogt", 0.55).select(far, near).copysign(x)


def erf(x: Value) -> Value:
    """x + x P(x^2) near zero; 1 - e^(t Q(t) - t) further out, with t = |x|."""
    t = abs(x)
    t = t.compare("ogt", 3.95).select(3.95, t)
    near = (t * t).polynomial(ERF_NEAR).fma(t, t)
    k, p = _reduced_expm1(t.polynomial(ERF_FAR).fma(t, -t))
    scale = _power_of_two(k)
    far = (-scale).fma(p, 1.0 - scale)
    return t.compare("ogt", 0.925).select(far, near).copysign(x)


# Logarithms


def _mantissa(x: Value) -> tuple[Value, Value]:
    """(r, k) with x = 2^k (1 + r), 1 + r in [sqrt(1/2), sqrt(2)); k is a float32.  x must be positive and finite."""
    tiny = x.compare("olt", SMALLEST_NORMAL)
    bits = tiny.select(x * 2.0**23, x).bits()
    k = (bits - SQRT_HALF_BITS) >> 23
    mantissa = (bits - (k << 23)).bits()
    exponent = k.cast("sitofp", "float")
    return mantissa - 1.0, tiny.select(exponent - 23.0, exponent)


def _log_tail(r: Value) -> Value:
    """log(1 + r) - r."""
    square = r * r
    return square.fma(-0.5, r.polynomial(LOG) * r * square)


def _log_edges(x: Value, result: Value) -> Value:
    """The values of a logarithm of `x` where its formula does not hold."""
    result = x.compare("oeq", 0.0).select(-INFINITY, result)
    result = x.compare("olt", 0.0).select(NAN, result)
    # +inf and NaN are their own logarithms.
    return x.compare("ult", INFINITY).select(x.compare("uno", 0.0).select(x, result), x)


def _log_of_parts(r: Value, k: Value) -> Value:
    square = r * r
    tail = k.fma(LN2_LOW, r.polynomial(LOG) * r * square)
    return k.fma(LN2_HIGH, r + square.fma(-0.5, tail))


def log(x: Value) -> Value:
    r, k = _mantissa(x)
    return _log_edges(x, _log_of_parts(r, k))


def log2(x: Value) -> Value:
    r, k = _mantissa(x)
    fraction = r.fma(LOG2_E_HIGH, _log_tail(r).fma(LOG2_E_HIGH, r * LOG2_E_LOW))
    return _log_edges(x, k + fraction)


def log10(x: Value) -> Value:
    r, k = _mantissa(x)
    low = k.fma(LOG10_2_LOW, _log_tail(r).fma(LOG10_E_HIGH, r * LOG10_E_LOW))
    return _log_edges(x, k.fma(LOG10_2_HIGH, r.fma(LOG10_E_HIGH, low)))


def log1p(x: Value) -> Value:
    """The logarithm of `u = 1 + x`, whose mantissa is scaled from `x` itself, so that no digit of `x` is lost."""
    u = x + 1.0
    k = (u.bits() - SQRT_HALF_BITS) >> 23
    scale = _power_of_two(2 - k)  # four times 2^-k, which may be out of range
    r = (x * 0.25).fma(scale, scale * 0.25 - 1.0)
    result = _log_edges(u, _log_of_parts(r, k.cast("sitofp", "float")))
    return abs(x).compare("olt", 2.0**-24).select(x, result)


FLOAT32: dict[str, Callable[..., Value]] = {
    "cos": cos,
    "erf": erf,
    "exp": exp,
    "exp2": exp2,
    "expm1": expm1,
    "log": log,
    "log10": log10,
    "log1p": log1p,
    "log2": log2,
    "pow": power,
    "sin": sin,
    "tanh": tanh,
}
INTRINSIC = ("cos", "exp", "exp2", "log", "log10", "log2", "pow", "sin")
LIBRARY = "acos acosh asin asinh atan atan2 atanh cbrt cosh erf erfc expm1 log1p sinh tan tanh".split()
