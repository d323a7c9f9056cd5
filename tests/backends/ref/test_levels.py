"""The reference interpreter at each level, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.backends.ref import Reference
from dlir.ir.verifier import verified
from dlir.textir.parser import parse

rng = np.random.default_rng(3)


def run(text, *inputs, weights=None, entry="main"):
    return Reference(verified(parse(text)), weights).run(entry, inputs)


def array(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def test_array_ops_with_several_results_and_a_variable_from_a_file():
    x, w = array(4, 3), array(3, 2)
    first, second = run(
        """
        module {
          state.variable @w {init = dense_resource<w> : tensor<3x2xf32>, type = tensor<3x2xf32>}
          state.variable @b {init = dense<0.5> : tensor<2xf32>, type = tensor<2xf32>}
          func.func @main(%x: tensor<?x3xf32>) -> (tensor<?x2xf32>, tensor<?x3xf32>) {
            %w = state.read @w : tensor<3x2xf32>
            %b = state.read @b : tensor<2xf32>
            %p = nd.matmul %x, %w
            %y = nd.add %p, %b
            %e = nd.exp %x
            return %y, %e
          }
        }""",
        x,
        weights={"w": w}.__getitem__,
    )
    np.testing.assert_allclose(first, x @ w + 0.5, rtol=1e-5)
    np.testing.assert_allclose(second, np.exp(x), rtol=1e-5)


def test_kernels_over_tensors_and_calls():
    x = array(4, 8)
    (got,) = run(
        """
        module {
          func.func @main(%x: tensor<4x8xf32>) -> tensor<4xf32> {
            %y = func.call @double %x : tensor<4x8xf32>
            %s = kernel.region %y ({
            ^bb0(%a: tensor<4x8xf32>):
              %s = nd.sum %a {axes = array<i64: 1>}
              kernel.yield %s
            }) : tensor<4xf32>
            return %s
          }
          func.func private @double(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
            %y = nd.add %x, %x
            return %y
          }
        }""",
        x,
    )
    np.testing.assert_allclose(got, 2 * x.sum(1), rtol=1e-5)


BUFFERS = """
module {
  memref.global @w {type = memref<8xf32>, initial_value = dense<2.0> : tensor<8xf32>, constant}
  func.func @main(%x: memref<4x8xf32> {dlir.input = 0, dlir.name = "x"}, %y: memref<4xf32> {dlir.result = 1},
                  %z: memref<4x8xf32> {dlir.result = 0}, %arena: memref<256xi8> {dlir.arena, dlir.alignment = 64}) {
    %off = arith.constant {value = 64 : index}
    %t = memref.view %arena, %off : memref<4x8xf32>
    %w = memref.get_global @w : memref<8xf32>
    kernel.region %x, %w, %t {outs = 1} ({
    ^bb0(%a: tensor<4x8xf32>, %b: tensor<8xf32>):
      %r = nd.mul %a, %b
      kernel.yield %r
    })
    kernel.region %t, %z, %y {outs = 2} ({
    ^bb0(%a: tensor<4x8xf32>):
      %r = nd.neg %a
      %s = nd.sum %a {axes = array<i64: 1>}
      kernel.yield %r, %s
    })
    return
  }
}"""


def test_kernels_over_buffers_in_an_arena_write_their_destinations():
    x = array(4, 8)
    negated, summed = run(BUFFERS, x)
    np.testing.assert_array_equal(negated, -2 * x)
    np.testing.assert_allclose(summed, 2 * x.sum(1), rtol=1e-5)


def test_a_donated_input_holds_a_result_and_the_callers_array_stays():
    x = array(6)
    before = x.copy()
    (got,) = run(
        """
        module {
          func.func @main(%x: memref<6xf32> {dlir.input = 0, dlir.result = 0, dlir.donated}) {
            kernel.region %x, %x {outs = 1} ({
            ^bb0(%a: tensor<6xf32>):
              %r = nd.add %a, %a
              kernel.yield %r
            })
            return
          }
        }""",
        x,
    )
    np.testing.assert_array_equal(got, 2 * x)
    np.testing.assert_array_equal(x, before)


def test_a_view_of_an_input_may_be_written_over_that_input():
    x = array(3, 3)
    flipped, transposed = run(
        """
        module {
          func.func @main(%x: memref<3x3xf32> {dlir.input = 0, dlir.result = 0},
                          %y: memref<3x3xf32> {dlir.result = 1}) {
            kernel.region %x, %x, %y {outs = 2} ({
            ^bb0(%a: tensor<3x3xf32>):
              %n = nd.neg %a
              %t = nd.transpose %a {perm = array<i64: 1, 0>}
              kernel.yield %t, %a
            })
            return
          }
        }""",
        x,
    )
    np.testing.assert_array_equal(flipped, x.T)
    np.testing.assert_array_equal(transposed, x)


UNMAPPED = """
module {
  func.func @main(%x: memref<4x8xf32> {dlir.input = 0}, %y: memref<4xf32> {dlir.result = 0}) {
    func.call @kernel_0 %x, %y
    return
  }
  func.func private @kernel_0(%x: memref<4x8xf32>, %y: memref<4xf32>) attributes {dlir.kernel} {
    %zero = arith.constant {value = 0 : index}
    %one = arith.constant {value = 1 : index}
    %rows = arith.constant {value = 4 : index}
    %columns = arith.constant {value = 8 : index}
    %least = arith.constant {value = 0xFF800000 : f32}
    "scf.parallel"(%zero, %rows, %one) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
    ^bb0(%i: index):
      %max = "scf.parallel"(%zero, %columns, %one, %least) <{operandSegmentSizes = array<i32: 1, 1, 1, 1>}> ({
      ^bb1(%j: index):
        %e = memref.load %x, %i, %j
        "scf.reduce"(%e) ({
        ^bb2(%a: f32, %b: f32):
          %m = arith.maximumf %a, %b
          "scf.reduce.return"(%m) : (f32) -> ()
        }) : (f32) -> ()
      }) : (index, index, index, f32) -> f32
      memref.store %max, %y, %i
      scf.reduce
    }) : (index, index, index) -> ()
    return
  }
}"""

MAPPED = """
module {
  func.func @main(%x: memref<4x8xf32> {dlir.input = 0}, %y: memref<4xf32> {dlir.result = 0}) {
    %zero = arith.constant {value = 0 : index}
    %one = arith.constant {value = 1 : index}
    %two = arith.constant {value = 2 : index}
    "scf.parallel"(%zero, %two, %one) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
    ^bb0(%t: index):
      %lo = arith.muli %t, %two
      %hi = arith.addi %lo, %two
      func.call @kernel_0 %lo, %hi, %x, %y
      scf.reduce
    }) : (index, index, index) -> ()
    return
  }
  func.func private @kernel_0(%lo: index, %hi: index, %x: memref<4x8xf32>, %y: memref<4xf32>)
      attributes {dlir.kernel = "cpu"} {
    %zero = arith.constant {value = 0 : index}
    %one = arith.constant {value = 1 : index}
    %columns = arith.constant {value = 8 : index}
    %least = arith.constant {value = 0xFF800000 : f32}
    scf.for %lo, %hi, %one ({
    ^bb0(%i: index):
      %max = scf.for %zero, %columns, %one, %least ({
      ^bb1(%j: index, %m: f32):
        %e = memref.load %x, %i, %j
        %n = arith.maximumf %m, %e
        scf.yield %n
      })
      memref.store %max, %y, %i
      scf.yield
    })
    return
  }
}"""


@pytest.mark.parametrize("text", [UNMAPPED, MAPPED], ids=["before map", "after map"])
def test_loops(text):
    x = array(4, 8)
    (got,) = run(text, x)
    np.testing.assert_array_equal(got, x.max(1))


def test_branches_and_while_loops_over_scalars():
    text = """
    module {
      func.func @main(%n: i64) -> (i64, i64) {
        %one = arith.constant {value = 1}
        %two = arith.constant {value = 2}
        %three = arith.constant {value = 3}
        %zero = arith.constant {value = 0}
        %last, %steps = scf.while %n, %zero ({
        ^bb0(%k: i64, %c: i64):
          %go = arith.cmpi %k, %one {predicate = 1}
          scf.condition %go, %k, %c
        }, {
        ^bb0(%k: i64, %c: i64):
          %odd = arith.andi %k, %one
          %is_odd = arith.trunci %odd : i1
          %next = scf.if %is_odd ({
            %t = arith.muli %k, %three
            %u = arith.addi %t, %one
            scf.yield %u
          }, {
            %h = arith.divsi %k, %two
            scf.yield %h
          }) : i64
          %d = arith.addi %c, %one
          scf.yield %next, %d
        }) : i64, i64
        return %last, %steps
      }
    }"""
    last, steps = run(text, np.int64(27))
    assert (int(last), int(steps)) == (1, 111)


def test_vectors_global_state_and_buffer_views():
    text = """
    module {
      memref.global @count {type = memref<1xf32>, initial_value = dense<0.0> : tensor<1xf32>}
      func.func @main(%x: memref<2x8xf32> {dlir.input = 0}, %y: memref<4xf32> {dlir.result = 0},
                      %d: memref<1xf32> {dlir.result = 1}) {
        %zero = arith.constant {value = 0 : index}
        %four = arith.constant {value = 4 : index}
        %one = arith.constant {value = 1 : index}
        %v = vector.load %x, %one, %four : vector<4xf32>
        %s = vector.reduction %v {kind = #vector.kind<add>}
        %b = vector.broadcast %s : vector<4xf32>
        %w = vector.fma %v, %v, %b
        vector.store %w, %y, %zero
        %c = memref.get_global @count : memref<1xf32>
        %old = memref.load %c, %zero
        %step = arith.constant {value = 1.0 : f32}
        %new = arith.addf %old, %step
        memref.store %new, %c, %zero
        memref.copy %c, %d
        return
      }
    }"""
    reference = Reference(verified(parse(text)))
    x = array(2, 8)
    part = x[1, 4:]
    for count in (1, 2):
        got, counted = reference.run("main", [x])
        np.testing.assert_allclose(got, part * part + part.sum(), rtol=1e-5)
        assert counted == count


def test_fresh_buffers_hold_nan():
    text = """
    module {
      func.func @main(%y: memref<4xf32> {dlir.result = 0}) {
        %t = "memref.alloc"() <{alignment = 64, operandSegmentSizes = array<i32: 0, 0>}> : () -> memref<4xf32>
        memref.copy %t, %y
        return
      }
    }"""
    assert np.isnan(run(text)[0]).all()
