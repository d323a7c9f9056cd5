"""Which operands a kernel may overwrite: checked against what really depends on what."""

from __future__ import annotations

import random

import numpy as np
import pytest
from support import programs
from support.buffers import into_regions, make_function, region, run_body
from support.cuda import need_simulator

from dlir.backends.compiler import compile_module
from dlir.ir.dialects.kernel import KernelRegion
from dlir.ir.ops import nd
from dlir.ir.types import F32, F64, TensorType
from dlir.passes.memory.inplace import inplace_candidates, reshaped_operands
from dlir.textir import parse

ROWS = TensorType((3, 4), F64)
ROW = TensorType((4,), F64)


def candidates(body, *types):
    module = make_function(types, lambda *args: region(body, *args))
    return inplace_candidates(module.body.first.body.first)


def test_elementwise_results_may_take_any_operand():
    assert candidates(lambda a, b: nd.add(nd.exp(a), b), ROWS, ROWS) == {0: [0], 1: [0]}


def test_composites_are_looked_into():
    assert candidates(nd.sigmoid, ROWS) == {0: [0]}
    assert candidates(lambda x: nd.softmax(x, axis=-1), ROWS) == {}


def test_reshapes_keep_the_place_and_transposes_do_not():
    assert candidates(lambda a: nd.neg(nd.reshape(a, shape=(12,))), ROWS) == {0: [0]}
    assert candidates(lambda a: nd.neg(nd.transpose(a)), TensorType((3, 3), F64)) == {}
    assert candidates(lambda a: nd.neg(nd.transpose(a)), TensorType((1, 3), F64)) == {0: [0]}


def test_a_broadcast_operand_is_read_many_times():
    assert candidates(lambda a, b: nd.add(a, b), ROWS, ROW) == {0: [0]}


def test_an_operand_that_is_also_reduced_stays():
    assert candidates(lambda a: nd.sub(a, nd.sum(a, axes=(1,), keepdims=True)), ROWS) == {}
    assert candidates(lambda a, b: nd.sub(a, nd.sum(b, axes=(1,), keepdims=True)), ROWS, ROWS) == {0: [0]}


def test_an_epilogue_may_overwrite_what_it_adds_but_not_what_is_multiplied():
    square = TensorType((4, 4), F64)
    assert candidates(lambda a, b, c: nd.add(nd.matmul(a, b), c), square, square, square) == {2: [0]}
    assert candidates(lambda a, b: nd.add(nd.matmul(a, b), b), square, square) == {}


def test_an_attention_overwrites_nothing():
    heads = TensorType((1, 2, 8, 4), F32)
    assert candidates(lambda q, k, v, c: nd.add(nd.attention(q, k, v), c), heads, heads, heads, heads) == {}


def test_two_results_of_one_epilogue_may_both_work_in_place():
    square = TensorType((4, 4), F64)

    def update(a, b, m, w):
        moved = nd.add(m, nd.matmul(a, b))
        return moved, nd.sub(w, moved)

    assert candidates(update, square, square, square, square) == {2: [0, 1], 3: [1]}
    found = candidates(lambda x, m, w: _momentum(nd.sum(x, axes=(0,)), m, w), ROWS, ROW, ROW)
    assert found == {1: [0, 1], 2: [1]}


def _momentum(g, m, w):
    moved = nd.add(m, g)
    return moved, nd.sub(w, moved)


UPDATE = """
func.func @main(%x: tensor<DEPTHxROWSxf32>, %g: tensor<DEPTHxCOLUMNSxf32>, %m: tensor<ROWSxCOLUMNSxf32> {dlir.donated},
                %w: tensor<ROWSxCOLUMNSxf32> {dlir.donated}) -> (tensor<ROWSxCOLUMNSxf32>, tensor<ROWSxCOLUMNSxf32>) {
  %d = nd.matmul %x, %g {transpose_a = true}
  %n = nd.add %m, %d
  %v = nd.sub %w, %n
  return %n, %v
}
"""


