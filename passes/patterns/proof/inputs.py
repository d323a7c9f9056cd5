"""Random arrays on which rules break."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import ml_dtypes
import numpy as np

from dlir.ir.types import BF16, F16, F32, F64, I1, I8, I16, I32, I64, ScalarType, is_float

#: The dtypes that are tried, each as often as it matters.
DTYPES: tuple[ScalarType, ...] = (F32, F32, F32, F64, F64, F16, BF16, I32, I32, I64, I8, I16, I1)

#: How an input is drawn: numbers of moderate size, those mixed with special ones, special ones only, the same everywhere.
MODES = ("moderate", "mixed", "special", "uniform", "whole")


def random_input(
    rng: np.random.Generator, size: tuple[int, ...], dtype: Any, mode: str, ignores: Collection[str] = ()
) -> np.ndarray:
    """An array of this shape and dtype, without what the rule ignores."""
    if dtype is I1:
        return rng.integers(0, 2, size).astype(bool)
    special = _special(dtype, ignores)
    if mode == "uniform":
        return np.full(size, special[int(rng.integers(len(special)))], dtype.numpy)
    moderate = _moderate(rng, size, dtype, mode == "whole")
    share = {"mixed": 0.25, "special": 1.0}.get(mode, 0.0)
    return np.where(rng.random(size) < share, special[rng.integers(len(special), size=size)], moderate).astype(
        dtype.numpy
    )


def _moderate(rng: np.random.Generator, size: tuple[int, ...], dtype: Any, whole: bool) -> np.ndarray:
    if is_float(dtype) and not whole:
        return np.asarray(rng.normal(0.0, 2.0, size)).astype(dtype.numpy)
    least = 0 if dtype.numpy.kind == "u" else -9
    return np.asarray(rng.integers(least, 10, size)).astype(dtype.numpy)


def _special(dtype: Any, ignores: Collection[str]) -> np.ndarray:
    if not is_float(dtype):
        limits = np.iinfo(dtype.numpy)
        return np.array([limits.min, limits.max, 0, 1, limits.max // 2 + 1], dtype.numpy)
    floats = ml_dtypes.finfo(dtype.numpy)
    numbers: list[Any] = [0.0, 1.0, -1.0, floats.smallest_subnormal, -floats.smallest_normal]
    if "inf" not in ignores:
        # Where overflow is ignored, the largest numbers would do nothing but overflow.
        numbers += [np.inf, -np.inf, floats.max, floats.min]
    if "nan" not in ignores:
        numbers.append(np.nan)
    if "signed zero" not in ignores:
        numbers.append(-0.0)
    return np.array(numbers).astype(dtype.numpy)


def random_shape(rng: np.random.Generator, small: bool) -> tuple[int, ...]:
    """A shape of rank 0 to 4 whose extents repeat; of one element, mostly, if it is to be small."""
    if small:
        return (1,) * int(rng.integers(0, 3))
    pool = rng.choice([0, 1, 1, 2, 2, 3, 3, 4], 2)
    return tuple(int(rng.choice(pool)) for _ in range(int(rng.choice([0, 1, 1, 2, 2, 2, 3, 3, 3, 4]))))


def related_shape(rng: np.random.Generator, base: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that has to do with `base`: itself mostly, a part of it, with ones in it, or in another order."""
    kind = int(rng.integers(10))
    if kind < 5 or not base:
        return base
    if kind == 5:
        return base[int(rng.integers(len(base) + 1)) :]
    if kind == 6:
        return tuple(1 if rng.random() < 0.5 else extent for extent in base)
    if kind == 7:
        return tuple(int(extent) for extent in rng.permutation(base))
    return tuple(int(rng.choice(base)) for _ in range(int(rng.integers(0, 4))))
