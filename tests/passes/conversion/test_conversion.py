"""Dialect conversion: legality, patterns, and all or nothing."""

from __future__ import annotations

import pytest

from dlir.ir.attributes import UNIT
from dlir.ir.builder import at_end, insert
from dlir.ir.core import UnregisteredOp
from dlir.ir.location import FileLoc
from dlir.ir.ops import nd
from dlir.ir.verifier import verified
from dlir.passes.conversion import (
    MODIFIED,
    ConversionTarget,
    NoMatch,
    apply_full_conversion,
    apply_partial_conversion,
    conversion,
)
from dlir.passes.manager import PassManager
from dlir.textir import parse, to_text

OLD = """
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %a = "old.exp"(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %b = "old.twice"(%a) : (tensor<4xf32>) -> tensor<4xf32>
  %c = "other.op"(%b) : (tensor<4xf32>) -> tensor<4xf32>
  return %c
}
"""


@conversion("old.exp")
def exp(op, operands, rewriter):
    return nd.exp(*operands)


@conversion("old.twice")
def twice(op, operands, rewriter):
    return nd.add(operands[0], operands[0])


def no_old() -> ConversionTarget:
    target = ConversionTarget()
    target.add_illegal_dialect("old")
    return target


def names(module):
    return [op.name for op in module.walk()][2:-1]


def test_what_is_illegal_is_converted_and_what_is_unknown_stays():
    module = parse(OLD)
    fired = apply_partial_conversion(module, no_old(), [exp, twice])
    assert names(module) == ["nd.exp", "nd.add", "other.op"]
    assert fired == {"exp": 1, "twice": 1}
    assert "%a = nd.exp %x" in to_text(module) and "%b = nd.add %a, %a" in to_text(module)
    verified(module)


def test_a_full_conversion_refuses_what_is_unknown(assert_unchanged):
    target = no_old()
    target.add_legal_dialect("nd", "func", "builtin")
    module = parse(OLD)
    (diagnostic,) = assert_unchanged(
        module, lambda: apply_full_conversion(module, target, [exp, twice]), "'other.op' stayed illegal"
    )
    assert "nothing says that it is legal" in diagnostic.message
    target.add_legal_op("other.op")
    apply_full_conversion(module, target, [exp, twice])
    assert names(module) == ["nd.exp", "nd.add", "other.op"]


def test_the_error_tells_the_op_its_place_why_and_what_was_tried(assert_unchanged):
    @conversion("old.twice")
    def picky(op, operands, rewriter):
        return NoMatch("only tensors of rank 2 can be doubled")

    @conversion("old.twice", benefit=3)
    def silent(op, operands, rewriter):
        nd.neg(operands[0])  # made, and then given up
        return None

    module = parse(OLD, "old.dlir")
    (diagnostic,) = assert_unchanged(
        module, lambda: apply_partial_conversion(module, no_old(), [exp, picky, silent]), "'old.twice' stayed illegal"
    )
    assert diagnostic.message.endswith("no op of dialect 'old' may stay")
    assert isinstance(diagnostic.location, FileLoc)
    assert (diagnostic.location.file, diagnostic.location.line) == ("old.dlir", 4)
    assert [note.message for note in diagnostic.notes] == [
        "pattern 'silent' was tried: it did not match",
        "pattern 'picky' was tried: only tensors of rank 2 can be doubled",
    ]


def test_all_ops_that_stay_illegal_are_named(assert_unchanged):
    module = parse(OLD)
    found = assert_unchanged(module, lambda: apply_partial_conversion(module, no_old(), []), "stayed illegal")
    assert [item.notes[0].message for item in found] == ["no pattern is for this op"] * 2


def test_an_illegal_op_that_a_pattern_made_is_told_with_its_origin(assert_unchanged):
    @conversion("old.exp")
    def to_worse(op, operands, rewriter):
        return insert(UnregisteredOp("old.worse", operands, op.result_types)).results

    module = parse(OLD, "old.dlir")
    found = assert_unchanged(
        module, lambda: apply_partial_conversion(module, no_old(), [to_worse, twice]), "'old.worse' stayed illegal"
    )
    assert found[0].notes[-1].message == "pattern 'to-worse' made it from this 'old.exp'"
    assert found[0].notes[-1].location.line == 3


def test_what_a_pattern_makes_is_converted_in_turn():
    @conversion("old.twice")
    def by_way_of_exp(op, operands, rewriter):
        return insert(UnregisteredOp("old.exp", operands, op.result_types)).results

    module = parse(OLD)
    apply_partial_conversion(module, no_old(), [exp, by_way_of_exp])
    assert names(module) == ["nd.exp", "nd.exp", "other.op"]


