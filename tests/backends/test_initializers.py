"""Initialisers: what they compute is there before the first call, once, on every backend; wrong ones are refused."""

from __future__ import annotations

import threading
import weakref

import ml_dtypes
import numpy as np
import pytest
from support.cuda import need_simulator

from dlir.backends.compiler import compile_module, lower_module
from dlir.backends.registry import emit_source
from dlir.frontends.symbolic import Constant, Variable
from dlir.frontends.symbolic import compile as compile_graph
from dlir.ir.errors import DlirError
from dlir.textir import parse
from dlir.textir.diagnostics import render

PROGRAM = """
state.variable @w {init = dense_resource<w>, type = tensor<32x16xf32>}
func.func @main(%x: tensor<4x16xf32>) -> tensor<4x32xf32> {
  %w = state.read @w
  %t = nd.transpose %w {perm = [1, 0]}
  %e = nd.exp %t
  %y = nd.matmul %x, %e
  return %y
}
"""


@pytest.fixture(params=["ref", "cpu", "cuda-sim"])
def backend(request) -> str:
    if request.param == "cuda-sim":
        need_simulator()
    return request.param


def inputs(seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((4, 16), dtype=np.float32), rng.standard_normal((32, 16), dtype=np.float32)


def test_weights_are_read_when_the_program_is_loaded_and_never_again(backend):
    x, w = inputs()
    asked = []
    # The reference runs the text as it is: the initialiser is there already.
    module = lower_module(parse(PROGRAM), "cpu") if backend == "ref" else parse(PROGRAM)
    program = compile_module(module, lambda name: asked.append(name) or w, backend=backend)
    assert asked == ["w"]
    want = x @ np.exp(w).T
    w[...] = 0
    for _ in range(2):
        np.testing.assert_allclose(program(x)[0], want, rtol=1e-4, atol=1e-5)
    assert asked == ["w"]


def test_what_only_an_initialiser_reads_is_not_kept():
    arrays = []

    def weights(name):
        array = inputs()[1]
        arrays.append(weakref.ref(array))
        return array

    program = compile_module(parse(PROGRAM), weights)
    assert len(arrays) == 1 and arrays[0]() is None
    assert program(inputs()[0])[0].shape == (4, 32)


def test_other_weights_of_the_same_type_take_the_code_that_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("DLIR_CACHE_DIR", str(tmp_path / "cache"))
    programs, files = [], []
    for seed in (0, 1):
        _, w = inputs(seed)
        programs.append((compile_module(parse(PROGRAM), {"w": w}.__getitem__), w))
        files.append(sorted(path.name for path in (tmp_path / "cache" / "cpu").iterdir()))
    assert files[0] == files[1] and files[0]
    x, _ = inputs()
    for program, w in programs:
        np.testing.assert_allclose(program(x)[0], x @ np.exp(w).T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", ["cpu", "cuda-sim"])
def test_first_calls_from_several_threads(backend):
    if backend == "cuda-sim":
        need_simulator()
    x, w = inputs()
    program = compile_module(parse(PROGRAM), {"w": w}.__getitem__, backend=backend)
    results: list[np.ndarray] = []
    start = threading.Barrier(6)

    def call():
        start.wait()
        results.append(program(x)[0])

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 6
    for result in results:
        np.testing.assert_allclose(result, x @ np.exp(w).T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("level", ["O0", "O2"])
def test_initialisers_run_in_the_order_of_their_needs(backend, level):
    module = parse("""
        func.func private @second() -> (tensor<4xf32>, tensor<f32>) attributes {dlir.initializes = [@c, @d]} {
          %b = state.read @b : tensor<4xf32>
          %c = nd.mul %b, %b
          %d = nd.sum %b
          return %c, %d
        }
        state.variable @a {init = dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>, type = tensor<4xf32>}
        state.variable @b {type = tensor<4xf32>}
        state.variable @c {type = tensor<4xf32>}
        state.variable @d {type = tensor<f32>}
        func.func private @first() -> tensor<4xf32> attributes {dlir.initializes = [@b]} {
          %a = state.read @a
          %b = nd.add %a, %a
          return %b
        }
        func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
          %c = state.read @c
          %d = state.read @d
          %y = nd.add %x, %c
          %z = nd.add %y, %d
          return %z, %c
        }""")
    x = np.zeros(4, np.float32)
    got = compile_module(module, backend=backend, level=level)(x)
    np.testing.assert_array_equal(got[0], np.float32([4, 16, 36, 64]) + 20)
    np.testing.assert_array_equal(got[1], np.float32([4, 16, 36, 64]))
    # An initialiser is a function like any other.
    np.testing.assert_array_equal(compile_module(module, backend=backend, level=level, entry="second")()[1], 20)


def test_a_result_that_is_a_variable_is_the_callers_own(backend):
    module = parse("""
        state.variable @b {type = tensor<64xf32>}
        func.func private @set() -> tensor<64xf32> attributes {dlir.initializes = [@b]} {
          %i = nd.iota {shape = [64], dtype = f32}
          return %i
        }
        func.func @main() -> tensor<64xf32> {
          %b = state.read @b
          return %b
        }""")
    program = compile_module(module, backend=backend)
    program()[0][...] = 7
    np.testing.assert_array_equal(program()[0], np.arange(64))


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f64", "i8", "i32", "i1"])
def test_types(backend, dtype):
    numpy = {
        "f16": np.float16, "bf16": ml_dtypes.bfloat16, "f64": np.float64, "i8": np.int8, "i32": np.int32, "i1": np.bool_,
    }[dtype]  # fmt: skip
    rng = np.random.default_rng(3)
    w = (rng.integers(0, 2, 256) if dtype == "i1" else rng.integers(-9, 9, 256) / 2).astype(numpy)
    compute = "nd.not %w" if dtype == "i1" else "nd.mul %w, %w"
    use = "nd.logical_and %x, %s" if dtype == "i1" else "nd.add %x, %s"
    text = f"""
        state.variable @w {{init = dense_resource<w>, type = tensor<256x{dtype}>}}
        func.func @main(%x: tensor<256x{dtype}>) -> tensor<256x{dtype}> {{
          %w = state.read @w
          %s = {compute}
          %y = {use}
          return %y
        }}"""
    module = parse(text.replace("nd.not", "nd.logical_not"))
    x = rng.integers(0, 2, 256).astype(numpy)
    program = compile_module(module, {"w": w}.__getitem__, backend=backend)
    want = x & ~w if dtype == "i1" else (x + w * w).astype(numpy)
    (got,) = program(x)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)
    if backend != "ref":
        assert program.stats["hoist-constants"]["variables"] == 1


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_rounded_after_each_op_there_too(backend, dtype):
    name = "f16" if dtype is np.float16 else "bf16"
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((64, 96)).astype(dtype), "s": rng.standard_normal(96).astype(dtype)}
    module = parse(f"""
        state.variable @w {{init = dense_resource<w>, type = tensor<64x96x{name}>}}
        state.variable @s {{init = dense_resource<s>, type = tensor<96x{name}>}}
        func.func @main(%x: tensor<64x96x{name}>) -> tensor<64x96x{name}> {{
          %w = state.read @w
          %s = state.read @s
          %e = nd.exp %s
          %m = nd.mul %w, %e
          %t = nd.tanh %m
          %r = nd.sqrt %e
          %k = nd.div %t, %r
          %y = nd.add %k, %x
          return %y
        }}""")
    x = rng.standard_normal((64, 96)).astype(dtype)
    (want,) = compile_module(module, weights.__getitem__, level="O1")(x)
    program = compile_module(module, weights.__getitem__, backend=backend)
    assert np.array_equal(program(x)[0].view(np.uint16), want.view(np.uint16))
    assert backend == "ref" or program.stats["hoist-constants"]["variables"] == 1


def test_empty_arrays(backend):
    module = parse("""
        state.variable @b {type = tensor<0x3xf32>}
        func.func private @set() -> tensor<0x3xf32> attributes {dlir.initializes = [@b]} {
          %i = nd.iota {shape = [0, 3], dtype = f32}
          return %i
        }
        func.func @main(%x: tensor<0x3xf32>) -> tensor<0x3xf32> {
          %b = state.read @b
          %y = nd.add %x, %b
          return %y
        }""")
    assert compile_module(module, backend=backend)(np.zeros((0, 3), np.float32))[0].shape == (0, 3)


def test_the_source_is_that_of_one_function():
    module = lower_module(parse(PROGRAM), "cpu")
    main, first = emit_source(module, "main", "llvm"), emit_source(module, "initialize", "llvm")
    assert "exp" in first and "exp" not in main
    cuda = lower_module(parse(PROGRAM), "cuda")
    assert "exp" in emit_source(cuda, "main", "cuda")


def test_large_constants_of_a_graph():
    x = Variable("x")
    table = np.linspace(-1, 1, 200 * 200, dtype=np.float32).reshape(200, 200)
    f = compile_graph(x + (Constant(table) * Constant(table) + 1))
    np.testing.assert_allclose(f(x=table), table + (table * table + 1), rtol=1e-6)


# ---------------------------------------------------------------- what is refused

MAIN = """
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %b = state.read @b
  %y = nd.add %x, %b
  return %y
}
"""
B = "state.variable @b {type = tensor<4xf32>}\n"


def initializer(name, targets, result="tensor<4xf32>", read=None):
    body = f"%v = state.read @{read}" if read else f"%v = nd.constant {{value = dense<1.0> : {result}}}"
    return f"func.func private @{name}() -> {result} attributes {{dlir.initializes = {targets}}} {{\n{body}\nreturn %v\n}}\n"


WRONG = {
    "unknown": (initializer("i", "[@q]"), "'@i' initialises '@q', which is not a variable"),
    "function": (initializer("i", "[@main]"), "'@i' initialises '@main', which is not a variable"),
    "no list": (initializer("i", '"b"'), "'@i': 'dlir.initializes' must be a list of symbols, such as [@w]"),
    "no symbols": (initializer("i", '["b"]'), "'@i': 'dlir.initializes' must be a list of symbols, such as [@w]"),
    "type": (initializer("i", "[@b]", "tensor<5xf32>"), "'@i' gives '@b' a tensor<5xf32>, but it is tensor<4xf32>"),
    "count": (initializer("i", "[]"), "'@i' initialises 0 variables, but gives 1 results"),
    "twice": (initializer("i", "[@b]") + initializer("j", "[@b]"), "'@j' is a second initialiser of '@b'"),
    "itself": (initializer("i", "[@b]", read="b"), "initialisers need each other's variables: @i needs @i"),
    "inputs": (
        "func.func private @i(%a: tensor<4xf32>) -> tensor<4xf32> attributes {dlir.initializes = [@b]} {\nreturn %a\n}\n",
        "the initialiser '@i' takes inputs",
    ),
    "no body": (
        "func.func private @i() -> tensor<4xf32> attributes {dlir.initializes = [@b]}\n",
        "the initialiser '@i' has no body",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_initialisers(name):
    text, message = WRONG[name]
    with pytest.raises(DlirError) as caught:
        parse_and_verify(B + text + MAIN)
    assert message in str(caught.value)
    assert "^" in render(caught.value, {"a.dlir": B + text + MAIN})


def parse_and_verify(text):
    return compile_module(parse(text, "a.dlir"), backend="ref")


def test_initialisers_that_need_each_other():
    text = (
        "state.variable @c {type = tensor<4xf32>}\n"
        + initializer("i", "[@b]", read="c")
        + initializer("j", "[@c]", read="b")
    )
    with pytest.raises(DlirError, match="initialisers need each other's variables: @(i needs @j|j needs @i) needs"):
        parse_and_verify(B + text + MAIN)


def test_a_variable_with_a_value_needs_no_initialiser():
    given = "state.variable @b {init = dense<1.0> : tensor<4xf32>, type = tensor<4xf32>}\n"
    with pytest.raises(DlirError, match="'@i' initialises '@b', which has a first value already"):
        parse_and_verify(given + initializer("i", "[@b]") + MAIN)


def test_a_variable_without_any_value():
    with pytest.raises(DlirError) as caught:
        parse_and_verify(B + MAIN)
    assert "'@b' has no first value: it has no 'init', and no initialiser" in str(caught.value)
    assert caught.value.diagnostics[0].location.line == 1
    assert "[@b]" in caught.value.diagnostics[0].hint
