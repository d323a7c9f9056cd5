"""How kernels are mapped to a GPU: what becomes threads, blocks, shared memory and barriers, and that it is right."""

import importlib.util
import math
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dlir.backends.cuda.sim.module import KernelFault
from dlir.ir.attributes import UNIT, IntegerAttr
from dlir.ir.builder import at_end
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.gpu import GPUFunc, LaunchFunc
from dlir.ir.dialects.scf import for_loop, if_else, parallel_loop
from dlir.ir.errors import DlirError
from dlir.ir.ops import arith, func, memref, nd
from dlir.ir.traversal import clone, structurally_equal
from dlir.ir.types import F32, I32, MemRefType
from dlir.ir.verifier import verified
from dlir.passes.map_cuda import map_cuda
from dlir.textir.printer import print_module

rng = np.random.default_rng(2)


def kernel_module(body, *shapes, dtype=F32, results=1, inplace=None):
    """A level-5 module: `main` calls one kernel whose body is made by `body` from memrefs of `shapes`, the last of which
    are results.  With `inplace`, that argument is given the last one's memory."""
    types = [MemRefType(shape, dtype) for shape in shapes]
    kernel = Func.make("kernel_0", types, private=True)
    kernel.attributes["dlir.kernel"] = UNIT
    with at_end(kernel.body):
        body(*kernel.body.args)
        func.return_()
    main = Func.make("main", types if inplace is None else types[:-1])
    roles = [{"dlir.input": IntegerAttr(i)} for i in range(len(types) - results)]
    roles += [{"dlir.result": IntegerAttr(i)} for i in range(results)]
    if inplace is not None:
        roles.pop()
        roles[inplace]["dlir.result"] = IntegerAttr(0)
    main.set_arg_attributes(roles)
    with at_end(main.body):
        args = [*main.body.args, *([] if inplace is None else [main.body.args[inplace]])]
        func.call(*args, callee="kernel_0", result_types=())
        func.return_()
    module = Module.empty()
    module.body.append(main)
    module.body.append(kernel)
    return verified(module)


def mapped_copy(module):
    """The module mapped, and what the pass counted."""
    stats = Counter()
    copy = clone(module)
    map_cuda(copy, stats)
    return verified(copy), stats


def named(module, name):
    return [op for op in module.walk() if op.name == name]


def rows(x, body):
    """A loop over the rows of a matrix."""
    parallel_loop([0], [x.shape[0]], [1], body)


def total(x, i, start=0.0, combine=arith.addf):
    """A row's elements combined in a parallel loop."""
    start = arith.constant(start, x.dtype)
    (found,) = parallel_loop([0], [x.shape[1]], [1], lambda j: memref.load(x, [i, j]), [(start, combine)])
    return found


# ---------------------------------------------------------------- correctness of what is mapped


def run_all(load_sim, module, *inputs):
    lowered, stats = mapped_copy(module)
    found = [load_sim(lowered, order)(*inputs) for order in ("forward", "reverse", "random")]
    for other in found[1:]:
        for one, two in zip(found[0], other):
            np.testing.assert_array_equal(one, two)
    return found[0], stats


def test_scratch_that_is_read_in_another_order_takes_a_barrier(load_sim):
    def body(x, y):
        def row(i):
            scratch = memref.alloca((), (), MemRefType((70,), F32))
            parallel_loop([0], [70], [1], lambda j: memref.store(memref.load(x, [i, j]), scratch, [j]) and None)
            parallel_loop(
                [0], [70], [1], lambda j: memref.store(memref.load(scratch, [arith.subi(69, j)]), y, [i, j]) and None
            )

        rows(x, row)

    x = rng.standard_normal((4, 70)).astype(np.float32)
    (y,), stats = run_all(load_sim, kernel_module(body, (4, 70), (4, 70)), x)
    np.testing.assert_array_equal(y, x[:, ::-1])
    assert stats["barriers"] == 1