@pytest.mark.parametrize("backend", ["cpu", "cuda-sim"])
@pytest.mark.parametrize(
    "rows, columns, depth",
    [(4, 4, 3), (1, 70, 9), (70, 1, 9), (33, 65, 40), (130, 100, 7), (16, 24, 3000), (97, 161, 1100), (256, 64, 64)],
)
def test_products_that_are_added_in_place_are_added_once(backend, rows, columns, depth):
    """Whatever tiles, partial sums and edges there are."""
    if backend == "cuda-sim":
        need_simulator()
        if rows * columns * depth > 1 << 20:
            pytest.skip("too much to simulate")
    text = UPDATE
    for name, size in (("ROWS", rows), ("COLUMNS", columns), ("DEPTH", depth)):
        text = text.replace(name, str(size))
    program = compile_module(parse(text), backend=backend)
    assert program.memory.aliased == 2 * 4 * rows * columns and program.memory.temp_size_in_bytes == 0
    rng = np.random.default_rng(rows)
    shapes = (depth, rows), (depth, columns), (rows, columns), (rows, columns)
    x, g, m, w = (rng.standard_normal(shape, dtype=np.float32) for shape in shapes)
    want = m + x.T @ g
    found, moved = program(x, g, m.copy(), w.copy())
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(moved, w - want, rtol=1e-4, atol=1e-3)


def test_two_results_of_one_loop_may_both_work_in_place():
    assert candidates(lambda a, b: (nd.add(a, b), nd.mul(a, b)), ROWS, ROWS) == {0: [0, 1], 1: [0, 1]}


def test_two_results_of_different_loops_may_not():
    """One loop may overwrite what the other has still to read."""

    def two(a, b):
        cube = nd.reshape(a, shape=(3, 2, 2))
        return nd.neg(a), nd.add(cube, nd.reshape(nd.sum(b, axes=(1,)), shape=(3, 1, 1)))

    assert 0 not in candidates(two, ROWS, ROWS)
    # A loop for all results of a row.
    found = candidates(lambda a, b: (nd.neg(a), nd.add(a, nd.sum(b, axes=(1,), keepdims=True))), ROWS, ROWS)
    assert found == {0: [0, 1]}


def test_only_row_major_reshapes_are_no_kernel():
    def sources(body, *types):
        module = make_function(types, lambda *args: region(body, *args))
        return reshaped_operands(module.body.first.body.first)

    assert sources(lambda a: nd.reshape(a, shape=(2, 6)), ROWS) == [0]
    assert sources(lambda a, b: (nd.reshape(b, shape=(4, 1)), a), ROWS, ROW) == [1, 0]
    assert sources(nd.transpose, ROWS) is None
    assert sources(lambda a: nd.slice(a, start=(0, 0), stop=(2, 4), step=(1, 1)), ROWS) is None
    assert sources(lambda a: nd.neg(a), ROWS) is None
    assert sources(lambda a: nd.broadcast_to(a, shape=(1, 4)), ROW) == [0]


@pytest.mark.parametrize("seed", range(60))
def test_a_place_that_may_be_overwritten_is_needed_nowhere_else(seed):
    """Changing one element of such an operand changes nothing but that element, in every result."""
    program = programs.make_program(seed, exact=False, size=10)
    function = program.module.body.first
    into_regions(function, random.Random(seed))
    for op in list(function.body.ops):
        if isinstance(op, KernelRegion):
            for operand, results in inplace_candidates(op).items():
                if results:
                    check_dependence(op, operand)


def check_dependence(op: KernelRegion, operand: int) -> None:
    types = [arg.type for arg in op.body.args]
    rng = np.random.default_rng(0)
    inputs = [np.asarray(rng.uniform(0.5, 2, t.shape)).astype(t.dtype.numpy) for t in types]
    before = run_body(op, inputs)
    for place in range(min(inputs[operand].size, 6)):
        changed = [array.copy() for array in inputs]
        flat = changed[operand].reshape(-1)
        flat[place] = ~flat[place] if flat.dtype == bool else flat[place] + 3
        for old, new in zip(before, run_body(op, changed), strict=True):
            differs = np.flatnonzero(old.reshape(-1) != new.reshape(-1))
            assert set(differs.tolist()) <= {place}, f"operand {operand}, element {place}: {op.body}"
