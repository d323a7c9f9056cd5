"""The graph: linked operations, use lists, order."""

from __future__ import annotations

import random

from dlir.ir.core import ALLOC, IO, READ, WRITE, Block, Operation, Region, UnregisteredOp
from dlir.ir.effects import effects_of, is_removable
from dlir.ir.traversal import clone, difference, structurally_equal
from dlir.ir.types import F32, I32


def make(name="t.op", operands=(), results=1, **kwargs) -> Operation:
    return UnregisteredOp(name, operands, [F32] * results, **kwargs)


def test_insert_and_erase_anywhere_keeps_order():
    rng = random.Random(0)
    block, model = Block(), []
    for step in range(2000):
        if model and rng.random() < 0.3:
            index = rng.randrange(len(model))
            model.pop(index).erase()
        else:
            op = make(f"t.op{step}")
            index = rng.randrange(len(model) + 1)
            if index == len(model):
                block.append(op)
            else:
                block.insert_before(model[index], op)
            model.insert(index, op)
        if step % 100 == 0 and len(model) > 1:
            i, j = sorted(rng.sample(range(len(model)), 2))
            assert model[i].is_before(model[j]) and not model[j].is_before(model[i])
    assert list(block.ops) == model
    assert block.first is model[0] and block.last is model[-1]


def test_many_insertions_in_one_place_keep_the_order_numbers_right():
    block = Block()
    first, last = block.append(make()), block.append(make())
    for _ in range(100):
        new = make()
        block.insert_after(first, new)
        assert first.is_before(new) and new.is_before(last)


def test_uses_are_in_the_order_in_which_they_were_made():
    block = Block([F32])
    arg = block.args[0]
    users = [block.append(make(operands=[arg])) for _ in range(5)]
    assert arg.users == users
    users[2].set_operand(0, users[0].result)
    assert arg.users == [users[0], users[1], users[3], users[4]]
    users[1].erase()
    assert arg.users == [users[0], users[3], users[4]]


def test_replacing_a_value_moves_every_use():
    block = Block([F32, F32])
    one, two = block.args
    user = block.append(make(operands=[one, one, two]))
    one.replace_by(two)
    assert user.operands == (two, two, two) and not one.is_used


def test_erasing_drops_what_inner_ops_use():
    block = Block([F32])
    inner = Block()
    inner.append(make(operands=[block.args[0]]))
    outer = block.append(make(regions=[Region([inner])]))
    outer.erase()
    assert not block.args[0].is_used


def test_clone_copies_nested_ops_blocks_and_forward_references():
    inner = [Block([F32]), Block()]
    definition = make("t.def")
    inner[0].append(make("t.use", [definition.result, inner[0].args[0]]))
    inner[0].append(make("t.br", results=0, successors=[inner[1]]))
    inner[1].append(definition)
    top = make("t.top", regions=[Region(inner)])
    copy = clone(top)
    assert structurally_equal(top, copy)
    mine = {id(op) for op in top.walk()}
    assert all(id(op) not in mine for op in copy.walk())
    assert all(id(v.owner) not in mine for op in copy.walk() for v in op.operands if isinstance(v.owner, Operation))
    copied_blocks = copy.regions[0].blocks
    assert copied_blocks[0].last.successors == (copied_blocks[1],)


def test_difference_says_what_differs():
    one, two = make(), UnregisteredOp("t.op", [], [I32])
    assert "result types" in difference(one, two)
    assert "'t.a'" in difference(make("t.a"), make("t.b"))


def test_deep_nesting_does_not_recurse():
    top = op = make()
    for _ in range(20_000):
        block = Block()
        inner = make()
        block.append(inner)
        region = Region([block])
        region.parent = op
        op.regions = (region,)
        op = inner
    copy = clone(top)
    assert structurally_equal(top, copy)
    assert sum(1 for _ in copy.walk()) == 20_001
    copy.erase()


def test_an_op_that_is_not_registered_may_do_anything():
    op = make(regions=[Region([Block()])])
    assert op.side_effects() == effects_of(op) == {READ, WRITE, ALLOC, IO}
    assert not is_removable(op) and not is_removable(op, {}) and not is_removable(make())