def test_scratch_that_each_thread_reads_where_it_wrote_takes_none(load_sim):
    def body(x, y):
        def row(i):
            scratch = memref.alloca((), (), MemRefType((70,), F32))
            parallel_loop([0], [70], [1], lambda j: memref.store(memref.load(x, [i, j]), scratch, [j]) and None)
            parallel_loop(
                [0], [70], [1], lambda j: memref.store(arith.negf(memref.load(scratch, [j])), y, [i, j]) and None
            )

        rows(x, row)

    x = rng.standard_normal((4, 70)).astype(np.float32)
    (y,), stats = run_all(load_sim, kernel_module(body, (4, 70), (4, 70)), x)
    np.testing.assert_array_equal(y, -x)
    assert stats["barriers"] == 0


def softmax_like(x, y):
    """Reductions, scratch, and a loop over steps that all threads run together."""

    def row(i):
        scratch = memref.alloca((), (), MemRefType((300,), F32))
        parallel_loop([0], [300], [1], lambda j: memref.store(memref.load(x, [i, j]), scratch, [j]) and None)

        def step(k):
            largest = arith.constant(-math.inf, F32)
            (found,) = parallel_loop([0], [300], [1], lambda j: memref.load(scratch, [j]), [(largest, arith.maximumf)])

            def shift(j):
                other = arith.remui(arith.addi(j, 1), 300)
                memref.store(arith.subf(memref.load(scratch, [other]), found), y, [i, j])

            parallel_loop([0], [300], [1], shift)
            parallel_loop([0], [300], [1], lambda j: memref.store(memref.load(y, [i, j]), scratch, [j]) and None)

        for_loop(0, 3, 1, [], step)

    rows(x, row)


def test_loops_that_all_threads_run_together(load_sim):
    x = rng.integers(-9, 9, (2, 300)).astype(np.float32)
    want = x
    for _ in range(3):
        want = np.roll(want, -1, 1) - want.max(1, keepdims=True)
    (y,), stats = run_all(load_sim, kernel_module(softmax_like, (2, 300), (2, 300)), x)
    np.testing.assert_array_equal(y, want)
    assert stats["barriers"] >= 3


def test_no_barrier_is_superfluous_and_none_is_missing(load_sim):
    """Without any one of them, cuda-sim finds a race."""

    def body(x, y):
        def row(i):
            scratch = memref.alloca((), (), MemRefType((300,), F32))
            parallel_loop([0], [300], [1], lambda j: memref.store(memref.load(x, [i, j]), scratch, [j]) and None)
            found = total(x, i)

            def mirror(j):
                memref.store(arith.addf(memref.load(scratch, [arith.subi(299, j)]), found), y, [i, j])

            parallel_loop([0], [300], [1], mirror)
            parallel_loop([0], [300], [1], lambda j: memref.store(found, scratch, [j]) and None)
            memref.store(memref.load(scratch, [7]), y, [i, 0])

        rows(x, row)

    x = rng.standard_normal((2, 300)).astype(np.float32)
    lowered, stats = mapped_copy(kernel_module(body, (2, 300), (2, 300)))
    load_sim(lowered)(x)
    assert stats["barriers"] == 3
    for number in range(3):
        broken = clone(lowered)
        named(broken, "gpu.barrier")[number].erase()
        with pytest.raises(KernelFault, match=r"data race|uninitialised"):
            load_sim(broken)(x)


@pytest.mark.parametrize("number", [0, 1])
def test_a_tiled_matmul_needs_both_of_its_barriers(mapped, load_sim, number):
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((40, 40), (40, 40)))
    module = mapped(lambda a, b: nd.matmul(a, b), a, b)
    named(module, "gpu.barrier")[number].erase()
    with pytest.raises(KernelFault, match=r"data race|uninitialised"):
        load_sim(module)(a, b)


def test_a_reduction_starts_from_its_initial_value_once(load_sim):
    module = kernel_module(
        lambda x, y: rows(x, lambda i: memref.store(total(x, i, 5.0), y, [i]) and None), (3, 200), (3,)
    )
    x = rng.integers(-9, 9, (3, 200)).astype(np.float32)
    (y,), _ = run_all(load_sim, module, x)
    np.testing.assert_array_equal(y, x.sum(1) + 5)


