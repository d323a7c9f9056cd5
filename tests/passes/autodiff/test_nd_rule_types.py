"""The gradient rules of nd ops in each dtype, at no size and unknown size, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.cuda import need_simulator
from support.gradients import function_of, gradient, run
from support.torch_gradients import TOLERANCE, draw, ours, theirs
from support.torch_peer import BFLOAT16, assert_near, run_all, to_torch

from dlir.ir.builder import at_end
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.errors import DlirError
from dlir.ir.ops import func, nd
from dlir.ir.types import BF16, F16, F32, F64, I64, TensorType
from dlir.passes.manager import PassManager

torch = pytest.importorskip("torch")
F = torch.nn.functional

INF = np.inf


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
    "max_pool": (lambda x: nd.max_pool(x, kernel=(3, 3), stride=(2, 2), padding=(1, 1)), [(2, 3, 9, 8)]),
    "max_pool_tiles": (lambda x: nd.max_pool(x, kernel=(2, 2)), [(2, 3, 8, 6)]),
    "avg_pool": (
        lambda x: nd.avg_pool(x, kernel=(3, 3), stride=(2, 2), padding=(1, 0), count_include_pad=False),
        [(2, 3, 8, 6)],
    ),
    "adaptive": (lambda x: nd.adaptive_max_pool(x, output_size=(2, 4)), [(2, 5, 6)]),
    "conv": (lambda x, w: nd.conv(x, w, stride=(2, 3), padding=(2, 1)), [(2, 4, 7, 8), (3, 4, 3, 2)]),
    "conv_groups": (lambda x, w: nd.conv(x, w, groups=2, stride=(2, 2), padding=(1, 1)), [(2, 4, 7, 8), (6, 2, 3, 2)]),
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
