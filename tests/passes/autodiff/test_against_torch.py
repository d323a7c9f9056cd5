"""Gradients of layers, and of networks made of them, are those of PyTorch's autograd; the compiled ones, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.gradients import function_of, gradient, many, run

from dlir.backends.compiler import compile_module
from dlir.ir.ops import nd, nn
from dlir.ir.registry import find_op

torch = pytest.importorskip("torch")
F = torch.nn.functional
ACTIVATIONS = pytest.importorskip("support.torch_activations").ACTIVATIONS


def _cross_entropy(x: Any, labels: Any, *, axis: int, reduction: str, ignore_index: int | None = None) -> Any:
    del axis  # torch's is 1, too
    labels = labels if labels.is_floating_point() else labels.long()
    return F.cross_entropy(x, labels, reduction=reduction, ignore_index=-100 if ignore_index is None else ignore_index)


def _layer_norm(x: Any, gamma: Any = None, beta: Any = None, *, axis: int, epsilon: float) -> Any:
    return F.layer_norm(x, x.shape[axis % x.ndim :], gamma, beta, epsilon)


def _group_norm(x: Any, gamma: Any = None, beta: Any = None, *, groups: int, epsilon: float) -> Any:
    # torch's own has no gradient for some weights that are there alone.
    y = x.reshape(x.shape[0], groups, -1)
    y = F.layer_norm(y, y.shape[2:], eps=epsilon).reshape(x.shape)
    gamma, beta = (None if w is None else w.reshape(-1, *[1] * (x.ndim - 2)) for w in (gamma, beta))
    y = y if gamma is None else y * gamma
    return y if beta is None else y + beta


def _batch_norm_train(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, *, momentum: float, epsilon: float) -> Any:
    # The new statistics are made in place there, and not differentiated.
    return F.batch_norm(x, mean.detach().clone(), var.detach().clone(), gamma, beta, True, momentum, epsilon)


def _max_pool(x: Any, *, kernel: Any, stride: Any, padding: Any, ceil_mode: bool) -> Any:
    return F.max_pool2d(x, kernel, stride, padding, 1, ceil_mode)


def _avg_pool(x: Any, *, kernel: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool) -> Any:
    return F.avg_pool2d(x, kernel, stride, padding, ceil_mode, count_include_pad)


def _conv(x: Any, w: Any, bias: Any = None, *, activation: str, **keywords: Any) -> Any:
    return ACTIVATIONS[activation](F.conv2d(x, w, bias, **keywords))


def _dense(x: Any, w: Any, bias: Any = None, *, activation: str) -> Any:
    return ACTIVATIONS[activation](F.linear(x, w.T, bias))


def _attention(q: Any, k: Any, v: Any, mask: Any = None, *, scale: Any, causal: bool) -> Any:
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None:
        scores = torch.where(mask, scores, -torch.inf) if mask.dtype is torch.bool else scores + mask
    if causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1).bool(), -torch.inf)
    return torch.nan_to_num(scores.softmax(-1)) @ v


LAYERS: dict[str, Callable[..., Any]] = {
    "nn.dense": _dense,
    "nn.conv2d": _conv,
    "nn.cross_entropy": _cross_entropy,
    "nn.mse_loss": lambda x, target, *, reduction: F.mse_loss(x, target, reduction=reduction),
    "nn.layer_norm": _layer_norm,
    "nn.group_norm": _group_norm,
    "nn.batch_norm_train": _batch_norm_train,
    "nn.max_pool2d": _max_pool,
    "nn.avg_pool2d": _avg_pool,
    "nn.adaptive_avg_pool2d": lambda x, *, output_size: F.adaptive_avg_pool2d(x, output_size),
    "nn.adaptive_max_pool2d": lambda x, *, output_size: F.adaptive_max_pool2d(x, output_size),
    "nn.attention": _attention,
}


def to_f64(array: Any) -> Any:
    if array is None:
        return None
    return np.asarray(array, np.float64) if array.dtype.kind in "fV" else array


@pytest.mark.parametrize("name", LAYERS)
def test_the_gradient_of_a_layer(name: str) -> None:
    cls: Any = find_op(name)
    rng = np.random.default_rng(11)
    for _ in range(15):
        given, attributes = cls.sample(rng)
        given = [to_f64(array) for array in given]
        arrays = [array for array in given if array is not None]
        if any(array.size == 0 for array in arrays):
            continue
        inputs = [None if a is None else torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in given]
        expected = LAYERS[name](*inputs, **attributes)
        cotangent = rng.normal(size=expected.shape)
        moving = [n for n, a in enumerate(given) if a is not None and a.dtype.kind == "f"]
        if name == "nn.batch_norm_train":
            moving = moving[:3]
        wanted = torch.autograd.grad(expected, [inputs[n] for n in moving], torch.tensor(cotangent))

        def build(*args: Any, given: Any = given, attributes: Any = attributes, moving: Any = moving) -> Any:
            *args, c = args
            rest = iter(args)
            operands = [None if a is None else next(rest) for a in given]
            output = many(cls.build(*operands, **attributes))[0]
            return gradient(output, c, [operands[n] for n in moving])

        found = run(function_of(build, [*arrays, cotangent]), *arrays, cotangent)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other.numpy(), 1e-6, 1e-6)  # some of torch is f32 inside


def lenet(x: Any, labels: Any, *p: Any) -> Any:
    h = nn.max_pool2d(nn.conv2d(x, p[0], p[1], padding=(2, 2), activation="relu"), kernel=(2, 2))
    h = nn.max_pool2d(nn.conv2d(h, p[2], p[3], activation="relu"), kernel=(2, 2))
    h = nn.dense(nn.flatten(h), p[4], p[5], activation="relu")
    return nn.cross_entropy(nn.dense(h, p[6], p[7]), labels)


def torch_lenet(x: Any, labels: Any, *p: Any) -> Any:
    h = F.max_pool2d(F.relu(F.conv2d(x, p[0], p[1], padding=2)), 2)
    h = F.max_pool2d(F.relu(F.conv2d(h, p[2], p[3])), 2).flatten(1)
    return F.cross_entropy(F.relu(h @ p[4] + p[5]) @ p[6] + p[7], labels)


@pytest.mark.parametrize("level", ["O0", "O2"])
def test_the_gradients_of_a_compiled_convolutional_network(level: str) -> None:
    rng = np.random.default_rng(3)
    shapes = [(4, 1, 5, 5), (4,), (6, 4, 5, 5), (6,), (6 * 4, 20), (20,), (20, 10), (10,)]
    weights = [(rng.normal(size=shape) * 0.2).astype("f4") for shape in shapes]
    x, labels = rng.normal(size=(8, 1, 16, 16)).astype("f4"), rng.integers(0, 10, 8)

    def build(*args: Any) -> Any:
        loss = lenet(*args)
        return [loss, *gradient(loss, (), args[2:])]

    main = function_of(build, [x, labels, *weights], "inline")
    loss, *found = compile_module(main.parent_op, level=level)(x, labels, *weights)
    inputs = [torch.tensor(w, requires_grad=True) for w in weights]
    expected = torch_lenet(torch.tensor(x), torch.tensor(labels), *inputs)
    np.testing.assert_allclose(loss, expected.item(), 1e-5)
    for one, other in zip(found, torch.autograd.grad(expected, inputs), strict=True):
        np.testing.assert_allclose(one, other.numpy(), 1e-4, 1e-5)


def test_a_loss_of_which_no_label_counts_has_gradient_zero() -> None:
    """As in PyTorch, where the loss itself is NaN as here."""

    def build(x: Any, labels: Any) -> Any:
        loss = nn.cross_entropy(x, labels, ignore_index=2)
        return [loss, *gradient(loss, (), x)]

    arrays = [np.ones((3, 4)), np.full(3, 2)]
    loss, slope = run(function_of(build, arrays), *arrays)
    assert np.isnan(loss) and not slope.any()


def test_where_relu_bends_and_maxima_meet() -> None:
    x = np.array([0.0, -1.0, 2.0, 2.0])

    def build(x: Any) -> Any:
        return [*gradient(nn.relu(x), (), x), *gradient(nd.max(x), (), x), *gradient(nd.sqrt(nd.relu(x)), (), x)]

    t = torch.tensor(x, requires_grad=True)
    found = run(function_of(build, [x]), x)
    np.testing.assert_array_equal(found[0], torch.autograd.grad(torch.relu(t).sum(), t)[0].numpy())
    np.testing.assert_array_equal(found[1].sum(), 1.0)
    assert np.isfinite(found[2][2:]).all()
