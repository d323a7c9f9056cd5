"""A convolution with frozen weights and the pooling behind it are one kernel, if the windows do not overlap."""

import numpy as np
import pytest

from dlir.backends.compiler import compile_module
from dlir.ir.ops import nd

torch = pytest.importorskip("torch")


def weights_of(outputs, channels, size, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(outputs, channels, *size)).astype(np.float32), rng.normal(size=outputs).astype(np.float32)


def conv(x, w, b, **attributes):
    return nd.add(nd.conv(x, w, **attributes), nd.reshape(b, shape=(-1, 1, 1)))


def image(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def check(tools, body, want, x, kernels, backend="cpu"):
    program = compile_module(tools.make(body, x), backend=backend)
    assert program.kernels == kernels
    found = program(x)
    wanted = want(torch.from_numpy(x))
    for one, two in zip(found, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
        np.testing.assert_allclose(one, two.numpy(), rtol=1e-4, atol=1e-4)


F = torch.nn.functional


@pytest.mark.parametrize("shape", [(2, 3, 12, 12), (1, 3, 11, 13), (3, 5, 6, 40), (1, 4, 33, 8)], ids=str)
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("pool", [2, 3])
def test_the_largest_of_windows(tools, shape, padding, pool):
    w, b = weights_of(20, shape[1], (3, 3))

    def body(x):
        y = nd.relu(conv(x, w, b, padding=(padding, padding)))
        return nd.max_pool(y, kernel=(pool, pool), stride=(pool, pool))

    def want(x):
        return F.max_pool2d(F.relu(F.conv2d(x, torch.from_numpy(w), torch.from_numpy(b), padding=padding)), pool)

    check(tools, body, want, image(*shape), 1)


@pytest.mark.parametrize("kernel", [(2, 1), (1, 4), (2, 3)])
def test_windows_of_other_shapes_and_ops_behind_them(tools, kernel):
    w, b = weights_of(9, 4, (3, 3))

    def body(x):
        return nd.tanh(nd.mul(nd.avg_pool(conv(x, w, b), kernel=kernel, stride=kernel), 0.5))

    def want(x):
        return torch.tanh(F.avg_pool2d(F.conv2d(x, torch.from_numpy(w), torch.from_numpy(b)), kernel) * 0.5)

    check(tools, body, want, image(2, 4, 14, 14), 1)


@pytest.mark.parametrize("shape", [(1, 8, 7, 7), (3, 8, 5, 9)], ids=str)
@pytest.mark.parametrize("channels", [16, 70])
def test_the_mean_of_each_image_with_a_residual(tools, shape, channels):
    w, b = weights_of(channels, shape[1], (3, 3))

    def body(x):
        y = nd.relu(nd.add(conv(x, w, b, padding=(1, 1)), nd.sum(x, axes=(1,), keepdims=True)))
        return nd.mean(y, axes=(2, 3))

    def want(x):
        y = F.conv2d(x, torch.from_numpy(w), torch.from_numpy(b), padding=1)
        return F.relu(y + x.sum(1, keepdim=True)).mean((2, 3))

    check(tools, body, want, image(*shape), 2)


def test_windows_that_overlap_or_leave_the_image_are_a_kernel_of_their_own(tools):
    w, b = weights_of(16, 4, (3, 3))
    weights = torch.from_numpy(w), torch.from_numpy(b)
    check(
        tools,
        lambda x: nd.max_pool(conv(x, w, b), kernel=(3, 3), stride=(2, 2)),
        lambda x: F.max_pool2d(F.conv2d(x, *weights), 3, 2),
        image(1, 4, 13, 13),
        2,
    )
    check(
        tools,
        lambda x: nd.max_pool(conv(x, w, b), kernel=(2, 2), stride=(2, 2), padding=(1, 1)),
        lambda x: F.max_pool2d(F.conv2d(x, *weights), 2, 2, 1),
        image(1, 4, 12, 12),
        2,
    )


def test_what_is_needed_before_pooling_too_keeps_them_apart(tools):
    w, b = weights_of(16, 4, (3, 3))

    def body(x):
        y = nd.relu(conv(x, w, b))
        return y, nd.max_pool(y, kernel=(2, 2), stride=(2, 2))

    def want(x):
        y = F.relu(F.conv2d(x, torch.from_numpy(w), torch.from_numpy(b)))
        return y, F.max_pool2d(y, 2)

    check(tools, body, want, image(2, 4, 12, 12), 2)


def test_on_a_gpu_they_are_two(tools):
    w, b = weights_of(16, 4, (3, 3))

    def body(x):
        return nd.max_pool(conv(x, w, b), kernel=(2, 2), stride=(2, 2))

    def want(x):
        return F.max_pool2d(F.conv2d(x, torch.from_numpy(w), torch.from_numpy(b)), 2)

    check(tools, body, want, image(1, 4, 8, 8), 2, "cuda-sim")


def test_large_images_are_cut_into_blocks_of_whole_windows(tools):
    w, b = weights_of(8, 2, (3, 3))

    def body(x):
        return nd.max_pool(conv(x, w, b, padding=(1, 1)), kernel=(2, 2), stride=(2, 2))

    def want(x):
        return F.max_pool2d(F.conv2d(x, torch.from_numpy(w), torch.from_numpy(b), padding=1), 2)

    check(tools, body, want, image(1, 2, 150, 130), 1)
