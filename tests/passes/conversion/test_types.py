"""Type conversion: adapted operands, casts that cancel, materialisations, the signatures of functions."""

from __future__ import annotations

import random

import pytest

from dlir.ir.builder import insert
from dlir.ir.core import UnregisteredOp
from dlir.ir.ops import nd
from dlir.ir.types import F32, F64, FunctionType, TensorType
from dlir.ir.verifier import verified
from dlir.passes.conversion import (
    ConversionTarget,
    TypeConverter,
    add_function_conversion,
    apply_full_conversion,
    apply_partial_conversion,
    conversion,
    reconcile_unrealized_casts,
)
from dlir.textir import parse, to_text

CAST = "builtin.unrealized_conversion_cast"


def to_f64(type):
    """f32 tensors become f64 tensors."""
    return type.with_dtype(F64) if isinstance(type, TensorType) and type.dtype is F32 else None


def widening() -> TypeConverter:
    converter = TypeConverter()
    converter.add_conversion(lambda type: type)
    converter.add_conversion(to_f64)
    return converter


def no_old() -> ConversionTarget:
    target = ConversionTarget()
    target.add_illegal_dialect("old")
    return target


def old_to_new(converter):
    """``old.f`` becomes ``new.f`` on the new types."""

    @conversion("old.f", converter=converter)
    def old_to_new(op, operands, rewriter):
        return insert(UnregisteredOp("new.f", operands, converter.convert_types(op.result_types))).results

    return old_to_new


def names(module):
    return [op.name for op in module.walk()]


CHAIN = """
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %a = "old.f"(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %b = "old.f"(%a) : (tensor<4xf32>) -> tensor<4xf32>
  %c = "other.g"(%b) : (tensor<4xf32>) -> tensor<4xf32>
  %d = "old.f"(%c) : (tensor<4xf32>) -> tensor<4xf32>
  return %d
}
"""


def test_casts_stand_only_where_converted_meets_unconverted():
    module = parse(CHAIN)
    apply_partial_conversion(module, no_old(), [old_to_new(widening())])
    assert names(module)[2:-1] == [CAST, "new.f", "new.f", CAST, "other.g", CAST, "new.f", CAST]
    text = to_text(module)
    assert "%x : tensor<4xf64>" in text and '%d = "new.f"' in text
    verified(module)


def test_the_users_of_both_sides_see_their_own_type():
    module = parse(CHAIN.replace('"other.g"(%b)', '"other.g"(%a)'))
    apply_partial_conversion(module, no_old(), [old_to_new(widening())])
    verified(module)
    for op in module.walk():
        if op.name in ("new.f", "other.g"):
            assert op.operands[0].type.dtype is (F64 if op.name == "new.f" else F32)


#: The first block but one comes before the last in the text, and uses what that defines.
LATE = """
func.func @main(%x: tensor<4xf32>) {
  "cf.br"()[^late] : () -> ()
^early:
  %b = "old.f"(%a) : (tensor<4xf32>) -> tensor<4xf32>
  "other.g"(%b) : (tensor<4xf32>) -> ()
  return
^late:
  %a = "old.f"(%x) : (tensor<4xf32>) -> tensor<4xf32>
  "cf.br"()[^early] : () -> ()
}
"""


def test_the_order_of_definition_does_not_matter():
    module = parse(LATE)
    apply_partial_conversion(module, no_old(), [old_to_new(widening())])
    assert names(module).count(CAST) == 2 and names(module).count("new.f") == 2
    assert "old.f" not in names(module)


def test_a_cast_whose_definition_is_converted_later_is_none():
    # The second block comes first in the order of definition: its op is converted when its user has been.
    module, target, converter = parse(LATE.replace("other.g", "old.h")), no_old(), widening()
    target.add_legal_dialect("new", "cf", "func", "builtin")

    @conversion("old.h", converter=converter)
    def end(op, operands, rewriter):
        insert(UnregisteredOp("new.h", operands))
        return ()

    patterns = [old_to_new(converter), end, *add_function_conversion(target, converter)]
    apply_full_conversion(module, target, patterns)
    verified(module)
    assert CAST not in names(module) and names(module).count("new.f") == 2


