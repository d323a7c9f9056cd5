"""Random arrays: bits, and uniform, normal and yes-or-no numbers made of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd.checks import kind_of, need_kind
from dlir.ir.dialects.nd.creation import extents_of
from dlir.ir.dialects.nd.gradients import extents
from dlir.ir.dialects.nd.operands import broadcast_shape, constant
from dlir.ir.dialects.nd.samples import pick, random_array, random_shape
from dlir.ir.dialects.random.keys import RandomOp, key_words, need_key, random_key
from dlir.ir.dialects.random.threefry import WORDS
from dlir.ir.errors import InferError
from dlir.ir.op import Tensor
from dlir.ir.ops import nd, random
from dlir.ir.types import BF16, F16, F32, F64, I1, I8, I16, I32, I64, UI8, UI16, UI32, UI64, ScalarType, TensorType

#: By float type: the words that its numbers are made of, how many of their bits count, and the same words as signed ones.
_MANTISSA = {BF16: (UI8, 7, I8), F16: (UI16, 10, I16), F32: (UI32, 23, I32), F64: (UI64, 52, I64)}


class Draw(RandomOp):
    """Base of random arrays of `shape`, in which -1 is a dimension of `like`, which is used for nothing else."""

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        return _sample(rng, [F32, F32, F64, F16, BF16])


class Bits(Draw, name="random.bits"):
    """Unsigned integers of which every bit is set half of the time."""

    @staticmethod
    def infer(key: Tensor, like: Tensor | None = None, *, shape: tuple[int, ...], dtype: ScalarType = UI32) -> Tensor:
        need_key(key)
        if dtype not in (UI8, UI16, UI32, UI64):
            raise InferError(f"makes ui8, ui16, ui32 or ui64, not {dtype}")
        return TensorType(extents_of(shape, like), dtype)

    @staticmethod
    def decompose(key: Value, like: Value | None = None, *, shape: tuple[int, ...], dtype: ScalarType = UI32) -> Value:
        upper, lower = _positions(extents_of(shape, like), like)
        known = (*key_words(key), upper)
        key0, key1, upper = (nd.broadcast_to(word, lower, shape=extents(lower)) for word in known)
        if dtype is not UI64:
            mixed = random.threefry2x32(key0, key1, upper, lower)
            return mixed if dtype is UI32 else nd.cast(mixed, dtype=dtype)
        first, second = (random.threefry2x32(key0, key1, upper, lower, word=word) for word in WORDS)
        return nd.bitwise_or(nd.left_shift(nd.cast(first, dtype=UI64), 32), nd.cast(second, dtype=UI64))

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        return _sample(rng, [UI8, UI16, UI32, UI64])


class Uniform(Draw, name="random.uniform"):
    """Floats from `minval` up to, but without, `maxval`, all equally likely.

    They are multiples of 2**-23 in f32 (2**-52 in f64, 2**-10 in f16, 2**-7 in bf16), scaled and shifted.
    """

    @staticmethod
    def infer(
        key: Tensor,
        like: Tensor | None = None,
        *,
        shape: tuple[int, ...],
        minval: float = 0.0,
        maxval: float = 1.0,
        dtype: ScalarType = F32,
    ) -> Tensor:
        need_key(key)
        need_kind(dtype, "f")
        if dtype not in _MANTISSA:
            raise InferError(f"makes bf16, f16, f32 or f64, not {dtype}")
        if not (math.isfinite(minval) and math.isfinite(maxval)) or minval > maxval:
            raise InferError(f"'minval' {minval} and 'maxval' {maxval} must be finite, and in this order")
        return TensorType(extents_of(shape, like), dtype)

    @staticmethod
    def decompose(
        key: Value,
        like: Value | None = None,
        *,
        shape: tuple[int, ...],
        minval: float = 0.0,
        maxval: float = 1.0,
        dtype: ScalarType = F32,
    ) -> Value:
        words, bits, signed = _MANTISSA[dtype]
        found = random.bits(key, like, shape=shape, dtype=words)
        # The upper bits: what is converted is no negative number, and has no more bits than the float.
        kept = nd.cast(nd.right_shift(found, 8 * words.bytes - bits), dtype=signed)
        unit = nd.mul(nd.cast(kept, dtype=dtype), 2.0**-bits)
        if (minval, maxval) == (0.0, 1.0):
            return unit
        number = dtype.numpy.type
        low, high = number(minval), number(maxval)
        return nd.maximum(nd.add(nd.mul(unit, number(high - low)), low), low)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        operands, attributes = Draw.sample(rng)
        bounds = {} if rng.random() < 0.5 else {"minval": -1.5, "maxval": float(rng.choice([-1.5, 2.0]))}
        return operands, {**attributes, **bounds}


class Normal(Draw, name="random.normal"):
    """Floats of the normal distribution with mean 0 and variance 1."""

    @staticmethod
    def infer(key: Tensor, like: Tensor | None = None, *, shape: tuple[int, ...], dtype: ScalarType = F32) -> Tensor:
        return Uniform.infer(key, like, shape=shape, dtype=dtype)

    @staticmethod
    def decompose(key: Value, like: Value | None = None, *, shape: tuple[int, ...], dtype: ScalarType = F32) -> Value:
        number = dtype.numpy.type
        lowest = float(np.nextafter(number(-1), number(0)))
        uniform = random.uniform(key, like, shape=shape, minval=lowest, maxval=1.0, dtype=dtype)
        return nd.mul(nd.erf_inv(uniform), number(math.sqrt(2.0)))


class TruncatedNormal(Draw, name="random.truncated_normal"):
    """Floats of the normal distribution with mean 0 and variance 1, but only those between `lower` and `upper`."""

    @staticmethod
    def infer(
        key: Tensor,
        like: Tensor | None = None,
        *,
        shape: tuple[int, ...],
        lower: float = -2.0,
        upper: float = 2.0,
        dtype: ScalarType = F32,
    ) -> Tensor:
        if math.isnan(lower) or math.isnan(upper) or lower >= upper:
            raise InferError(f"'lower' {lower} must be less than 'upper' {upper}")
        return Uniform.infer(key, like, shape=shape, dtype=dtype)

    @staticmethod
    def decompose(
        key: Value,
        like: Value | None = None,
        *,
        shape: tuple[int, ...],
        lower: float = -2.0,
        upper: float = 2.0,
        dtype: ScalarType = F32,
    ) -> Value:
        number = dtype.numpy.type
        first, last = (float(number(math.erf(bound / math.sqrt(2.0)))) for bound in (lower, upper))
        uniform = random.uniform(key, like, shape=shape, minval=first, maxval=last, dtype=dtype)
        found = nd.mul(nd.erf_inv(uniform), number(math.sqrt(2.0)))
        # Rounding must not take a number to a bound.
        above, below = np.nextafter(number(lower), number(np.inf)), np.nextafter(number(upper), number(-np.inf))
        return nd.minimum(nd.maximum(found, above), below)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        operands, attributes = Draw.sample(rng)
        return operands, {
            **attributes,
            "lower": float(rng.choice([-2.0, -0.5])),
            "upper": float(rng.choice([2.0, 1.0])),
        }


class Bernoulli(Draw, name="random.bernoulli"):
    """Bools that are true with probability `p`, which broadcasts to `shape`; a number is an f32.

    They say whether a uniform number of the dtype of `p` is less than `p`: 0 is never true and 1 always.
    """

    @staticmethod
    def infer(key: Tensor, p: Tensor, like: Tensor | None = None, *, shape: tuple[int, ...]) -> Tensor:
        need_kind(p.dtype, "f")
        assert isinstance(p.dtype, ScalarType)
        found = Uniform.infer(key, like, shape=shape, dtype=p.dtype)
        if broadcast_shape([found.shape, p.shape]) != found.shape:
            raise InferError(f"the probabilities {p} do not broadcast to {found.with_dtype(I1)}")
        return found.with_dtype(I1)

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        key, p, like = groups
        return super().prepare([key, np.float32(p) if isinstance(p, int | float) else p, like], attributes)

    @staticmethod
    def decompose(key: Value, p: Value, like: Value | None = None, *, shape: tuple[int, ...]) -> Value:
        return nd.less(random.uniform(key, like, shape=shape, dtype=p.dtype), p)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        (key, like), attributes = Draw.sample(rng)
        dtype = attributes.pop("dtype")
        shape = attributes["shape"] if like is None else like.shape
        kept = shape[int(rng.integers(len(shape) + 1)) :]
        p = random_array(rng, [1 if rng.random() < 0.4 else extent for extent in kept], dtype)
        return [key, np.asarray(p / 4 + p.dtype.type(0.5), p.dtype), like], attributes


def _sample(rng: np.random.Generator, dtypes: list[ScalarType]) -> tuple[list[Any], dict[str, Any]]:
    shape = random_shape(rng)
    attributes = {"dtype": pick(rng, dtypes)}
    if rng.random() < 0.7 or kind_of(attributes["dtype"]) is None:
        return [random_key(rng), None], {"shape": shape, **attributes}
    wanted = tuple(-1 if rng.random() < 0.6 else extent for extent in shape)
    return [random_key(rng), random_array(rng, shape)], {"shape": wanted, **attributes}


def _positions(shape: tuple[int | None, ...], like: Value | None) -> tuple[Value, Value]:
    """Upper and lower words of the row-major positions in an array of this shape; the upper ones may be one for all."""
    target = tuple(-1 if extent is None else extent for extent in shape)
    if None not in shape:
        size = math.prod(extent for extent in shape if extent is not None)
        if size > 1 << 32:
            places = nd.reshape(nd.iota(shape=(size,), dtype=UI64), shape=target)
            return nd.cast(nd.right_shift(places, 32), dtype=UI32), nd.cast(places, dtype=UI32)
        places = nd.iota(shape=(size,), dtype=UI32)
    else:
        assert like is not None, "dynamic dimensions come from 'like'"
        whole = nd.broadcast_to(np.False_, like, shape=target)
        places = nd.iota(nd.reshape(whole, shape=(-1,)), shape=(-1,), dtype=UI32)
    return constant(np.uint32(0)), nd.reshape(places, shape=target)
