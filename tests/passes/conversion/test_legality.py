"""Which ops are looked at: several roots, the roots themselves, what is legal with all that stands in it."""

from __future__ import annotations

import pytest

from dlir.ir.attributes import UNIT
from dlir.ir.builder import at_start, insert
from dlir.ir.core import UnregisteredOp
from dlir.ir.errors import DlirError
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
from dlir.textir import parse

THREE = "\n".join(
    f"""
    func.func @{name}(%x: tensor<4xf32>) -> tensor<4xf32> {{
      %a = "old.exp"(%x) : (tensor<4xf32>) -> tensor<4xf32>
      return %a
    }}
    """
    for name in ("one", "two", "three")
)


@conversion("old.exp")
def exp(op, operands, rewriter):
    return nd.exp(*operands)


def no_old() -> ConversionTarget:
    target = ConversionTarget()
    target.add_illegal_dialect("old")
    return target


def names(op):
    return [inner.name for inner in op.walk()]


# ---------------------------------------------------------------- roots


def test_only_the_roots_that_are_given_are_converted():
    module = parse(THREE)
    one, two, three = module.body.ops
    assert apply_partial_conversion([three, one], no_old(), [exp]) == {"exp": 2}
    assert ["old.exp" in names(op) for op in (one, two, three)] == [False, True, False]
    verified(module)
    assert not apply_partial_conversion([], no_old(), [exp])


def test_one_root_that_fails_takes_the_others_back(assert_unchanged):
    module = parse(THREE)
    one, two, three = module.body.ops
    three.body.first.name = "old.stuck"
    assert_unchanged(
        module, lambda: apply_partial_conversion([one, two, three], no_old(), [exp]), "'old.stuck' stayed illegal"
    )
    assert apply_partial_conversion([one, two], no_old(), [exp]) == {"exp": 2}


def test_a_root_in_a_root_is_converted_once():
    module = parse(THREE)
    assert apply_partial_conversion([module, *module.body.ops], no_old(), [exp]) == {"exp": 3}
    module = parse(THREE)
    assert apply_partial_conversion([*module.body.ops, module], no_old(), [exp]) == {"exp": 3}


def test_a_root_is_itself_converted():
    module = parse(THREE)
    one = module.body.first
    apply_partial_conversion(one.body.first, no_old(), [exp])
    assert names(one) == ["func.func", "nd.exp", "func.return"]
    full = no_old()
    full.add_legal_dialect("nd")
    with pytest.raises(DlirError) as caught:
        apply_full_conversion(one, full, [])
    found = [item.message.partition(":")[0] for item in caught.value.diagnostics]
    assert found == ["'func.func' stayed illegal"]  # and its terminator with it


def test_the_module_can_be_changed_but_not_replaced(assert_unchanged):
    @conversion("builtin.module")
    def mark(op, operands, rewriter):
        rewriter.modify(op)
        op.attributes["my.done"] = UNIT
        return MODIFIED

    @conversion("builtin.module", benefit=2)
    def vanish(op, operands, rewriter):
        return ()

    target = ConversionTarget()
    target.add_dynamically_legal_op("builtin.module", legal=lambda op: "my.done" in op.attributes)
    module = parse(THREE)
    (found,) = assert_unchanged(module, lambda: apply_partial_conversion(module, target, [vanish]), "'builtin.module'")
    assert "can only be changed where it is" in found.notes[0].message
    assert apply_partial_conversion(module, target, [vanish, mark]) == {"mark": 1}
    assert "my.done" in module.attributes


# ---------------------------------------------------------------- recursively legal

NESTED = """
"my.scope"() ({
  "old.exp"() : () -> ()
  "my.scope"() ({
    "old.exp"() : () -> ()
  }) : () -> ()
}) {keep} : () -> ()
"my.scope"() ({
  "old.exp"() : () -> ()
}) : () -> ()
"""


@conversion("old.exp")
def to_new(op, operands, rewriter):
    insert(UnregisteredOp("new.exp"))
    return ()


