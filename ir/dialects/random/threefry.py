"""The hash that all random numbers come from.

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011): Threefry with two words of 32 bits and
20 rounds, a counter that is encrypted with a key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Elementwise
from dlir.ir.dialects.nd.checks import same_shape
from dlir.ir.dialects.nd.samples import pick, random_shape
from dlir.ir.errors import InferError
from dlir.ir.op import Tensor
from dlir.ir.ops import arith
from dlir.ir.types import UI32

Word = Literal["mixed", "first", "second"]

#: Both words of an encrypted counter.
WORDS: tuple[Word, Word] = ("first", "second")

#: By how many bits the second word is turned, in rounds of four.
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
#: What the words of a key and the third word, made of them, xor to.
PARITY = 0x1BD11BDA


class Threefry2x32(Elementwise, name="random.threefry2x32"):
    """A word of 32 bits of each encrypted counter: `first` or `second`, or, `mixed`, where exactly one has a bit.

    Keys and counters are two words each, ``key0`` and ``count0`` the first (upper) ones.
    """

    differentiable = False

    @staticmethod
    def infer(key0: Tensor, key1: Tensor, count0: Tensor, count1: Tensor, *, word: Word = "mixed") -> Tensor:
        for operand in (key0, key1, count0, count1):
            if operand.dtype is not UI32:
                raise InferError(f"takes words of ui32, got {operand}", hint="convert with nd.cast")
        same_shape(key0, key1, count0, count1)
        return key0

    @staticmethod
    def eval(key0: Any, key1: Any, count0: Any, count1: Any, *, word: Word = "mixed") -> Any:
        def turned(x: Any, bits: int) -> Any:
            return (x << np.uint32(bits)) | (x >> np.uint32(32 - bits))

        key0, key1, count0, count1 = (np.asarray(x) for x in (key0, key1, count0, count1))
        return _word(key0, key1, count0, count1, word, np.uint32, np.add, np.bitwise_xor, turned)

    def scalar(self, key0: Value, key1: Value, count0: Value, count1: Value) -> Value:
        def turned(x: Value, bits: int) -> Value:
            return arith.ori(arith.shli(x, bits), arith.shrui(x, 32 - bits))

        def number(value: int) -> Value:
            return arith.constant(value, key0.type)

        return _word(key0, key1, count0, count1, self["word"], number, arith.addi, arith.xori, turned)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        shape = random_shape(rng)
        words = [np.asarray(rng.integers(0, 1 << 32, shape), np.uint32) for _ in range(4)]
        return words, {"word": pick(rng, ["mixed", "first", "second"])}


def _word(
    key0: Any,
    key1: Any,
    count0: Any,
    count1: Any,
    word: Word,
    number: Callable[[int], Any],
    add: Callable[[Any, Any], Any],
    xor: Callable[[Any, Any], Any],
    turned: Callable[[Any, int], Any],
) -> Any:
    """A word of the encrypted counter, in whatever arithmetic these functions are: NumPy's, or code that is made."""
    keys = (key0, key1, xor(xor(key0, key1), number(PARITY)))
    first, second = add(count0, key0), add(count1, key1)
    for group in range(5):
        for bits in ROTATIONS[group % 2]:
            first = add(first, second)
            second = xor(first, turned(second, bits))
        first = add(first, keys[(group + 1) % 3])
        second = add(add(second, keys[(group + 2) % 3]), number(group + 1))
    return {"first": first, "second": second}[word] if word != "mixed" else xor(first, second)
