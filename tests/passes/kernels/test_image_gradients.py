"""Gradients of convolutions as kernels: read where they lie, clipped at the image's edges, with no zeros in between."""

import numpy as np
import pytest

from dlir.backends.compiler import compile_module
from dlir.backends.ref.reference import Reference
from dlir.ir.builder import at_end
from dlir.ir.core import Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.kernel import KernelRegion
from dlir.ir.ops import diff, func, nd
from dlir.ir.traversal import clone
from dlir.ir.types import TensorType, dtype_from_numpy
from dlir.passes.manager import PassManager

SCHEDULED = "differentiate,layout{vector-bytes=32},fuse,schedule{vector-bytes=32}"
BELOW = "bufferize,plan-memory,lower-kernels,map{threshold=0}"

#: Strides, padding, dilation, channels, outputs, extents, kernel.
CASES = [
    ((1, 1), (1, 1), (1, 1), 6, 16, (9, 9), (3, 3)),
    ((2, 2), (1, 1), (1, 1), 5, 32, (10, 9), (3, 3)),
    ((2, 3), (0, 2, 1, 0), (1, 1), 16, 8, (11, 12), (4, 5)),
    ((3, 1), (2, 0), (1, 2), 4, 48, (12, 9), (5, 3)),
    ((2, 2), (2, 2), (2, 2), 8, 16, (9, 12), (3, 2)),
    ((2, 2), (0, 0), (1, 1), 2, 16, (8, 8), (3, 3)),
    ((1, 1), (3, 3), (1, 1), 1, 16, (7, 7), (5, 5)),
]


def integers(rng, *shape):
    return rng.integers(-3, 4, shape).astype(np.float32)


def make(body, *arrays):
    """A module whose @main is ``body(*arrays)``."""
    module = Module.empty()
    types = [TensorType(array.shape, dtype_from_numpy(array.dtype)) for array in arrays]
    function = Func.make("main", types)
    module.body.append(function)
    with at_end(function.body):
        found = body(*function.body.args)
        func.return_(*([found] if isinstance(found, Value) else found))
    function.update_type()
    return module


def passed(module, pipeline):
    copy = clone(module)
    PassManager.from_text(pipeline).run(copy)
    return copy


def regions(module):
    return [op for op in module.walk() if isinstance(op, KernelRegion)]


def step(attributes):
    """Two convolutions in a row, and the gradients of everything that goes in."""

    def body(x, first, second):
        inner = nd.conv(x, first, padding=(1, 1))
        y = nd.conv(inner, second, **attributes)
        return diff.gradient([y], [y], [x, first, second])

    return body


def in_torch(attributes, *arrays):
    torch = pytest.importorskip("torch")
    conv = torch.nn.functional.conv2d
    x, first, second = tensors = [torch.tensor(array.astype(np.float64), requires_grad=True) for array in arrays]
    inner, padding = conv(x, first, padding=1), attributes["padding"]
    if len(padding) == 4:
        inner, padding = torch.nn.functional.pad(inner, (padding[1], padding[3], padding[0], padding[2])), (0, 0)
    y = conv(inner, second, stride=attributes["stride"], padding=padding, dilation=attributes["dilation"])
    (y * y / 2).sum().backward()
    return [tensor.grad.numpy() for tensor in tensors]


@pytest.mark.parametrize("case", CASES)
def test_steps_of_convolutions_are_the_same_on_every_backend(case):
    stride, padding, dilation, channels, outputs, extents, kernel = case
    attributes = {"stride": stride, "padding": padding, "dilation": dilation}
    rng = np.random.default_rng(len(str(case)))
    arrays = integers(rng, 2, 3, *extents), integers(rng, channels, 3, 3, 3), integers(rng, outputs, channels, *kernel)
    module = make(step(attributes), *arrays)
    want = in_torch(attributes, *arrays)
    for backend in ("cpu", "cuda-sim", "ref"):
        for one, other in zip(compile_module(module, backend=backend)(*arrays), want, strict=True):
            # Sums of small integers are exact in f32, whatever their order.
            np.testing.assert_array_equal(one, other)


