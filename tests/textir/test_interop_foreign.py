"""Files in other dialects and with the odder parts of MLIR's syntax: what the tools print of them is read, kept, and
printed so that the tools print it again.

``foreign/*.mlir`` are in the custom forms of their dialects, which only the tools read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.upstream import SPLIT, Tool

from dlir.backends.compiler import compile_module
from dlir.ir.errors import DlirError
from dlir.ir.traversal import clone, difference
from dlir.ir.verifier import verified, verify
from dlir.textir import parse_text, print_module

FOREIGN = Path(__file__).with_name("foreign")

#: How a tool prints: without locations, with aliases for them, with them in place.
FORMS = {
    "plain": (),
    "aliases": ("--mlir-print-debuginfo",),
    "in place": ("--mlir-print-debuginfo", "--mlir-print-local-scope"),
}


def assert_kept(texts: list[str], has_locations: bool) -> list[str]:
    """Each text is read, is valid, and is the same after printing in any form; their generic forms."""
    generic = []
    for text in texts:
        parsed = parse_text(text, "theirs")
        assert [problem.message for problem in verify(parsed.module)] == []
        for is_generic in (False, True):
            for locations in (False, True):
                printed = print_module(parsed.module, is_generic, locations, parsed.blobs)
                again = parse_text(printed, "ours")
                assert difference(parsed.module, again.module) is None and again.blobs == parsed.blobs
                assert print_module(again.module, is_generic, locations, again.blobs) == printed
        copy = clone(parsed.module)
        generic.append(print_module(copy, generic=True, locations=has_locations, blobs=parsed.blobs))
        assert generic[-1] == print_module(parsed.module, True, has_locations, parsed.blobs)
    return generic


def assert_printed_again(tool: Tool, texts: list[str], options: tuple[str, ...]) -> None:
    """A tool prints of our text what it printed before, to the letter."""
    ours = assert_kept(texts, has_locations=bool(options))
    assert [text.rstrip() for text in tool.each(ours, *options)] == [
        text.rstrip() for text in tool.each(texts, *options)
    ]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["upstream", "iree"])
def test_modules_of_other_dialects(name, form, mlir_opt, iree_opt):
    tool = mlir_opt if name == "upstream" else iree_opt
    texts = tool.each((FOREIGN / f"{name}.mlir").read_text().split(SPLIT), *FORMS[form])
    assert len(texts) == {"upstream": 35, "iree": 3}[name]
    assert_printed_again(tool, texts, FORMS[form])


def lowered() -> Iterator[tuple[str, object]]:
    """(name, what JAX lowered) of functions that between them use most of StableHLO's kinds of attributes."""
    jax = pytest.importorskip("jax")
    jnp, lax, np = jax.numpy, jax.lax, pytest.importorskip("numpy")

    def array(*shape: int, dtype: str = "float32") -> object:
        return jax.ShapeDtypeStruct(shape, jnp.dtype(dtype))

    def conv(x, w):
        return lax.conv_general_dilated(
            x, w, (2, 2), [(1, 2), (0, 1)], rhs_dilation=(2, 1), dimension_numbers=("NHWC", "HWIO", "NCHW")
        )

    def scattered(x, i, v):
        return x.at[i].add(v, mode="drop").at[i, 1].multiply(2.0)

    @jax.custom_vjp
    def softplus(x):
        return jnp.log1p(jnp.exp(x))

    softplus.defvjp(lambda x: (softplus(x), x), lambda x, g: (g * jax.nn.sigmoid(x),))
    large = np.arange(500).reshape(5, 100)
    odd = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45, 3.4e38, 0.1], np.float32)
    functions = {
        "scan": (lambda x: lax.scan(lambda c, y: (c * 2 + y, c), jnp.float32(0), x), array(10)),
        "while": (lambda x: lax.while_loop(lambda c: c[0] < 9, lambda c: (c[0] + 1, c[1] * 2), (0, x)), array(3)),
        "switch": (lambda i, x: lax.switch(i, [jnp.sin, jnp.cos, jnp.tan], x), array(dtype="int32"), array(4)),
        "conv": (conv, array(1, 8, 8, 4), array(3, 3, 4, 6)),
        "sort": (lambda x, y: lax.sort((x, y), num_keys=2), array(4, 5), array(4, 5, dtype="int32")),
        "gather": (lambda x, i: x[i, :, None, i[::-1]], array(4, 5, 6), array(3, dtype="int32")),
        "scatter": (scattered, array(8, 3), array(2, dtype="int32"), array(2, 3)),
        "custom_vjp": (jax.grad(lambda x: softplus(x).sum()), array(7)),
        "random": (lambda k: jax.random.normal(jax.random.wrap_key_data(k), (3, 4)), array(2, dtype="uint32")),
        "pool": (
            jax.grad(lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (2, 2), (2, 2), "VALID").sum()),
            array(8, 8),
        ),
        "complex": (
            lambda x: jnp.exp(x * 1j) + jnp.asarray([1 + 2j, 3 - 1j], "complex64"),
            array(2, dtype="complex64"),
        ),
        "fft": (jnp.fft.rfft, array(8)),
        "hessian": (jax.hessian(lambda x: jnp.sum(jnp.tanh(x) ** 3)), array(3)),
        "nested": (lambda x: jax.jit(lambda y: jax.jit(jnp.tanh)(y) + 1)(x), array(3)),
        "large": (lambda x: (x + large.astype("float32"), jnp.where(large % 3 == 0, x, 0)), array(5, 100)),
        "odd": (lambda x: x + odd, array(7)),
        "empty": (lambda x: jnp.concatenate([x, jnp.zeros((0, 3))]), array(2, 3)),
    }
    for dtype in "int4 uint8 bfloat16 float8_e4m3fn float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn".split():
        functions[dtype] = (
            lambda x, dtype=dtype: (x.astype("float32"), jnp.asarray([1, 2, 4], dtype)),
            array(3, dtype=dtype),
        )
    for name, (function, *arguments) in functions.items():
        yield name, jax.jit(function, donate_argnums=(0,)).lower(*arguments)


