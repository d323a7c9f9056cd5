"""Exact rounding of rational numbers to binary floats, for oracles."""

from __future__ import annotations

import math
from fractions import Fraction

import ml_dtypes
import numpy as np

#: dtype -> bits of precision, exponent of the least normal number, exponent of the largest.
FORMATS = {
    np.dtype(np.float16): (11, -14, 15),
    np.dtype(ml_dtypes.bfloat16): (8, -126, 127),
    np.dtype(np.float32): (24, -126, 127),
    np.dtype(np.float64): (53, -1022, 1023),
}


def rounded(exact: Fraction, dtype) -> float:
    """`exact` rounded to nearest even in the format of `dtype`, as a Python float."""
    if not exact:
        return 0.0
    precision, least, largest = FORMATS[np.dtype(dtype)]
    exponent = math.floor(math.log2(abs(exact.numerator)) - math.log2(exact.denominator))
    while Fraction(2) ** exponent > abs(exact):
        exponent -= 1
    while Fraction(2) ** (exponent + 1) <= abs(exact):
        exponent += 1
    unit = Fraction(2) ** (max(exponent, least) - precision + 1)
    # Python rounds a Fraction half to even.
    nearest = round(exact / unit) * unit
    if abs(nearest) >= Fraction(2) ** (largest + 1):
        return math.inf if exact > 0 else -math.inf
    return float(nearest)
