"""One type becomes several, or none: a number of twice the precision is the sum of two; a token is nothing."""

from __future__ import annotations

import pytest

from dlir.ir.builder import insert
from dlir.ir.core import UnregisteredOp
from dlir.ir.errors import DlirError
from dlir.ir.ops import nd
from dlir.ir.types import F32, F64, I1, I32, TensorType
from dlir.ir.verifier import verified
from dlir.passes.conversion import (
    ConversionTarget,
    SignatureConversion,
    TypeConverter,
    add_function_conversion,
    apply_full_conversion,
    apply_partial_conversion,
    conversion,
)
from dlir.textir import parse, to_text

CAST = "builtin.unrealized_conversion_cast"
WIDE, HALF, TOKEN, INT = (TensorType((4,), dtype) for dtype in (F64, F32, I1, I32))


def splitting() -> TypeConverter:
    converter = TypeConverter()
    converter.add_conversion(lambda type: type)
    converter.add_conversion(lambda type: {WIDE: [HALF, HALF], TOKEN: []}.get(type))
    return converter


def no_old() -> ConversionTarget:
    target = ConversionTarget()
    target.add_illegal_dialect("old")
    return target


def old_to_new(converter):
    """``old.f`` becomes ``new.f`` on all the parts."""

    @conversion("old.f", converter=converter, one_to_n=True)
    def old_to_new(op, operands, rewriter):
        parts = [value for group in operands for value in group]
        signature = converter.convert_signature_args(op.result_types)
        made = insert(UnregisteredOp("new.f", parts, signature.converted_types)).results
        return [[made[n] for n in signature.get_input_mapping(i)] for i in range(len(op.results))]

    return old_to_new


def names(module):
    return [op.name for op in module.walk()]


def test_what_a_converter_says_of_types():
    converter = splitting()
    assert converter.convert_type(INT) is INT
    assert converter.convert_type(WIDE) is None  # two types are not one
    assert converter.convert_types([INT, WIDE, TOKEN, HALF]) == [INT, HALF, HALF, HALF]
    assert converter.is_legal(INT, HALF) and not converter.is_legal(INT, WIDE) and not converter.is_legal(TOKEN)
    signature = converter.convert_signature_args([WIDE, TOKEN, INT])
    assert signature.converted_types == [HALF, HALF, INT]
    assert [list(signature.get_input_mapping(n)) for n in range(3)] == [[0, 1], [], [2]]
    assert TypeConverter().convert_types([INT]) is None and TypeConverter().convert_signature_args([INT]) is None


def test_arguments_may_be_added_that_stand_for_no_old_one_but_each_old_one_is_said_once():
    signature = SignatureConversion(2)
    signature.add_inputs([INT])
    signature.add_inputs([HALF, HALF], 1)
    assert signature.converted_types == [INT, HALF, HALF] and len(signature) == 2
    assert list(signature.get_input_mapping(1)) == [1, 2] and not signature.get_input_mapping(0)
    with pytest.raises(ValueError, match="argument 1 has been converted"):
        signature.add_inputs([INT], 1)


WHOLE = """
func.func private @outside(%x: tensor<4xf64>, %t: tensor<4xi1>) -> (tensor<4xi32>, tensor<4xf64>)
func.func @main(%x: tensor<4xf64> {my.note = 1 : i64}, %t: tensor<4xi1> {my.note = 2 : i64}, %n: tensor<4xi32>) -> (tensor<4xf64>, tensor<4xi1>, tensor<4xi32>) {
  %a, %u = "old.f"(%x, %t, %n) : (tensor<4xf64>, tensor<4xi1>, tensor<4xi32>) -> (tensor<4xf64>, tensor<4xi1>)
  %i, %b = func.call @outside %a, %u : tensor<4xi32>, tensor<4xf64>
  return %b, %u, %i
}
"""


def test_functions_calls_and_returns_take_all_the_parts():
    converter, target, module = splitting(), no_old(), parse(WHOLE)
    target.add_legal_dialect("new", "builtin")
    apply_full_conversion(module, target, [*add_function_conversion(target, converter), old_to_new(converter)])
    verified(module)
    assert names(module) == ["builtin.module", "func.func", "func.func", "new.f", "func.call", "func.return"]
    main = module.symbol("main")
    assert main.type.inputs == (HALF, HALF, INT) and main.type.results == (HALF, HALF, INT)
    assert [arg.name for arg in main.body.args] == ["x_0", "x_1", "n"]
    assert [main.arg_attributes(n).get("my.note") is not None for n in range(3)] == [True, True, False]
    new, call, end = main.body.ops
    assert new.operands == tuple(main.body.args)
    assert call.operands == new.results and call.result_types == (INT, HALF, HALF)
    assert end.operands == (call.results[1], call.results[2], call.results[0])


def test_parts_and_whole_meet_in_casts_where_only_one_side_is_converted():
    module = parse(WHOLE)
    apply_partial_conversion(module, no_old(), [old_to_new(splitting())])
    verified(module)
    main = module.symbol("main")
    assert [op.name for op in main.body.ops] == [CAST, "new.f", CAST, CAST, "func.call", "func.return"]
    apart, new, whole, token, call, _ = main.body.ops
    assert apart.operands == (main.body.args[0],) and apart.result_types == (HALF, HALF)
    assert new.operands == (*apart.results, main.body.args[2])
    assert whole.operands == new.results and whole.result_types == (WIDE,)
    assert token.operands == () and token.result_types == (TOKEN,)  # nothing is left to make it of
    assert call.operands == (*whole.results, *token.results)


