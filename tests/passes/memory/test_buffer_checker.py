"""The tests' own checker of buffers sees wrong ones: each of these changes makes bufferize wrong somewhere."""

from __future__ import annotations

import pytest
from support.buffer_checker import COUNTS, WrongBuffers, cut, joined
from support.buffers import make_function, region
from support.loop_programs import loop_program

from dlir.ir.dialects.func import find_function
from dlir.ir.ops import nd
from dlir.ir.traversal import clone
from dlir.ir.types import F32, TensorType
from dlir.passes.manager import PassManager
from dlir.passes.memory import assignment, buffers, loops, parts

ROWS = TensorType((16, 16), F32)


def matmul(a, b):
    return region(nd.matmul, a, b)


def piece_of_what_is_overwritten(x):
    whole = matmul(x, x)
    piece = region(lambda a: nd.slice(a, start=(4, 0), stop=(8, 16)), whole)
    last = region(lambda a: nd.add(a, 1.0), whole)
    return matmul(region(lambda a: nd.mul(a, 2.0), piece), last)


def piece_of_a_product(x):
    return matmul(region(lambda a: nd.slice(a, start=(4, 0), stop=(8, 16)), matmul(x, x)), x)


def two_products(x):
    return matmul(matmul(x, x), matmul(x, x))


PROGRAMS = (piece_of_what_is_overwritten, piece_of_a_product, two_products)


def programs():
    yield from (make_function([ROWS], body) for body in PROGRAMS)
    yield from (loop_program(seed) for seed in range(40))


def bufferize_all():
    for module in programs():
        PassManager.from_text("fuse{max-ops=1},bufferize").run(module)


def everything(op):
    return {number: list(range(len(op.results))) for number in range(len(op.operands))}


def shifted(begin):
    return lambda cut: None if (found := begin(cut)) is None else found - 64


CHANGES = {
    "every kernel works in place": (buffers, "inplace_candidates", lambda old: everything),
    "slices do not care for later writes": (parts, "_writes", lambda old: lambda *args: iter(())),
    "slices begin a line early": (parts, "_begin", shifted),
    "copies are made in any order": (loops, "in_order", lambda old: lambda moves, *_: [loops.Move(*m) for m in moves]),
    "loops take over what is needed later": (
        loops.Slots,
        "_may_take_over",
        lambda old: lambda self, buffer, value, time: buffer.may_be_written,
    ),
    "inputs are written": (assignment.Buffer, "may_be_written", lambda old: property(lambda self: True)),
}


def test_right_buffers_are_followed_to_the_end():
    before = dict(COUNTS)
    bufferize_all()
    assert COUNTS["followed"] >= before["followed"] + 40 + len(PROGRAMS)
    assert COUNTS["not"] == before["not"]


@pytest.mark.parametrize("change", CHANGES)
def test_a_planted_mistake_is_seen(change, monkeypatch):
    place, name, make = CHANGES[change]
    monkeypatch.setattr(place, name, make(getattr(place, name)))
    with pytest.raises(WrongBuffers):
        bufferize_all()


def test_contents_are_cut_and_joined():
    content = joined([(4, "a", 0), (4, "a", 4), (0, "c", 0), (8, "b", 0)])
    assert content == ((8, "a", 0), (8, "b", 0))
    assert cut(content, 6, 12) == ((2, "a", 6), (4, "b", 0))
    assert joined([*cut(content, 0, 5), *cut(content, 5, 16)]) == content


def test_a_variable_that_keeps_its_old_value_is_seen(monkeypatch):
    modules = [loop_program(seed, 16, 3) for seed in range(30)]
    monkeypatch.setattr(buffers, "place_writes", lambda function, found: None)
    with pytest.raises(WrongBuffers, match="@v"):
        for module in modules:
            assert find_function(module, "main")
            PassManager.from_text("fuse{max-ops=1},bufferize").run(clone(module))