@pytest.mark.parametrize(
    ("combine", "start", "want"),
    [
        (arith.addi, 0, lambda x: x.sum(1, dtype=np.int32)),
        (arith.muli, 1, lambda x: x.prod(1, dtype=np.int32)),
        (arith.maxsi, -(2**31), lambda x: x.max(1)),
        (arith.minsi, 2**31 - 1, lambda x: x.min(1)),
        (arith.xori, 0, lambda x: np.bitwise_xor.reduce(x, 1)),
        (arith.andi, -1, lambda x: np.bitwise_and.reduce(x, 1)),
        (arith.ori, 0, lambda x: np.bitwise_or.reduce(x, 1)),
        (arith.maxui, 0, lambda x: x.view(np.uint32).max(1).view(np.int32)),
    ],
)
def test_integer_monoids(load_sim, combine, start, want):
    def body(x, y):
        rows(x, lambda i: memref.store(total(x, i, start, combine), y, [i]) and None)

    x = rng.integers(-(2**31), 2**31, (3, 200)).astype(np.int32)
    (y,), _ = run_all(load_sim, kernel_module(body, (3, 200), (3,), dtype=I32), x)
    np.testing.assert_array_equal(y, want(x))


def test_a_reduction_that_is_no_known_monoid_is_computed_by_every_thread(load_sim):
    def combine(a, b):
        return arith.addf(arith.mulf(a, 1.0), b)

    module = kernel_module(
        lambda x, y: rows(x, lambda i: memref.store(total(x, i, 1.0, combine), y, [i]) and None), (2, 100), (2,)
    )
    x = rng.integers(-9, 9, (2, 100)).astype(np.float32)
    (y,), _ = run_all(load_sim, module, x)
    np.testing.assert_array_equal(y, x.sum(1) + 1)


def test_a_kernel_without_work_items_is_one_block(load_sim):
    def body(x, y):
        (found,) = parallel_loop(
            [0, 0], [7, 90], [1, 1], lambda i, j: memref.load(x, [i, j]), [(arith.constant(0.0, F32), arith.addf)]
        )
        memref.store(found, y, [0])

    x = rng.integers(-9, 9, (7, 90)).astype(np.float32)
    (y,), stats = run_all(load_sim, kernel_module(body, (7, 90), (1,)), x)
    np.testing.assert_array_equal(y, [x.sum()])
    assert stats["block"] == 1


def test_loops_one_after_the_other_are_launched_one_after_the_other():
    def body(x, y):
        parallel_loop([0], [500], [1], lambda i: memref.store(arith.negf(memref.load(x, [i])), y, [i]) and None)
        parallel_loop([0], [500], [1], lambda i: memref.store(memref.load(y, [arith.subi(499, i)]), x, [i]) and None)

    lowered, _ = mapped_copy(kernel_module(body, (500,), (500,), results=2))
    assert len({op.get("kernel") for op in named(lowered, "gpu.launch_func")}) == 2


def test_bounds_and_steps_of_work_items(load_sim):
    def body(x, y):
        parallel_loop([1, 2], [8, 20], [3, 5], lambda i, j: memref.store(memref.load(x, [i, j]), y, [i, j]) and None)
        # The rest is set by another kernel.
        parallel_loop(
            [0, 0],
            [8, 20],
            [1, 1],
            lambda i, j: (
                if_else(
                    arith.ori(arith.cmpi("ne", arith.remui(i, 3), 1), arith.cmpi("ne", arith.remui(j, 5), 2)),
                    lambda: memref.store(arith.constant(0.0, F32), y, [i, j]) and None,
                )
                and None
            ),
        )

    x = rng.standard_normal((8, 20)).astype(np.float32)
    want = np.zeros_like(x)
    want[1:8:3, 2:20:5] = x[1:8:3, 2:20:5]
    (y,), _ = run_all(load_sim, kernel_module(body, (8, 20), (8, 20)), x)
    np.testing.assert_array_equal(y, want)


