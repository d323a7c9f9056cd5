"""Kernels that read and add at indices: what they are fused with, how they are lowered, and that nothing outside is touched.

The reference interpreter refuses to read or write outside of a buffer.
"""

import numpy as np
import pytest

from dlir.backends.compiler import compile_module
from dlir.ir.attributes import UNIT
from dlir.ir.dialects.nd.scatter import Scatter
from dlir.ir.ops import nd, nn, random
from dlir.passes.kernels.classify import FusionClass, fusion_class

AFTER = "bufferize,plan-memory,lower-kernels"
MAPPED = AFTER + ",map{threshold=0 threads=3}"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def kernels(tools, body, arrays, target="cpu"):
    """The kernels of `body` for a target, checked to compute what the ops mean."""
    module = tools.make(body, *arrays)
    fused = tools.passes(module, f"lower-nn,canonicalize,cse,fuse{{target={target}}},schedule{{target={target}}}")
    tools.assert_same(tools.run(tools.passes(fused, AFTER), arrays), tools.run(module, arrays))
    return tools.regions(fused)


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_a_gather_is_one_kernel_with_its_indices_and_its_users(tools, rng, target):
    def body(x, i, b):
        return nd.tanh(nd.add(nd.take(x, nd.add(nd.mul(i, 2), 1), axis=0), b))

    arrays = [
        rng.standard_normal((9, 8)).astype("f4"),
        rng.integers(-9, 9, (3, 5)),
        rng.standard_normal(8).astype("f4"),
    ]
    (region,) = kernels(tools, body, arrays, target)
    assert "take" in tools.ops_of(region) and "tanh" in tools.ops_of(region)


def test_what_is_gathered_from_is_computed_on_the_way_where_that_is_less(tools, rng):
    few, many = rng.integers(0, 100, 5), rng.integers(0, 3, 500)
    (region,) = kernels(tools, lambda x, i: nd.take(nd.exp(x), i, axis=0), [rng.standard_normal((100, 8)), few])
    assert tools.ops_of(region) == ["exp", "take"]
    regions = kernels(tools, lambda x, i: nd.take(nd.exp(x), i, axis=0), [rng.standard_normal((3, 8)), many])
    assert [tools.ops_of(region) for region in regions] == [["exp"], ["take"]]


def test_what_is_reduced_is_in_memory_before_it_is_gathered(tools, rng):
    arrays = [rng.standard_normal((6, 7)), rng.integers(-6, 6, 4)]
    regions = kernels(tools, lambda x, i: nd.take(nd.sum(x, axes=(1,)), i, axis=0), arrays)
    assert len(regions) == 2
    regions = kernels(tools, lambda x, i: nd.take(nd.cumsum(x, axis=1), i, axis=0), arrays)
    assert len(regions) == 2


def test_the_probabilities_of_labels_are_one_kernel_of_rows(tools, rng):
    """The reductions are needed for the row, and only the element at an index that is looked up."""

    def body(x, labels):
        chosen = nd.take_along_axis(nd.log_softmax(x, axis=1), nd.reshape(labels, shape=(6, 1)), axis=1)
        return nd.neg(nd.reshape(chosen, shape=(6,)))

    (region,) = kernels(tools, body, [rng.standard_normal((6, 11)).astype("f4"), rng.integers(0, 11, 6)])
    assert region["schedule"] == "row"


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_dropout_is_one_kernel_with_its_neighbours(tools, rng, target):
    def body(x, b, key):
        return nd.add(nn.dropout(nn.relu(nd.add(x, b)), key, rate=0.3), x)

    key = np.array([3, 9], np.uint32)
    arrays = [rng.standard_normal((16, 32)).astype("f4"), rng.standard_normal(32).astype("f4"), key]
    assert len(kernels(tools, body, arrays, target)) == 1


def test_random_numbers_are_made_where_they_are_used(tools, rng):
    def body(x, key):
        return nd.mul(x, random.normal(key, shape=(8, 8)))

    (region,) = kernels(tools, body, [rng.standard_normal((8, 8)).astype("f4"), np.array([0, 1], np.uint32)])
    assert "tensor<8x8xf32>" in str(region.result_types[0])


