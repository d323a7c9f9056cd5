"""A budget, the device's memory, and sizes at the edges: zero and beyond 2**31."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.backends import device_memory
from dlir.backends.compiler import compile_module
from dlir.ir.errors import DlirError
from dlir.passes.manager import PassManager
from dlir.passes.memory.report import memory_report
from dlir.textir import parse

#: Inputs 256, result 256, and two temporaries of 256 that live at one time.
TEXT = """
func.func @main(%x: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %a = nd.matmul %x, %x
  %b = nd.matmul %a, %x
  %c = nd.matmul %a, %b
  %d = nd.matmul %c, %a
  %e = nd.matmul %d, %b
  return %e
}
"""
PASSES = "fuse{max-ops=1},schedule,bufferize,plan-memory"


def least() -> int:
    module = parse(TEXT)
    return memory_report(parse(TEXT), PassManager.from_text(PASSES).run(module)).lower_bound


def plan(budget: int):
    return PassManager.from_text(f"{PASSES}{{budget={budget}}}").run(parse(TEXT))


def test_a_budget_that_can_be_kept_is_kept():
    assert memory_report(parse(TEXT), plan(least())).planned == least()


def test_a_budget_under_the_lower_bound_is_refused_with_the_bound_and_the_largest_values():
    with pytest.raises(DlirError) as found:
        plan(least() - 100)
    message = str(found.value.message)
    assert f"needs at least {least():,} bytes" in message
    assert f"100 over the budget of {least() - 100:,}" in message
    assert "%x 256 bytes" in str(found.value.diagnostics[0].hint)


def test_a_plan_over_the_devices_memory_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(device_memory, "device_bytes", lambda backend: 1000)
    with pytest.raises(DlirError) as found:
        compile_module(parse(TEXT))
    needed = compile_needed()
    assert f"needs {needed:,} bytes, but this machine has 1,000: {needed - 1000:,} bytes are missing" in str(
        found.value.message
    )
    assert "largest values are %" in str(found.value.diagnostics[0].hint)


def compile_needed() -> int:
    from dlir.backends.compiler import lower_module

    return memory_report(parse(TEXT), lower_module(parse(TEXT), "cpu")).planned


def test_more_than_two_to_the_31_elements_are_counted_right():
    text = """
    func.func @main(%x: tensor<65536x40000xf32>) -> tensor<65536x40000xf32> {
      %a = nd.exp %x
      return %a
    }
    """
    module = PassManager.from_text("fuse,schedule,bufferize,plan-memory").run(parse(text))
    report = memory_report(parse(text), module)
    assert report.planned == 2 * 65536 * 40000 * 4
    with pytest.raises(DlirError, match="the budget of 1,000"):
        PassManager.from_text("fuse,schedule,bufferize,plan-memory{budget=1000}").run(parse(text))


@pytest.mark.parametrize("backend", ["ref", "cpu"])
def test_tensors_without_elements_need_nothing(backend):
    text = """
    func.func @main(%x: tensor<0x4xf32>, %w: tensor<4x3xf32>) -> (tensor<0x3xf32>, tensor<3xf32>) {
      %a = nd.matmul %x, %w
      %b = nd.exp %a
      %c = nd.sum %a {axes = [0]}
      return %b, %c
    }
    """
    module = parse(text)
    program = compile_module(module, backend=backend)
    empty, zeros = program(np.zeros((0, 4), np.float32), np.ones((4, 3), np.float32))
    assert empty.shape == (0, 3)
    np.testing.assert_array_equal(zeros, np.zeros(3, np.float32))
    lowered = PassManager.from_text("fuse{max-ops=1},schedule,reorder,bufferize,plan-memory{poison=true}").run(
        parse(text)
    )
    assert memory_report(parse(text), lowered).planned == 48 + 12


@pytest.mark.parametrize("backend", ["cpu", "cuda-sim"])
def test_one_array_given_twice_is_refused_if_one_of_the_two_is_donated(backend):
    text = """
    func.func @main(%a: tensor<10xf64> {dlir.donated}, %b: tensor<10xf64>) -> tensor<10xf64> {
      %c = nd.add %a, %b
      return %c
    }
    """
    program = compile_module(parse(text), backend=backend)
    x = np.ones(10)
    with pytest.raises(DlirError, match="takes argument 'a' as donated, but 'b' shares its memory"):
        program(x, x)
    with pytest.raises(DlirError, match="shares its memory"):
        program(x, x[:])
    np.testing.assert_array_equal(x, np.ones(10))
    (result,) = program(np.ones(10), x)
    np.testing.assert_array_equal(result, np.full(10, 2.0))


def test_the_analysis_has_jaxs_names():
    program = compile_module(parse(TEXT))
    memory = program.memory_analysis()
    assert (memory.argument_size_in_bytes, memory.output_size_in_bytes, memory.alias_size_in_bytes) == (256, 256, 0)
    assert memory.temp_size_in_bytes == memory.arena > 0
