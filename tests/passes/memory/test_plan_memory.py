"""plan-memory: results stay right with memory shared, and the numbers that it must reach."""

from __future__ import annotations

import random

import numpy as np
import pytest
from support import programs
from support.buffers import into_regions, make_function, region, run_buffers, run_tensors

from dlir.backends.ref.reference import Reference
from dlir.ir.attributes import UNIT
from dlir.ir.builder import before
from dlir.ir.ops import memref, nd
from dlir.ir.traversal import clone, difference, structurally_equal
from dlir.ir.types import F32, F64, I32, MemRefType, TensorType
from dlir.passes.manager import PassManager
from dlir.passes.memory.report import memory_report
from dlir.textir import parse

TEN = TensorType((10,), F64)

CHAIN = """
func.func @main(%x: tensor<4x4xf32>, %w: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %a = kernel.region %x, %w ({ ^bb0(%p: tensor<4x4xf32>, %q: tensor<4x4xf32>):
    %r = nd.matmul %p, %q
    kernel.yield %r
  }) : tensor<4x4xf32>
  %b = kernel.region %a ({ ^bb0(%p: tensor<4x4xf32>):
    %r = nd.exp %p
    kernel.yield %r
  }) : tensor<4x4xf32>
  %c = kernel.region %b, %w ({ ^bb0(%p: tensor<4x4xf32>, %q: tensor<4x4xf32>):
    %r = nd.matmul %p, %q
    kernel.yield %r
  }) : tensor<4x4xf32>
  return %c
}
"""
#: The same with buffers: the middle value is computed in place, and the arena holds one buffer.
PLANNED = """
module {
  func.func @main(%x: memref<4x4xf32> {dlir.input = 0, dlir.name = "x"}, %w: memref<4x4xf32> {dlir.input = 1, dlir.name = "w"}, %c: memref<4x4xf32> {dlir.result = 0}, %arena: memref<64xi8> {dlir.alignment = 64, dlir.arena}) {
    %0 = arith.constant {value = 0 : index} : index
    %a = memref.view %arena, %0 : memref<4x4xf32>
    kernel.region %x, %w, %a {outs = 1} ({
    ^bb0(%p: tensor<4x4xf32>, %q: tensor<4x4xf32>):
      %r = nd.matmul %p, %q : tensor<4x4xf32>
      kernel.yield %r
    })
    kernel.region %a, %a {outs = 1, dlir.inplace = array<i64: 0, 1>} ({
    ^bb0(%p: tensor<4x4xf32>):
      %r = nd.exp %p : tensor<4x4xf32>
      kernel.yield %r
    })
    kernel.region %a, %w, %c {outs = 1} ({
    ^bb0(%p: tensor<4x4xf32>, %q: tensor<4x4xf32>):
      %r = nd.matmul %p, %q : tensor<4x4xf32>
      kernel.yield %r
    })
    return
  }
}
"""


def plan(module, donate=()):
    """The module bufferised and planned, and its memory report."""
    source = clone(module)
    function = module.body.first
    if donate:
        function.set_arg_attributes(
            [{"dlir.donated": UNIT} if i in donate else {} for i in range(len(function.body.args))]
        )
    PassManager.from_text("bufferize,plan-memory").run(module)
    return memory_report(source, module)


def roles(module):
    function = module.body.first
    return [{k.removeprefix("dlir.") for k in function.arg_attributes(a.index)} for a in function.body.args]


def multiply_add(fused: bool, both: bool = False):
    """d = b * a + 1, as one kernel or two; `both` returns b * a, too."""

    def whole(a, b):
        if fused:

            def body(x, y):
                c = nd.mul(x, y)
                return (c, nd.add(c, 1.0)) if both else nd.add(c, 1.0)

            return region(body, b, a)
        c = region(nd.mul, b, a)
        d = region(lambda x: nd.add(x, 1.0), c)
        return (c, d) if both else d

    return make_function([TEN, TEN], whole, ["a", "b"])


