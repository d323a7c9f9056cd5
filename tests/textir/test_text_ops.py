"""How ops are read: inference, preparation, operand groups, names and scopes, locations."""

from __future__ import annotations

import gc

import pytest

from dlir.ir.attributes import DenseArrayAttr, FloatAttr, IntegerAttr, StringAttr, SymbolRefAttr
from dlir.ir.core import Operation, UnregisteredOp
from dlir.ir.location import CallSiteLoc, FileLoc, FusedLoc, NameLoc
from dlir.ir.types import F32, I32, TensorType
from dlir.textir import parse, to_text


def ops(text: str) -> list[Operation]:
    return list(parse(text).body.ops)


def test_result_types_that_are_left_out_are_inferred():
    source, both, _ = ops('%x = "d.c"() : () -> tensor<?x4xf32>\n%a, %b = tst.pair %x\ntst.add %a, %b')
    assert both.result_types == (TensorType((None, 4), F32),) * 2
    assert [result.name for result in both.results] == ["a", "b"]
    assert source.results[0].name == "x"


def test_result_types_follow_from_what_a_symbol_names():
    text = """
    state.variable @w {init = dense<0.0> : tensor<2xf32>}
    func.func private @f(i32) -> (i32, f32)
    func.func @main(%x: i32) {
      %w = state.read @w
      %r:2 = func.call @f %x
      return
    }"""
    variable, _, main = ops(text)
    assert variable["type"] is TensorType((2,), F32)
    read, call, _ = main.body.ops
    assert read.result.type is TensorType((2,), F32)
    assert call.result_types == (I32, F32)


def test_the_pretty_form_prepares_operands_and_the_generic_form_does_not():
    head = '%x = "d.c"() : () -> tensor<4xf32>\n%h = "d.c"() : () -> tensor<4xf16>\n'
    *_, cast, add = ops(head + "%y = tst.add %x, %h")
    assert cast.name == "tst.cast" and add.operands[1] is cast.results[0]
    assert str(cast.location) == str(add.location) == '"<input>":3:1'
    *_, add = ops(head + '%y = "tst.add"(%x, %h) : (tensor<4xf32>, tensor<4xf16>) -> tensor<4xf32>')
    assert add.operands[1].name == "h"


def test_operands_fill_the_groups_from_the_left():
    head = '%x = "d.c"() : () -> tensor<4xf32>\n'
    for count, sizes in [(1, (1, 0, 0, 0)), (2, (1, 1, 0, 0)), (3, (1, 1, 1, 0)), (5, (1, 1, 1, 2))]:
        *_, op = ops(head + "tst.groups " + ", ".join(["%x"] * count))
        assert op.get("operandSegmentSizes") == sizes
        assert "operandSegmentSizes" not in to_text(op)
    text = head + "%0 = tst.groups %x, %x {operandSegmentSizes = array<i32: 1, 0, 1, 0>} : tensor<4xf32>"
    *_, op = ops(text)
    assert op.group("mask") is op.operands[1] and op.group("bias") is None
    assert "operandSegmentSizes = array<i32: 1, 0, 1, 0>" in to_text(op)


def test_attributes_take_the_form_that_the_schema_asks_for():
    (op,) = ops("tst.attributes {axes = [1, 2], eps = 1, d.kept = [1, 2]}")
    assert op.attributes["axes"] == DenseArrayAttr([1, 2])
    assert op.attributes["eps"] == FloatAttr(1.0)
    assert op["axes"] == (1, 2) and op.get("d.kept") == (1, 2)


def test_symbols_stand_before_operands():
    _, _, refer = ops('func.func private @f()\n%x = "d.c"() : () -> f32\ntst.refer @"a b"::@c %x : (f32) -> ()')
    assert refer.attributes == {"callee": SymbolRefAttr("a b", "c")}
    assert 'tst.refer @"a b"::@c %x' in to_text(refer.parent_op)
    (variable,) = ops("state.variable @w {init = dense_resource<w>, type = tensor<2xf32>}")
    assert variable.attributes["sym_name"] is StringAttr("w")
    assert variable["init"].type is TensorType((2,), F32)


def test_unknown_dialects_stay_unregistered_in_the_generic_form():
    (op,) = ops('%r = "other.op"() <{p = 1}> {q = 2} : () -> i32')
    assert isinstance(op, UnregisteredOp) and op.name == "other.op"
    assert op.attributes == {"p": IntegerAttr(1), "q": IntegerAttr(2)}


def test_types_of_a_terminator_are_its_operands():
    (func,) = ops("func.func @f(%x: i32) -> i32 { return %x : i32 }")
    assert func.body.terminator.result_types == () and func.body.terminator.operand_types == (I32,)


def test_a_value_may_be_used_before_its_definition_in_a_later_block_or_a_graph_region():
    user, maker = ops('"d.u"(%x) : (f32) -> ()\n%x = "d.c"() : () -> f32')
    assert user.operands == (maker.results[0],)
    text = """
    func.func @f() {
      tst.jump [^second]
    ^first:
      "d.u"(%v, %w) : (f32, f32) -> ()
      tst.loop ({ "d.u"(%w) : (f32) -> () })
      return
    ^second:
      %v, %w = "d.c"() : () -> (f32, f32)
      tst.jump [^first]
    }"""
    (func,) = ops(text)
    maker = func.regions[0].blocks[2].first
    assert [use.owner.name for use in maker.results[1].uses] == ["d.u", "d.u"]


