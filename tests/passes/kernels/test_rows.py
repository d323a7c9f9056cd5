"""Kernels over rows, one by one and side by side, against NumPy."""

import numpy as np
import pytest

from dlir.ir.attributes import UNIT
from dlir.ir.ops import nd
from dlir.ir.types import F16, F32

AFTER = "bufferize,plan-memory,lower-kernels,map{threshold=0}"


def softmax(x, axis):
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def layer_norm(x, axes):
    mean = x.mean(axes, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + 1e-5)


def scheduled(tools, module, schedule, tile=None):
    """`module` fused, with this schedule for every kernel over rows."""
    fused = tools.passes(module, "fuse")
    for region in tools.regions(fused):
        region.set("schedule", schedule)
        region.set("tile", tile)
    return fused


@pytest.mark.parametrize(
    ("schedule", "tile"), [("row", None), ("row-in-result", None), ("rows", (3,)), ("rows", (64,))]
)
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(2, 5, 7), (1, 20, 1), (4, 1, 33)])
class TestEveryAxis:
    def run(self, tools, body, x, schedule, tile):
        module = scheduled(tools, tools.make(body, x), schedule, tile)
        assert len(tools.regions(module)) == 1
        return tools.run(tools.passes(module, AFTER), [x])

    def test_softmax(self, tools, rng, shape, axis, schedule, tile):
        x = rng.standard_normal(shape).astype(np.float32)
        (found,) = self.run(tools, lambda x: nd.softmax(x, axis=axis), x, schedule, tile)
        np.testing.assert_allclose(found, softmax(x, axis), rtol=1e-5, atol=1e-6)

    def test_layer_norm_over_two_axes(self, tools, rng, shape, axis, schedule, tile):
        axes = tuple(sorted({axis, 1}))
        x = rng.standard_normal(shape)
        (found,) = self.run(tools, lambda x: nd.layer_norm(x, axes=axes), x, schedule, tile)
        np.testing.assert_allclose(found, layer_norm(x, axes), rtol=1e-9, atol=1e-9)

    def test_several_results_of_a_row_and_of_its_columns(self, tools, rng, shape, axis, schedule, tile):
        def body(x):
            double = nd.add(x, x)
            most = nd.max(double, axes=(axis,), keepdims=True)
            return double, most, nd.sub(double, most), nd.mean(x, axes=(axis,))

        x = rng.standard_normal(shape)
        found = self.run(tools, body, x, schedule, tile)
        most = (2 * x).max(axis, keepdims=True)
        tools.assert_same(found, [2 * x, most, 2 * x - most, x.mean(axis)])

    def test_argmax_takes_the_first_of_equals(self, tools, rng, shape, axis, schedule, tile):
        x = rng.integers(0, 3, shape).astype(np.float32)
        (found,) = self.run(tools, lambda x: nd.argmax(x, axis=axis), x, schedule, tile)
        np.testing.assert_array_equal(found, x.argmax(axis))


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_costly_elements_are_computed_once_for_both_loops(tools):
    """softmax needs exp(x - max) for the sum and for the result: it is kept in scratch."""
    x = np.zeros((4, 50), np.float32)
    lowered = tools.passes(tools.make(lambda x: nd.softmax(x), x), "fuse,bufferize,lower-kernels")
    names = [op.name for op in lowered.walk()]
    assert names.count("math.exp") == 1
    assert names.count("memref.alloca") == 1


def test_on_a_cpu_they_are_kept_where_the_result_goes(tools, rng):
    """So that this memory is fetched while powers are computed, and no scratch is needed."""
    x = rng.standard_normal((4, 50)).astype(np.float32)
    module = tools.passes(tools.make(lambda x: nd.softmax(x), x), "fuse,schedule,bufferize,lower-kernels")
    names = [op.name for op in module.walk()]
    assert names.count("math.exp") == 1
    assert "memref.alloca" not in names
    np.testing.assert_allclose(tools.run(tools.passes(module, "map{threshold=0}"), [x])[0], softmax(x, 1), rtol=1e-5)


def test_nor_where_the_result_is_of_another_type(tools, rng):
    x = rng.standard_normal((4, 50)).astype(np.float16)
    module = tools.make(lambda x: nd.cast(nd.softmax(nd.cast(x, dtype=F32)), dtype=F16), x)
    lowered = tools.passes(module, "fuse,schedule,bufferize,lower-kernels")
    assert [op.name for op in lowered.walk()].count("memref.alloca") == 1
    (found,) = tools.run(tools.passes(lowered, "map{threshold=0}"), [x])
    np.testing.assert_allclose(found, softmax(x.astype(np.float32), 1), rtol=1e-2)


def test_nor_where_something_else_lies_until_the_end(tools, rng):
    x, y = rng.standard_normal((2, 4, 50)).astype(np.float32)
    module = tools.make(lambda x, y: nd.add(nd.softmax(x), y), x, y)
    module.body.first.set_arg_attributes([{}, {"dlir.donated": UNIT}])
    lowered = tools.passes(module, "fuse,schedule,bufferize,lower-kernels")
    assert [op.name for op in lowered.walk()].count("memref.alloca") == 1
    want = softmax(x, 1) + y
    (found,) = tools.run(tools.passes(lowered, "map{threshold=0}"), [x, y.copy()])
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)


def test_a_row_too_long_for_scratch_is_computed_again(tools, rng):
    x = rng.standard_normal((2, 20000)).astype(np.float32)
    module = tools.make(lambda x: nd.softmax(x), x)
    lowered = tools.passes(module, "fuse,bufferize,lower-kernels")
    assert "memref.alloca" not in [op.name for op in lowered.walk()]


def test_reductions_that_do_not_need_each_other_share_a_loop(tools, rng):
    x = rng.standard_normal((3, 40))

    def body(x):
        return nd.sum(x, axes=(1,)), nd.max(nd.mul(x, x), axes=(1,))

    lowered = tools.check(tools.make(body, x), [x], "fuse,bufferize,lower-kernels")
    reduced = [op for op in lowered.walk() if op.name == "scf.parallel" and op.results]
    assert [len(op.results) for op in reduced] == [2]


def test_empty_rows_and_rows_of_nothing(tools):
    for shape in [(0, 4), (4, 0), (0, 0)]:
        x = np.zeros(shape, np.float32)
        tools.check(tools.make(lambda x: nd.sum(nd.exp(x), axes=(1,)), x), [x], "fuse,schedule," + AFTER)


def test_everything_to_one_number(tools, rng):
    x = rng.standard_normal((5, 6, 7))
    for schedule in ("row", "rows"):
        module = scheduled(tools, tools.make(lambda x: nd.sum(x), x), schedule, (4,) if schedule == "rows" else None)
        tools.assert_same(tools.run(tools.passes(module, AFTER), [x]), [np.asarray(x.sum())])