def test_a_type_without_conversion_stops_the_pattern(assert_unchanged):
    converter = TypeConverter()
    converter.add_conversion(lambda type: type if type.dtype is F64 else None)
    module = parse(CHAIN)
    found = assert_unchanged(
        module, lambda: apply_partial_conversion(module, no_old(), [old_to_new(converter)]), "'old.f' stayed illegal"
    )
    assert "operand 0 has type tensor<4xf32>, which cannot be converted" in found[0].notes[0].message


def test_a_full_conversion_leaves_no_cast(assert_unchanged):
    target = no_old()
    target.add_legal_dialect("new", "other", "func", "builtin")
    module = parse(CHAIN)
    found = assert_unchanged(
        module, lambda: apply_full_conversion(module, target, [old_to_new(widening())]), "only one side was converted"
    )
    assert found[0].message.startswith("'new.f' needs tensor<4xf64> as its operand 0, and the value is tensor<4xf32>")
    assert {item.message.partition(" ")[0] for item in found} == {"'new.f'", "'other.g'", "'func.return'"}


def test_materialisations_stand_in_place_of_casts():
    converter = widening()
    converter.add_target_materialization(lambda types, values: nd.cast(*values, dtype=types[0].dtype))
    converter.add_source_materialization(lambda type, values: nd.cast(*values, dtype=type.dtype))
    target = no_old()
    target.add_legal_dialect("new", "other", "func", "nd", "builtin")
    module = parse(CHAIN)
    apply_full_conversion(module, target, [old_to_new(converter)])
    assert names(module)[2:-1] == ["nd.cast", "new.f", "new.f", "nd.cast", "other.g", "nd.cast", "new.f", "nd.cast"]
    verified(module)


def test_the_last_materialisation_that_knows_the_type_is_taken():
    converter = widening()
    converter.add_target_materialization(lambda types, values: nd.cast(*values, dtype=types[0].dtype))
    converter.add_target_materialization(lambda types, values: None)
    module = parse(CHAIN)
    apply_partial_conversion(module, no_old(), [old_to_new(converter)])
    assert names(module)[2] == "nd.cast"


CALLS = """
func.func @twice(%x: tensor<4xf32>) -> tensor<4xf32> {
  %a = "old.f"(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return %a
}
func.func private @outside(%x: tensor<4xf32>, %n: tensor<2xi32>) -> tensor<4xf32>
func.func @main(%x: tensor<4xf32>, %n: tensor<2xi32> {dlir.donated}) -> (tensor<4xf32>, tensor<2xi32>) {
  %a = func.call @twice %x : tensor<4xf32>
  %b = func.call @outside %a, %n : tensor<4xf32>
  return %b, %n
}
"""


def test_functions_calls_and_returns_take_the_new_types():
    converter, target, module = widening(), no_old(), parse(CALLS)
    target.add_legal_dialect("new", "builtin")
    patterns = [*add_function_conversion(target, converter), old_to_new(converter)]
    apply_full_conversion(module, target, patterns)
    verified(module)
    text = to_text(module)
    assert "f32" not in text and CAST not in text
    assert "@main(%x: tensor<4xf64>, %n: tensor<2xi32> {dlir.donated}) -> (tensor<4xf64>, tensor<2xi32>)" in text
    assert module.symbol("outside").type.inputs[0].dtype is F64
    # What is converted already is legal, and stays as it is.
    assert not apply_full_conversion(module, target, patterns)


def test_a_signature_goes_back_when_something_else_fails(assert_unchanged):
    converter, target, module = widening(), no_old(), parse(CALLS)
    patterns = add_function_conversion(target, converter)
    assert_unchanged(module, lambda: apply_partial_conversion(module, target, patterns), "'old.f' stayed illegal")


