"""Other shapes of a buffer."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence

from dlir.ir.core import Value
from dlir.ir.ops import memref
from dlir.ir.types import MemRefType


def row_major_strides(shape: Sequence[int]) -> list[int]:
    """Elements between neighbours along each axis of a contiguous array."""
    return list(itertools.accumulate(reversed(shape[1:]), operator.mul, initial=1))[::-1] if shape else []


def reshaped(place: Value, shape: Sequence[int], name: str | None = None) -> Value:
    """The first elements of memref `place` as a contiguous memref of this shape; made at the insertion point."""
    if place.shape == tuple(shape):
        return place
    view = memref.reinterpret_cast(
        place,
        static_offsets=(0,),
        static_sizes=tuple(shape),
        static_strides=tuple(row_major_strides(shape)),
        result_types=[MemRefType(tuple(shape), place.dtype)],
    )
    view.name = name
    return view
