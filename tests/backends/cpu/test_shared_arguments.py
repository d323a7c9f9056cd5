"""Kernels that get one buffer as several arguments: right in any case, and through one pointer where it is wholly shared."""

import re

import numpy as np

from dlir.backends.compiler import compile_module
from dlir.textir import parse

IN_PLACE = """
func.func @main(%a: tensor<6x8xf32>, %b: tensor<8x32xf32>, %x: tensor<6x32xf32> {dlir.donated}) -> tensor<6x32xf32> {
  %p = nd.matmul %a, %b
  %t = nd.tanh %x
  %y = nd.mul %p, %t
  func.return %y
}
"""
# The kernel is called with one buffer twice, with halves that overlap, or with two buffers.
CALLED = """
func.func @main(%x: memref<8xf32> {{dlir.input = 0}}, %y: memref<8xf32> {{dlir.result = 0}}) {{
  %c0 = arith.constant {{value = 0 : index}} : index
  {calls}
  return
}}
func.func private @kernel(%a: memref<8xf32>, %b: memref<8xf32>) attributes {{dlir.kernel = "cpu"}} {{
  %c0 = arith.constant {{value = 0 : index}} : index
  %c1 = arith.constant {{value = 1 : index}} : index
  %c8 = arith.constant {{value = 8 : index}} : index
  scf.for %c0, %c8, %c1 ({{
  ^bb0(%i: index):
    %v = memref.load %a, %i : f32
    %w = arith.addf %v, %v : f32
    memref.store %w, %b, %i
    scf.yield
  }})
  return
}}
"""


def kernels(program):
    """The texts of the program's kernels and their parts, signature and body."""
    return re.findall(r"define internal void @kernel\.\w+\((.*?)\) noinline.*?\{\n(.*?)\n\}", program.source(), re.S)


def kernel(program):
    """The only one of `kernels`."""
    (found,) = kernels(program)
    return found


def test_what_is_computed_in_place_goes_through_one_pointer():
    program = compile_module(parse(IN_PLACE))
    rng = np.random.default_rng(0)
    a, b, x = (rng.standard_normal(shape).astype(np.float32) for shape in ((6, 8), (8, 32), (6, 32)))
    want = (a @ b) * np.tanh(x)
    found = program(a, b, x)[0]
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)
    (signature, body), part = sorted(kernels(program), key=lambda found: "@kernel" not in found[1])
    *_, old, new = re.findall(r"ptr.*?(%a\d+)", signature)
    assert re.search(rf"{old}\b", body)
    assert not re.search(rf"{new}\b", body)
    assert signature.count("noalias") >= 3
    # What the function that computes tanh is handed, too.
    unused = [name for name in re.findall(r"ptr.*?(%a\d+)", part[0]) if not re.search(rf"{name}\b", part[1])]
    assert len(unused) == 1 and "tanh" in part[1] and "tanh" not in body


def test_arguments_that_are_one_buffer_in_some_calls_only_stay_two():
    calls = "func.call @kernel %x, %y\n  func.call @kernel %y, %y"
    program = compile_module(parse(CALLED.format(calls=calls)))
    np.testing.assert_array_equal(program(np.arange(8, dtype=np.float32))[0], 4 * np.arange(8))
    signature, body = kernel(program)
    assert "noalias" not in signature
    assert "%a0" in body
    assert "%a1" in body


def test_arguments_that_are_one_buffer_in_every_call_are_one():
    calls = "memref.copy %x, %y\n  func.call @kernel %y, %y\n  func.call @kernel %y, %y"
    program = compile_module(parse(CALLED.format(calls=calls)))
    np.testing.assert_array_equal(program(np.arange(8, dtype=np.float32))[0], 4 * np.arange(8))
    signature, body = kernel(program)
    assert signature.count("noalias") == 2
    assert "%a1" not in body