def test_its_loops_mean_what_machine_code_does():
    rng = np.random.default_rng(0)
    arrays = integers(rng, 1, 1, 6, 6), integers(rng, 4, 1, 3, 3), integers(rng, 16, 4, 3, 3)
    attributes = {"stride": (2, 1), "padding": (1, 1), "dilation": (1, 1)}
    module = make(step(attributes), *arrays)
    want = in_torch(attributes, *arrays)
    for one, other in zip(
        Reference(passed(module, f"{SCHEDULED},{BELOW}")).run("main", list(arrays)), want, strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_no_zeros_are_put_between_what_a_stride_has_left():
    x, w = np.zeros((2, 8, 12, 12), np.float32), np.zeros((16, 8, 3, 3), np.float32)

    def body(x, w):
        y = nd.conv(x, w, stride=(2, 2), padding=(1, 1))
        return diff.gradient([y], [y], [x])

    module = passed(make(body, x, w), "differentiate,canonicalize")
    assert not [op for op in module.walk() if op.name == "nd.pad" and any(op["interior"] or ())]
    *_, gradient = [op for op in module.walk() if op.name == "nd.conv"]
    # Four remainders, each with the one to four elements of the kernel that see it, of 3 x 3.
    assert gradient.operands[1].shape == (4 * 8, 16, 2, 2)
    assert gradient.results[0].shape == (2, 4 * 8, 6, 6)


def kernel_gradient(x, w, g):
    y = nd.conv(x, w, padding=(1, 1))
    return diff.gradient([y], [g], [w])


@pytest.mark.parametrize("channels", [16, 96])
def test_cotangents_with_whole_vectors_are_read_where_they_lie(channels):
    rng = np.random.default_rng(0)
    x, w = integers(rng, 16, 8, 10, 10), integers(rng, channels, 8, 3, 3)
    second = integers(rng, 4, channels, 3, 3)

    def body(x, w, second):
        y = nd.conv(nd.conv(x, w, padding=(1, 1)), second, padding=(1, 1))
        return diff.gradient([y], [y], [w])

    found = regions(passed(make(body, x, w, second), SCHEDULED))
    (last,) = [region for region in found if region.results[0].shape == w.shape]
    assert last["schedule"] == "direct"
    # The cotangent of the first convolution comes as it is stored: nothing packs it, and nothing pads the image.
    assert {operand.shape for operand in last.operands} == {x.shape, (16, 10, 10, channels)}


def test_only_what_is_inside_of_the_image_is_multiplied():
    """Of the loops over the places of a cotangent, those that would leave the image have bounds of their own."""
    rng = np.random.default_rng(0)
    x, w, g = integers(rng, 4, 8, 6, 6), integers(rng, 16, 8, 3, 3), integers(rng, 4, 16, 6, 6)
    scheduled = passed(make(kernel_gradient, x, w, g), SCHEDULED)
    assert [r["schedule"] for r in regions(scheduled)][-1] == "direct"
    lowered = passed(scheduled, BELOW)
    loops = [op for op in lowered.walk() if op.name == "scf.for" and len(op.results) > 4]
    bounds = {operand.defining_op.name for loop in loops for operand in loop.operands[:2]}
    assert {"arith.maxsi", "arith.minsi"} <= bounds
    assert not [op for op in lowered.walk() if op.name == "arith.select"]


def test_changing_weights_are_packed_once_for_many_places():
    x, w = np.zeros((8, 16, 12, 12), np.float32), np.zeros((32, 16, 3, 3), np.float32)
    module = make(lambda x, w: [nd.conv(x, nd.mul(w, 2.0))], x, w)
    assert [r["schedule"].split(" ")[0] for r in regions(passed(module, SCHEDULED))][-1] == "direct"
    few = make(lambda x, w: [nd.conv(x, nd.mul(w, 2.0))], x[:1, :, :5, :5], w)
    assert "nd.pack" not in [op.name for op in passed(few, SCHEDULED).walk()]
