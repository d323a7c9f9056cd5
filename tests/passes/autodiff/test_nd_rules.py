"""The gradient rules of nd ops against PyTorch's: at edges and ties, with every attribute, in each dtype, at no size.

That they are slopes is checked op by op in test_every_op.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from support.cuda import need_simulator
from support.gradients import function_of, gradient, many, run
from support.torch_peer import BFLOAT16, assert_near, from_torch, run_all, to_torch

from dlir.ir.builder import at_end
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.errors import DlirError
from dlir.ir.ops import func, nd
from dlir.ir.registry import dialect_ops
from dlir.ir.types import BF16, F16, F32, F64, I64, TensorType
from dlir.passes.manager import PassManager

torch = pytest.importorskip("torch")
F = torch.nn.functional

INF, NAN = np.inf, np.nan
TOLERANCE = {"float64": 1e-11, "float32": 1e-5, "float16": 2e-3, "bfloat16": 1.6e-2}


def draw(*shape: int, dtype: Any = "f8", seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def ours(build: Callable[..., Any], arrays: Sequence[np.ndarray], weights: np.ndarray, order: int = 1) -> list[Any]:
    """Gradients of the result, weighed with `weights`; of order 2: of the sum of squares of those gradients."""
    floats = [number for number, array in enumerate(arrays) if array.dtype.kind not in "iub"]

    def made(*args: Any) -> Any:
        *args, weight = args
        inputs = [args[number] for number in floats]
        found = gradient(build(*args), weight, inputs)
        if order == 1:
            return found
        total = None
        for one in found:
            square = nd.sum(nd.mul(one, one))
            total = square if total is None else nd.add(total, square)
        return gradient(total, (), inputs)

    main = function_of(made, [*arrays, weights])
    with np.errstate(all="ignore"):
        return run(main, *arrays, weights)


def theirs(build: Callable[..., Any], arrays: Sequence[np.ndarray], weights: np.ndarray, order: int = 1) -> list[Any]:
    """The same of PyTorch."""
    args = [to_torch(array) for array in arrays]
    inputs = [arg.requires_grad_() for arg in args if arg.is_floating_point()]
    total = (build(*args) * to_torch(weights)).sum()
    found = torch.autograd.grad(total, inputs, create_graph=order == 2, materialize_grads=True)
    if order == 2:
        squares = sum((one * one).sum() for one in found)
        if not squares.requires_grad:
            return [np.zeros_like(from_torch(one.detach())) for one in inputs]
        found = torch.autograd.grad(squares, inputs, materialize_grads=True)
    return [from_torch(one.detach()) for one in found]


def same(
    build: Callable[..., Any],
    peer: Callable[..., Any],
    *arrays: np.ndarray,
    order: int = 1,
    weights: np.ndarray | None = None,
    tolerance: float = 0.0,
) -> list[np.ndarray]:
    """Our gradients, which must be PyTorch's."""
    if weights is None:
        weights = draw(*peer(*map(to_torch, arrays)).shape, seed=9).astype(arrays[0].dtype)
    mine, expected = ours(build, arrays, weights, order), theirs(peer, arrays, weights, order)
    for one, other in zip(mine, expected, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        near = tolerance or TOLERANCE[one.dtype.name]
        finite = other[np.isfinite(other)].astype("f8")
        scale = max(1.0, np.abs(finite).max(initial=0.0))
        np.testing.assert_allclose(one.astype("f8"), other.astype("f8"), near, near * scale)
    return mine


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


# ------------------------------------------------------------ dtypes and shapes

HALVES: dict[str, tuple[Any, Any, list[tuple[int, ...]]]] = {
    "sigmoid": (nd.sigmoid, torch.sigmoid, [(9,)]),
    "tanh": (nd.tanh, torch.tanh, [(9,)]),
    "gelu": (nd.gelu, F.gelu, [(9,)]),
    "softmax": (nd.softmax, lambda x: F.softmax(x, -1), [(3, 5)]),
    "layer_norm": (nd.layer_norm, lambda x: F.layer_norm(x, (5,)), [(3, 5)]),
    "mean": (nd.mean, torch.mean, [(300, 300)]),
    "matmul": (nd.matmul, torch.matmul, [(3, 4), (4, 2)]),
    "conv": (nd.conv, F.conv2d, [(2, 3, 5, 5), (4, 3, 3, 3)]),
    "avg_pool": (lambda x: nd.avg_pool(x, kernel=(2, 2)), lambda x: F.avg_pool2d(x, 2), [(1, 2, 4, 6)]),
    "max_pool": (lambda x: nd.max_pool(x, kernel=(2, 2)), lambda x: F.max_pool2d(x, 2), [(1, 2, 4, 6)]),
    "prod": (lambda x: nd.prod(x, axes=(1,)), lambda x: x.prod(1), [(2, 4)]),
}


@pytest.mark.parametrize("dtype", [np.dtype("f2"), BFLOAT16], ids=str)
@pytest.mark.parametrize("name", HALVES)
def test_half_precision_stays_and_is_as_near_as_it_can_be(name: str, dtype: np.dtype) -> None:
    """Against the gradient of the same numbers in f64, where PyTorch's own half precision is sometimes coarser."""
    build, peer, shapes = HALVES[name]
    arrays = [draw(*shape, seed=number).astype(dtype) for number, shape in enumerate(shapes)]
    wide = [array.astype("f8") for array in arrays]
    weights = draw(*peer(*map(to_torch, wide)).shape, seed=9).astype(dtype)
    expected = theirs(peer, wide, weights.astype("f8"))
    for one, other in zip(ours(build, arrays, weights), expected, strict=True):
        assert one.dtype == dtype
        near = 4 * TOLERANCE[dtype.name]
        np.testing.assert_allclose(one.astype("f8"), other, near, near * np.abs(other).max())


def test_casts_give_the_dtype_back() -> None:
    x = draw(3, dtype="f4")
    for dtype, numpy_dtype in ((F64, "f8"), (F16, "f2"), (BF16, BFLOAT16)):
        (found,) = ours(lambda x, d=dtype: nd.cast(x, dtype=d), [x], np.ones(3, numpy_dtype))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, 1.0)
    through_integers = ours(lambda x: nd.cast(nd.cast(x, dtype=I64), dtype=F32), [x], np.ones(3, "f4"))
    np.testing.assert_array_equal(through_integers[0], 0.0)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (0, 3)])