@pytest.mark.parametrize("schedule", ["scatter", "scatter-element"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_scatters_in_every_direction_and_tile(tools, rng, axis, schedule):
    x, indices = rng.standard_normal((3, 7, 4)), rng.integers(-8, 8, (5, 3))
    updates = rng.standard_normal((*x.shape[:axis], 5, 3, *x.shape[axis + 1 :]))
    along = list(x.shape)
    along[axis] = 6
    cases = [
        (lambda x, i, u: nd.scatter_add(x, i, u, axis=axis), [x, indices, updates]),
        (
            lambda x, i, u: nd.add_along_axis(x, i, u, axis=axis),
            [x, rng.integers(-8, 8, along), rng.standard_normal(along)],
        ),
    ]
    tiles = {"scatter": [None, (1, 1), (2, 3), (3, 2), (7, 16)], "scatter-element": [None, (1,), (2,), (3,), (9,)]}
    for body, arrays in cases:
        module = tools.make(body, *arrays)
        (wanted,) = tools.run(module, arrays)
        fused = tools.passes(module, "fuse")
        (region,) = tools.regions(fused)
        for tile in tiles[schedule]:
            region.set("schedule", schedule)
            region.set("tile", tile)
            for after in (AFTER, MAPPED):
                (found,) = tools.run(tools.passes(fused, after), arrays)
                np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_what_is_added_is_computed_on_the_way(tools, rng, target):
    def body(i, u):
        return nd.scatter_add(np.zeros((9, 4), "f4"), nd.floor_divide(i, 2), nd.mul(nd.tanh(u), 0.5))

    arrays = [rng.integers(0, 18, 7), rng.standard_normal((7, 4)).astype("f4")]
    (region,) = kernels(tools, body, arrays, target)
    assert tools.ops_of(region)[-1] == "scatter_add" and "tanh" in tools.ops_of(region)


def test_what_uses_a_scatter_waits_for_it(tools, rng):
    arrays = [rng.standard_normal((5, 3)), rng.integers(0, 5, 4), rng.standard_normal((4, 3))]
    regions = kernels(tools, lambda x, i, u: nd.exp(nd.scatter_add(x, i, u)), arrays)
    assert [tools.ops_of(region) for region in regions] == [["scatter_add"], ["exp"]]
    regions = kernels(tools, lambda x, i, u: nd.scatter_add(nd.scatter_add(x, i, u), i, u), arrays)
    assert len(regions) == 2


def test_each_update_is_computed_once(tools):
    """Also where several items go over all indices: each takes its own."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((64, 512)), rng.integers(0, 64, 99), rng.standard_normal((99, 512))]
    module = tools.make(lambda x, i, u: nd.scatter_add(x, i, nd.exp(u)), *arrays)
    fused = tools.passes(module, "fuse,schedule")
    (region,) = tools.regions(fused)
    assert region["tile"][0] < 64
    lowered = tools.passes(fused, AFTER)
    (function,) = [op for op in lowered.walk() if op.name == "math.exp"]
    inside = function.parent_op
    while inside is not None and inside.name != "scf.if":
        inside = inside.parent_op
    assert inside is not None


def test_scatters_have_a_class_of_their_own(tools, rng):
    module = tools.make(
        lambda x, i: nd.scatter_add(x, i, nd.take(x, i, axis=0)), rng.standard_normal((5, 3)), rng.integers(0, 5, 4)
    )
    classes = {op.name: fusion_class(op) for op in module.walk() if op.name.startswith("nd.")}
    assert classes == {"nd.take": FusionClass.ELEMENTWISE, "nd.scatter_add": FusionClass.SCATTER}
    assert any(isinstance(op, Scatter) for op in module.walk())


def test_a_cache_is_updated_where_it_lies(tools, rng):
    """A slice of a donated array is written in place, and so is what is added to one."""
    for body in (
        lambda x, u, n: nd.dynamic_update_slice(x, u, n, 0),
        lambda x, u, n: nd.scatter_add(x, nd.reshape(n, shape=(1,)), u),
    ):
        arrays = [rng.standard_normal((6, 4)), rng.standard_normal((1, 4)), np.asarray(3)]
        module = tools.make(body, *arrays)
        main = module.symbol("main")
        main.set_arg_attributes([{"dlir.donated": UNIT}, {}, {}])
        lowered = tools.passes(module, "fuse,schedule,bufferize")
        (region,) = tools.regions(lowered)
        assert "dlir.inplace" in region.attributes


def test_what_is_changed_where_it_lies_is_not_copied(tools, rng):
    arrays = [rng.standard_normal((6, 4)), np.array([3, 3, 0]), rng.standard_normal((3, 4))]
    module = tools.make(nd.scatter_add, *arrays)
    stores = {}
    for donated in (False, True):
        if donated:
            module.symbol("main").set_arg_attributes([{"dlir.donated": UNIT}, {}, {}])
        lowered = tools.passes(module, "fuse,schedule," + MAPPED)
        stores[donated] = sum(op.name == "memref.store" for op in lowered.walk())
        found = compile_module(module)(*[array.copy() for array in arrays])
        tools.assert_same(found, tools.run(module, arrays))
    assert stores == {False: 2, True: 1}