@pytest.fixture(scope="module")
def stablehlo():
    """What JAX lowered, as operations of its MLIR."""
    return [lowering.compiler_ir("stablehlo").operation for _, lowering in lowered()]


def as_text(operations: list[object], form: str) -> list[str]:
    return [
        operation.get_asm(
            print_generic_op_form=True, enable_debug_info=form != "plain", use_local_scope=form == "in place"
        )
        for operation in operations
    ]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("ignore")
def test_what_jax_lowers(stablehlo, form, iree_opt):
    assert_printed_again(iree_opt, as_text(stablehlo, form), FORMS[form])


@pytest.mark.filterwarnings("ignore")
def test_what_jax_lowers_is_printed_for_tools_that_do_not_know_it(stablehlo, mlir_opt):
    texts = assert_kept(as_text(stablehlo, "plain"), has_locations=False)
    for text, printed in zip(texts, mlir_opt.each(texts), strict=True):
        assert difference(parse_text(text, "ours").module, parse_text(printed, "theirs").module) is None


def test_dialects_of_xdsl(xdsl_opt):
    """It keeps the order of attributes, so that equal modules need not be equal texts."""
    theirs = xdsl_opt((FOREIGN / "xdsl.mlir").read_text())
    assert all(
        f'"{name}"' in theirs
        for name in ("riscv.addi", "stencil.apply", "csl.module", "memref_stream.streaming_region")
    )
    (ours,) = assert_kept([theirs], has_locations=False)
    modules = [parse_text(text, "theirs").module for text in (theirs, xdsl_opt(ours))]
    assert difference(*modules) is None


@pytest.mark.parametrize("name", ["mlir_opt", "iree_opt", "xdsl_opt"])
def test_numbers_are_the_same_everywhere(name, request):
    """The tools differ in how wide a bool is in hexadecimal, and in what ``dense<0x7F800000>`` is."""
    bools = ", ".join(("true", "false")[number % 7 % 2] for number in range(203))
    text = f"""
"a.b"() {{
  bools = dense<[{bools}]> : tensor<203xi1>, infinity = dense<0xFF800000> : tensor<4xf32>,
  both = dense<[[0x7F80, 1.0]]> : vector<1x2xbf16>, nan = dense<0x7FC00001> : tensor<f32>, few = dense<true> : tensor<2xi1>,
  complex = dense<[(0x7F800000, 1.0), (0.0, 2.5)]> : tensor<2xcomplex<f32>>
}} : () -> ()
"""
    module = parse_text(text, "ours").module
    tool = request.getfixturevalue(name)
    printed = tool(print_module(module, generic=True))
    (again,) = assert_kept([printed], has_locations=False)
    assert ('"0x' in printed) and difference(module, parse_text(again, "theirs").module) is None
    assert difference(module, parse_text(tool(again), "theirs").module) is None


@pytest.mark.parametrize("digits", ["A5", "0100010000010001"], ids=["a bit each", "a byte each"])
def test_bools_in_hexadecimal(digits):
    module = parse_text(f'"a.b"() {{v = dense<"0x{digits}"> : tensor<8xi1>}} : () -> ()', "theirs").module
    assert module.body.first.get("v").tolist() == [True, False, True, False, False, True, False, True]


def test_what_a_class_here_cannot_be_is_kept_as_it_stands():
    """A loop that never ends is a mistake when it is written for dlir, and no business of ours in what others print."""
    text = """%0 = "arith.constant"() <{value = 0 : index}> : () -> index
"scf.for"(%0, %0, %0) ({
^bb0(%i: index):
  "scf.yield"() : () -> ()
}) : (index, index, index) -> ()
"""
    module = parse_text(text, "theirs").module
    assert verify(module) == [] and not module.body.last.is_registered
    with pytest.raises(DlirError, match="step that is positive"):
        verified(
            parse_text(
                "%0 = arith.constant {value = 0 : index}\nscf.for %0, %0, %0 ({\n^bb0(%i: index):\n  scf.yield\n})",
                "ours",
            ).module
        )


LAUNCH = """
func.func @main(%x: memref<4xf32> {dlir.input = 0}) {
  %c = arith.constant {value = 1 : index}
  "gpu.launch_func"(%c, %c, %c, %c, %c, %c) <{
    kernel = @compiled::@any, operandSegmentSizes = array<i32: 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0>
  }> : (index, index, index, index, index, index) -> ()
  return
}
"gpu.binary"() <{objects = [], sym_name = "compiled"}> : () -> ()
"""
LOOP = """
func.func @main(%x: memref<4xf32> {dlir.input = 0}) {
  %c = arith.constant {value = 1 : index}
  "scf.for"(%c, %c, %c) <{unsignedCmp}> ({
  ^bb0(%i: index):
    "scf.yield"() : () -> ()
  }) : (index, index, index) -> ()
  return
}
"""


@pytest.mark.parametrize("backend", ["ref", "cpu", "cuda-sim"])
@pytest.mark.parametrize("text", [LAUNCH, LOOP], ids=["launch", "loop"])
def test_backends_refuse_what_is_only_kept(text, backend):
    module = parse_text(text, "theirs").module
    assert verify(module) == []
    x = np.zeros(4, np.float32)
    with pytest.raises(DlirError, match=r"scf\.for|@compiled::any|gpu\.launch_func|GPU kernels"):
        compile_module(module, backend=backend)(x)
