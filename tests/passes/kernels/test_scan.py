"""Kernels with running totals: one kernel with what comes before and after, against NumPy."""

import numpy as np
import pytest

from dlir.ir.ops import nd
from dlir.ir.types import F32, TensorType
from dlir.passes.kernels.classify import FusionClass, fusion_class

AFTER = "bufferize,plan-memory,lower-kernels,map{threshold=0}"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def totals(x, axis, exclusive, reverse):
    x = np.flip(x, axis) if reverse else x
    found = np.cumsum(x, axis) - (x if exclusive else 0)
    return np.flip(found, axis) if reverse else found


@pytest.mark.parametrize("tile", [None, (1,), (3,), (5,), (64,)])
@pytest.mark.parametrize(("exclusive", "reverse"), [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("shape", [(2, 5, 7), (1, 6, 1), (4, 1, 3)])
def test_every_axis(tools, rng, shape, exclusive, reverse, tile):
    x = rng.standard_normal(shape)
    for axis in range(3):
        module = tools.make(lambda x, a=axis: nd.cumsum(x, axis=a, exclusive=exclusive, reverse=reverse), x)
        fused = tools.passes(module, "fuse")
        (region,) = tools.regions(fused)
        region.set("schedule", "scan")
        region.set("tile", tile)
        (found,) = tools.run(tools.passes(fused, AFTER), [x])
        np.testing.assert_allclose(found, totals(x, axis, exclusive, reverse), 1e-12, 1e-12)


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_what_comes_before_and_after_is_in_the_same_kernel(tools, rng, target):
    def body(x, y):
        running = nd.cumsum(nd.mul(nd.exp(x), y), axis=1)
        return nd.tanh(running), nd.reshape(nd.add(running, y), shape=(24, 5))

    x, y = (rng.standard_normal((4, 5, 6)).astype(np.float32) for _ in range(2))
    fused = tools.passes(tools.make(body, x, y), f"fuse,schedule{{target={target}}}")
    assert len(tools.regions(fused)) == 1
    running = np.cumsum(np.exp(x) * y, 1)
    wanted = [np.tanh(running), (running + y).reshape(24, 5)]
    tools.assert_same(tools.run(tools.passes(fused, "bufferize,plan-memory,lower-kernels"), [x, y]), wanted)


def test_each_element_is_computed_once(tools):
    """Not once for each later place, as the definition of a running total would have it."""
    module = tools.make(lambda x: nd.cumsum(nd.exp(x), axis=0), TensorType((9, 5), F32))
    lowered = tools.passes(module, "fuse,bufferize,plan-memory,lower-kernels")
    names = [op.name for op in lowered.walk()]
    assert names.count("scf.for") == 1 and names.count("scf.parallel") == 1
    assert names.count("math.exp") == names.count("memref.load") == names.count("memref.store") == 1


@pytest.mark.parametrize(
    "body",
    [
        lambda x: nd.cumsum(nd.cumsum(x, axis=0), axis=1),
        lambda x: nd.cumsum(nd.softmax(x), axis=0),
        lambda x: nd.sum(nd.cumsum(x, axis=0), axes=(1,)),
        lambda x: nd.transpose(nd.cumsum(x, axis=0)),
        lambda x: nd.slice(nd.cumsum(x, axis=0), start=(1, 0), stop=(4, 5)),
        lambda x: nd.cumsum(nd.matmul(x, nd.transpose(x)), axis=0),
    ],
)
def test_what_goes_through_its_elements_otherwise_is_another_kernel(tools, rng, body):
    x = rng.standard_normal((5, 5))
    module = tools.make(body, x)
    assert len(tools.regions(tools.passes(module, "fuse"))) > 1
    tools.check(module, [x], "fuse,schedule,bufferize,plan-memory,lower-kernels")


def test_an_operand_that_dies_keeps_what_is_still_to_be_read(tools, rng):
    """The total may not go over the operand of which later places are read by the reversed one."""

    def body(x):
        double = nd.add(x, x)
        return nd.add(nd.cumsum(double, axis=0), nd.slice(double, start=(5,), stop=(-9,), step=(-1,)))

    x = rng.standard_normal(6)
    tools.check(tools.make(body, x), [x], "fuse,schedule,bufferize,plan-memory,lower-kernels")


def test_its_class_follows_from_its_space(tools):
    module = tools.make(lambda x: nd.cumsum(x, axis=0), TensorType((9, 5), F32))
    assert [fusion_class(op) for op in module.walk() if op.name == "nd.cumsum"] == [FusionClass.SCAN]


def test_an_infinity_stays_where_it_is(tools):
    x = np.array([1.0, np.inf, 2.0, -np.inf, 3.0])
    module = tools.make(lambda x: nd.cumsum(x, axis=0, exclusive=True), x)
    (found,) = tools.run(tools.passes(module, f"fuse,schedule,{AFTER}"), [x])
    np.testing.assert_array_equal(found, [0, 1, np.inf, np.inf, np.nan])
