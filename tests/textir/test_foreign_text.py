"""What other tools print and dlir has no op, type or number for: it is kept as it stands."""

from __future__ import annotations

import pytest
from support.cli import run

from dlir.ir.attributes import IntegerAttr
from dlir.ir.core import UnregisteredOp
from dlir.ir.traversal import clone, difference
from dlir.ir.types import F32, FloatType, UnrankedType
from dlir.ir.verifier import verify
from dlir.textir import parse, print_module

#: Ops with operands, inside a block with these arguments, that are printed in the generic form as they were read.
OPS = {
    "an alias in a body": (
        '#a = "x"\n!t = i32\n',
        '"d.op"() {d = #d.target<[#a, "#a"], !d.s<!t>>} : () -> !d.s<(!t)>',
        '"d.op"() {d = #d.target<["x", "#a"], !d.s<i32>>} : () -> !d.s<(i32)>',
    ),
    "an attribute with a type": ("", '"d.op"() {a = #d.x<1> : i32, b = #d.y<"(", [2]> : tensor<4xf32>} : () -> ()', None),
    "an attribute with a type, without a body": ("", '"d.op"() {a = #d.x : i32} : () -> ()', None),
    "properties": ("", '"d.op"() <{b = 1 : i32, c}> {a = 2 : i32} : () -> ()', None),
    "elements that are pairs of words": ("", '"d.op"() {a = dense<[(true,false)]> : tensor<1xcomplex<i1>>} : () -> ()', None),
    "numbers too large for NumPy": ("", '"d.op"() {a = 1.0e+4000 : f80, b = 0x7FFF8000000000000000 : f80} : () -> ()', None),
    "an op of upstream's that has no class": ("", '"math.isnan"(%f) : (f32) -> i1', None),
    "arithmetic on tensors": ("", '"arith.addf"(%t, %t) <{fastmath = #arith.fastmath<fast>}> : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>', None),
    "a memref of unknown rank": ("", '"memref.cast"(%m) : (memref<4xf32, 1>) -> memref<*xf32, 1>', None),
    "a constant from outside": ("", '"arith.constant"() <{value = dense_resource<w> : tensor<4xf32>}> : () -> tensor<4xf32>', None),
    "a constant that NumPy cannot hold": ("", '"arith.constant"() <{value = 1.0 : f128}> : () -> f128', None),
    "a launch on a stream": (
        "",
        '"gpu.wait"() <{operandSegmentSizes = array<i32: 0>}> : () -> !gpu.async.token',
        None,
    ),
}  # fmt: skip

AROUND = '{0}"d.around"() ({{\n^bb0(%f: f32, %t: tensor<4xf32>, %m: memref<4xf32, 1>):\n  {1}\n}}) : () -> ()\n'


@pytest.mark.parametrize("case", OPS)
def test_it_is_kept_as_it_stands(case):
    before, text, printed = OPS[case]
    module = parse(AROUND.format(before, text))
    (op,) = module.body.first.regions[0].block.ops
    assert isinstance(op, UnregisteredOp) and verify(module) == []
    for generic in (False, True):
        shown = print_module(module, generic=generic)
        assert (printed or text) in shown
        assert difference(module, parse(shown)) is None and print_module(parse(shown), generic=generic) == shown
        assert print_module(clone(module), generic=generic) == shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('%0 = "math.isnann"(%f) : (f32) -> i1', "unknown op 'math.isnann'"),
        ("%0 = math.isnan %f : i1", "unknown op 'math.isnan'"),
        ('%0 = "arith.addf"(%f, %f, %f) : (f32, f32, f32) -> f32', "'arith.addf' takes 2 operands (lhs, rhs), got 3"),
        ('"d.op"() {a = #alias : i32} : () -> ()', "an alias stands without a type"),
        ("%0 = arith.addf %t, %t", "operand 'lhs' of 'arith.addf' must be a scalar or a vector, got tensor<4xf32>"),
    ],
)
def test_what_upstream_has_not_either_is_a_mistake(complaint, text, message):
    assert f"error: {message}\n" in complaint(AROUND.format('#alias = "x"\n', text))


