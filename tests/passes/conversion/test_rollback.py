"""All or nothing: wherever a conversion fails, the text is as it was, and so is every op."""

from __future__ import annotations

import random
from functools import partial

import pytest

from dlir.ir.attributes import UNIT
from dlir.ir.builder import at_end, at_start, insert
from dlir.ir.core import UnregisteredOp
from dlir.ir.errors import DlirError
from dlir.ir.ops import nd
from dlir.ir.types import F32, F64, TensorType
from dlir.ir.verifier import verified
from dlir.passes.conversion import (
    MODIFIED,
    ConversionTarget,
    NoMatch,
    TypeConverter,
    add_function_conversion,
    apply_full_conversion,
    apply_partial_conversion,
    conversion,
)
from dlir.textir import parse, to_text
from dlir.textir.diagnostics import render

WIDE, HALF = TensorType((4,), F64), TensorType((4,), F32)


class Breaks(Exception):
    """Something that no pattern may do."""


def everything(fail_at: int, how: str):
    """A converter that splits, and patterns that do all that a pattern can do; the conversion number `fail_at` fails."""
    converter = TypeConverter()
    converter.add_conversion(lambda type: [HALF, HALF] if type is WIDE else type)
    count = [0]

    def fails() -> bool:
        count[0] += 1
        return count[0] == fail_at

    def checked(made):
        if fails():
            if how == "crash":
                raise Breaks
            if how == "error":
                raise DlirError("told by a pattern")
            return NoMatch("it is one too many")
        return made

    @conversion("old.f", converter=converter, one_to_n=True)
    def split(op, operands, rewriter):
        flat = [value for group in operands for value in group]
        return checked([insert(UnregisteredOp("new.f", flat, (HALF, HALF))).results])

    @conversion("old.scope", converter=converter, one_to_n=True)
    def open_scope(op, operands, rewriter):
        body = op.body
        rewriter.apply_signature_conversion(body, converter.convert_block_signature(body), converter)
        with at_start(body):
            insert(UnregisteredOp("new.start"))
        with at_end(op.parent_op.parent):
            insert(UnregisteredOp("new.beside"))
        flat = [value for group in operands for value in group]
        made = insert(UnregisteredOp("new.scope", flat, (HALF, HALF), regions=rewriter.take_regions(op)))
        return checked([made.results])

    @conversion("old.name", one_to_n=True)
    def rename(op, operands, rewriter):
        rewriter.modify(op)
        op.attributes["done"] = UNIT
        del op.attributes["todo"]
        op.set_operands([value for group in operands for value in (*group, *group)])
        return checked(MODIFIED)

    @conversion("old.same", one_to_n=True)
    def forward(op, operands, rewriter):
        return checked([operands[0]])

    @conversion("old.yield", one_to_n=True)
    def end(op, operands, rewriter):
        insert(UnregisteredOp("new.yield", [value for group in operands for value in group]))
        return checked(())

    target = ConversionTarget()
    target.add_illegal_dialect("old")
    target.add_dynamically_legal_op("old.name", legal=lambda op: "done" in op.attributes)
    functions = add_function_conversion(target, converter)
    return target, [*functions, split, open_scope, rename, forward, end]


def program(seed: int) -> str:
    """A function with nested scopes, in which values of the split type meet ops that are converted and ops that are not."""
    rng = random.Random(seed)
    lines: list[str] = []
    number = 0

    def fresh() -> str:
        nonlocal number
        number += 1
        return f"%v{number}"

    def body(values: list[str], depth: int) -> None:
        for _ in range(rng.randint(2, 5)):
            value, kind = rng.choice(values), rng.choice(["f", "f", "g", "name", "same", "scope"])
            out = fresh()
            if kind == "scope" and depth < 3:
                arg = fresh()
                lines.append(f'{out} = "old.scope"({value}) ({{\n^bb0({arg}: tensor<4xf64>):')
                body([arg], depth + 1)
                lines.append("}) : (tensor<4xf64>) -> tensor<4xf64>")
            elif kind == "name":
                lines.append(f'"old.name"({value}) {{todo}} : (tensor<4xf64>) -> ()')
                continue
            else:
                op = {"g": "other.g", "same": "old.same"}.get(kind, "old.f")
                lines.append(f'{out} = "{op}"({value}) : (tensor<4xf64>) -> tensor<4xf64>')
            values = [*values, out]
        if depth:
            lines.append(f'"old.yield"({values[-1]}) : (tensor<4xf64>) -> ()')
        else:
            lines.append(f"return {values[-1]}")

    body(["%x"], 0)
    text = "\n".join(lines)
    return f"func.func @main(%x: tensor<4xf64>) -> tensor<4xf64> {{\n{text}\n}}"


@pytest.mark.parametrize("seed", range(8))
def test_wherever_it_fails_nothing_has_changed(seed, assert_unchanged):
    text = program(seed)
    module = parse(text)
    target, patterns = everything(-1, "never")
    steps = apply_partial_conversion(module, target, patterns)
    verified(module)
    own = sum(number for name, number in steps.items() if not name.startswith("convert-"))
    assert own == sum(text.count(name) for name in ("old.f", "old.scope", "old.name", "old.same", "old.yield"))
    for fail_at in range(1, own + 1):
        module = parse(text)
        for how, message in (("no match", "stayed illegal"), ("error", "told by a pattern")):
            target, patterns = everything(fail_at, how)
            convert = partial(apply_partial_conversion, module, target, patterns)
            assert_unchanged(module, convert, message)
        before = to_text(module, locations=True)
        with pytest.raises(Breaks):
            apply_partial_conversion(module, *everything(fail_at, "crash"))
        assert to_text(module, locations=True) == before
        # It can be done afterwards as if nothing had been.
        assert apply_partial_conversion(module, *everything(-1, "never")) == steps


