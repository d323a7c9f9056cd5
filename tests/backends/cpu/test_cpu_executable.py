"""Compiled functions as users call them: arguments, results, `out`, donation, variables."""

import numpy as np
import pytest

from dlir.backends.artifact_cache import ArtifactCache
from dlir.backends.compiler import compile_module, lower_module
from dlir.backends.cpu import backend, jit, threads
from dlir.backends.cpu.emit import ENTRY, emit_module
from dlir.backends.cpu.executable import Executable
from dlir.backends.executable import signature_of
from dlir.ir.dialects.func import find_function
from dlir.ir.errors import DlirError
from dlir.textir import parse

CHAIN = """
func.func @main(%x: tensor<4x6xf32>, %w: tensor<6xf32>) -> (tensor<4x6xf32>, tensor<4xf32>) {
  %h = nd.tanh %x
  %y = nd.mul %h, %w
  %s = nd.sum %y {axes = [1]} : tensor<4xf32>
  return %y, %s
}
"""


def chain(x, w):
    y = np.tanh(x) * w
    return y, y.sum(1)


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(4, 6)).astype(np.float32), rng.normal(size=6).astype(np.float32)


def load(text, level="O2", poison=False, weights=None):
    """The executable of a text at any level, with poisoned memory if asked for."""
    lowered = lower_module(parse(text), "cpu", level)
    function = find_function(lowered, "main")
    emitted = emit_module(lowered, function, jit.host_target())
    library = jit.compile_ir(emitted.ir, [ENTRY], threads.symbols(), ArtifactCache("cpu"))
    return Executable(signature_of(function), emitted, library, weights, poison=poison)


