"""Other people's tools read what is printed, and what they print is read."""

from __future__ import annotations

import pytest
from support.random_text import RandomText

from dlir.ir.traversal import difference
from dlir.textir import parse, parse_file, print_module

SAMPLES = (
    "conv conv_debug layernorm_gelu layernorm_gelu_debug mlp mlp_debug mlp_const mlp_const_debug mlp_grad scan scan_debug"
    " softmax softmax_debug"
).split()


@pytest.mark.parametrize("name", SAMPLES)
def test_what_jax_prints_is_read_and_printed(shared_data, name):
    path = (
        shared_data
        / "stablehlo"
        / (name.removesuffix("_debug") + ".generic" + "_debug" * name.endswith("_debug") + ".mlir")
    )
    module = parse_file(path).module
    for generic in (False, True):
        for locations in (False, True):
            text = print_module(module, generic=generic, locations=locations)
            assert difference(module, parse(text)) is None
    if name.endswith("_debug"):
        assert "model.py" in print_module(module, locations=True)


@pytest.mark.parametrize("name", SAMPLES)
def test_mlir_reads_it_and_prints_the_same_module(shared_data, mlir_opt, name):
    path = (
        shared_data
        / "stablehlo"
        / (name.removesuffix("_debug") + ".generic" + "_debug" * name.endswith("_debug") + ".mlir")
    )
    module = parse_file(path).module
    printed = mlir_opt(print_module(module, generic=True, locations=True))
    assert difference(module, parse(printed)) is None


def test_iree_verifies_stablehlo_and_prints_the_same_modules(shared_data, iree_opt):
    paths = sorted(
        path for path in (shared_data / "stablehlo").glob("*.generic*.mlir") if not path.stem.endswith("_debug")
    )
    modules = [parse_file(path).module for path in paths]
    printed = iree_opt.each([print_module(module, generic=True) for module in modules])
    assert len(modules) >= 6
    assert [difference(module, parse(text)) for module, text in zip(modules, printed)] == [None] * len(modules)


@pytest.mark.parametrize("name", ["conv", "mlp_const", "softmax_debug"])
def test_xdsl_reads_it(shared_data, xdsl_opt, name):
    path = (
        shared_data
        / "stablehlo"
        / (name.removesuffix("_debug") + ".generic" + "_debug" * name.endswith("_debug") + ".mlir")
    )
    printed = xdsl_opt(print_module(parse_file(path).module, generic=True))
    assert parse(printed).body.first is not None


ALL_KINDS = """
func.func private @declared(i32) -> (f32 {d.a})
func.func @main(%x: tensor<4xf32> {dlir.input = 0}, %n: index) -> tensor<4xf32> attributes {d.extra = [1, @declared]} {
  %r:2, %s = "d.many"(%x) {
    a = 7, b = -1 : i8, c = 1.5, d = 0x7F800000 : f32, e = "q\\22\\n é", f = [true, unit], g = {"h i" = 1, j},
    k = array<i64: 1, 2>, l = dense<[[1, 2], [3, 4]]> : tensor<2x2xi8>, m = dense<0.1> : tensor<3xbf16>,
    n = dense<(1.0, 2.0)> : tensor<2xcomplex<f32>>, o = tensor<?x0xf32>, p = (i32) -> (), q = @declared::@x,
    r = #d.x<"a>", [1]>, s = affine_map<(d0)[s0] -> (d0 + s0)>, t = array<i1: true>, u = dense<true> : tensor<2xi1>,
    v = array<f32>, w = dense<> : tensor<0xf32>, x = dense_resource<w> : tensor<4xf32>
  } : (tensor<4xf32>) -> (memref<4x?xf32, strided<[?, 1], offset: ?>, 3>, vector<[4]x2xi8>, !d.t<8>)
  "d.region"(%r#1) ({
  ^bb0(%i: i32):
    "d.jump"()[^bb1] : () -> ()
  ^bb1:
    "d.jump"()[^bb1] : () -> ()
  }, {
  }) : (vector<[4]x2xi8>) -> ()
  return %x
}
"""


def test_mlir_reads_every_kind_of_attribute_and_type(mlir_opt):
    module = parse(ALL_KINDS)
    printed = mlir_opt(print_module(module, generic=True, locations=True))
    assert difference(module, parse(printed)) is None


def test_xdsl_reads_every_kind_of_attribute_and_type(xdsl_opt):
    text = ALL_KINDS.replace("memref<4x?xf32, strided<[?, 1], offset: ?>, 3>", "f32")
    xdsl_opt(print_module(parse(text), generic=True))


NESTED = """
%x = "d.c"() : () -> f32
"d.l"() ({
  %x_0 = "d.c"() : () -> f32
  "d.l"() ({
    %y = "d.c"() : () -> f32
  }) : () -> ()
}, {
  %y = "d.c"() : () -> f32
}) : () -> ()
"""


@pytest.mark.parametrize("seed", range(3))
def test_names_never_shadow_for_mlir(mlir_opt, seed):
    module = parse(NESTED)
    for op in module.walk():
        for result in op.results:
            result.name = RandomText(seed).pick("x", "x_0", "y")
    assert difference(module, parse(mlir_opt(print_module(module, generic=True)))) is None
