"""The gradient rules of contractions, attention, convolution and pooling against PyTorch's, with every attribute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.gradients import function_of, many, run
from support.torch_gradients import draw, ours, same
from support.torch_peer import to_torch

from dlir.ir.ops import nd

torch = pytest.importorskip("torch")
F = torch.nn.functional

INF = np.inf


# ------------------------------------------------------------ contractions


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize(
    "left, right", [((), ()), ((2,), ()), ((), (2,)), ((3, 1), (2,)), ((2, 3), (1, 3)), ((4,), (1,))]
)
def test_matrix_products_have_pytorchs_gradients(transpose_a: bool, transpose_b: bool, left: Any, right: Any) -> None:
    a = draw(*left, *((4, 2) if transpose_a else (2, 4)))
    b = draw(*right, *((3, 4) if transpose_b else (4, 3)))
    same(
        lambda a, b: nd.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b),
        lambda a, b: (a.mT if transpose_a else a) @ (b.mT if transpose_b else b),
        *(a, b),
    )


CONVOLUTIONS = [
    {},
    {"padding": (1, 2)},
    {"stride": (2, 1)},
    {"stride": (2, 3), "padding": (2, 1)},
    {"dilation": (2, 1), "padding": (0, 1)},
    {"stride": (3, 2), "dilation": (2, 2), "padding": (3, 3)},
    {"groups": 2, "stride": (2, 2), "padding": (1, 1)},
    {"groups": 4},
    {"padding": (4, 4), "stride": (2, 2)},
]


@pytest.mark.parametrize("attributes", CONVOLUTIONS)
@pytest.mark.parametrize("spatial", [(7, 8), (6, 7)])
def test_convolutions_have_pytorchs_gradients(attributes: dict[str, Any], spatial: tuple[int, int]) -> None:
    groups = attributes.get("groups", 1)
    x, w = draw(2, 4, *spatial), draw(8, 4 // groups, 3, 2)
    same(lambda x, w: nd.conv(x, w, **attributes), lambda x, w: F.conv2d(x, w, **attributes), x, w)


@pytest.mark.parametrize("attributes", [CONVOLUTIONS[5], CONVOLUTIONS[6]])
def test_convolutions_have_pytorchs_second_derivatives(attributes: dict[str, Any]) -> None:
    x, w = draw(1, 4, 6, 6), draw(2, 4 // attributes.get("groups", 1), 2, 2)
    same(lambda x, w: nd.conv(x, w, **attributes), lambda x, w: F.conv2d(x, w, **attributes), x, w, order=2)


def test_convolutions_of_one_and_three_dimensions_and_of_single_elements() -> None:
    same(lambda x, w: nd.conv(x, w, stride=(2,)), lambda x, w: F.conv1d(x, w, stride=2), draw(2, 3, 8), draw(4, 3, 3))
    attributes: dict[str, Any] = {"stride": (2, 1, 2), "padding": (1, 0, 1)}
    same(
        lambda x, w: nd.conv(x, w, stride=(2, 3)),
        lambda x, w: F.conv2d(x, w, stride=(2, 3)),
        *(draw(2, 3, 6, 8), draw(4, 3, 1, 1)),
    )
    same(
        lambda x, w: nd.conv(x, w, **attributes),
        lambda x, w: F.conv3d(x, w, **attributes),
        *(draw(1, 2, 5, 4, 6), draw(3, 2, 3, 2, 2)),
    )


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", [None, "bool", "float"])
def test_attention_has_pytorchs_gradients(causal: bool, mask: str | None) -> None:
    q, k, v = draw(2, 3, 4, 5), draw(2, 3, 6, 5, seed=1), draw(2, 3, 6, 2)
    seen = np.random.default_rng(5).random((4, 6)) < 0.6
    seen[:, 0] = True
    extra = [] if mask is None else [seen] if mask == "bool" else [draw(4, 6)]

    def peer(q: Any, k: Any, v: Any, given: Any = None) -> Any:
        scores = q @ k.mT * 0.3
        if given is not None:
            scores = scores.masked_fill(~given, -INF) if given.dtype == torch.bool else scores + given
        if causal:
            scores = scores.masked_fill(torch.ones(4, 6, dtype=torch.bool).triu(1), -INF)
        return scores.softmax(-1) @ v

    for order in (1, 2):
        same(lambda *args: nd.attention(*args, scale=0.3, causal=causal), peer, *(q, k, v, *extra), order=order)


def test_attention_sums_over_shared_heads() -> None:
    q, k, v = draw(2, 3, 4, 5), draw(3, 6, 5), draw(1, 1, 6, 2)
    same(nd.attention, F.scaled_dot_product_attention, q, k, v)


def test_a_query_that_sees_nothing_has_no_gradient() -> None:
    q, k, v = draw(2, 3), draw(2, 3, seed=1), draw(2, 2)
    mask = np.array([[False, False], [True, True]])
    found = ours(nd.attention, [q, k, v, mask], np.ones((2, 2)))
    assert all(np.isfinite(one).all() for one in found)
    np.testing.assert_array_equal(found[0][0], 0.0)


# ------------------------------------------------------------ windows

POOLS: list[dict[str, Any]] = [
    {"kernel": (2, 2)},
    {"kernel": (3, 2), "stride": (1, 2)},
    {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1)},
    {"kernel": (2, 3), "stride": (3, 4)},
    {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 0), "ceil_mode": True},
]


def spelled(attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes as PyTorch calls them."""
    return {{"kernel": "kernel_size"}.get(name, name): value for name, value in attributes.items()}


