"""Losses, attention and batch statistics on every backend compute what PyTorch does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.cuda import need_simulator
from support.torch_peer import BFLOAT16, assert_near, from_torch, run_all, to_torch

from dlir.ir.ops import nn

torch = pytest.importorskip("torch")
F = torch.nn.functional

BACKENDS = ("ref", "cpu", "cuda-sim")
REDUCTIONS = ("mean", "sum", "none")
HALVES = {"f2": np.dtype("f2"), "bf16": BFLOAT16}
TOLERANCE = {"f4": 2e-5, "f8": 1e-11, "f2": 2e-3, "bf16": 1.6e-2}


@pytest.fixture(params=BACKENDS)
def backend(request: Any) -> str:
    if request.param == "cuda-sim":
        need_simulator()
    return request.param


def compare(backend: str, cases: list[tuple[Callable[..., Any], Callable[..., Any], list[np.ndarray]]]) -> None:
    """Run (ours, PyTorch's, operands) of all cases in one program; PyTorch gets half precision as f64."""
    found = iter(run_all([ours for ours, _, _ in cases], [arrays for *_, arrays in cases], backend))
    for number, (_, theirs, arrays) in enumerate(cases):
        dtype = arrays[0].dtype
        name = "bf16" if dtype == BFLOAT16 else dtype.str[1:]
        is_half = name in HALVES
        wide = [to_torch(a.astype("f8") if is_half and a.dtype == dtype else a) for a in arrays]
        wanted = theirs(*wide)
        for want in wanted if isinstance(wanted, tuple) else [wanted]:
            assert_near(f"case {number}", next(found), from_torch(want).astype(dtype), TOLERANCE[name])


def test_cross_entropy_of_class_indices(backend: str) -> None:
    rng = np.random.default_rng(0)
    cases: Any = []
    for shape in [(6, 1000), (3, 5, 4), (2, 3, 4, 2), (1, 1), (5, 7)]:
        for reduction, dtype in zip(REDUCTIONS, ("i8", "i4", "i8"), strict=True):
            logits = (rng.normal(size=shape) * 5).astype("f4")
            labels = rng.integers(0, shape[1], (shape[0], *shape[2:])).astype(dtype)
            cases.append(
                (
                    lambda x, y, r=reduction: nn.cross_entropy(x, y, reduction=r),
                    lambda x, y, r=reduction: F.cross_entropy(x, y.long(), reduction=r),
                    [logits, labels],
                )
            )
    compare(backend, cases)


def test_cross_entropy_of_probabilities_and_without_a_batch(backend: str) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4, 6, 3)).astype("f4")
    probabilities = rng.dirichlet(np.ones(6), (4, 3)).transpose(0, 2, 1).astype("f4")
    cases: Any = [
        (
            lambda x, y, r=reduction: nn.cross_entropy(x, y, reduction=r),
            lambda x, y, r=reduction: F.cross_entropy(x, y, reduction=r),
            [logits, probabilities],
        )
        for reduction in REDUCTIONS
    ]
    single = [logits[0, :, 0].copy(), np.asarray(2)]
    cases.append((lambda x, y: nn.cross_entropy(x, y, axis=0), F.cross_entropy, single))
    compare(backend, cases)


def test_ignored_labels_count_as_nothing(backend: str) -> None:
    rng = np.random.default_rng(2)
    logits, labels = rng.normal(size=(6, 5)).astype("f4"), np.array([0, -100, 4, -100, 2, 1])
    everything = np.full(6, -100)
    compare(
        backend,
        [
            (
                lambda x, y, r=reduction: nn.cross_entropy(x, y, reduction=r, ignore_index=-100),
                lambda x, y, r=reduction: F.cross_entropy(x, y, reduction=r),
                [logits, chosen],
            )
            for reduction in REDUCTIONS
            for chosen in (labels, everything)
        ],
    )


