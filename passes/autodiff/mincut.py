"""What to keep and what to compute again, by a minimum cut.

Every value between the arguments and what is used later can be kept, for its bytes, or be computed again from what is kept.
The cheapest set of values that cuts the later uses off from what cannot be repeated is a minimum cut.  Weights are those of
PyTorch's AOTAutograd (``torch._functorch.partitioners``): bytes * 1.1 ** distance to the use, so that what is kept lies near
it, and twice that for what a fused kernel would not store otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

from dlir.passes.autodiff.tape import Tape, is_cheap, is_view


def cheapest_again(tape: Tape, place: int, least: float = 0) -> list[int]:
    """The steps before `place` to compute again for users from there on, so that fewest bytes are kept across it.

    None if at most `least` bytes wait there for a later step: what the step at `place` uses is needed in any case.
    """
    wanted = tape.crossing(place)
    here = {tape.roots[number] for number in tape.steps[place].used}
    if tape.held(number for number in wanted if tape.roots[number] not in here) <= least:
        return []
    cheap: dict[int, bool] = {}
    needed = _ancestors(tape, wanted, cheap)
    if not any(cheap.values()):
        return []
    kept = _cut(tape, wanted, needed, cheap, place)
    return steps_between(tape, [number for number in wanted if not is_kept(tape, number, kept)], kept)


def steps_between(tape: Tape, wanted: Sequence[int], kept: dict[int, None]) -> list[int]:
    """The steps that make `wanted` from what is kept or there anyway."""
    found: dict[int, None] = {}
    waiting = list(wanted)
    while waiting:
        number = waiting.pop()
        step = tape.maker[number]
        if step not in found:
            found[step] = None
            waiting += [value for value in tape.steps[step].used if not is_kept(tape, value, kept)]
    return sorted(found)


def is_kept(tape: Tape, number: int, kept: dict[int, None]) -> bool:
    """Whether a value can be used later as it is: its memory is kept, or there anyway."""
    root = tape.roots[number]
    return tape.is_there(number) or root in kept or number in kept


def _ancestors(tape: Tape, wanted: Sequence[int], cheap: dict[int, bool]) -> dict[int, None]:
    """The values from which `wanted` can be made by cheap steps; `cheap` receives which steps are."""
    found: dict[int, None] = {}
    waiting = list(wanted)
    while waiting:
        number = waiting.pop()
        if number in found or tape.is_there(number):
            continue
        found[number] = None
        step = tape.maker[number]
        if step not in cheap:
            # A view is made again for nothing, however little of its operand it shows.
            cheap[step] = is_view(tape.steps[step].op) or is_cheap(tape.steps[step].op)
        if cheap[step]:
            waiting += tape.steps[step].used
    return found


def _cut(
    tape: Tape, wanted: Sequence[int], needed: dict[int, None], cheap: dict[int, bool], place: int
) -> dict[int, None]:
    """The values of a minimum cut between those that cannot be made again and the `wanted` ones."""
    import networkx  # takes 200 ms

    graph = networkx.DiGraph()
    graph.add_nodes_from(("source", "sink"))
    distance = _distances(tape, wanted, needed)
    for number in sorted(needed):
        step = tape.maker[number]
        # A view is kept by keeping what it looks at.
        if is_view(tape.steps[step].op):
            graph.add_edge((number, "in"), (number, "out"))
        else:
            stored = any(user < place and not _fuses(tape, user) for user in tape.users[number])
            weight = tape.sizes[number] * 1.1 ** min(distance[number], 100) * (1 if stored else 2)
            graph.add_edge((number, "in"), (number, "out"), capacity=weight)
        if not cheap[step]:
            graph.add_edge("source", (number, "in"))
        else:
            for value in tape.steps[step].used:
                if value in needed:
                    graph.add_edge((value, "out"), (number, "in"))
    for number in wanted:
        graph.add_edge((number, "out"), "sink")
    _, (near_source, _) = networkx.minimum_cut(graph, "source", "sink")
    return {number: None for number in needed if (number, "in") in near_source and (number, "out") not in near_source}


def _distances(tape: Tape, wanted: Sequence[int], needed: dict[int, None]) -> dict[int, int]:
    """How many steps lie between each value and its next use across the cut, at least 1."""
    found = dict.fromkeys(wanted, 1)
    for number in sorted(needed, reverse=True):
        steps = [found[made] + 1 for user in tape.users[number] for made in tape.steps[user].made if made in found]
        found[number] = min([*steps, found.get(number, 101)])
    return found


def _fuses(tape: Tape, step: int) -> bool:
    return is_cheap(tape.steps[step].op)
