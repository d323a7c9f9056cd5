"""Unsigned integers through the whole pipeline: what is right for signed ones only would show here."""

from __future__ import annotations

import numpy as np
import pytest
from support.cuda import need_simulator
from support.torch_peer import run_all

from dlir.ir.ops import nd
from dlir.ir.types import F32, F64, I32, I64, UI8, UI32, UI64, dtype_from_numpy

BACKENDS = ("ref", "cpu", "cuda-sim")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["u1", "u4", "u8"])
def test_arithmetic_comparisons_and_reductions(backend, dtype):
    if backend == "cuda-sim":
        need_simulator()
    rng = np.random.default_rng(2)
    largest = np.iinfo(dtype).max
    a = rng.choice(np.array([0, 1, 2, 7, largest // 2, largest // 2 + 1, largest - 1, largest], dtype), (6, 9))
    b = rng.choice(np.array([0, 1, 3, 9, largest], dtype), (6, 9))
    zero = a.dtype.type(0)

    def ours(x, y):
        return (
            *(nd.add(x, y), nd.sub(x, y), nd.mul(x, y), nd.sub(zero, x), nd.neg(x), nd.maximum(x, zero)),
            *(nd.maximum(x, y), nd.minimum(x, y), nd.less(x, y), nd.greater_equal(x, y), nd.logical_not(nd.less(x, y))),
            *(
                nd.sum(x, axes=(1,)),
                nd.max(x, axes=(0,)),
                nd.min(x, axes=(1,)),
                nd.cumsum(x, axis=1),
                nd.argmax(x, axis=1),
            ),
            *(nd.floor_divide(x, y), nd.mod(x, y), nd.right_shift(x, 3), nd.left_shift(x, 3), nd.abs(x), nd.sign(x)),
            *(nd.cast(x, dtype=t) for t in (F32, F64, I32, I64, UI8, UI32, UI64)),
            nd.cast(nd.cast(x, dtype=F64), dtype=dtype_from_numpy(a.dtype)),
        )

    with np.errstate(all="ignore"):
        casts = [a.astype(t) for t in ("f4", "f8", "i4", "i8", "u1", "u4", "u8")]
        back = np.where(a.astype("f8") >= 2.0 ** (8 * a.itemsize), largest, a.astype("f8").astype(dtype))
        wanted = [
            *(a + b, a - b, a * b, zero - a, zero - a, a),
            *(np.maximum(a, b), np.minimum(a, b), a < b, a >= b, a >= b),
            *(a.sum(1, dtype=dtype), a.max(0), a.min(1), a.cumsum(1, dtype=dtype), a.argmax(1)),
            *(a // b, a % b, a >> 3, a << 3, a, np.sign(a)),
            *casts,
            back.astype(dtype),
        ]
    for number, (one, other) in enumerate(zip(run_all([ours], [[a, b]], backend), wanted, strict=True)):
        other = np.asarray(other)
        assert one.dtype == other.dtype, number
        np.testing.assert_array_equal(one, other, err_msg=str(number))
