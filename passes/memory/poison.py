"""Poison for memory that nobody needs: a way to test memory plans.

The place of every temporary is filled with ones, which is NaN in every floating type and -1 in integers, before its
first use and after its last.  The fills are kernels like others, so every backend runs them.  A plan that is
right gives the same results with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dlir.ir.attributes import DenseElementsAttr
from dlir.ir.builder import after, at_end, before
from dlir.ir.core import Block, Operation, Region, Value
from dlir.ir.ops import kernel, nd
from dlir.ir.types import I1, TensorType


@dataclass(frozen=True, slots=True)
class Use:
    """A temporary's place, and the first and the last op that uses it."""

    place: Value
    first: Operation
    last: Operation


def poison_freed(uses: Iterable[Use]) -> int:
    """Overwrite each place in front of its first use and behind its last one; how many fills it took."""
    fills = 0
    for use in uses:
        with before(use.first):
            _fill(use.place)
        with after(use.last):
            _fill(use.place)
        fills += 2
    return fills


def _fill(place: Value) -> None:
    """A kernel that overwrites `place`."""
    type = TensorType(place.type.shape, place.type.dtype)
    if type.dtype is I1:
        ones = np.array(True)
    else:
        ones = np.full(type.dtype.numpy.itemsize, 0xFF, np.uint8).view(type.dtype.numpy)[0]
    block = Block()
    with at_end(block):
        kernel.yield_(nd.constant(value=DenseElementsAttr(np.broadcast_to(ones, type.shape), type)))
    kernel.region(place, outs=1, result_types=(), regions=[Region([block])])