def test_a_signature_with_a_type_that_cannot_be_converted(assert_unchanged):
    converter, target, module = TypeConverter(), ConversionTarget(), parse(CALLS)
    converter.add_conversion(to_f64)
    patterns = add_function_conversion(target, converter)
    found = assert_unchanged(module, lambda: apply_partial_conversion(module, target, patterns), "stayed illegal")
    assert any("has a type that cannot be converted" in note.message for item in found for note in item.notes)


def test_blocks_in_regions_take_the_new_types():
    converter = widening()

    @conversion("old.scope", converter=converter)
    def scope(op, operands, rewriter):
        signature = converter.convert_block_signature(op.body)
        if signature is None:
            return None
        rewriter.apply_signature_conversion(op.body, signature, converter)
        results = converter.convert_types(op.result_types)
        return insert(UnregisteredOp("new.scope", operands, results, regions=rewriter.take_regions(op))).results

    @conversion("old.yield", converter=converter)
    def end(op, operands, rewriter):
        insert(UnregisteredOp("new.yield", operands))
        return ()

    module = parse(
        """
        func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
          %r = "old.scope"(%x, %x) ({
          ^bb0(%a: tensor<4xf32>, %i: tensor<4xi32>, %b: tensor<4xf32>):
            %c = "old.f"(%b) : (tensor<4xf32>) -> tensor<4xf32>
            "old.yield"(%c, %a, %i) : (tensor<4xf32>, tensor<4xf32>, tensor<4xi32>) -> ()
          }) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
          return %r
        }
        """
    )
    apply_partial_conversion(module, no_old(), [scope, end, old_to_new(converter)])
    verified(module)
    text = to_text(module)
    assert "^bb0(%a: tensor<4xf64>, %i: tensor<4xi32>, %b: tensor<4xf64>):" in text
    assert names(module).count(CAST) == 2  # %x on the way in, %r on the way out


def test_casts_that_cancel_go():
    module = parse(
        f"""
        func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf64>) {{
          %a = "{CAST}"(%x) : (tensor<4xf32>) -> tensor<4xf64>
          %b = "{CAST}"(%a) : (tensor<4xf64>) -> tensor<4xf32>
          %c = "{CAST}"(%b) : (tensor<4xf32>) -> tensor<4xf64>
          %d = "{CAST}"(%c) : (tensor<4xf64>) -> tensor<4xf64>
          %unused = "{CAST}"(%d) : (tensor<4xf64>) -> tensor<4xi32>
          return %b, %d
        }}
        """
    )
    assert reconcile_unrealized_casts(module) == 4
    assert names(module) == ["builtin.module", "func.func", CAST, "func.return"]
    verified(module)


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_are_converted_wholly_or_not_at_all(seed, assert_unchanged):
    rng = random.Random(seed)
    values, lines = ["%x"], []
    for number in range(30):
        op = rng.choice(["old.f", "other.g"])
        lines.append(f'%v{number} = "{op}"({rng.choice(values[-6:])}) : (tensor<4xf32>) -> tensor<4xf32>')
        values.append(f"%v{number}")
    body = "\n".join(lines)
    text = f"func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {{\n{body}\nreturn {values[-1]}\n}}"
    converter = widening()
    module = parse(text)
    target = no_old()
    functions = add_function_conversion(target, converter) if seed % 2 else []
    apply_partial_conversion(module, target, [*functions, old_to_new(converter)])
    verified(module)
    assert "old.f" not in names(module)
    for op in module.walk():
        assert op.name != "new.f" or op.operands[0].type.dtype is F64
        assert op.name != "other.g" or op.operands[0].type.dtype is F32
    if seed % 2:
        assert module.symbol("main").type == FunctionType([TensorType((4,), F64)], [TensorType((4,), F64)])
    # The last old.f cannot be converted: everything before it goes back.
    module = parse(text.replace("return", '"old.stuck"() : () -> ()\nreturn'))
    assert_unchanged(
        module, lambda: apply_partial_conversion(module, target, [*functions, old_to_new(converter)]), "'old.stuck'"
    )