def assert_close(got, want):
    for one, two in zip(got, want, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("level", ["O0", "O1", "O2"])
def test_positional_and_named_calls(level):
    run, (x, w) = load(CHAIN, level), arrays()
    for got in (run(x, w), run(x, w=w), run(w=w, x=x)):
        assert_close(got, chain(x, w))


def test_results_of_different_calls_are_different_arrays():
    run, (x, w) = load(CHAIN), arrays()
    first = run(x, w)
    kept = [array.copy() for array in first]
    run(*arrays(1))
    assert_close(first, kept)


LAYOUTS = {
    "strided": lambda a: np.repeat(a, 2, -1)[..., ::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "Fortran order": np.asfortranarray,
    "read-only": lambda a: np.broadcast_to(a, a.shape),
    "subclass": np.ma.masked_array,
    "unaligned": lambda a: np.frombuffer(b"\0" + a.tobytes(), np.float32, a.size, 1).reshape(a.shape),
    "list": lambda a: a.tolist(),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_inputs_in_any_layout(layout):
    run, (x, w) = load(CHAIN), arrays()
    assert_close(run(layout(x), layout(w)), chain(x, w))


def test_broadcast_input_is_copied():
    run, (x, w) = load(CHAIN), arrays()
    wide = np.broadcast_to(x[:1], x.shape)
    assert_close(run(wide, w), chain(wide, w))


def test_errors_name_the_function_and_the_argument():
    run, (x, w) = load(CHAIN), arrays()
    for positional, message in (
        ((x,), "'@main' needs argument 'w'"),
        ((x, x), r"needs float32 of shape \[6\] for argument 'w', got float32 of shape \[4, 6\]"),
        ((x, w, w), "takes 2 arguments"),
        ((x, w.astype(np.float64)), "got float64"),
        ((x, "w"), "cannot take a str"),
    ):
        with pytest.raises(DlirError, match=message):
            run(*positional)


TWO = """
func.func @main(%x: tensor<6xf32>, %w: tensor<6xf32>) -> (tensor<6xf32>, tensor<6xf32>) {
  %sum = nd.add %x, %w : tensor<6xf32>
  %difference = nd.sub %x, %w : tensor<6xf32>
  func.return %sum, %difference
}
"""


def test_out_is_written_and_returned():
    run, (x, w) = load(CHAIN), arrays()
    out = [np.zeros((4, 6), np.float32), np.zeros(4, np.float32)]
    got = run(x, w, out=out)
    assert all(one is two for one, two in zip(got, out))
    assert_close(out, chain(x, w))


def test_out_in_any_layout():
    run, (x, w) = load(CHAIN), arrays()
    memory = np.zeros((8, 12), np.float32)
    run(x, w, out=[memory[::2, ::2], memory[1, :4]])
    assert_close([memory[::2, ::2], memory[1, :4]], chain(x, w))


def test_out_may_be_of_another_name_of_the_type():
    run = load("func.func @main(%a: tensor<4xi64>) -> tensor<4xi64> {\n %y = nd.add %a, %a\n return %y\n}")
    x, out = np.arange(4, dtype=np.longlong), np.zeros(4, np.longlong)
    assert run(x, out=out)[0] is out
    assert out.tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize("shift", [0, 1, 3])
def test_out_may_overlap_the_inputs(shift):
    run, (x, w) = load(CHAIN), arrays()
    memory = np.zeros(40, np.float32)
    inner = memory[:24].reshape(4, 6)
    inner[:] = x
    out = [memory[shift : shift + 24].reshape(4, 6), np.zeros(4, np.float32)]
    run(inner, w, out=out)
    assert_close(out, chain(x, w))


def test_one_array_for_two_results():
    run, (x, w) = load(TWO), (np.arange(6, dtype=np.float32), np.ones(6, np.float32))
    memory = np.zeros(9, np.float32)
    run(x, w, out=[memory[:6], memory[3:]])
    # The second is written last.
    np.testing.assert_array_equal(memory, [1, 2, 3, *(x - w)])


def test_out_that_does_not_fit_is_refused_before_anything_is_written():
    run, (x, w) = load(TWO), (np.arange(6, dtype=np.float32), np.ones(6, np.float32))
    first = np.zeros(6, np.float32)
    for second in (np.zeros(5, np.float32), np.zeros(6), [0.0] * 6):
        with pytest.raises(DlirError):
            run(x, w, out=[first, second])
    with pytest.raises(DlirError):
        run(x, w, out=[first])
    assert not first.any()


def test_input_given_twice_is_no_problem():
    text = (
        "func.func @main(%a: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<8xf32> {\n %y = nd.sub %a, %b\n return %y\n}"
    )
    x = np.ones(8, np.float32)
    assert_close(load(text)(x, x), [np.zeros(8)])


UPDATE = """
func.func @main(%p: tensor<8x8xf32> {dlir.donated}, %g: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %lr = nd.constant {value = dense<0.5> : tensor<f32>}
  %step = nd.mul %g, %lr
  %new = nd.sub %p, %step
  return %new
}
"""


def test_donated_input_holds_the_result():
    run = load(UPDATE)
    p, g = np.ones((8, 8), np.float32), np.full((8, 8), 4, np.float32)
    (new,) = run(p, g)
    assert new is p
    assert (p == -1).all()


def test_donated_input_in_another_layout_is_left_alone():
    run = load(UPDATE)
    p, g = np.ones((8, 16), np.float32)[:, ::2], np.full((8, 8), 4, np.float32)
    (new,) = run(p, g)
    assert (new == -1).all()
    assert (p == 1).all()


def test_donated_input_and_out():
    run = load(UPDATE)
    p, g, out = np.ones((8, 8), np.float32), np.full((8, 8), 4, np.float32), np.zeros((8, 8), np.float32)
    assert run(p, g, out=out)[0] is out
    assert (out == -1).all()


def test_donated_input_that_overlaps_another_is_refused():
    run = load(UPDATE)
    memory = np.ones((9, 8), np.float32)
    for p, g in ((memory[:8], memory[:8]), (memory[:8], memory[1:])):
        with pytest.raises(DlirError, match="'p' as donated, but 'g' shares its memory"):
            run(p, g)
    p = np.ones((8, 8), np.float32)
    p.flags.writeable = False
    with pytest.raises(DlirError, match="read-only"):
        run(p, memory[:8])


@pytest.mark.parametrize("level", ["O0", "O2"])
def test_every_element_of_results_and_temporaries_is_written_before_it_is_read(level):
    run, (x, w) = load(CHAIN, level, poison=True), arrays()
    for _ in range(3):
        assert_close(run(x, w), chain(x, w))


def test_large_results_come_from_recycled_memory():
    text = "func.func @main(%a: tensor<300x1000xf32>) -> tensor<300x1000xf32> {\n %y = nd.exp %a\n return %y\n}"
    run, x = load(text), np.zeros((300, 1000), np.float32)
    places = set()
    for _ in range(20):
        (y,) = run(x)
        assert (y == 1).all()
        places.add(y.ctypes.data)
        del y
    assert len(places) <= 2


def test_rank_0_and_empty_arrays():
    text = """
func.func @main(%a: tensor<f32>, %b: tensor<0x3xf32>) -> (tensor<f32>, tensor<0x3xf32>, tensor<3xf32>) {
  %x = nd.exp %a
  %y = nd.exp %b
  %z = nd.sum %b {axes = [0]} : tensor<3xf32>
  return %x, %y, %z
}
"""
    x, y, z = load(text)(np.float32(0), np.zeros((0, 3), np.float32))
    assert (x.shape, float(x)) == ((), 1.0)
    assert y.shape == (0, 3)
    assert z.tolist() == [0, 0, 0]


def test_input_returned_unchanged_is_a_copy():
    text = "func.func @main(%a: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {\n return %a, %a\n}"
    x = np.arange(4, dtype=np.float32)
    one, two = load(text)(x)
    one[:] = 9
    assert x.tolist() == two.tolist() == [0, 1, 2, 3]


WEIGHTS = """
state.variable @w {init = dense_resource<weights> : tensor<3xf32>, type = tensor<3xf32>}
func.func @main(%x: tensor<3xf32>) -> tensor<3xf32> {
  %w = state.read @w : tensor<3xf32>
  %y = nd.add %x, %w
  return %y
}
"""


def test_weights_are_found_by_name():
    x, w = np.ones(3, np.float32), np.array([10, 20, 30], np.float32)
    run = load(WEIGHTS, weights={"weights": w}.__getitem__)
    assert run(x)[0].tolist() == [11, 21, 31]


def test_missing_or_wrong_weights_are_refused():
    with pytest.raises(DlirError, match="needs the array 'weights', but there are no weights"):
        load(WEIGHTS)
    with pytest.raises(DlirError, match="its array is float64"):
        load(WEIGHTS, weights=lambda name: np.zeros(3))


COUNTER = """
memref.global @total {type = memref<i64>, initial_value = dense<5> : tensor<i64>}
func.func @main(%step: memref<i64> {dlir.input = 0, dlir.name = "step"}, %out: memref<i64> {dlir.result = 0}) {
  %place = memref.get_global @total : memref<i64>
  %old = memref.load %place : i64
  %add = memref.load %step : i64
  %new = arith.addi %old, %add : i64
  memref.store %new, %place
  memref.store %new, %out
  return
}
"""


def test_variables_keep_their_value():
    run, one = load(COUNTER), np.array(1)
    assert [int(run(one)[0]) for _ in range(3)] == [6, 7, 8]
    assert run.globals["total"] == 8
    assert load(COUNTER)(one)[0] == 6


def test_variables_can_be_set_but_not_replaced():
    run = load(COUNTER)
    run.globals["total"][...] = 40
    assert run(np.array(2))[0] == 42
    with pytest.raises(TypeError):
        run.globals["total"] = np.array(40)


def test_the_second_process_takes_the_code_from_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("DLIR_CACHE_DIR", str(tmp_path))
    module = lower_module(parse(CHAIN), "cpu")
    backend.load(module, "main", None)
    monkeypatch.setattr(jit, "optimised", lambda ir: pytest.fail("compiled again"))
    x, w = arrays()
    assert_close(backend.load(module, "main", None)(x, w), chain(x, w))


def test_without_a_cache_everything_works(monkeypatch):
    monkeypatch.setenv("DLIR_CACHE_DIR", "off")
    x, w = arrays()
    assert_close(backend.load(lower_module(parse(CHAIN), "cpu"), "main", None)(x, w), chain(x, w))


def test_compile_module_runs_on_the_cpu_and_shows_its_source():
    program, (x, w) = compile_module(parse(CHAIN)), arrays()
    assert_close(program(x, w), chain(x, w))
    assert "define void @dlir.entry(ptr" in program.source()
