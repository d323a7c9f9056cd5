"""The verifier: what it refuses, what it says, and that it stays linear."""

from __future__ import annotations

import pytest

from dlir.ir.attributes import IntegerAttr, StringAttr
from dlir.ir.builder import at_end
from dlir.ir.core import Block, Region, UnregisteredOp
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.state import Variable
from dlir.ir.ops import func, nd, state
from dlir.ir.types import F32, F64, FunctionType, TensorType
from dlir.ir.verifier import verify

T = TensorType((4,), F32)


def module_with(build, inputs=(T, T), results=(T,)):
    module = Module.empty()
    function = Func.make("main", inputs, results)
    module.body.append(function)
    with at_end(function.body):
        build(*function.body.args)
    return module


def only_message(module) -> str:
    (problem,) = verify(module)
    return problem.message


def test_a_good_module_has_no_problems():
    assert verify(module_with(lambda a, b: func.return_(nd.add(a, b)))) == []


def test_wrong_result_type():
    module = module_with(lambda a, b: func.return_(nd.add(a, b)))
    module.body.first.body.first.result.type = TensorType((5,), F32)
    assert any("gives tensor<4xf32>, not tensor<5xf32>" in p.message for p in verify(module))


def test_unequal_operand_types():
    def build(a, b):
        op = nd.add(a, b).owner
        func.return_(op.result)

    module = module_with(build)
    module.body.first.body.args[1].type = TensorType((4,), F64)
    module.body.first.set("function_type", FunctionType([T, TensorType((4,), F64)], [T]))
    assert "'nd.add'" in only_message(module)


def test_unknown_attribute_with_suggestion():
    module = module_with(lambda a, b: func.return_(nd.sum(a, axes=(0,))), results=(TensorType((), F32),))
    op = module.body.first.body.first
    op.attributes["keepdim"] = op.attributes.pop("axes")
    (problem,) = verify(module)
    assert "no attribute 'keepdim'" in problem.message and "keepdims" in problem.hint


def test_wrong_attribute_kind():
    module = module_with(lambda a, b: func.return_(nd.sum(a, axes=(0,))), results=(TensorType((), F32),))
    module.body.first.body.first.attributes["axes"] = StringAttr("all")
    assert "must be a list of integers" in only_message(module)


def test_a_dotted_attribute_is_discardable():
    module = module_with(lambda a, b: func.return_(nd.add(a, b)))
    module.body.first.body.first.attributes["my.note"] = IntegerAttr(1)
    assert verify(module) == []


def test_missing_terminator():
    module = module_with(lambda a, b: nd.add(a, b))
    assert "must end in 'func.return'" in only_message(module)


def test_terminator_in_the_middle():
    def build(a, b):
        func.return_(a)
        func.return_(b)

    assert "must be the last op" in verify(module_with(build))[0].message


def test_return_that_does_not_fit():
    assert "returns (tensor<4xf32>, tensor<4xf32>)" in only_message(module_with(lambda a, b: func.return_(a, b)))


def test_use_before_definition():
    module = module_with(lambda a, b: func.return_(nd.add(nd.neg(a), b)))
    body = module.body.first.body
    body.first.move_after(body.first.next)
    (problem,) = verify(module)
    assert "used before it is defined" in problem.message and problem.notes


def test_value_from_outside_an_isolated_op():
    module = module_with(lambda a, b: func.return_(nd.add(a, b)))
    other = Func.make("other", [], [T])
    module.body.append(other)
    with at_end(other.body):
        func.return_(module.body.first.body.first.result)
    assert "isolated from above" in only_message(module)


def test_dominance_over_blocks():
    module = module_with(lambda a, b: None)
    region = module.body.first.regions[0]
    left, right, join = (region.append(Block()) for _ in range(3))
    entry = region.blocks[0]
    entry.append(UnregisteredOp("t.br", successors=[left, right]))
    with at_end(left):
        value = nd.neg(entry.args[0])
    left.append(UnregisteredOp("t.br", successors=[join]))
    right.append(UnregisteredOp("t.br", successors=[join]))
    with at_end(join):
        func.return_(value)
    assert "does not dominate" in only_message(module)
    join.last.set_operand(0, entry.args[0])
    assert verify(module) == []


def test_symbols_defined_twice_or_not_at_all():
    module = module_with(lambda a, b: func.return_(state.read(variable="w", result_types=[T])))
    (problem,) = verify(module)
    assert "'@w', which is not defined" in problem.message
    for _ in range(2):
        module.body.append(Variable.create(sym_name="w", type=T, init=__import__("numpy").zeros(4, "f4")))
    assert any("defined twice" in p.message and p.notes for p in verify(module))


def test_a_call_must_fit_its_callee():
    module = module_with(lambda a, b: func.return_(func.call(a, callee="main", result_types=[T])))
    assert "calls '@main'" in only_message(module)


@pytest.mark.parametrize("kind", ["ops", "blocks", "symbols", "nesting"])
def test_the_verifier_visits_each_thing_a_bounded_number_of_times(kind):
    """Work is counted in executed lines, not in time."""
    small, large = (count_lines(kind, n) for n in (200, 800))
    assert large < 6 * small


def count_lines(kind: str, n: int) -> int:
    import sys

    module = sized_module(kind, n)
    lines = 0

    def trace(frame, event, arg):
        nonlocal lines
        lines += event == "line"
        return trace

    sys.settrace(trace)
    try:
        assert verify(module) == []
    finally:
        sys.settrace(None)
    return lines


def sized_module(kind: str, n: int) -> Module:
    if kind == "symbols":
        module = Module.empty()
        for i in range(n):
            function = Func.make(f"f{i}", [T], [T])
            module.body.append(function)
            with at_end(function.body):
                func.return_(func.call(function.body.args[0], callee=f"f{n - 1 - i}", result_types=[T]))
        return module
    module = module_with(lambda a, b: None)
    region = module.body.first.regions[0]
    block = region.blocks[0]
    value = block.args[0]
    for _ in range(n):
        if kind == "blocks":
            following = region.append(Block())
            block.append(UnregisteredOp("t.br", [value], successors=[following]))
            block = following
        elif kind == "nesting":
            inner = Block()
            block.append(UnregisteredOp("t.nest", [value], regions=[Region([inner])]))
            if block is region.blocks[0]:
                outermost = block
            block = inner
        else:
            with at_end(block):
                value = nd.neg(value)
    with at_end(outermost if kind == "nesting" else block):
        func.return_(value)
    return module
