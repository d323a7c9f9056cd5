"""Keys: from a number, several from one, and one for each step of a loop."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Composite
from dlir.ir.dialects.nd.checks import kind_of
from dlir.ir.dialects.nd.operands import constant
from dlir.ir.dialects.random.threefry import WORDS
from dlir.ir.errors import InferError
from dlir.ir.op import Tensor
from dlir.ir.ops import nd, random
from dlir.ir.types import UI32, TensorType

#: The type of a key.
KEY = TensorType((2,), UI32)


class RandomOp(Composite):
    """Base of ops on keys: random numbers have no slopes, so that nothing flows back to a key."""

    differentiable = False


class Key(RandomOp, name="random.key"):
    """The key for a number: its upper and its lower 32 bits."""

    @staticmethod
    def infer(*, seed: int) -> Tensor:
        if not -(1 << 63) <= seed < 1 << 64:
            raise InferError(f"'seed' must fit 64 bits, got {seed}")
        return KEY

    @staticmethod
    def decompose(*, seed: int) -> Value:
        return constant(np.array([seed >> 32 & 0xFFFFFFFF, seed & 0xFFFFFFFF], np.uint32))

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        return [], {"seed": int(rng.integers(-(1 << 63), 1 << 63))}


class Split(RandomOp, name="random.split"):
    """`count` keys, one a row, that have nothing to do with each other or with `key`."""

    @staticmethod
    def infer(key: Tensor, *, count: int = 2) -> Tensor:
        need_key(key)
        if count < 0:
            raise InferError(f"'count' must not be negative, got {count}")
        return Tensor((count, 2), UI32)

    @staticmethod
    def decompose(key: Value, *, count: int = 2) -> Value:
        return _words(key, nd.iota(shape=(count, 2), axis=0, dtype=UI32))

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        return [random_key(rng)], {"count": int(rng.integers(0, 5))}


class FoldIn(RandomOp, name="random.fold_in"):
    """A key for `key` and a number, such as that of a step or of a layer: of `data`, a scalar, the low 32 bits count."""

    @staticmethod
    def infer(key: Tensor, data: Tensor) -> Tensor:
        need_key(key)
        if data.rank or (kind_of(data.dtype) or "f") not in "iu":
            raise InferError(f"takes an integer scalar as data, got {data}")
        return KEY

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        key, data = groups
        if isinstance(data, int) and not isinstance(data, bool):
            data = np.asarray(data & 0xFFFFFFFF, np.uint32)
        return super().prepare([key, data], attributes)

    @staticmethod
    def decompose(key: Value, data: Value) -> Value:
        number = nd.broadcast_to(nd.cast(data, dtype=UI32), shape=(2,))
        return _words(key, number)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        dtype = rng.choice(["i4", "i8", "u4", "i2"])
        return [random_key(rng), np.asarray(rng.integers(-9, 1 << 15) & 0x7FFF, dtype)], {}


def need_key(type: Tensor) -> None:
    """InferError unless `type` is that of a key."""
    if type is not KEY:
        hint = "random.key makes a key; random.split gives several, one a row, as a tensor<nx2xui32>"
        raise InferError(f"takes a key, which is a {KEY}, got {type}", hint=hint)


def key_words(key: Value) -> tuple[Value, Value]:
    """The two words of a key, as scalars."""
    first, second = (nd.reshape(nd.slice(key, start=(n,), stop=(n + 1,)), shape=()) for n in (0, 1))
    return first, second


def random_key(rng: np.random.Generator) -> np.ndarray:
    """A key for ``sample``."""
    return np.asarray(rng.integers(0, 1 << 32, 2), np.uint32)


def _words(key: Value, count: Value) -> Value:
    """Both words of encrypted counters less than 2**32, side by side: `count` has each twice along the last axis."""
    shape = count.shape
    key0, key1, zero = (nd.broadcast_to(word, shape=shape) for word in (*key_words(key), constant(np.uint32(0))))
    first, second = (random.threefry2x32(key0, key1, zero, count, word=word) for word in WORDS)
    side = nd.iota(shape=shape, axis=len(shape) - 1)
    found: Value = nd.select(nd.equal(side, 0), first, second)
    return found