def test_the_pretty_form_of_an_op_that_is_not_modelled_has_a_hint(complaint):
    assert 'read in the generic form: "math.isnan"(...)' in complaint(AROUND.format("", "%0 = math.isnan %f : i1"))


FUNCTION = """
"func.func"() <{sym_name = "f", function_type = (index) -> ()}> ({
^bb0(%x: index):
  %0 = "arith.addi"(%x, %x) {lowering_config = #d.c<1>} : (index, index) -> index
  "func.return"() : () -> ()
}) {noinline} : () -> ()
"""


def test_an_attribute_without_a_dialect_is_printed_where_it_is_read():
    module = parse(FUNCTION)
    assert verify(module) == []
    for generic in (False, True):
        shown = print_module(module, generic=generic)
        assert "{noinline}" in shown and "{lowering_config = #d.c<1>}" in shown
        assert difference(module, parse(shown)) is None


@pytest.mark.parametrize(
    "location",
    [
        '"f":1:2 to :9',
        '"f":1:2 to 3:4',
        'fused<"CSE">["a", "f":3:4]',
        "fused<#d.scope<id = distinct[0]<>>>[unknown]",
        'callsite("n"("f":1:1 to :2) at fused<{a = 1 : i32}>["r"])',
    ],
)
def test_locations_are_printed_as_they_were_read(location):
    module = parse(f'"d.op"() {{a = loc({location})}} : () -> () loc({location})\n')
    assert f"{{a = loc({location})}} : () -> () loc({location})\n" in print_module(module, locations=True)


def test_what_an_alias_behind_the_module_says_is_kept():
    module = parse('"d.op"() : () -> () loc(#later)\n#first = loc("f":1:1)\n#later = loc(fused<"x">[#first])\n')
    assert 'loc(fused<"x">["f":1:1])' in print_module(module, locations=True)


def test_a_memory_space_of_a_memref_of_unknown_rank():
    op = parse('"d.op"() : () -> memref<*xf32, 3>').body.first
    assert op.result_types == (UnrankedType("memref", F32, IntegerAttr(3)),)


@pytest.mark.parametrize(
    ("name", "width"), [("bf16", 16), ("tf32", 19), ("f8E4M3B11FNUZ", 8), ("f4E2M1FN", 4), ("f128", 128)]
)
def test_the_width_of_a_float(name, width):
    assert FloatType(name).width == width


def test_small_floats_are_numbers():
    text = '"d.op"() {a = dense<[1.500000e+00, -6.000000e+00]> : tensor<2xf4E2M1FN>, b = 0x80 : f8E4M3FNUZ} : () -> ()'
    op = parse(text).body.first
    assert op.attributes["a"].value.tolist() == [1.5, -6.0] and op.attributes["b"].value != op.attributes["b"].value
    assert "b = 0x80 : f8E4M3FNUZ" in print_module(parse(text)) and "dense<[1.500000e+00, -6.000000e+00]>" in str(
        op.attributes["a"]
    )


def test_symbols_in_an_op_of_an_unknown_dialect_are_found_there():
    text = """
"d.table"() ({
  "memref.global"() <{sym_name = "g", type = memref<4xf32>, initial_value}> : () -> ()
  "d.user"() ({
    %0 = "memref.get_global"() <{name = @g}> : () -> memref<4xf32>
  }) : () -> ()
}) : () -> ()
"""
    assert verify(parse(text)) == []
    (problem,) = verify(parse(text.replace("name = @g", "name = @h")))
    assert problem.message == "'memref.get_global' names '@h', which is not defined"


def test_the_tool_prints_the_arrays_that_stand_in_the_text(tmp_path):
    path = tmp_path / "m.mlir"
    path.write_text(
        '"d.op"() {a = dense_resource<w> : tensor<2xf32>} : () -> ()\n'
        '{-#\n  dialect_resources: {\n    builtin: {\n      w: "0x04000000000080400000C040"\n    }\n  }\n#-}\n'
    )
    first = run("dlir-opt", path)
    assert first.code == 0 and 'w: "0x04000000000080400000C040"' in first.out
    path.write_text(first.out)
    assert run("dlir-opt", path, "--emit=generic", "--verify-roundtrip").out.count("0x04") == 1