def test_an_inner_loop_whose_bound_is_computed(load_sim):
    def body(x, y):
        def block(n):
            first = arith.muli(n, 30)
            left = arith.minsi(arith.subi(70, first), 30)
            parallel_loop(
                [0],
                [left],
                [1],
                lambda j: memref.store(memref.load(x, [arith.addi(first, j)]), y, [arith.addi(first, j)]) and None,
            )

        parallel_loop([0], [3], [1], block)

    x = rng.standard_normal(70).astype(np.float32)
    (y,), _ = run_all(load_sim, kernel_module(body, (70,), (70,)), x)
    np.testing.assert_array_equal(y, x)


def test_a_kernel_in_place(load_sim):
    def body(x, y):
        def row(i):
            found = total(x, i)
            parallel_loop(
                [0], [200], [1], lambda j: memref.store(arith.subf(memref.load(x, [i, j]), found), y, [i, j]) and None
            )

        rows(x, row)

    module = kernel_module(body, (3, 200), (3, 200), inplace=0)
    x = rng.integers(-9, 9, (3, 200)).astype(np.float32)
    (y,), _ = run_all(load_sim, module, x.copy())
    np.testing.assert_array_equal(y, x - x.sum(1, keepdims=True))


# ---------------------------------------------------------------- choices and limits


def test_upstream_mlir_accepts_what_is_printed(mapped, tmp_path):
    tools = importlib.util.find_spec("mlir")
    found = [Path(folder, "bin", "mlir-opt") for folder in tools.submodule_search_locations or ()] if tools else []
    program = next((str(path) for path in found if path.is_file()), None) or shutil.which("mlir-opt")
    if program is None:
        pytest.skip("mlir-opt is not installed")
    x, w = np.zeros((6, 500), np.float32), np.zeros((500, 60), np.float32)
    module = mapped(
        lambda x, w: (nd.softmax(x), nd.matmul(x, w), nd.sum(nd.exp(x), axes=(0,)), nd.argmax(x, axis=1)), x, w
    )
    path = tmp_path / "mapped.mlir"
    path.write_text(print_module(module, generic=True))
    checked = subprocess.run([program, str(path)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_mapping_is_deterministic_and_done_once():
    module = kernel_module(softmax_like, (2, 300), (2, 300))
    first, _ = mapped_copy(module)
    second, _ = mapped_copy(module)
    assert structurally_equal(first, second)
    again, stats = mapped_copy(first)
    assert structurally_equal(first, again) and not stats


def test_large_pointwise_kernels_have_a_bounded_grid(mapped):
    (launch,) = (
        op for op in mapped(lambda x: nd.neg(x), np.zeros(1 << 22, np.int8)).walk() if isinstance(op, LaunchFunc)
    )
    grid, block = (value.owner.get("value") for value in (launch.grid[0], launch.block[0]))
    assert block == 256 and grid * block < 1 << 22


def test_equal_kernels_are_one_function(mapped):
    module = mapped(lambda x, y: (nd.neg(x), nd.neg(y)), np.zeros((3, 5)), np.zeros((3, 5)), level="O0")
    assert len(named(module, "gpu.launch_func")) == 2
    assert sum(isinstance(op, GPUFunc) for op in module.walk()) == 1


def test_no_work_is_no_launch():
    module = kernel_module(
        lambda x, y: (
            parallel_loop([0], [0], [1], lambda i: memref.store(memref.load(x, [i]), y, [i]) and None) and None
        ),
        (1,),
        (1,),
    )
    lowered, stats = mapped_copy(module)
    assert not named(lowered, "gpu.launch_func") and stats["empty"] == 1


def test_scratch_that_does_not_fit_is_an_error():
    def body(x, y):
        def row(i):
            scratch = memref.alloca((), (), MemRefType((20000,), F32))
            parallel_loop([0], [20000], [1], lambda j: memref.store(memref.load(x, [i, j]), scratch, [j]) and None)

        rows(x, row)

    with pytest.raises(DlirError, match="needs 80000 bytes of shared memory for one work item, but a block has 49152"):
        mapped_copy(kernel_module(body, (2, 20000), (2, 20000)))
