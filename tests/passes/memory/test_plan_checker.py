"""The tests' own checker of memory plans sees wrong ones."""

from __future__ import annotations

import pytest
from support.plan_checker import Memory, WrongPlan

from dlir.passes import plan_memory
from dlir.passes.manager import PassManager
from dlir.passes.memory.packing import Packing
from dlir.textir import parse

TEXT = """
func.func @main(%x: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %a = nd.matmul %x, %x
  %b = nd.matmul %a, %x
  %c = nd.matmul %a, %b
  %d = nd.matmul %c, %a
  %e = nd.matmul %d, %b
  return %e
}
"""


def plan(monkeypatch, offsets, height):
    """Lower with these offsets in the arena, whatever the planner says."""

    def chosen(items, **options):
        return Packing(list(offsets[: len(items)]), [None] * len(items), height, 0)

    monkeypatch.setattr(plan_memory, "pack", chosen)
    monkeypatch.setattr(plan_memory, "conflicts", lambda items, packing: [])
    PassManager.from_text("fuse{max-ops=1},schedule,bufferize,plan-memory").run(parse(TEXT))


def test_places_apart_are_right(monkeypatch):
    plan(monkeypatch, [0, 256, 512, 768], 1024)


@pytest.mark.parametrize("offsets", [[0, 0, 256, 512], [0, 256, 0, 512], [0, 252, 508, 764]], ids=["ab", "ac", "edge"])
def test_shared_bytes_are_seen(monkeypatch, offsets):
    with pytest.raises(WrongPlan):
        plan(monkeypatch, offsets, 1024)


def test_a_place_outside_of_the_arena_is_seen(monkeypatch):
    with pytest.raises(WrongPlan, match="reaches out"):
        plan(monkeypatch, [0, 256, 512, 768], 1000)


def test_memory_remembers_who_wrote_each_byte():
    memory = Memory()
    memory.write(("m", 0, 8), "a")
    memory.write(("m", 2, 4), "b")
    assert memory.read(("m", 2, 4)) == ((0, 2, "b"),)
    parts = memory.read(("m", 0, 10))
    assert [(begin, end) for begin, end, _ in parts] == [(0, 2), (2, 4), (4, 8), (8, 10)]
    assert parts[-1][2] == "unwritten"
    assert parts[0][2] != "a", "a part of what was written is not the whole"