def test_cross_entropy_of_extreme_logits(backend: str) -> None:
    logits = np.array([[1e4, 0, -1e4], [-1e4, 1e4, 0], [-np.inf, 0, 0], [np.nan, 0, 1], [0, 0, -np.inf]], "f4")
    labels = np.array([0, 0, 1, 1, 2])
    compare(
        backend,
        [
            (
                lambda x, y: nn.cross_entropy(x, y, reduction="none"),
                lambda x, y: F.cross_entropy(x, y, reduction="none"),
                [logits, labels],
            )
        ],
    )


def test_a_label_that_is_no_class_gives_infinity(backend: str) -> None:
    logits = np.zeros((6, 3), "f4")
    labels = np.array([3, -1, 2**32, 2**32 + 1, -(2**63), 1])
    (found,) = run_all([lambda x, y: nn.cross_entropy(x, y, reduction="none")], [[logits, labels]], backend)
    np.testing.assert_array_equal(np.isinf(found), [True] * 5 + [False])


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision(backend: str, dtype: str) -> None:
    rng = np.random.default_rng(3)
    logits, labels = rng.normal(size=(4, 50)).astype(HALVES[dtype]), rng.integers(0, 50, 4)
    q, k, v = (rng.normal(size=(2, 5, 8)).astype(HALVES[dtype]) for _ in range(3))
    compare(
        backend,
        [
            (nn.cross_entropy, F.cross_entropy, [logits, labels]),
            (nn.attention, F.scaled_dot_product_attention, [q, k, v]),
        ],
    )


def test_attention(backend: str) -> None:
    rng = np.random.default_rng(4)

    def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
        return [rng.normal(size=shape).astype("f4") for shape in shapes]

    kept = rng.random((5, 7)) < 0.6
    kept[2] = False
    added = np.where(kept, rng.normal(size=(5, 7)), -np.inf).astype("f4")
    per_key = rng.random((2, 1, 1, 7)) < 0.7
    shapes = (2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 6)
    compare(
        backend,
        [
            (nn.attention, F.scaled_dot_product_attention, arrays(*shapes)),
            (nn.attention, F.scaled_dot_product_attention, [*arrays(*shapes), kept]),
            (nn.attention, F.scaled_dot_product_attention, [*arrays(*shapes), added]),
            (nn.attention, F.scaled_dot_product_attention, [*arrays(*shapes), per_key]),
            (
                lambda q, k, v: nn.attention(q, k, v, causal=True, scale=0.3),
                lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3),
                arrays((2, 6, 4), (2, 6, 4), (2, 6, 4)),
            ),
            (
                lambda q, k, v: nn.attention(q, k, v, causal=True),
                lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
                arrays((5, 4), (7, 4), (7, 6)),
            ),
            (nn.attention, F.scaled_dot_product_attention, arrays((2, 3, 4), (2, 0, 4), (2, 0, 4))),
            (nn.attention, F.scaled_dot_product_attention, arrays((1, 1, 1), (1, 1, 1), (1, 1, 1))),
        ],
    )


def test_attention_of_large_scores(backend: str) -> None:
    q = np.array([[100.0, 0], [0, -200], [1e3, 1e3]], "f4")
    compare(backend, [(nn.attention, F.scaled_dot_product_attention, [q, q.copy(), q / 100])])


def test_batch_norm_in_training(backend: str) -> None:
    rng = np.random.default_rng(5)

    def theirs(x: Any, gamma: Any, beta: Any, mean: Any, var: Any) -> Any:
        mean, var = mean.clone(), var.clone()
        return F.batch_norm(x, mean, var, gamma, beta, training=True, momentum=0.3), mean, var

    cases: Any = []
    for shape in [(4, 3, 5, 2), (6, 2), (2, 1, 1)]:
        arrays = [rng.normal(size=n).astype("f4") for n in (shape, *(shape[1],) * 4)]
        arrays[4] = np.abs(arrays[4])
        cases.append((lambda *operands: nn.batch_norm_train(*operands, momentum=0.3), theirs, arrays))
    compare(backend, cases)
