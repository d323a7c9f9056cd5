"""What is printed reads back as the same module, in both forms, and printing again changes nothing."""

from __future__ import annotations

import pytest
from support.random_text import RandomText

from dlir.ir.attributes import ArrayAttr, DictAttr, FloatAttr, IntegerAttr, StringAttr
from dlir.ir.core import Block, Operation, Region, UnregisteredOp
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.traversal import difference
from dlir.ir.types import F32, FunctionType, TensorType
from dlir.textir import parse, print_module, to_text

TENSOR = TensorType((4,), F32)


def assert_round_trip(module: Operation) -> None:
    for generic in (False, True):
        for locations in (False, True):
            text = print_module(module, generic=generic, locations=locations)
            again = parse(text)
            assert difference(module, again) is None, text
            assert print_module(again, generic=generic, locations=locations) == text


@pytest.mark.parametrize("seed", range(60))
def test_random_modules(seed):
    assert_round_trip(parse(RandomText(seed).module()))


PRETTY = """\
module @digits attributes {dlir.weights = "w.safetensors"} {
  state.variable @w1 {init = dense_resource<w1> : tensor<64x32xf32>, type = tensor<64x32xf32>}
  func.func @main(%x: tensor<?x64xf32> {dlir.input = 0}, %y: f32) -> (tensor<?x64xf32> {d.a}, i32) attributes {d.b = 1} {
    %w1 = state.read @w1 : tensor<64x32xf32>
    %0:2 = "d.both"(%x, %w1) {a = dense<[[1], [3]]> : tensor<2x1xi8>} : (tensor<?x64xf32>, tensor<64x32xf32>) -> (f32, i32)
    %1 = tst.loop %0#1 ({
    ^bb0(%i: i32):
      %acc = tst.add %x, %x : tensor<?x64xf32>
      tst.jump %acc [^next]
    ^next(%acc_0: tensor<?x64xf32>):
      tst.yield %acc_0
    }) : tensor<?x64xf32>
    tst.attributes {axes = [0, 1], eps = 1.000000e-03, mode = "far", fast, d.extra = [1, @f]}
    return %1, %0#1
  }
  func.func private @declared(i32, f32 {d.c}) -> i32
}
"""


def test_the_pretty_form_is_a_fixed_point():
    assert print_module(parse(PRETTY)) == PRETTY


def test_the_generic_form():
    module = parse(
        '%0 = tst.cast %1 {to = f32, d.x} : (tensor<4xi8>) -> tensor<4xf32>\n%1 = "d.c"() : () -> tensor<4xi8>'
    )
    assert print_module(module, generic=True) == (
        '"builtin.module"() ({\n'
        '  %0 = "tst.cast"(%1) <{to = f32}> {d.x} : (tensor<4xi8>) -> tensor<4xf32>\n'
        '  %1 = "d.c"() : () -> tensor<4xi8>\n'
        "}) : () -> ()\n"
    )


def test_types_are_stated_where_an_operand_is_printed_before_its_definition():
    text = 'tst.yield %1 : (f32) -> ()\n%1 = "d.c"() : () -> f32'
    assert "tst.yield %0 : (f32) -> ()" in to_text(parse(text))
    assert_round_trip(parse(text))


def test_a_result_of_function_type_needs_the_full_type():
    module = parse("%f = tst.function")
    assert "%f = tst.function : () -> (() -> ())" in to_text(module)
    assert_round_trip(module)


def test_a_module_and_an_empty_text():
    assert print_module(parse("")) == "module {\n}\n"
    assert parse(" // only a comment").name == "builtin.module"
    assert print_module(parse("module @a {} ")) == "module @a {\n}\n"
    assert print_module(parse("module @a {}\nmodule @b {}")) == "module {\n  module @a {\n  }\n  module @b {\n  }\n}\n"


# ---------------------------------------------------------------- names


def names_in(text: str) -> str:
    return " ".join(line.partition("=")[0].strip() for line in to_text(parse(text)).splitlines() if "=" in line)


def test_names_are_kept_and_numbers_are_not():
    assert names_in('%x = "d.c"() : () -> f32\n%7 = "d.c"() : () -> f32\n%y = "d.c"() : () -> f32') == "%x %0 %y"


