"""Slices and joined values that share memory: the same results, fewer kernels, never more memory."""

from __future__ import annotations

import random

import numpy as np
import pytest
from support.buffers import make_function, region, run_buffers, run_tensors

from dlir.ir.ops import nd
from dlir.ir.traversal import clone
from dlir.ir.types import F32, TensorType
from dlir.passes.manager import PassManager
from dlir.passes.memory import buffers

ROWS = TensorType((16, 16), F32)


def bufferized(module, then=""):
    manager = PassManager.from_text("bufferize" + then)
    return manager.run(clone(module)).body.first, manager.passes[0].stats


def check(module, seed=0):
    """Results of the bufferised and of the planned function, where unwritten memory is poisoned; the parts."""
    rng = np.random.default_rng(seed)
    function = module.body.first
    arrays = [rng.integers(-3, 4, arg.type.shape).astype(arg.type.dtype.numpy) for arg in function.body.args]
    wanted = run_tensors(function, arrays)
    for then in ("", ",plan-memory"):
        made, stats = bufferized(module, then)
        results, inputs = run_buffers(made, arrays)
        for got, want in zip(results, wanted, strict=True):
            np.testing.assert_array_equal(got, want)
        for after, before in zip(inputs, arrays, strict=True):
            np.testing.assert_array_equal(after, before)
    return stats["parts"]


def matmul(a, b):
    return region(nd.matmul, a, b)


def concat(*values, axis=0):
    return region(lambda *xs: nd.concat(*xs, axis=axis), *values)


def cut(value, first, last):
    return region(lambda a: nd.slice(a, start=(first, 0), stop=(last, a.shape[1])), value)


def test_what_is_joined_is_written_where_it_belongs():
    module = make_function([ROWS], lambda x: matmul(concat(matmul(x, x), region(nd.exp, x)), x))
    assert check(module) == 1


def test_a_contiguous_slice_is_no_kernel():
    module = make_function([ROWS], lambda x: matmul(cut(matmul(x, x), 4, 12), x))
    assert check(module) == 1


def test_several_slices_of_one_value():
    def body(x):
        whole = matmul(x, x)
        return matmul(matmul(cut(whole, 0, 8), x), concat(cut(whole, 8, 16), cut(whole, 4, 12)))

    assert check(make_function([ROWS], body)) >= 1


@pytest.mark.parametrize(
    "body",
    [
        lambda x: matmul(region(lambda a: nd.slice(a, start=(0, 2), stop=(16, 9)), matmul(x, x)), cut(x, 0, 7)),
        lambda x: matmul(concat(matmul(x, x), region(nd.exp, x), axis=1), concat(x, x)),
        lambda x: concat(matmul(x, x), region(nd.exp, x)),
        lambda x: cut(matmul(x, x), 4, 12),
        lambda x: [concat(a := matmul(x, x), region(nd.exp, x)), region(nd.neg, a)],
        lambda x: matmul(concat(a := matmul(x, x), a), x),
    ],
    ids=["columns", "axis1", "returned", "returned-slice", "needed-later", "twice"],
)
def test_where_memory_cannot_be_shared_it_is_copied(body):
    assert check(make_function([ROWS], body)) == 0


def test_a_slice_of_what_is_overwritten_later_is_copied():
    """The value is worked on in place after the slice was cut out, which must not see that."""

    def body(x):
        whole = matmul(x, x)
        piece = cut(whole, 0, 8)
        last = region(lambda a: nd.add(a, 1.0), whole)
        return matmul(region(lambda a: nd.mul(a, 2.0), piece), last)

    module = make_function([ROWS], body)
    assert check(module) == 0


@pytest.mark.parametrize("seed", range(80))
def test_random_programs(seed, monkeypatch):
    chance = random.Random(seed)

    def body(x):
        values = [matmul(x, x), region(lambda a: nd.add(a, 1.0), x)]
        for _ in range(chance.randint(3, 12)):
            one, two = chance.choice(values), chance.choice(values)
            match chance.randrange(5):
                case 0:
                    new = concat(one, two) if one is not two else one
                case 1 if one.shape[0] >= 8:
                    first = chance.randrange(0, one.shape[0] - 3, 4)
                    new = cut(one, first, chance.randrange(first + 1, one.shape[0] + 1))
                case 2:
                    new = region(lambda a: nd.maximum(a, 1.0), one)
                case 3:
                    new = region(lambda a: nd.minimum(nd.abs(a), 5.0), one)
                case _:
                    new = (
                        region(
                            lambda a: nd.minimum(nd.matmul(nd.minimum(a, 3.0), nd.reshape(a, shape=(16, -1))), 7.0), one
                        )
                        if one.shape == (16, 16)
                        else one
                    )
            values.append(new)
        return [values[-1], chance.choice(values)] if seed % 3 else values[-1]

    module = make_function([ROWS], body)
    check(module, seed)
    with_parts = buffers.bytes_needed(module.body.first, 0)[0]
    monkeypatch.setattr(buffers, "use_parts", lambda *args: None)
    assert with_parts <= buffers.bytes_needed(module.body.first, 0)[0]


@pytest.mark.parametrize("pipeline", ["fuse{max-ops=1}", "fuse"])
def test_slices_that_kernels_read_are_no_kernels(pipeline):
    """Of an input, of a temporary, of a result, contiguous or not: whoever uses them reads them where they lie."""

    def body(x, w):
        y = nd.matmul(nd.slice(x, start=(4, 0), stop=(12, 16)), w)
        z = nd.matmul(nd.slice(y, start=(2, 0), stop=(6, 16)), w)
        corner = nd.slice(z, start=(0, 8), stop=(4, 16))
        return y, nd.matmul(corner, nd.slice(w, start=(0, 0), stop=(8, 16)))

    module = make_function([ROWS, ROWS], body)
    wanted = run_tensors(module.body.first, arrays := [np.eye(16, dtype=np.float32) + k for k in range(2)])
    function = PassManager.from_text(pipeline + ",bufferize,plan-memory").run(module).body.first
    assert [op.name for op in function.body.ops if op.name in ("kernel.region", "memref.copy")] == ["kernel.region"] * 3
    for got, want in zip(run_buffers(function, arrays)[0], wanted, strict=True):
        np.testing.assert_array_equal(got, want)
