"""From a packing that is there to a lower one: a ladder of questions for the exact search.

Whether buffers fit below a given height is far easier to answer than how low they go.  The lowest rung is tried first,
where the largest set that lives at one time just fits; most real arenas get there.  If not, the rungs in between are
halved.  A question that takes too long counts as a no.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dlir.passes.memory.exact import SOLVED, Problem, fit, problem_of


@dataclass(frozen=True, slots=True)
class Descent:
    """The lowest packing found, in bytes, and the nodes that the search took; no offsets if there is no lower one."""

    height: int
    offsets: list[int]
    nodes: int


def descend(spans: Sequence[tuple[int, int, int]], height: int, alignment: int, nodes: int, goal: int = 0) -> Descent:
    """Search below `height` bytes for buffers given as (bytes, first time, last time), none of them empty.

    Offsets are multiples of `alignment`.  The search ends at `goal` bytes or after so many nodes.
    """
    problem = problem_of(spans, alignment)
    best = Descent(height, [], 0)
    low = max(max(problem.fullness()), goal // alignment)
    rung, high = low, -(-height // alignment)
    spent = 0
    while low < high and spent < nodes:
        # The first question is the best one: most of the effort is for it.
        share = (nodes - spent) // 2 if spent else nodes * 7 // 8
        found, taken = fit(problem, rung, max(1, share))
        spent += taken
        if found.status == SOLVED:
            best = _descent(problem, spans, found.offsets)
            high = min(rung, -(-best.height // alignment))
            if best.height <= goal:
                break
        else:
            low = rung + 1
        rung = (low + high) // 2
    return Descent(best.height, best.offsets, spent)


def _descent(problem: Problem, spans: Sequence[tuple[int, int, int]], found: Sequence[int]) -> Descent:
    offsets = [0] * len(spans)
    for number, offset in zip(problem.order, found):
        offsets[number] = offset * problem.unit
    height = max(offset + span[0] for offset, span in zip(offsets, spans))
    return Descent(height, offsets, 0)
