"""Random arrays for ``sample``: small shapes with the edge cases among them, and values that matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from dlir.ir.dialects.nd.checks import kind_of
from dlir.ir.types import BF16, F16, F32, F64, I1, I8, I16, I32, I64, UI8, UI32, UI64, ScalarType

T = TypeVar("T")

SHAPES: tuple[tuple[int, ...], ...] = (
    *((), (1,), (5,), (0,), (1, 1), (3, 4), (1, 6), (4, 1), (0, 3), (2, 0)),
    *((2, 3, 4), (2, 1, 3), (1, 2, 2, 3), (2, 1, 0, 2)),
)

#: Each dtype as often as it matters.
DTYPES: tuple[ScalarType, ...] = (F32, F32, F32, F64, F16, BF16, I32, I32, I64, I8, I16, I1, UI32, UI8, UI64)

_SPECIAL = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan)


def pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    """One of `choices`."""
    return choices[int(rng.integers(len(choices)))]


def random_shape(rng: np.random.Generator, least_rank: int = 0) -> tuple[int, ...]:
    """One of SHAPES, of at least this rank."""
    return pick(rng, [shape for shape in SHAPES if len(shape) >= least_rank])


def random_dtype(rng: np.random.Generator, kinds: str = "bif") -> ScalarType:
    """A dtype of one of `kinds` (letters as in `kind_of`)."""
    return pick(rng, [dtype for dtype in DTYPES if (kind_of(dtype) or "?") in kinds])


def random_array(
    rng: np.random.Generator, shape: Sequence[int], dtype: ScalarType = F32, special: bool = False
) -> np.ndarray:
    """Numbers of moderate size; with `special`, some of them NaN, infinite, ±0, or the limits of the integer type."""
    size = tuple(shape)
    if dtype is I1:
        return rng.integers(0, 2, size).astype(bool)
    if kind_of(dtype) == "f":
        array = np.asarray(rng.normal(0.0, 2.0, size))
        if special:
            array = np.where(rng.random(size) < 0.2, rng.choice(_SPECIAL, size), array)
        return np.asarray(array.astype(dtype.numpy))
    limits = np.iinfo(dtype.numpy)
    array = np.asarray(rng.integers(max(-9, limits.min), 10, size)).astype(dtype.numpy)
    if special:
        edges = np.array([limits.min, limits.max, 0, max(-1, limits.min)], dtype.numpy)
        array = np.where(rng.random(size) < 0.2, rng.choice(edges, size), array)
    return np.asarray(array)