def test_nothing_is_looked_at_in_what_is_recursively_legal():
    module, target = parse(NESTED), no_old()
    target.add_legal_op("my.scope")
    target.mark_op_recursively_legal("my.scope")
    assert not apply_full_conversion(list(module.body.ops), target, [to_new])
    # With a test it depends on the op.
    target.mark_op_recursively_legal("my.scope", legal=lambda op: "keep" in op.attributes)
    apply_full_conversion(module.body.last, with_new(target), [to_new])
    assert names(module).count("old.exp") == 2 and names(module)[-1] == "new.exp"


def with_new(target):
    target.add_legal_dialect("new")
    return target


def test_an_op_must_itself_be_legal_for_its_inside_to_be():
    """As in MLIR: the mark says nothing of an op that is unknown, or illegal as it stands."""
    for legality in (None, lambda op: "keep" in op.attributes):
        module, target = parse(NESTED), no_old()
        target.mark_op_recursively_legal("my.scope")
        if legality is not None:
            target.add_dynamically_legal_op("my.scope", legal=legality)
            with pytest.raises(DlirError, match="'my.scope' stayed illegal"):
                apply_partial_conversion(module, target, [to_new])
        else:
            assert apply_partial_conversion(module, target, [to_new]) == {"to-new": 3}


def test_what_moves_into_a_recursively_legal_op_is_let_alone():
    @conversion("old.scope")
    def close(op, operands, rewriter):
        insert(UnregisteredOp("my.scope", regions=rewriter.take_regions(op)))
        return ()

    module, target = parse(NESTED.replace("my.scope", "old.scope")), no_old()
    target.add_legal_op("my.scope")
    target.mark_op_recursively_legal("my.scope")
    assert apply_partial_conversion(module, target, [close]) == {"close": 2}
    assert names(module)[1:] == ["my.scope", "old.exp", "old.scope", "old.exp", "my.scope", "old.exp"]


# ---------------------------------------------------------------- tests that know nothing, benefit, what is made elsewhere


def test_a_test_that_does_not_know_an_op_leaves_it_unknown(assert_unchanged):
    target = ConversionTarget()
    target.add_dynamically_legal_dialect("old", legal=lambda op: None)
    module = parse(THREE)
    assert target.is_legal(module.body.first.body.first) is None
    assert not apply_partial_conversion(module, target, [])
    target.add_legal_dialect("func", "builtin")
    found = assert_unchanged(module, lambda: apply_full_conversion(module, target, []), "'old.exp' stayed illegal")
    assert found[0].message.endswith("nothing says that it is legal")
    # In a partial conversion, what is unknown is converted where a pattern takes it.
    assert apply_partial_conversion(module, target, [exp]) == {"exp": 3}


def test_the_pattern_with_the_largest_benefit_that_takes_the_op_wins():
    tried = []

    def make(name, benefit, takes):
        def apply(op, operands, rewriter):
            tried.append(name)
            return nd.exp(*operands) if takes else NoMatch("not me")

        return conversion("old.exp", benefit=benefit)(apply)

    patterns = [make("low", 1, True), make("high", 9, False), make("middle", 5, True), make("also middle", 5, True)]
    apply_partial_conversion(parse(THREE).body.first, no_old(), patterns)
    assert tried == ["high", "middle"]


def test_what_is_made_in_a_place_still_to_come_is_converted_once():
    """The first op puts a second one into a later function; that function is walked afterwards."""

    @conversion("old.seed")
    def seed(op, operands, rewriter):
        with at_start(op.parent.last.body):
            insert(UnregisteredOp("old.exp"))
            insert(UnregisteredOp("my.odd"))
        return ()

    tried = []

    @conversion("my.odd")
    def odd(op, operands, rewriter):
        tried.append(op)
        return None

    module = parse('"old.seed"() : () -> ()\n' + NESTED)
    assert apply_partial_conversion(module, no_old(), [seed, to_new, odd]) == {"seed": 1, "to-new": 4}
    assert [op.name for op in module.body.last.body.ops] == ["new.exp", "my.odd", "new.exp"]
    assert len(tried) == 1