def test_a_full_conversion_tells_which_use_wants_the_whole(assert_unchanged):
    target, module = no_old(), parse(WHOLE)
    target.add_legal_dialect("new", "func", "builtin")
    found = assert_unchanged(
        module, lambda: apply_full_conversion(module, target, [old_to_new(splitting())]), "only one side was converted"
    )
    assert [item.message.partition(", and")[2].partition(":")[0] for item in found] == [
        " the value is tensor<4xf64>",
        " the value is (tensor<4xf32>, tensor<4xf32>)",
        " the value is gone",
    ]


def test_materialisations_take_apart_and_put_together():
    converter, target = splitting(), no_old()
    module = parse(
        """
        func.func @main(%x: tensor<4xf64>) -> tensor<4xf64> {
          %a = "old.f"(%x) : (tensor<4xf64>) -> tensor<4xf64>
          %b = "old.f"(%a) : (tensor<4xf64>) -> tensor<4xf64>
          return %b
        }
        """
    )
    seen = []

    def apart(types, values):
        seen.append((list(types), [value.type for value in values]))
        high = nd.cast(values[0], dtype=F32)
        return [high, nd.sub(high, high)]

    def together(type, values):
        return nd.cast(nd.add(*values), dtype=F64)

    converter.add_target_materialization(apart)
    converter.add_source_materialization(together)
    target.add_legal_dialect("new", "func", "nd", "builtin")
    apply_full_conversion(module, target, [old_to_new(converter)])
    verified(module)
    assert names(module)[2:] == ["nd.cast", "nd.sub", "new.f", "new.f", "nd.add", "nd.cast", "func.return"]
    assert seen == [([HALF, HALF], [WIDE])]


def test_a_materialisation_that_gives_other_types_is_an_error(assert_unchanged):
    converter = splitting()
    converter.add_target_materialization(lambda types, values: nd.cast(values[0], dtype=F32))
    module = parse(WHOLE)
    message = r"target materialization gives \(tensor<4xf32>\) for \(tensor<4xf32>, tensor<4xf32>\)"
    assert_unchanged(module, lambda: apply_partial_conversion(module, no_old(), [old_to_new(converter)]), message)


def test_an_old_argument_has_a_materialisation_of_its_own():
    text = """
    func.func @main(%x: tensor<4xf64>) {
      %a = "old.f"(%x) : (tensor<4xf64>) -> tensor<4xf64>
      "other.g"(%x, %a) : (tensor<4xf64>, tensor<4xf64>) -> ()
      return
    }
    """
    for own in (True, False):
        converter, target, module = splitting(), no_old(), parse(text)
        converter.add_source_materialization(
            lambda type, values: insert(UnregisteredOp("my.source", values, [type])).results[0]
        )
        if own:
            converter.add_argument_materialization(
                lambda type, values: insert(UnregisteredOp("my.argument", values, [type])).results[0]
            )
        apply_partial_conversion(module, target, [*add_function_conversion(target, converter), old_to_new(converter)])
        verified(module)
        whole = "my.argument" if own else "my.source"
        assert names(module)[2:] == [whole, "new.f", "my.source", "other.g", "func.return"]


def test_a_pattern_for_one_value_does_not_take_several(assert_unchanged):
    converter = splitting()

    @conversion("old.f", converter=converter)
    def plain(op, operands, rewriter):
        return insert(UnregisteredOp("new.f", operands, op.result_types)).results

    module = parse(WHOLE)
    (found,) = assert_unchanged(
        module, lambda: apply_partial_conversion(module, no_old(), [plain]), "'old.f' stayed illegal"
    )
    assert found.notes[0].message == "pattern 'plain' was tried: operand 0 became 2 values, and it takes one"


def test_what_was_split_is_split_again():
    """f64 to two f32, and each of these to two i32, by two patterns one after the other."""
    first = TypeConverter()
    first.add_conversion(lambda type: [HALF, HALF] if type is WIDE else type)
    second = TypeConverter()
    second.add_conversion(lambda type: [INT, INT] if type is HALF else type)

    def to(name, converter):
        def apply(op, operands, rewriter):
            made = [insert(UnregisteredOp(name, (), converter.convert_types([r.type]))) for r in op.results]
            return [op.results for op in made]

        return apply

    halves = conversion("old.wide", converter=first)(to("old.half", first))
    quarters = conversion("old.half", converter=second)(to("new.int", second))

    @conversion("old.end", one_to_n=True)
    def end(op, operands, rewriter):
        insert(UnregisteredOp("new.end", [value for group in operands for value in group]))
        return ()

    module = parse('%a = "old.wide"() : () -> tensor<4xf64>\n"old.end"(%a) : (tensor<4xf64>) -> ()')
    apply_partial_conversion(module, no_old(), [halves, quarters, end])
    verified(module)
    assert names(module)[1:] == ["new.int", "new.int", "new.end"]
    assert module.body.last.operand_types == (INT,) * 4


def test_values_for_one_result_must_be_values_of_it():
    pair = conversion("old.f")(lambda op, operands, rewriter: [operands[0]])
    with pytest.raises(DlirError, match="1 values for the 2 results"):
        apply_partial_conversion(parse(WHOLE), no_old(), [pair])


def test_the_text_of_a_split_function_is_read_again():
    converter, target, module = splitting(), no_old(), parse(WHOLE)
    apply_partial_conversion(module, target, [*add_function_conversion(target, converter), old_to_new(converter)])
    assert to_text(parse(to_text(module))) == to_text(module)