def test_patterns_that_go_in_circles_are_named(assert_unchanged):
    def to(name):
        def apply(op, operands, rewriter):
            return insert(UnregisteredOp(name, operands, op.result_types)).results

        return apply

    there = conversion("old.exp")(to("old.twice"))
    back = conversion("old.twice")(to("old.exp"))
    module = parse(OLD)
    assert_unchanged(module, lambda: apply_partial_conversion(module, no_old(), [there, back]), "does not end")


def test_an_error_in_a_pattern_takes_everything_back(assert_unchanged):
    @conversion("old.twice")
    def broken(op, operands, rewriter):
        nd.exp(operands[0])
        return nd.matmul(operands[0], operands[0])

    @conversion("old.twice")
    def crashing(op, operands, rewriter):
        nd.exp(operands[0])
        raise ZeroDivisionError

    module = parse(OLD)
    assert_unchanged(module, lambda: apply_partial_conversion(module, no_old(), [exp, broken]), "nd.matmul")
    before = to_text(module)
    with pytest.raises(ZeroDivisionError):
        apply_partial_conversion(module, no_old(), [exp, crashing])
    assert to_text(module) == before


def test_the_wrong_number_of_values_is_an_error(assert_unchanged):
    module = parse(OLD)
    nothing = conversion("old.exp")(lambda op, operands, rewriter: ())
    itself = conversion("old.exp")(lambda op, operands, rewriter: op.results)
    assert_unchanged(
        module, lambda: apply_partial_conversion(module, no_old(), [nothing]), "0 values for the 1 results"
    )
    assert_unchanged(module, lambda: apply_partial_conversion(module, no_old(), [itself]), "its own replacement")


def test_the_op_goes_before_its_dialect_and_the_last_word_counts():
    target = no_old()
    target.add_dynamically_legal_op("old.exp", legal=lambda op: op.operands[0].name == "x")
    target.add_illegal_op("old.twice")
    target.add_legal_op("old.twice")
    ops = {op.name: op for op in parse(OLD).walk()}
    assert [target.is_legal(ops[name]) for name in ("old.exp", "old.twice", "other.op")] == [True, True, None]
    target.mark_unknown_op_dynamically_legal(lambda op: False, "everything must go")
    assert target.is_legal(ops["other.op"]) is False and target.why_not(ops["other.op"]) == "everything must go"


def test_an_op_may_be_changed_where_it_stands(assert_unchanged):
    @conversion("other.op")
    def rename(op, operands, rewriter):
        rewriter.modify(op)
        op.attributes["done"] = UNIT
        op.set_operands([operands[0]])
        return MODIFIED

    target = no_old()
    target.add_dynamically_legal_dialect("other", legal=lambda op: "done" in op.attributes)
    module = parse(OLD)
    assert_unchanged(module, lambda: apply_partial_conversion(module, target, [rename, exp]), "'old.twice'")
    apply_partial_conversion(module, target, [rename, exp, twice])
    assert '"other.op"(%b) {done}' in to_text(module, generic=True)
    still = conversion("other.op")(lambda op, operands, rewriter: MODIFIED)
    module = parse(OLD)
    assert_unchanged(module, lambda: apply_partial_conversion(module, target, [still, exp, twice]), "'other.op'")


REGION = """
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %r = "old.scope"(%x) ({
  ^bb0(%a: tensor<4xf32>):
    %b = "old.exp"(%a) : (tensor<4xf32>) -> tensor<4xf32>
    "new.yield"(%b) : (tensor<4xf32>) -> ()
  }) : (tensor<4xf32>) -> tensor<4xf32>
  return %r
}
"""


@conversion("old.scope")
def scope(op, operands, rewriter):
    with at_end(op.parent_op.parent):
        insert(UnregisteredOp("new.global"))
    made = UnregisteredOp("new.scope", operands, op.result_types, regions=rewriter.take_regions(op))
    return insert(made).results


def test_regions_move_to_the_new_op_and_their_ops_are_converted(assert_unchanged):
    module = parse(REGION)
    assert_unchanged(module, lambda: apply_partial_conversion(module, no_old(), [scope]), "'old.exp'")
    apply_partial_conversion(module, no_old(), [scope, exp])
    assert [op.name for op in module.walk()] == [
        *("builtin.module", "func.func", "new.scope", "nd.exp", "new.yield", "func.return", "new.global"),
    ]
    verified(module)


def test_what_stands_in_an_op_that_is_gone_need_not_be_legal():
    drop = conversion("old.scope")(lambda op, operands, rewriter: operands)
    module = parse(REGION)
    apply_partial_conversion(module, no_old(), [drop])
    assert names(module) == []


def test_layers_that_nobody_can_lower_are_an_error_of_lower_nn(assert_unchanged):
    module = parse(OLD)
    next(op for op in module.walk() if op.name == "old.exp").name = "nn.unheard_of"
    message = "'nn.unheard_of' stayed illegal: no op of dialect 'nn' may stay"
    assert_unchanged(module, lambda: PassManager.from_text("lower-nn").run(module), message)