def test_a_full_conversion_that_leaves_casts_is_taken_back(assert_unchanged):
    module = parse(program(3))
    target, patterns = everything(-1, "never")
    target.add_legal_dialect("new", "other", "builtin")
    found = assert_unchanged(
        module, lambda: apply_full_conversion(module, target, patterns), "only one side was converted"
    )
    assert {item.message.partition(" ")[0] for item in found} >= {"'other.g'"}


def test_a_materialisation_that_fails_at_the_end_takes_everything_back(assert_unchanged):
    text = """
    func.func @main(%x: tensor<4xf64>) -> tensor<4xf64> {
      %a = "old.f"(%x) : (tensor<4xf64>) -> tensor<4xf64>
      return %a
    }
    """
    converter, target, module = TypeConverter(), ConversionTarget(), parse(text)
    converter.add_conversion(lambda type: HALF if type is WIDE else type)
    target.add_illegal_dialect("old")

    @conversion("old.f", converter=converter)
    def narrow(op, operands, rewriter):
        return nd.exp(*operands)

    def refuse(type, values):
        nd.neg(*values)
        raise DlirError("no way back")

    converter.add_source_materialization(refuse)
    assert_unchanged(module, lambda: apply_partial_conversion(module, target, [narrow]), "no way back")
    # What a materialisation makes must be legal, too.
    converter.add_source_materialization(
        lambda type, values: insert(UnregisteredOp("old.back", values, [type])).results[0]
    )
    (found,) = assert_unchanged(module, lambda: apply_partial_conversion(module, target, [narrow]), "'old.back'")
    assert found.notes[0].message == "a materialization made it, between an old type and a new one"


def test_a_value_that_was_there_keeps_its_name():
    """A name is given to what is made for a value, not to what stood in the module before."""
    module = parse('%0 = "my.op"() : () -> tensor<4xf64>\n%a = "old.same"(%0) : (tensor<4xf64>) -> tensor<4xf64>')
    target, patterns = everything(-1, "never")
    apply_partial_conversion(module, target, patterns)
    assert module.body.first.results[0].name is None


# ---------------------------------------------------------------- what a person reads


def told(text: str, convert) -> str:
    module = parse(text, "net.dlir")
    with pytest.raises(DlirError) as caught:
        convert(module)
    return render(caught.value, {"net.dlir": text})


def test_the_message_names_the_op_why_it_must_go_and_what_was_tried():
    text = """func.func @main(%x: tensor<4xf64>) -> tensor<4xf64> {
  %a = "old.g"(%x) : (tensor<4xf64>) -> tensor<4xf64>
  return %a
}"""

    @conversion("old.g")
    def to_worse(op, operands, rewriter):
        return insert(UnregisteredOp("old.worse", operands, op.result_types)).results

    @conversion("old.worse", benefit=2)
    def picky(op, operands, rewriter):
        return NoMatch("it takes i32 only")

    @conversion("old.worse")
    def silent(op, operands, rewriter):
        return None

    target = ConversionTarget()
    target.add_illegal_dialect("old")
    target.add_illegal_op("old.worse", why="only 'new.better' is understood from here on")
    assert (
        told(text, lambda module: apply_partial_conversion(module, target, [to_worse, picky, silent]))
        == """\
net.dlir:2:3: error: 'old.worse' stayed illegal: only 'new.better' is understood from here on
    2 |   %a = "old.g"(%x) : (tensor<4xf64>) -> tensor<4xf64>
      |   ^
note: pattern 'picky' was tried: it takes i32 only
note: pattern 'silent' was tried: it did not match
net.dlir:2:3: note: pattern 'to-worse' made it from this 'old.g'
    2 |   %a = "old.g"(%x) : (tensor<4xf64>) -> tensor<4xf64>
      |   ^"""
    )


def test_the_message_of_a_cast_that_would_stay_names_both_sides():
    text = """func.func @main(%x: tensor<4xf64>) -> tensor<4xf64> {
  %a = "old.f"(%x) : (tensor<4xf64>) -> tensor<4xf64>
  "other.g"(%a) : (tensor<4xf64>) -> ()
  return %x
}"""
    target, patterns = everything(-1, "never")
    target.add_legal_dialect("new", "other", "builtin")
    now = "(tensor<4xf32>, tensor<4xf32>)"
    assert (
        told(text, lambda module: apply_full_conversion(module, target, patterns))
        == f"""\
net.dlir:3:3: error: 'other.g' needs tensor<4xf64> as its operand 0, and the value is {now}: only one side was converted
    3 |   "other.g"(%a) : (tensor<4xf64>) -> ()
      |   ^
net.dlir:2:3: note: the value comes from this 'new.f'
    2 |   %a = "old.f"(%x) : (tensor<4xf64>) -> tensor<4xf64>
      |   ^"""
    )
