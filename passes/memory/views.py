"""Other shapes of a buffer."""

from __future__ import annotations

from dlir.ir.core import Value
from dlir.ir.ops import memref
from dlir.ir.types import MemRefType, Shape


def reshaped(place: Value, shape: Shape, name: str | None = None) -> Value:
    """The first elements of the contiguous memref `place` as a memref of this shape, made at the insertion point."""
    if place.shape == shape:
        return place
    view = memref.reinterpret_cast(place, MemRefType(shape, place.dtype))
    view.name = name
    return view
