"""Random orders."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd.operands import constant
from dlir.ir.dialects.nd.samples import pick
from dlir.ir.dialects.random.keys import RandomOp, need_key, random_key
from dlir.ir.errors import InferError
from dlir.ir.op import Tensor
from dlir.ir.ops import nd, random
from dlir.ir.types import I32, I64, UI64, ScalarType

#: The array is ordered by words of 32 bits so many times that two equal words in all of them are no more likely than this
#: power of the number of elements (Tan, in XLA's random_ops.cc): up to 1625 elements once, up to 2.6 million twice.
_EXPONENT = 3


class Permutation(RandomOp, name="random.permutation"):
    """The numbers from 0 to ``count - 1`` in a random order, all orders equally likely.

    Each round orders them by random words, and there are two rounds from 1,626 elements on.  The place of an element is how
    many words are less than its own, `count` squared comparisons a round: 7 ms for 10,000 elements, 0.1 s for 30,000 and 1 s
    for 100,000 on two cores.
    """

    @staticmethod
    def infer(key: Tensor, *, count: int, dtype: ScalarType = I64) -> Tensor:
        need_key(key)
        if dtype not in (I32, I64):
            raise InferError(f"makes i32 or i64, not {dtype}")
        if not 0 <= count < 1 << 31:
            raise InferError(f"'count' must be in 0 .. 2**31 - 1, got {count}")
        return Tensor((count,), dtype)

    @staticmethod
    def decompose(key: Value, *, count: int, dtype: ScalarType = I64) -> Value:
        found = nd.iota(shape=(count,), dtype=dtype)
        for _ in range(math.ceil(_EXPONENT * math.log(max(1, count)) / math.log(0xFFFFFFFF))):
            keys = random.split(key)
            key, subkey = (nd.reshape(nd.slice(keys, start=(n, 0), stop=(n + 1, 2)), shape=(2,)) for n in (0, 1))
            places = _ranks(random.bits(subkey, shape=(count,)))
            found = nd.scatter_add(constant(0, dtype, (count,)), places, found)
        return found

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        return [random_key(rng)], {"count": int(rng.choice([0, 1, 2, 7, 20])), "dtype": pick(rng, [I32, I64])}


def _ranks(words: Value) -> Value:
    """How many words are less than each; of equal ones the first is less."""
    (count,) = words.shape
    places = nd.iota(shape=(count,), dtype=UI64)
    order = nd.bitwise_or(nd.left_shift(nd.cast(words, dtype=UI64), 32), places)
    is_less = nd.less(nd.reshape(order, shape=(1, count)), nd.reshape(order, shape=(count, 1)))
    return nd.sum(nd.cast(is_less, dtype=I32), axes=(1,))
