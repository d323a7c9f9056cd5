"""Programs that are found again: the same in every respect, without any work."""

from __future__ import annotations

import os

import numpy as np
import pytest
from support.cached_programs import W, X, compiled, entries

from dlir.backends.variables import VariableStore
from dlir.ir.errors import DlirError
from dlir.textir import print_module


@pytest.mark.parametrize("forget", [False, True], ids=["memory", "disk"])
def test_a_second_compilation_does_no_work_and_gives_the_same_program(cache, work, forget):
    first = compiled()
    assert "llvm" in work and "fuse" in work
    outputs = first(X)
    # What is asked of the first one runs passes for itself.
    memory, kernels = first.memory, first.kernels
    del work[:]
    second = compiled(forget=forget)
    assert set(second.seconds) == {"cache"}
    for got, wanted in zip(second(X), outputs, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert (second.kernels, second.memory, second.stats) == (kernels, memory, first.stats)
    assert second.entry == first.entry and str(second.executable.signature) == str(first.executable.signature)
    assert work == []
    # This is made when it is asked for.
    assert print_module(second.lowered) == print_module(first.lowered)
    assert second.source() == first.source()
    assert "fuse" in work


def test_results_are_right(cache):
    for _ in range(2):
        softmax, total = compiled()(X)
        hidden = np.maximum(X @ W + 0.5, 0)
        powers = np.exp(hidden - hidden.max(1, keepdims=True))
        np.testing.assert_allclose(softmax, powers / powers.sum(1, keepdims=True), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(total, hidden.sum(1), rtol=1e-5)


def test_other_weights_of_the_same_type_take_the_same_program(cache, work):
    compiled()
    del work[:]
    second = compiled(weights={"w": 2 * W}.__getitem__)
    np.testing.assert_allclose(second(X)[1], np.maximum(X @ (2 * W) + 0.5, 0).sum(1), rtol=1e-5)
    assert work == []
    assert len(entries(cache)) == 1


def test_errors_of_a_program_that_was_found_point_into_the_text(cache):
    compiled()
    with pytest.raises(DlirError, match="there are no weights") as first:
        compiled(weights=None)
    os.environ["DLIR_PROGRAM_CACHE"] = "off"
    try:
        with pytest.raises(DlirError) as second:
            compiled(weights=None)
    finally:
        del os.environ["DLIR_PROGRAM_CACHE"]
    assert str(first.value) == str(second.value)
    found = compiled()
    with pytest.raises(DlirError, match="for argument 'x', got float32 of shape"):
        found(X.T)


COUNTER = """
module {
  state.variable @n {init = dense<0.0> : tensor<3xf32>, type = tensor<3xf32>}
  func.func @main(%x: tensor<3xf32>) -> tensor<3xf32> {
    %n = state.read @n : tensor<3xf32>
    %next = nd.add %n, %x : tensor<3xf32>
    state.write @n, %next
    return %n
  }
}
"""


def test_variables_of_programs_that_were_found(cache, work):
    ones = np.ones(3, "f4")
    first = compiled(COUNTER)
    first(ones)
    del work[:]
    # One with variables of its own ...
    second = compiled(COUNTER)
    for count in range(3):
        np.testing.assert_array_equal(second(ones)[0], [count] * 3)
    assert work == []
    np.testing.assert_array_equal(first(ones)[0], [1] * 3)
    # ... and two that share them.
    store = VariableStore()
    compiled(COUNTER, variables=store)(ones)
    del work[:]
    third = compiled(COUNTER, variables=store, forget=True)
    assert work == []
    np.testing.assert_array_equal(third(ones)[0], [1] * 3)
    np.testing.assert_array_equal(store["n"], [2] * 3)


def test_constants_may_change_only_where_they_are_shared(cache):
    """With a store, @w is no constant: nothing may be computed from it when the program is loaded."""
    compiled()
    store = VariableStore({"w": W})
    for _ in range(2):
        program = compiled(variables=store)
        store["w"] = W
        before = program(X)[1]
        store["w"] = 0 * W
        assert not np.array_equal(program(X)[1], before)


def test_donated_inputs_and_constants_in_the_text(cache, work):
    table = np.random.default_rng(2).standard_normal((40, 64)).astype("f4")
    text = f"""
    func.func @main(%x: tensor<40x64xf32> {{dlir.donated}}, %unused: tensor<64xf32>) -> tensor<40x64xf32> {{
      %t = nd.constant {{value = dense<"0x{table.tobytes().hex()}"> : tensor<40x64xf32>}} : tensor<40x64xf32>
      %a = nd.mul %x, %t : tensor<40x64xf32>
      return %a
    }}
    """
    outputs = []
    for _ in range(2):
        program = compiled(text)
        x = np.ones((40, 64), "f4")
        (y,) = program(x, np.ones(64, "f4"))
        assert np.shares_memory(x, y)
        np.testing.assert_array_equal(y, table)
        outputs.append([item.name for item in program.executable.signature.inputs])
    assert outputs[0] == outputs[1]
    assert work.count("fuse") == 1


NOTED = """
func.func @main(%x: tensor<4xf32>{}) -> tensor<4xf32> attributes {{made.by = 0.5 : f32}} {{
  %y = nd.exp %x : tensor<4xf32>
  return %y
}}
"""


def test_notes_of_others_are_no_part_of_a_program(cache, work):
    for _ in range(2):
        compiled(NOTED.format(""))
    assert work.count("fuse") == 1


def test_what_has_no_plain_form_is_compiled_every_time(cache, work):
    for _ in range(2):
        np.testing.assert_allclose(
            compiled(NOTED.format(" {made.scale = 0.5 : f32}"))(X[0, :4])[0], np.exp(X[0, :4]), rtol=1e-6
        )
    assert work.count("fuse") == 2 and not entries(cache)