def test_an_isolated_op_hides_the_names_around_it():
    text = 'func.func @f(%x: f32) {\n tst.island ({ %x = "d.c"() : () -> i32\n tst.yield %x })\n tst.yield %x }'
    (func,) = ops(text)
    island, last = func.body.ops
    assert island.body.terminator.operand_types == (I32,) and last.operand_types == (F32,)


def test_a_name_is_free_again_after_its_region():
    text = 'tst.loop ({ %a = "d.c"() : () -> i32 })\n%a = "d.c"() : () -> f32\n"d.u"(%a) : (f32) -> ()'
    assert ops(text)[-1].operand_types == (F32,)


def test_the_number_of_a_single_result_may_be_written():
    *_, user = ops('%a = "d.c"() : () -> f32\n"d.u"(%a#0) : (f32) -> ()')
    assert user.operands[0].name == "a"


def test_type_and_attribute_aliases():
    text = '!t = tensor<4xf32>\n#n = 7\n#list = [#n, !t]\n%a = "d.c"() {x = #list, y = #d.own, z = #d<a b>} : () -> !t'
    (op,) = ops(text)
    assert to_text(op) == '%a = "d.c"() {x = [7, tensor<4xf32>], y = #d.own, z = #d<a b>} : () -> tensor<4xf32>'


def test_what_stands_in_a_text_of_any_kind_is_kept():
    kept = "#stablehlo.conv<[b, f, 0, 1]x[o, i, 0, 1]->[b, f, 0, 1]>"
    others = ['#d.x<"a>b", {k = (1)}>', "affine_map<(d0)[s0] -> (d0 + s0)>", "affine_set<(d0) : (d0 - 1 >= 0)>"]
    for text in [
        kept,
        *others,
        "strided<[?, 1]>",
        "distinct[0]<unit>",
        "!d.t<4x8xf32, #l<row>>",
        '"s" : !d.t',
        "1 : !d.t",
    ]:
        (op,) = ops(f'"d.c"() {{a = {text}}} : () -> ()')
        assert to_text(op) == f'"d.c"() {{a = {text}}} : () -> ()'


# ---------------------------------------------------------------- locations


def test_an_op_is_placed_where_its_text_starts():
    first, second = ops('\n  %a = "d.c"() : () -> f32 "d.u"(%a) : (f32) -> ()')
    assert first.location == FileLoc("<input>", 2, 3) and hash(first.location) == hash(FileLoc("<input>", 2, 3))
    assert (second.location.line, second.location.column, second.location.end) == (2, 28, None)


def test_written_locations():
    texts = {
        'loc("f":1:2)': FileLoc("f", 1, 2),
        'loc("f":1:2 to 3:4)': FileLoc("f", 1, 2, (3, 4)),
        'loc("f":1:2 to :9)': FileLoc("f", 1, 2, (1, 9)),
        'loc("n")': NameLoc("n"),
        'loc("n"(#early))': NameLoc("n", FileLoc("e", 1, 1)),
        "loc(#later)": FileLoc("l", 2, 2),
        'loc(callsite(#later at "n"))': CallSiteLoc(FileLoc("l", 2, 2), NameLoc("n")),
        'loc(fused<"why">["a", #early])': FusedLoc((NameLoc("a"), FileLoc("e", 1, 1)), StringAttr("why")),
    }
    for text, location in texts.items():
        module = parse(f'#early = loc("e":1:1)\n"d.c"() : () -> () {text}\n#later = loc("l":2:2)')
        assert module.body.first.location == location, text


def test_block_arguments_have_locations():
    (op,) = ops('"d.l"() ({\n^bb0(%a: i32 loc("here"), %b: i32 loc(#late)):\n}) : () -> ()\n#late = loc("late")')
    assert [arg.location for arg in op.body.args] == [NameLoc("here"), NameLoc("late")]


# ---------------------------------------------------------------- manners


def test_garbage_collection_is_as_it_was():
    assert gc.isenabled()
    parse("")
    assert gc.isenabled()
    gc.disable()
    try:
        parse("")
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_reading_and_printing_do_not_import_lark():
    import subprocess
    import sys

    code = "import sys\nfrom dlir.textir import *\nto_text(parse('module {}'))\n"
    code += "try: parse('module {')\nexcept Exception: pass\n"
    code += "sys.exit('lark' in sys.modules)"
    source = next(path for path in sys.path if path.endswith(".src"))
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": source}).returncode == 0


@pytest.mark.parametrize(
    "text", ["func.func @f()", "func @f()", "func.func private @f(i32, tensor<4xf32> {d.a}) -> i32"]
)
def test_declarations(text):
    (func,) = ops(text)
    assert func.is_declaration and func.symbol == "f"