@pytest.mark.parametrize("fused", [False, True])
def test_multiply_add_takes_240_bytes_and_160_when_the_inputs_are_donated(fused):
    kept = plan(multiply_add(fused))
    assert (kept.naive, kept.planned, kept.lower_bound) == (320, 240, 240)
    module = multiply_add(fused)
    donated = plan(module, donate=(0, 1))
    assert (donated.naive, donated.planned) == (320, 160)
    assert roles(module)[1] == {"input", "name", "donated", "result"}, "the result lives in b's buffer"


@pytest.mark.parametrize("fused", [False, True])
def test_returning_the_intermediate_value_costs_its_bytes(fused):
    assert plan(multiply_add(fused, both=True)).planned == 320
    assert plan(multiply_add(fused, both=True), donate=(1,)).planned == 240


def layers(count: int, ops_per_kernel: int, width: int = 16):
    """`count` layers of dense + sigmoid with a weight each."""
    types = [TensorType((4, width), F32), *[TensorType((width, width), F32)] * count]
    module = make_function(types, lambda x, *weights: [x := nd.sigmoid(nd.matmul(x, w)) for w in weights][-1])
    into_regions(module.body.first, random.Random(0), most=1)
    if ops_per_kernel == 2:
        module = make_function(
            types, lambda x, *ws: [x := region(lambda a, b: nd.sigmoid(nd.matmul(a, b)), x, w) for w in ws][-1]
        )
    return module


@pytest.mark.parametrize("ops_per_kernel", [1, 2])
@pytest.mark.parametrize("count", [2, 4, 16, 64])
def test_layers_need_two_buffers_the_results_included(count, ops_per_kernel):
    report = plan(layers(count, ops_per_kernel))
    assert report.buffers == 2
    assert report.planned - report.inputs == 2 * 4 * 16 * 4


@pytest.mark.parametrize("count", [2, 5, 40])
def test_a_chain_of_elementwise_ops_needs_only_the_result(count):
    def chain(x):
        for _ in range(count):
            x = region(nd.tanh, x)
        return x

    report = plan(make_function([TEN], chain))
    assert (report.buffers, report.planned) == (1, 160)


def test_a_value_with_two_readers_is_not_overwritten():
    def body(x):
        a = region(nd.exp, x)
        b = region(nd.neg, a)
        return region(nd.add, a, b)

    module = make_function([TEN], body)
    x = np.linspace(-1, 1, 10)
    assert plan(module).buffers == 2
    (result,), _ = run_buffers(module.body.first, [x])
    assert np.array_equal(result, np.exp(x) + -np.exp(x))


def test_a_temporary_waits_in_a_donated_input_that_is_no_longer_needed():
    def body(x, w):
        for _ in range(3):
            x = region(nd.matmul, x, w)
        return x

    square = TensorType((4, 4), F32)
    assert plan(make_function([square, square], body), donate=(0,)).planned == 3 * 64


def test_small_temporaries_fit_in_a_larger_result():
    def body(x):
        small = region(lambda a: nd.sum(a, axes=(1,)), x)
        return region(lambda s, a: nd.add(a, nd.reshape(s, shape=(1, 8))), region(nd.neg, small), x)

    square = TensorType((8, 8), F32)
    module = make_function([square], body)
    report = plan(module)
    x = np.arange(64, dtype=np.float32).reshape(8, 8)
    (result,), _ = run_buffers(module.body.first, [x])
    assert np.array_equal(result, x - x.sum(axis=1)[None])
    assert report.arena == 32, "the sums are live while the result is written"


def test_buffers_of_other_element_types_share_the_arena_only():
    def body(x):
        counts = region(lambda a: nd.cast(a, dtype=I32), x)
        return region(lambda c: nd.cast(c, dtype=F32), region(nd.neg, counts))

    module = make_function([TensorType((10,), F32)], body)
    report = plan(module)
    assert (report.arena, report.buffers) == (40, 2)


