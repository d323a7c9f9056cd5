"""Ops on every backend compute what PyTorch does, in every float type; half precision is computed in f32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.cuda import need_simulator
from support.torch_peer import BFLOAT16, assert_near, from_torch, run_all, to_torch

from dlir.ir.ops import nd, nn

torch = pytest.importorskip("torch")
F = torch.nn.functional

BACKENDS = ("ref", "cpu", "cuda-sim")
DTYPES = {"f8": np.dtype("f8"), "f4": np.dtype("f4"), "f2": np.dtype("f2"), "bf16": BFLOAT16}
#: Half precision: one rounding of the result, and one more where PyTorch rounds in between.
TOLERANCE = {"f8": 1e-11, "f4": 2e-5, "f2": 2e-3, "bf16": 1.6e-2}

Case = tuple[str, Callable[..., Any], Callable[..., Any], list[tuple[int, ...]]]

#: Name, ours, PyTorch's, and the shapes of the operands.
CASES: list[Case] = [
    ("gelu", nd.gelu, F.gelu, [(5, 70)]),
    ("gelu tanh", lambda x: nd.gelu(x, approximate="tanh"), lambda x: F.gelu(x, approximate="tanh"), [(5, 70)]),
    ("silu", nd.silu, F.silu, [(5, 70)]),
    ("hardswish", nd.hardswish, F.hardswish, [(5, 70)]),
    ("hardsigmoid", nd.hardsigmoid, F.hardsigmoid, [(5, 70)]),
    ("elu", lambda x: nd.elu(x, alpha=0.7), lambda x: F.elu(x, 0.7), [(5, 70)]),
    ("leaky_relu", lambda x: nd.leaky_relu(x, alpha=0.2), lambda x: F.leaky_relu(x, 0.2), [(5, 70)]),
    ("log_softmax", lambda x: nd.log_softmax(x, axis=1), lambda x: F.log_softmax(x, 1), [(3, 40, 2)]),
    ("rms_norm", lambda x, w: nd.rms_norm(x, w), lambda x, w: F.rms_norm(x, (40,), w, 1e-5), [(3, 40), (40,)]),
    ("expm1", nd.expm1, torch.expm1, [(4, 9)]),
    ("prod", lambda x: nd.prod(x, axes=(1,)), lambda x: torch.prod(x, 1), [(3, 5, 2)]),
    ("cumsum", lambda x: nd.cumsum(x, axis=-2), lambda x: torch.cumsum(x, -2), [(2, 6, 7)]),
    ("cumsum of rows", lambda x: nd.cumsum(x, axis=1), lambda x: torch.cumsum(x, 1), [(6, 7)]),
    (
        "group_norm",
        lambda x, g, b: nn.group_norm(x, g, b, groups=3),
        lambda x, g, b: F.group_norm(x, 3, g, b),
        [(2, 6, 5, 4), (6,), (6,)],
    ),
    (
        "adaptive_avg",
        lambda x: nn.adaptive_avg_pool2d(x, output_size=(3, 2)),
        lambda x: F.adaptive_avg_pool2d(x, (3, 2)),
        [(2, 3, 7, 5)],
    ),
    (
        "adaptive_max",
        lambda x: nn.adaptive_max_pool2d(x, output_size=(4, 3)),
        lambda x: F.adaptive_max_pool2d(x, (4, 3)),
        [(2, 3, 8, 7)],
    ),
    (
        "adaptive_avg up",
        lambda x: nn.adaptive_avg_pool2d(x, output_size=(5, 4)),
        lambda x: F.adaptive_avg_pool2d(x, (5, 4)),
        [(1, 2, 3, 2)],
    ),
    ("global_avg", nn.global_avg_pool2d, lambda x: F.adaptive_avg_pool2d(x, 1), [(2, 3, 6, 5)]),
    ("global_max", nn.global_max_pool2d, lambda x: F.adaptive_max_pool2d(x, 1), [(2, 3, 6, 5)]),
    ("mse", nn.mse_loss, F.mse_loss, [(6, 5), (6, 5)]),
    ("matmul", nd.matmul, torch.matmul, [(9, 200), (200, 11)]),
    (
        "conv",
        lambda x, w: nd.conv(x, w, padding=(1, 1)),
        lambda x, w: F.conv2d(x, w, padding=1),
        [(1, 16, 6, 6), (4, 16, 3, 3)],
    ),
    ("sum", lambda x: nd.sum(x, axes=(1,)), lambda x: torch.sum(x, 1), [(3, 300)]),
    ("mean", lambda x: nd.mean(x, axes=(0,)), lambda x: torch.mean(x, 0), [(300, 3)]),
]


@pytest.fixture(params=BACKENDS)
def backend(request: Any) -> str:
    if request.param == "cuda-sim":
        need_simulator()
    return request.param


@pytest.mark.parametrize("dtype", DTYPES)
def test_ops(backend: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    inputs = [[rng.normal(size=shape).astype(DTYPES[dtype]) for shape in shapes] for *_, shapes in CASES]
    found = run_all([ours for _, ours, _, _ in CASES], inputs, backend)
    for (name, _, theirs, _), group, got in zip(CASES, inputs, found, strict=True):
        # Where PyTorch adds half precision up in half precision, it is no oracle: it gets the same numbers in f64.
        wide = [to_torch(array.astype("f8")) for array in group]
        want = from_torch(theirs(*wide)).astype(DTYPES[dtype])
        assert_near(f"{name} in {dtype}", got, want, TOLERANCE[dtype])


#: Operands at which activations turn, vanish or overflow.
EDGES = [0.0, -0.0, 1e-30, -1e-30, 1e-4, -1e-4, 3.0, -3.0, -2.999, 88.0, -88.0, -104.0, 1e30, -1e30, 1.0, -1.0]
ACTIVATIONS = CASES[:7]
#: What they give for NaN, inf and -inf: a product of 0 and -inf is NaN, in PyTorch too.
INFINITE = {
    "gelu": [np.nan, np.inf, np.nan],
    "gelu tanh": [np.nan, np.inf, np.nan],
    "silu": [np.nan, np.inf, np.nan],
    "hardswish": [np.nan, np.inf, np.nan],
    "hardsigmoid": [np.nan, 1.0, 0.0],
    "elu": [np.nan, np.inf, -0.7],
    "leaky_relu": [np.nan, np.inf, -np.inf],
}


def test_activations_at_their_edges(backend: str) -> None:
    x = np.array([*EDGES, np.nan, np.inf, -np.inf], "f4")
    found = run_all([ours for _, ours, _, _ in ACTIVATIONS], [[x]] * len(ACTIVATIONS), backend)
    for (name, _, theirs, _), got in zip(ACTIVATIONS, found, strict=True):
        want = from_torch(theirs(to_torch(x[:-3].astype("f8"))))
        np.testing.assert_allclose(got[:-3], want.astype("f4"), 2e-5, 1e-6, err_msg=name)
        np.testing.assert_array_equal(np.signbit(got[:2]), np.signbit(want[:2]), err_msg=f"{name} of both zeros")
        np.testing.assert_array_equal(got[-3:], np.array(INFINITE[name], "f4"), err_msg=name)


def test_elu_is_precise_near_zero(backend: str) -> None:
    x = -np.logspace(-12, -1, 40).astype("f4")
    (found,) = run_all([nd.elu], [[x]], backend)
    np.testing.assert_allclose(found, np.expm1(x.astype("f8")), 1e-6)


@pytest.mark.parametrize(("dtype", "large", "small"), [("f2", 2048, 0.5), ("bf16", 256, 0.25)])
def test_half_precision_is_added_up_in_single_precision(backend: str, dtype: str, large: float, small: float) -> None:
    """A large number and then thousands of small ones: a total kept in half precision would not notice them."""
    row = np.full((1, 4096), small, DTYPES[dtype])
    row[0, 0] = large
    ones = np.ones((1, 4096, 1), DTYPES[dtype])
    makers: list[Callable[..., Any]] = [
        lambda x: nd.sum(x, axes=(1,)),
        lambda x: nd.matmul(x, ones[0]),
        lambda x: nd.cumsum(x, axis=1),
        lambda x: nd.conv(nd.reshape(x, shape=(1, 4096, 1)), ones),
        lambda x: nd.mean(x, axes=(1,)),
        lambda x: nn.global_avg_pool2d(nd.reshape(x, shape=(1, 1, 64, 64))),
    ]
    found = run_all(makers, [[row]] * len(makers), backend)
    exact = large + 4095 * small
    for number, array in enumerate(found):
        assert array.dtype == DTYPES[dtype]
        wanted = np.asarray(exact if number < 4 else exact / 4096).astype(DTYPES[dtype])
        assert float(array.ravel()[-1]) == float(wanted), number