def test_equal_hints_are_made_unique_and_stay_so():
    block = Block()
    for hint in ("x", "x", "x_0", "1a", "a b", None):
        op = UnregisteredOp("d.c", result_types=[F32])
        op.results[0].name = hint
        block.append(op)
    module = Module.create(result_types=(), regions=[Region([block])])
    text = to_text(module)
    assert [line.split(" =")[0].strip() for line in text.splitlines()[1:-1]] == [
        "%x",
        "%x_0",
        "%x_0_0",
        "%_1a",
        "%a_b",
        "%0",
    ]
    assert to_text(parse(text)) == text


def test_a_nested_region_never_shadows_but_siblings_share():
    text = (
        '%x = "d.c"() : () -> f32\n'
        'tst.island ({\n%x = "d.c"() : () -> f32\ntst.yield %x\n})\ntst.island ({\n%x = "d.c"() : () -> f32\ntst.yield %x\n})'
    )
    assert to_text(parse(text)).count("%x_0 =") == 1
    assert to_text(parse(text)).count("%x_1 =") == 1
    siblings = 'tst.island ({\n%x = "d.c"() : () -> f32\n})\ntst.island ({\n%x = "d.c"() : () -> f32\n})'
    assert to_text(parse(siblings)).count("%x =") == 2


def test_results_with_their_own_names():
    text = '%a, %b = "d.c"() : () -> (f32, f32)\n%c:2, %d = "d.c"() : () -> (f32, f32, f32)\n"d.u"(%c#1, %b) : (f32, f32) -> ()'
    printed = to_text(parse(text))
    assert "%a, %b =" in printed and "(%c_0, %b)" in printed
    assert_round_trip(parse(text))


# ---------------------------------------------------------------- what only the API can make


def test_a_function_that_its_form_cannot_say_is_printed_generically():
    func = Func.make("f", [TENSOR], [TENSOR])
    func.attributes["function_type"] = StringAttr("wrong")
    assert to_text(func).startswith('"func.func"()')
    func = Func.make("f", [TENSOR], [TENSOR])
    func.attributes["arg_attrs"] = ArrayAttr([])
    assert to_text(func).startswith('"func.func"()')


def test_empty_argument_dictionaries_are_kept():
    func = Func.make("f", [TENSOR, TENSOR])
    func.attributes["arg_attrs"] = ArrayAttr([DictAttr({}), DictAttr({})])
    module = Module.empty()
    module.body.append(func)
    assert_round_trip(module)


def test_invalid_ir_prints():
    outside = UnregisteredOp("d.c", result_types=[F32])
    op = UnregisteredOp("d.u", outside.results, attributes={"a b": FloatAttr(float("nan")), "x": IntegerAttr(-1)})
    assert to_text(op) == '"d.u"(%outside) {"a b" = 0x7FF8000000000000 : f64, x = -1} : (f32) -> ()'


def test_equal_modules_print_equally_whatever_the_order_of_attributes():
    one, two = (
        parse('"d.a"() {b = 1, a = {d = 1, c = 2}} : () -> ()'),
        parse('"d.a"() {a = {c = 2, d = 1}, b = 1} : () -> ()'),
    )
    assert to_text(one) == to_text(two)


def test_an_empty_first_block_is_kept():
    for text in ('"d.a"() ({}, {\n^bb0:\n}) : () -> ()', '"d.a"() ({\n^a:\n^b:\n"d.j"()[^a] : () -> ()\n}) : () -> ()'):
        assert_round_trip(parse(text))
        (op,) = parse(text).body.ops
        assert [len(region.blocks) for region in op.regions] in ([0, 1], [2])


def test_a_block_that_is_jumped_to_has_a_label():
    text = "tst.loop ({\n  tst.jump [^here]\n^here:\n  tst.jump [^here]\n})\ntst.loop ({\n^bb0:\n  tst.jump [^bb0]\n})"
    assert_round_trip(parse(text))


def test_function_types_nest():
    assert str(FunctionType([], [FunctionType([], [])])) == "() -> (() -> ())"
    assert_round_trip(parse('"d.a"() {t = () -> (() -> ())} : () -> (() -> i32)'))
