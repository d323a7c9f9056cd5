"""``nd.cast``: conversion between dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects import scalars as numpy_scalars
from dlir.ir.dialects.nd.base import Elementwise
from dlir.ir.dialects.nd.checks import kind_of, need_kind
from dlir.ir.dialects.nd.gradients import of_first
from dlir.ir.dialects.nd.operands import tensors
from dlir.ir.dialects.nd.samples import random_array, random_dtype, random_shape
from dlir.ir.dialects.nd.scalars import accumulator, number
from dlir.ir.op import InferError, Tensor
from dlir.ir.ops import arith, nd
from dlir.ir.types import I1, IntegerType, ScalarType, Type


class Cast(Elementwise, name="nd.cast"):
    """x converted to `dtype`.

    To a narrower float: rounded to nearest even, too large becomes inf.  Float to integer: towards zero, clamped to the
    integer's range, NaN gives 0.  Integer to integer: the low bits.  To i1: whether x is not zero (NaN is not).
    From i1: 0 or 1.  Integer to float: the nearest (to f16 and bf16 by way of f32).
    """

    @staticmethod
    def infer(x: Tensor, *, dtype: ScalarType) -> Tensor:
        need_kind(x.dtype, "biuf")
        if kind_of(dtype) is None:
            raise InferError(f"cannot convert to {dtype}")
        return x.with_dtype(dtype)

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        return tensors(groups)

    @staticmethod
    def eval(x: Any, *, dtype: ScalarType) -> Any:
        target = dtype.numpy
        if dtype is I1:
            return np.not_equal(x, np.zeros((), x.dtype))
        if kind_of(dtype) == "f":
            is_integer = x.dtype.kind in "iub"
            return numpy_scalars.narrow(x.astype(np.float32) if is_integer and target.itemsize < 4 else x, target)
        return x.astype(target) if x.dtype.kind in "iub" else _saturated(x, target)

    def scalar(self, x: Value) -> Value:
        source, target = self.operands[0].dtype, self["dtype"]
        if source is target:
            return x
        if target is I1:
            return arith.cmpf("une", x, 0.0) if kind_of(source) == "f" else arith.cmpi("ne", x, 0)
        match kind_of(source) == "f", kind_of(target) == "f":
            case True, True:
                return _float_to_float(x, target)
            case True, False:
                return _float_to_integer(x, target)
            case False, True:
                # NumPy goes to the two-byte floats by way of f32 too; the caller rounds.
                convert = arith.sitofp if kind_of(source) == "i" else arith.uitofp
                return convert(x, accumulator(target))
        return _integer_to_integer(x, source, signless(target))

    @of_first
    def vjp(self, g: Value) -> Value:
        return nd.cast(g, dtype=self.operands[0].dtype)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        source, target = random_dtype(rng, "biuf"), random_dtype(rng, "biuf")
        array = random_array(rng, random_shape(rng), source, special=True)
        if kind_of(source) == "f":
            with np.errstate(over="ignore"):
                array = (array * array.dtype.type(rng.choice([1.0, 100.0, 60000.0]))).astype(array.dtype)
        return [array], {"dtype": target}


def signless(dtype: Type) -> Type:
    """The type that scalars of `dtype` have below the level of arrays."""
    return IntegerType(dtype.width) if isinstance(dtype, IntegerType) else dtype


def _saturated(x: Any, target: np.dtype) -> Any:
    """Floats towards zero, clamped to the range of an integer dtype; NaN gives 0."""
    limits = np.iinfo(target)
    exact = np.trunc(x.astype(np.float64))
    # max + 1 is a power of two and so a float, which max need not be.
    above, below = exact >= float(int(limits.max) + 1), exact < float(limits.min)
    inside = np.where(above | below | np.isnan(exact), 0.0, exact).astype(target)
    return np.where(above, limits.max, np.where(below, limits.min, inside)).astype(target)


def _float_to_float(x: Value, target: Type) -> Value:
    if x.type is target or accumulator(target) is x.type:
        return x
    wider = x.type.bytes < target.bytes  # type: ignore[attr-defined]
    return (arith.extf if wider else arith.truncf)(x, target)


def _float_to_integer(x: Value, target: Type) -> Value:
    """Clamped before it is converted, because what does not fit is undefined there."""
    assert isinstance(target, IntegerType)
    limits = np.iinfo(target.numpy)
    above = arith.cmpf("oge", x, float(int(limits.max) + 1))
    below = arith.cmpf("ole", x, float(limits.min))
    is_nan = arith.cmpf("uno", x, x)
    outside = arith.ori(arith.ori(above, below), is_nan)
    safe = arith.select(outside, number(0.0, x.type), x)
    kept = signless(target)
    convert = arith.fptosi if kind_of(target) == "i" else arith.fptoui
    whole = convert(safe, kept)
    whole = arith.select(below, number(int(limits.min), kept), whole)
    # The largest unsigned integer is -1 as a signless constant.
    largest = int(limits.max) if kind_of(target) == "i" else -1
    return arith.select(above, number(largest, kept), whole)


def _integer_to_integer(x: Value, source: Type, target: Type) -> Value:
    assert isinstance(x.type, IntegerType) and isinstance(target, IntegerType)
    if x.type.width == target.width:
        return x
    if x.type.width > target.width:
        return arith.trunci(x, target)
    return (arith.extsi if kind_of(source) == "i" else arith.extui)(x, target)
