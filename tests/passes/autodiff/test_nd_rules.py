"""The gradient rules of elementwise ops, reductions and movement against PyTorch's: at edges, ties, of each order.

That they are slopes is checked op by op in test_every_op.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.torch_gradients import draw, ours, same

from dlir.ir.ops import nd
from dlir.ir.registry import dialect_ops

torch = pytest.importorskip("torch")
F = torch.nn.functional

INF = np.inf


# ------------------------------------------------------------ one operand

ENDS = np.array([0.0, -0.0, 1.0, -1.0, 0.3, -2.5, 3.0, -3.0, 30.0, -30.0, 700.0, -700.0])

UNARY: dict[str, tuple[Any, Any, np.ndarray]] = {
    "neg": (nd.neg, torch.neg, ENDS),
    "abs": (nd.abs, torch.abs, ENDS),
    "sign": (nd.sign, torch.sign, ENDS),
    "exp": (nd.exp, torch.exp, np.array([0.0, 1.0, -80.0, 800.0, -800.0, -INF])),
    "expm1": (nd.expm1, torch.expm1, np.array([0.0, -0.0, 1e-9, 1.0, -80.0, -INF])),
    "log": (nd.log, torch.log, np.array([0.0, 1e-300, 1.0, 5.0, INF])),
    "log1p": (nd.log1p, torch.log1p, np.array([0.0, 1e-300, 1.0, 5.0])),
    "sqrt": (nd.sqrt, torch.sqrt, np.array([0.0, 1e-300, 1.0, 5.0, INF])),
    "rsqrt": (nd.rsqrt, torch.rsqrt, np.array([1e-3, 1.0, 5.0, INF])),
    "tanh": (nd.tanh, torch.tanh, np.append(ENDS, [INF, -INF])),
    "erf": (nd.erf, torch.erf, np.append(ENDS, [INF, -INF])),
    "sin": (nd.sin, torch.sin, ENDS),
    "cos": (nd.cos, torch.cos, ENDS),
    "floor": (nd.floor, torch.floor, ENDS),
    "ceil": (nd.ceil, torch.ceil, ENDS),
    "rint": (nd.rint, torch.round, ENDS),
    "relu": (nd.relu, torch.relu, np.append(ENDS, [INF, -INF])),
    "sigmoid": (nd.sigmoid, torch.sigmoid, np.append(ENDS, [INF, -INF])),
    "silu": (nd.silu, F.silu, ENDS),
    "gelu": (nd.gelu, F.gelu, ENDS),
    "gelu_tanh": (lambda x: nd.gelu(x, approximate="tanh"), lambda x: F.gelu(x, approximate="tanh"), ENDS[:10]),
    "hardsigmoid": (nd.hardsigmoid, F.hardsigmoid, np.append(ENDS, [INF, -INF])),
    "hardswish": (nd.hardswish, F.hardswish, ENDS),
    "elu": (nd.elu, F.elu, np.append(ENDS, [INF, -INF])),
    "elu_0.5": (lambda x: nd.elu(x, alpha=0.5), lambda x: F.elu(x, alpha=0.5), ENDS),
    "leaky_relu": (nd.leaky_relu, F.leaky_relu, np.append(ENDS, [INF, -INF])),
    "maximum": (lambda x: nd.maximum(x, 1.0), lambda x: torch.maximum(x, torch.ones_like(x)), ENDS),
}


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", UNARY)
def test_functions_have_pytorchs_slopes_at_the_edges_too(name: str, dtype: str) -> None:
    build, peer, values = UNARY[name]
    # PyTorch rounds the sixth of hardsigmoid to f32.
    wide = 1e-7 if name == "hardsigmoid" else 1e-11
    found = same(build, peer, values.astype(dtype), tolerance=2e-6 if dtype == "f4" else wide)
    assert not np.isnan(found[0]).any()


SMOOTH = [
    "exp",
    "expm1",
    "log",
    "sqrt",
    "rsqrt",
    "tanh",
    "erf",
    "sin",
    "cos",
    "sigmoid",
    "silu",
    "gelu",
    "elu",
    "leaky_relu",
]


@pytest.mark.parametrize("name", [*SMOOTH, "gelu_tanh", "relu", "hardswish"])
def test_functions_have_pytorchs_second_derivatives(name: str) -> None:
    build, peer, _ = UNARY[name]
    same(build, peer, np.abs(draw(7)) + 0.1, order=2)


def test_slopes_stay_finite_far_out_where_parts_of_the_formula_do_not() -> None:
    far = np.array([1e20, -1e20, 3e38, -3e38], "f4")
    ones = np.ones(4, "f4")
    for build in (nd.silu, nd.gelu, lambda x: nd.gelu(x, approximate="tanh"), nd.hardswish):
        np.testing.assert_array_equal(ours(build, [far], ones)[0], [1, 0, 1, 0])


def test_what_has_steps_says_that_it_has_no_slope() -> None:
    stepped = "sign floor ceil rint floor_divide equal not_equal less less_equal greater greater_equal logical_and"
    others = "logical_or logical_xor logical_not any all argmax argmin iota constant"
    ops = dialect_ops("nd")
    for name in f"{stepped} {others}".split():
        assert not ops[f"nd.{name}"].differentiable, name
    missing = [name for name, cls in ops.items() if cls.differentiable and cls.vjp is None and hasattr(cls, "sample")]
    assert not missing


# ------------------------------------------------------------ two operands

PAIRS = np.array(np.meshgrid([0.0, 1.0, -1.0, 2.0, 0.5, -3.0], [0.0, 1.0, -1.0, 2.0, 0.5, -3.0])).reshape(2, -1)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "maximum", "minimum"])
def test_arithmetic_has_pytorchs_slopes_at_zeros_and_ties(name: str) -> None:
    same(getattr(nd, name), getattr(torch, name), *PAIRS)


def test_division_has_pytorchs_slopes() -> None:
    a, b = PAIRS[:, PAIRS[1] != 0]
    same(nd.div, torch.div, a, b)
    same(nd.div, torch.div, a, b, order=2)


def test_remainders_have_pytorchs_slopes() -> None:
    a, b = draw(2, 20) * 3
    same(nd.mod, torch.remainder, a, b)


def test_powers_have_pytorchs_slopes() -> None:
    """Zero to a power of zero or more, and anything to the power of zero, are where formulas have 0 * inf."""
    base, exponent = PAIRS[:, ~((PAIRS[0] == 0) & (PAIRS[1] < 0))]
    same(nd.pow, torch.pow, base, exponent)
    for power in (0.0, 1.0, 2.0, 3.0, -1.0):
        values = draw(6) if power < 0 else np.append(draw(6), [0.0, -2.0])
        for order in (1, 2):
            found = same(lambda x, p=power: nd.pow(x, p), lambda x, p=power: x**p, values, order=order)
            assert np.isfinite(found[0]).all()


def test_choices_give_to_what_was_chosen() -> None:
    condition = np.array([True, False, True, False])
    x, y = draw(2, 4)
    found = ours(nd.select, [condition, x, y], np.array([1.0, 2.0, INF, 4.0]))
    np.testing.assert_array_equal(found[0], [1, 0, INF, 0])
    np.testing.assert_array_equal(found[1], [0, 2, 0, 4])


# ------------------------------------------------------------ along axes

AXES: list[tuple[int, ...] | None] = [None, (0,), (1,), (-1,), (0, 2), (0, 1, 2), ()]


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_give_back_to_all_elements(axes: Any, keepdims: bool) -> None:
    x = draw(3, 2, 4)
    chosen = tuple(range(3)) if axes is None else axes
    for name, peer in (("sum", torch.sum), ("mean", torch.mean), ("max", torch.amax), ("min", torch.amin)):
        if chosen:
            same(
                lambda x, n=name: getattr(nd, n)(x, axes=axes, keepdims=keepdims),
                lambda x, p=peer: p(x, chosen, keepdim=keepdims),
                x,
            )
        else:
            weights = draw(3, 2, 4, seed=3)
            found = ours(lambda x, n=name: getattr(nd, n)(x, axes=(), keepdims=keepdims), [x], weights)
            np.testing.assert_allclose(found[0], weights)


def test_equal_extremes_share() -> None:
    x = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
    weights = np.array([6.0, 6.0])
    np.testing.assert_array_equal(ours(lambda x: nd.max(x, axes=(1,)), [x], weights)[0], [[0, 3, 3], [2, 2, 2]])
    np.testing.assert_array_equal(ours(lambda x: nd.min(x, axes=(1,)), [x], weights)[0], [[6, 0, 0], [2, 2, 2]])


def product(*axes: int) -> Callable[[Any], Any]:
    def apply(x: Any) -> Any:
        for axis in sorted(axes, reverse=True):
            x = x.prod(axis)
        return x

    return apply


@pytest.mark.parametrize("zeros", [0, 1, 2])
@pytest.mark.parametrize(
    "shape, axes", [((5,), (0,)), ((2, 7), (1,)), ((4, 2), (0,)), ((3, 2, 3), (0, 2)), ((1, 2), (0,))]
)
def test_products_need_no_division(shape: tuple[int, ...], axes: tuple[int, ...], zeros: int) -> None:
    x = draw(*shape)
    x.reshape(-1)[:zeros] = 0.0
    for order in (1, 2):
        same(lambda x: nd.prod(x, axes=axes), product(*axes), x, order=order)


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_running_sums_run_back(exclusive: bool, reverse: bool) -> None:
    x, weights = draw(2, 5), draw(2, 5, seed=1)
    matrix = np.tril(np.ones((5, 5)), -1 if exclusive else 0)
    matrix = matrix.T if reverse else matrix
    found = ours(lambda x: nd.cumsum(x, axis=1, exclusive=exclusive, reverse=reverse), [x], weights)
    np.testing.assert_allclose(found[0], weights @ matrix)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("order", [1, 2])
def test_softmaxes_have_pytorchs_gradients(axis: int, order: int) -> None:
    x = draw(3, 4, 2)
    x[0, 0, 0] = 500.0
    same(lambda x: nd.softmax(x, axis=axis), lambda x: F.softmax(x, axis), x, order=order)
    same(lambda x: nd.log_softmax(x, axis=axis), lambda x: F.log_softmax(x, axis), x, order=order)


def test_softmax_gives_nothing_to_what_is_masked() -> None:
    x = np.array([[1.0, -INF, 2.0], [-INF, 0.0, -INF]])
    same(nd.softmax, lambda x: F.softmax(x, -1), x)


@pytest.mark.parametrize("order", [1, 2])
def test_normalisations_have_pytorchs_gradients(order: int) -> None:
    x, scale, bias = draw(3, 2, 4), draw(2, 4), draw(2, 4, seed=1)
    same(
        lambda x, s, b: nd.layer_norm(x, s, b, axes=(1, 2), epsilon=0.1),
        lambda x, s, b: F.layer_norm(x, (2, 4), s, b, 0.1),
        *(x, scale, bias),
        order=order,
    )
    same(nd.layer_norm, lambda x: F.layer_norm(x, (4,)), x, order=order)
    same(lambda x, b: nd.layer_norm(x, None, b), lambda x, b: F.layer_norm(x, (4,)) + b, x, bias[0], order=order)
    same(
        lambda x, s: nd.rms_norm(x, s, epsilon=1e-3),
        lambda x, s: x / ((x * x).mean(-1, keepdim=True) + 1e-3).sqrt() * s,
        *(x, scale[0]),
        order=order,
    )


def test_a_line_without_variance_has_a_finite_gradient() -> None:
    (found,) = ours(nd.layer_norm, [np.full((2, 3), 7.0)], draw(2, 3))
    assert np.isfinite(found).all()


# ------------------------------------------------------------ movement


@pytest.mark.parametrize(
    "start, stop, step",
    [
        ((1, 0), (4, 6), (1, 1)),
        ((0, 5), (5, -7), (2, -1)),
        ((4, 1), (0, 6), (-2, 3)),
        ((3, 0), (3, 6), (1, 1)),
        ((-2, 2), (99, 99), None),
    ],
)
def test_slices_go_back_to_their_places(start: Any, stop: Any, step: Any) -> None:
    x = draw(5, 6)
    parts = tuple(slice(*bounds) for bounds in zip(start, stop, step or (1, 1)))
    weights = draw(*x[parts].shape, seed=2)
    expected = np.zeros_like(x)
    expected[parts] = weights
    (found,) = ours(lambda x: nd.slice(x, start=start, stop=stop, step=step), [x], weights)
    np.testing.assert_array_equal(found, expected)


def test_padding_gets_nothing() -> None:
    x = draw(2, 3)
    attributes: dict[str, Any] = {"low": (1, 0), "high": (0, 2), "interior": (2, 1), "value": 5.0}
    weights = draw(5, 7)
    (found,) = ours(lambda x: nd.pad(x, **attributes), [x], weights)
    np.testing.assert_array_equal(found, weights[1::3, 0:5:2])


def test_parts_get_theirs() -> None:
    parts = [draw(2, n) for n in (1, 0, 3, 2)]
    weights = draw(2, 6)
    found = ours(lambda *xs: nd.concat(*xs, axis=-1), parts, weights)
    np.testing.assert_array_equal(np.concatenate(found, 1), weights)
    assert [one.shape for one in found] == [part.shape for part in parts]


@pytest.mark.parametrize(
    "shape, wide",
    [((), (2, 3)), ((3,), (2, 3)), ((2, 1), (2, 3)), ((1, 1), (4, 2, 3)), ((2, 3), (2, 3)), ((1, 0), (2, 0))],
)
def test_broadcasts_are_undone_by_a_sum(shape: tuple[int, ...], wide: tuple[int, ...]) -> None:
    same(lambda x: nd.broadcast_to(x, shape=wide), lambda x: torch.broadcast_to(x, wide), draw(*shape))


def test_layouts_go_back() -> None:
    x = draw(5, 6)
    attributes: dict[str, Any] = {"inner_dims_pos": (1, 0), "inner_tiles": (4, 2), "outer_dims_perm": (1, 0)}
    round_trip = lambda x: nd.unpack(nd.pack(x, **attributes), shape=(5, 6), **attributes)  # noqa: E731
    weights = draw(5, 6, seed=4)
    np.testing.assert_array_equal(ours(round_trip, [x], weights)[0], weights)
