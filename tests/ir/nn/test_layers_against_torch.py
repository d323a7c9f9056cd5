"""Layers compute what PyTorch's do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlir.ir.registry import find_op

torch = pytest.importorskip("torch")
F = torch.nn.functional
ACTIVATIONS = pytest.importorskip("support.torch_activations").ACTIVATIONS


def run(name: str, *arrays: Any, **attributes: Any) -> np.ndarray:
    cls: Any = find_op(name)
    keywords = {n: attributes.get(n, spec.default) for n, spec in cls.schema().attributes.items()}
    return np.asarray(cls.eval(*arrays, **keywords))


def close(actual: np.ndarray, expected: Any) -> None:
    expected = expected.numpy()
    assert actual.shape == expected.shape and actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, 1e-5, 1e-5)


def t(array: np.ndarray | None) -> Any:
    return None if array is None else torch.from_numpy(array)


def draws(name: str, count: int = 60) -> Any:
    cls: Any = find_op(name)
    rng = np.random.default_rng(7)
    for _ in range(count):
        yield cls.sample(rng)


def test_dense() -> None:
    for (x, w, bias), attributes in draws("nn.dense"):
        expected = ACTIVATIONS[attributes["activation"]](F.linear(t(x), t(w).T, t(bias)))
        close(run("nn.dense", x, w, bias, **attributes), expected)


def test_conv2d() -> None:
    for (x, w, bias), attributes in draws("nn.conv2d"):
        keywords = dict(attributes)
        activation = ACTIVATIONS[keywords.pop("activation")]
        close(run("nn.conv2d", x, w, bias, **attributes), activation(F.conv2d(t(x), t(w), t(bias), **keywords)))


def test_conv2d_with_padding_on_one_side() -> None:
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(2, 3, 5, 6)).astype("f4"), rng.normal(size=(4, 3, 3, 2)).astype("f4")
    expected = F.conv2d(F.pad(t(x), (1, 0, 0, 2)), t(w), stride=2)
    close(run("nn.conv2d", x, w, None, padding=(0, 1, 2, 0), stride=(2, 2)), expected)


@pytest.mark.parametrize("groups", [1, 4])
def test_conv2d_depthwise_and_full(groups: int) -> None:
    rng = np.random.default_rng(2)
    x, w = rng.normal(size=(1, 4, 7, 7)).astype("f4"), rng.normal(size=(8, 4 // groups, 3, 3)).astype("f4")
    close(run("nn.conv2d", x, w, None, groups=groups), F.conv2d(t(x), t(w), groups=groups))


def test_max_pool2d() -> None:
    for (x,), attributes in draws("nn.max_pool2d"):
        found = run("nn.max_pool2d", x, **attributes)
        if x.size:
            kernel = attributes["kernel"]
            keywords = {n: attributes[n] for n in ("padding", "ceil_mode")}
            close(found, F.max_pool2d(t(x), kernel, attributes["stride"] or kernel, **keywords))


def test_avg_pool2d() -> None:
    for (x,), attributes in draws("nn.avg_pool2d", 120):
        found = run("nn.avg_pool2d", x, **attributes)
        if x.size:
            keywords = {n: attributes[n] for n in ("padding", "ceil_mode", "count_include_pad")}
            close(found, F.avg_pool2d(t(x), attributes["kernel"], attributes["stride"], **keywords))


@pytest.mark.parametrize("layer", ["max_pool2d", "avg_pool2d"])
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"), [(6, 3, 2, 0), (5, 2, 2, 1), (6, 2, 3, 1), (7, 3, 3, 1)]
)
def test_a_last_window_counts_only_if_it_starts_on_the_input(layer, size, kernel, stride, padding) -> None:
    x = np.random.default_rng(3).normal(size=(1, 2, size, size)).astype("f4")
    keywords = {
        "kernel": (kernel, kernel),
        "stride": (stride, stride),
        "padding": (padding, padding),
        "ceil_mode": True,
    }
    expected = getattr(F, layer)(t(x), kernel, stride, padding, ceil_mode=True)
    close(run(f"nn.{layer}", x, **keywords), expected)


def test_max_pool_keeps_nan() -> None:
    x = np.zeros((1, 1, 4, 4), "f4")
    x[0, 0, 1, 1] = np.nan
    found = run("nn.max_pool2d", x, kernel=(2, 2))
    assert np.isnan(found[0, 0, 0, 0]) and not np.isnan(found[0, 0, 1:]).any()


def test_batch_norm() -> None:
    for (x, gamma, beta, mean, var), attributes in draws("nn.batch_norm"):
        expected = F.batch_norm(t(x), t(mean), t(var), t(gamma), t(beta), eps=attributes["epsilon"])
        np.testing.assert_allclose(
            run("nn.batch_norm", x, gamma, beta, mean, var, **attributes), expected.numpy(), 1e-4, 1e-5
        )


def test_layer_norm() -> None:
    for (x, gamma, beta), attributes in draws("nn.layer_norm"):
        shape = x.shape[attributes["axis"] % x.ndim :]
        expected = F.layer_norm(t(x), shape, t(gamma), t(beta), attributes["epsilon"])
        close(run("nn.layer_norm", x, gamma, beta, **attributes), expected)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name: str) -> None:
    for (x,), attributes in draws(f"nn.{name}"):
        x = x.astype("f4")
        close(run(f"nn.{name}", x, **attributes), getattr(torch, name)(t(x), attributes["axis"]))


def test_softmax_of_large_numbers() -> None:
    x = np.array([[1e4, 1e4 - 1, -1e4], [-np.inf, 0.0, 0.0]], "f4")
    close(run("nn.softmax", x), torch.softmax(t(x), -1))


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh"])
def test_activations(name: str) -> None:
    x = np.array([-1000.0, -3.0, -0.0, 0.0, 1e-3, 2.0, 1000.0, np.inf, -np.inf, np.nan], "f4")
    with np.errstate(all="ignore"):
        close(run(f"nn.{name}", x), getattr(torch, name)(t(x)))


def test_flatten() -> None:
    x = np.arange(24, dtype="f4").reshape(2, 3, 4)
    for axis in range(-3, 3):
        close(run("nn.flatten", x, axis=axis), torch.flatten(t(x), axis))
