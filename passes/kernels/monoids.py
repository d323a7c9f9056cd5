"""The monoids that reductions combine with: neutral elements and combining ops by element type.

Values are signless; whether an integer is unsigned is told by the tensor's element type.
"""

from __future__ import annotations

import math

import numpy as np

from dlir.ir.core import Value
from dlir.ir.ops import arith
from dlir.ir.types import I1, IntegerType, ScalarType, Type, is_float

_FLOAT = {"add": "addf", "mul": "mulf", "max": "maximumf", "min": "minimumf"}
_INTEGER = {"add": "addi", "mul": "muli", "and": "andi", "or": "ori"}
_BOOL = {"add": "ori", "mul": "andi", "max": "ori", "min": "andi", "and": "andi", "or": "ori"}


def neutral(monoid: str, dtype: Type) -> float | int | bool:
    """What combining with changes nothing."""
    if dtype is I1:
        return _BOOL[monoid] == "andi"
    if monoid in ("add", "mul"):
        return int(monoid == "mul")
    if monoid in ("and", "or"):
        return -1 if monoid == "and" else 0
    if is_float(dtype):
        return -math.inf if monoid == "max" else math.inf
    assert isinstance(dtype, ScalarType)
    limits = np.iinfo(dtype.numpy)
    return int(limits.min if monoid == "max" else limits.max)


def combine(monoid: str, dtype: Type, one: Value, two: Value) -> Value:
    """Two elements as one; `dtype` is the tensor's element type."""
    if dtype is I1:
        name = _BOOL[monoid]
    elif is_float(dtype):
        name = _FLOAT[monoid]
    elif monoid in ("max", "min"):
        unsigned = isinstance(dtype, IntegerType) and dtype.signedness == "unsigned"
        name = monoid + ("ui" if unsigned else "si")
    else:
        name = _INTEGER[monoid]
    return getattr(arith, name)(one, two)