def test_arrays_of_no_rank_or_no_size_have_gradients(shape: tuple[int, ...]) -> None:
    x = draw(*shape)
    for build in (nd.sum, nd.prod, nd.exp, lambda x: nd.mul(x, x), lambda x: nd.sum(x, keepdims=True), nd.transpose):
        made = run(function_of(build, [x]), x)[0]
        (found,) = ours(build, [x], np.ones_like(made))
        assert found.shape == shape and np.isfinite(found).all()


LOOSE: dict[str, tuple[Any, list[tuple[int | None, ...]]]] = {
    "sum_middle": (lambda x: nd.sum(x, axes=(1,)), [(None, 3, None)]),
    "sum_dynamic": (lambda x: nd.sum(x, axes=(0,)), [(None, 3, None)]),
    "mean": (lambda x: nd.mean(x, axes=(0, 2)), [(None, 3, None)]),
    "mean_kept": (lambda x: nd.mean(x, axes=(1,), keepdims=True), [(None, None)]),
    "max": (lambda x: nd.max(x, axes=(-1,)), [(None, None)]),
    "softmax": (nd.softmax, [(None, None)]),
    "layer_norm": (nd.layer_norm, [(None, None, 4)]),
    "matmul": (nd.matmul, [(None, None), (None, 3)]),
    "matmul_rows": (nd.matmul, [(None, 3, 4), (4, 2)]),
    "broadcast": (lambda x, y: nd.add(x, y), [(None, 3), (3,)]),
    "broadcast_like": (lambda x, y: nd.mul(x, y), [(1, None), (None, None)]),
    "concat": (lambda x, y: nd.concat(y, x, y, axis=0), [(None, 2), (3, 2)]),
    "reshape": (lambda x: nd.reshape(x, shape=(-1, 6)), [(None, 2, 3)]),
    "pad": (lambda x: nd.pad(x, low=(1, 0), high=(2, 0)), [(None, None)]),
    "slice": (lambda x: nd.slice(x, start=(1, 0), stop=(-1, 2)), [(None, 4)]),
    "max_pool": (lambda x: nd.max_pool(x, kernel=(2,)), [(None, None, 4)]),
    "avg_pool": (lambda x: nd.avg_pool(x, kernel=(3,), stride=(2,), padding=(1,)), [(None, None, 5)]),
    "attention": (nd.attention, [(None, None, 4), (None, None, 4), (None, None, 4)]),
}


@pytest.mark.parametrize("name", LOOSE)
def test_rules_hold_for_dimensions_that_are_known_at_run_time(name: str) -> None:
    """The module is made and differentiated once, with `?`; then it runs with 5 in their place."""
    build, shapes = LOOSE[name]
    arrays = [draw(*(5 if n is None else n for n in shape), seed=i) for i, shape in enumerate(shapes)]
    forward = run(function_of(build, arrays), *arrays)[0]
    weights = draw(*forward.shape, seed=8)
    expected = ours(build, arrays, weights)
    module = Module.empty()
    main = Func.make("main", [TensorType(shape, F64) for shape in shapes])
    module.body.append(main)
    inputs = list(main.body.args)
    with at_end(main.body):
        result = build(*inputs)
        weight = main.body.add_arg(result.type)
        func.return_(*gradient(result, weight, inputs))
    main.update_type()
    PassManager.from_text("differentiate").run(module)
    values = dict(zip(main.body.args, [*arrays, weights], strict=True))
    for op in main.body.ops:
        operands = [values[operand] for operand in op.operands]
        if op.is_terminator:
            for one, other in zip(operands, expected, strict=True):
                np.testing.assert_allclose(one, other, 1e-12, 1e-12)
            return
        values.update(zip(op.results, op.evaluate(operands), strict=True))