@pytest.mark.parametrize("attributes", POOLS)
@pytest.mark.parametrize("tied", [False, True])
def test_pools_have_pytorchs_gradients(attributes: dict[str, Any], tied: bool) -> None:
    """Where there are ties, the first one of a window gets all."""
    x = draw(2, 3, 8, 6)
    x = np.round(x) if tied else x
    same(lambda x: nd.max_pool(x, **attributes), lambda x: F.max_pool2d(x, **spelled(attributes)), x)
    for include in (False, True):
        same(
            lambda x, i=include: nd.avg_pool(x, count_include_pad=i, **attributes),
            lambda x, i=include: F.avg_pool2d(x, count_include_pad=i, **spelled(attributes)),
            x,
        )


def test_pools_have_second_derivatives() -> None:
    x = draw(1, 2, 6, 6)
    for attributes in POOLS[:3]:
        squared = lambda x, a=attributes: nd.max_pool(nd.mul(x, nd.mul(x, x)), **a)  # noqa: E731
        same(squared, lambda x, a=attributes: F.max_pool2d(x**3, **spelled(a)), x, order=2)


def test_a_window_of_nothing_but_minus_infinity_gives_to_its_first_element() -> None:
    x = np.full((1, 1, 4, 4), -INF)
    attributes = POOLS[2]
    same(lambda x: nd.max_pool(x, **attributes), lambda x: F.max_pool2d(x, **spelled(attributes)), x)


@pytest.mark.parametrize("output_size", [(2, 3), (3, 4), (1, 1), (6, 5), (4, 7)])
@pytest.mark.parametrize("tied", [False, True])
def test_adaptive_pools_have_pytorchs_gradients(output_size: tuple[int, ...], tied: bool) -> None:
    x = draw(2, 2, 6, 6)
    x = np.round(x) if tied else x
    for name in ("max", "avg"):
        same(
            lambda x, n=name: getattr(nd, f"adaptive_{n}_pool")(x, output_size=output_size),
            lambda x, n=name: getattr(F, f"adaptive_{n}_pool2d")(x, output_size),
            x,
        )


def test_folding_is_the_transpose_of_unfolding() -> None:
    x = draw(2, 3, 7, 6)
    attributes: dict[str, Any] = {"stride": (2, 1), "padding": (1, 0)}
    opened = many(run(function_of(lambda x: nd.unfold(x, kernel=(3, 2), **attributes), [x]), x))[0]
    expected = F.unfold(to_torch(x), (3, 2), **attributes).reshape(2, 3, 3, 2, *opened.shape[2:4])
    np.testing.assert_array_equal(opened, expected.permute(0, 1, 4, 5, 2, 3).numpy())
    weights = draw(*opened.shape)
    folded = run(function_of(lambda w: nd.fold(w, shape=(7, 6), **attributes), [weights]), weights)[0]
    np.testing.assert_allclose(np.sum(folded * x), np.sum(weights * opened))
