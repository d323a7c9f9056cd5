"""Whether two results are the same, but for what a rule says that it ignores."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import ml_dtypes
import numpy as np

#: With `ignores rounding`: so many units in the last place of the largest number that came up on the way.
ROUNDING = 64


def holds(arrays: Iterable[Any], what: str) -> bool:
    """Whether any of the arrays holds a NaN (``"nan"``) or an infinity (``"inf"``)."""
    test = np.isnan if what == "nan" else np.isinf
    return any(_is_float(array) and bool(test(_wide(array)).any()) for array in map(np.asarray, arrays))


def difference(found: Any, wanted: Any, ignores: Collection[str], on_the_way: Iterable[Any]) -> np.ndarray | None:
    """Where two arrays of one type differ, as an array of bools; None if nowhere.

    NaN is equal to NaN, whatever its bits.  `on_the_way` are the values that were computed on the way to `wanted`.
    """
    found, wanted = np.asarray(found), np.asarray(wanted)
    if not _is_float(wanted):
        differs = np.asarray(found != wanted)
        return differs if differs.any() else None
    eps = float(ml_dtypes.finfo(wanted.dtype).eps)
    one, two = _wide(found), _wide(wanted)
    with np.errstate(all="ignore"):
        equal = one == two
        if "rounding" in ignores:
            equal |= np.abs(one - two) <= ROUNDING * eps * _scale([*on_the_way, found, wanted])
        if "signed zero" not in ignores:
            equal &= (np.signbit(one) == np.signbit(two)) | (one != two)
    equal |= np.isnan(one) & np.isnan(two)
    return None if equal.all() else ~equal


def _scale(arrays: Iterable[Any]) -> float:
    """The largest finite magnitude."""
    largest = 0.0
    for array in map(np.asarray, arrays):
        if array.dtype.kind != "b":
            magnitudes = np.abs(_wide(array))
            largest = max(largest, float(np.max(magnitudes, initial=0.0, where=np.isfinite(magnitudes))))
    return largest


def _is_float(array: Any) -> bool:
    return array.dtype.kind == "f" or array.dtype == ml_dtypes.bfloat16


def _wide(array: Any) -> Any:
    """The array as f64, which holds every number of it (of integers, nearly)."""
    return np.asarray(array).astype(np.float64)


def suggestion(found: Any, wanted: Any) -> str | None:
    """What the rule would have to ignore for two differing numbers to be accepted; None if nothing would do."""
    if not _is_float(np.asarray(wanted)):
        return None
    one, two = float(found), float(wanted)
    if np.isnan(one) or np.isnan(two):
        return "nan"
    if one == two:
        return "signed zero"
    if np.isinf(one) or np.isinf(two):
        return "inf"
    return "rounding" if abs(one - two) <= 0.02 * max(abs(one), abs(two)) else None