def test_an_alloc_of_unknown_size_is_left_alone():
    module = make_function([TEN], lambda x: region(nd.exp, x))
    PassManager.from_text("bufferize").run(module)
    kernel_op = module.body.first.body.first
    with before(kernel_op):
        memref.alloc([memref.dim(kernel_op.operands[0], 0)], MemRefType((None,), F64))
    PassManager.from_text("plan-memory").run(module)
    assert any(op.name == "memref.alloc" for op in module.walk())


def test_the_report_is_the_same_after_kernels_are_lowered():
    source = layers(4, 2)
    module = clone(source)
    report = plan(module)
    PassManager.from_text("lower-kernels").run(module)
    assert memory_report(source, module) == report


def test_without_a_plan_allocations_are_counted_one_by_one():
    source = layers(4, 2)
    module = clone(source)
    PassManager.from_text("bufferize").run(module)
    report = memory_report(source, module)
    assert (report.arena, report.results) == (3 * 256, 256)
    assert report.lower_bound == report.inputs + report.results + 2 * 256


def test_over_tensors_every_value_has_memory_of_its_own():
    module = multiply_add(fused=False)
    report = memory_report(module, module)
    assert report.naive == report.planned == 320


def test_shapes_that_were_bound_later_are_those_of_the_lowered_module():
    source = parse("func.func @main(%x: tensor<?xf64>) -> tensor<?xf64> { %y = nd.exp %x return %y }")
    module = clone(source)
    PassManager.from_text("bind-shapes{batch=10},fuse,bufferize,plan-memory").run(module)
    assert memory_report(source, module).naive == 160


def test_a_plan_in_text():
    module = parse(CHAIN)
    PassManager.from_text("bufferize,plan-memory").run(module)
    assert difference(module, parse(PLANNED)) is None


def test_allocations_in_hand_written_text_are_planned_and_their_ends_go():
    module = parse("""
func.func @main(%x: memref<4xf32> {dlir.input = 0}, %y: memref<4xf32> {dlir.result = 0}) {
  %a = memref.alloc : memref<4xf32>
  %b = memref.alloc : memref<4xf32>
  memref.copy %x, %a
  memref.copy %a, %b
  memref.dealloc %a
  memref.copy %b, %y
  memref.dealloc %b
  return
}
""")
    PassManager.from_text("plan-memory").run(module)
    names = [op.name for op in module.body.first.body.ops]
    assert "memref.alloc" not in names and "memref.dealloc" not in names
    x = np.arange(4, dtype=np.float32)
    (result,), _ = run_buffers(module.body.first, [x])
    assert np.array_equal(result, x)


@pytest.mark.parametrize("seed", range(60))
def test_random_programs_keep_their_results(seed):
    chance = random.Random(seed)
    program = programs.make_program(seed, exact=True, size=chance.randint(3, 25))
    module, function = program.module, program.module.body.first
    donated = [i for i in range(len(program.types)) if chance.random() < 0.3]
    inputs = programs.make_inputs(program, seed)
    want = run_tensors(function, inputs)
    into_regions(function, chance)
    function.set_arg_attributes([{"dlir.donated": UNIT} if i in donated else {} for i in range(len(inputs))])
    manager = PassManager.from_text("bufferize,plan-memory")
    for item in manager.passes:
        manager.run_pass(item, module)
        got, after = run_buffers(module.body.first, inputs)
        for w, g in zip(want, got, strict=True):
            assert w.dtype == g.dtype and np.array_equal(w, g)
        for number, (old, new) in enumerate(zip(inputs, after, strict=True)):
            assert number in donated or np.array_equal(old, new), "an input was overwritten"
        for w, g in zip(want, Reference(module).run("main", inputs), strict=True):
            assert w.dtype == g.dtype and np.array_equal(w, g)
        again = clone(module)
        manager.run_pass(item, again)
        assert structurally_equal(module, again), f"{item} changes its own output"