def test_what_a_rule_must_know_is_asked_for_at_the_op() -> None:
    module = Module.empty()
    main = Func.make("main", [TensorType((2, None), F32)])
    module.body.append(main)
    (x,) = main.body.args
    with at_end(main.body):
        func.return_(*gradient(nd.sum(nd.prod(x, axes=(1,))), (), x))
    main.update_type()
    with pytest.raises(DlirError, match="the gradient of 'nd.prod' needs to know the shape"):
        PassManager.from_text("differentiate").run(module)


# ------------------------------------------------------------ how much is made


def count_of(build: Callable[..., Any], *arrays: np.ndarray, wrt: int | None = None) -> list[str]:
    """The ops of forward and backward, without constants."""

    def made(*args: Any) -> Any:
        *args, weight = args
        return gradient(build(*args), weight, args if wrt is None else [args[wrt]])

    weights = run(function_of(build, arrays), *arrays)[0]
    main = function_of(made, [*arrays, weights])
    return [op.name.removeprefix("nd.") for op in main.body.ops if op.name not in ("nd.constant", "func.return")]


def test_gradients_are_few_ops() -> None:
    x, a, b = draw(3, 4), draw(3, 4), draw(4, 5)
    assert count_of(nd.relu, x) == ["relu", "greater", "select"]
    assert count_of(nd.sigmoid, x) == ["sigmoid", "sub", "mul", "mul"]
    assert count_of(nd.softmax, x) == ["softmax", "mul", "sum", "broadcast_to", "sub", "mul"]
    assert count_of(nd.matmul, a, b) == ["matmul", "matmul"]
    assert count_of(nd.matmul, a, b, wrt=1) == ["matmul"]
    assert count_of(lambda x: nd.sum(x, axes=(0,)), x) == ["broadcast_to"]


def test_a_shared_weight_meets_all_rows_in_one_product() -> None:
    names = count_of(nd.matmul, draw(2, 3, 4), draw(4, 5), wrt=1)
    assert names == ["reshape", "reshape", "matmul"]


# ------------------------------------------------------------ compiled

COMPILED: dict[str, tuple[Any, list[tuple[int, ...]]]] = {
    "max_pool": (lambda x: nd.max_pool(x, **POOLS[2]), [(2, 3, 9, 8)]),
    "max_pool_tiles": (lambda x: nd.max_pool(x, **POOLS[0]), [(2, 3, 8, 6)]),
    "avg_pool": (lambda x: nd.avg_pool(x, count_include_pad=False, **POOLS[4]), [(2, 3, 8, 6)]),
    "adaptive": (lambda x: nd.adaptive_max_pool(x, output_size=(2, 4)), [(2, 5, 6)]),
    "conv": (lambda x, w: nd.conv(x, w, **CONVOLUTIONS[3]), [(2, 4, 7, 8), (3, 4, 3, 2)]),
    "conv_groups": (lambda x, w: nd.conv(x, w, **CONVOLUTIONS[6]), [(2, 4, 7, 8), (6, 2, 3, 2)]),
    "matmul": (lambda a, b: nd.matmul(a, b, transpose_b=True), [(2, 3, 4), (5, 4)]),
    "attention": (lambda q, k, v: nd.attention(q, k, v, causal=True), [(2, 6, 4), (2, 6, 4), (2, 6, 4)]),
    "layer_norm": (nd.layer_norm, [(6, 8), (8,), (8,)]),
    "softmax": (lambda x: nd.softmax(x, axis=0), [(6, 4)]),
    "prod": (lambda x: nd.prod(x, axes=(0,)), [(7, 3)]),
    "max": (lambda x: nd.max(x, axes=(0,)), [(7, 3)]),
    "cumsum": (lambda x: nd.cumsum(x, axis=1, exclusive=True), [(3, 6)]),
    "slice": (lambda x: nd.slice(nd.gelu(x), start=(6, 0), stop=(0, 5), step=(-2, 3)), [(7, 6)]),
    "pow": (nd.pow, [(6,), (6,)]),
}


@pytest.mark.parametrize("backend", ["cpu", "cuda-sim"])
def test_compiled_gradients_are_the_interpreted_ones(backend: str) -> None:
    """All in one program, fused as they come."""
    if backend == "cuda-sim":
        need_simulator()
    makers, groups, expected = [], [], []
    for name, (build, shapes) in COMPILED.items():
        arrays = [np.abs(draw(*shape, seed=i, dtype="f4")) + 0.1 for i, shape in enumerate(shapes)]
        weights = draw(*run(function_of(build, arrays), *arrays)[0].shape, seed=8, dtype="f4")
        makers.append(lambda *args, build=build: gradient(build(*args[:-1]), args[-1], args[:-1]))
        groups.append([*arrays, weights])
        expected += [(name, one) for one in ours(build, arrays, weights)]
    for (name, want), got in zip(expected, run_all(makers, groups, backend), strict=True):
        assert_near(name, got, want, 1e-4)
