"""Computing whole stretches of a program again, so that what is kept of it fits a budget.

The part before the peak is cut into segments.  What crosses a border is kept; what is inside a segment that is computed
again is dropped, and made again, from the border on, when the first later step needs it.  With n equal layers in sqrt(n)
segments that is O(sqrt(n)) values at any time, and every layer is computed twice at most (Chen, Xu, Zhang and Guestrin,
"Training Deep Nets with Sublinear Memory Cost", 2016).
"""

from __future__ import annotations

from dataclasses import dataclass

from dlir.passes.autodiff.mincut import steps_between
from dlir.passes.autodiff.tape import Tape, can_repeat, work

#: How many sizes of segments are tried.
_SIZES = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps to compute again for users from step `place` on: where copies stand, the peak in bytes, and the work."""

    place: int
    places: dict[int, int]
    peak: int
    work: int


def least_work(tape: Tape, budget: int) -> Plan:
    """The plan with the least work whose peak fits `budget`; the one with the lowest peak if there is none."""
    peak, place = tape.peak()
    best = Plan(place, {}, peak, 0)
    if peak <= budget:
        return best
    search = _Search(tape, place)
    for borders in search.all_borders():
        for plan in search.plans(borders, budget):
            if _rank(plan, budget) < _rank(best, budget):
                best = plan
    return best


def _rank(plan: Plan, budget: int) -> tuple[bool, int, int]:
    fits = plan.peak <= budget
    return (not fits, plan.work if fits else plan.peak, plan.peak if fits else plan.work)


class _Search:
    """Segments of the steps before `place`."""

    def __init__(self, tape: Tape, place: int) -> None:
        self.tape = tape
        self.place = place
        self.wanted = tape.crossing(place)
        #: Bytes that are wanted later and made before each step.
        self.before = [0] * (place + 1)
        for root in dict.fromkeys(tape.roots[number] for number in self.wanted):
            if root is not None:
                self.before[tape.maker[root] + 1] += tape.sizes[root]
        for step in range(place):
            self.before[step + 1] += self.before[step]
        #: Bytes that are live between each step and the one before it, for the steps before `place` alone.
        self.across = self._across()
        #: Where a border may be: behind a step that makes what is wanted, and where least crosses between two of these.
        self.candidates = self._candidates()

    def _across(self) -> list[int]:
        change = [0] * (self.place + 2)
        for root, size in enumerate(self.tape.sizes):
            made = self.tape.maker[root]
            if size and made < self.place:
                last = max([user for user in self._holders(root) if user < self.place], default=made)
                change[made + 1] += size
                change[last + 1] -= size
        for step in range(self.place + 1):
            change[step + 1] += change[step]
        return change

    def _holders(self, root: int) -> list[int]:
        """The steps that use a value or a view of it."""
        found = self.tape.users[root]
        views = [made for user in found for made in self.tape.steps[user].made if self.tape.roots[made] == root]
        return found + [user for view in views if view != root for user in self._holders(view)]

    def _candidates(self) -> list[int]:
        found = [0]
        start = 0
        for step in range(1, self.place + 1):
            if self.before[step] > self.before[start] or step == self.place:
                # The best place between what was wanted last and this.
                best = min(range(start + 1, step + 1), key=lambda at: (self.across[at], at))
                found.append(best)
                start = step
        return list(dict.fromkeys([*found, self.place]))

    def all_borders(self) -> list[list[int]]:
        """Borders of segments of several sizes, the fewest bytes crossing them for each."""
        total = self.before[-1]
        found = {tuple(self._borders(total * (number + 1) / (_SIZES * 2))) for number in range(_SIZES)}
        root = (total * max(self.tape.sizes, default=1)) ** 0.5
        found |= {tuple(self._borders(root * factor)) for factor in (0.5, 0.7, 1.0, 1.4, 2.0)}
        return [list(borders) for borders in sorted(found)]

    def _borders(self, most: float) -> list[int]:
        """Borders between segments in which at most so many bytes are wanted, or one value."""
        places = self.candidates
        cost = [0.0] + [float("inf")] * (len(places) - 1)
        previous = [0] * len(places)
        for end in range(1, len(places)):
            for start in reversed(range(end)):
                if self.before[places[end]] - self.before[places[start]] > most and start < end - 1:
                    break
                price = cost[start] + self.across[places[start]] * (start > 0)
                if price < cost[end]:
                    cost[end], previous[end] = price, start
        borders = [len(places) - 1]
        while borders[-1]:
            borders.append(previous[borders[-1]])
        return [places[index] for index in reversed(borders)]

    def plans(self, borders: list[int], budget: int) -> list[Plan]:
        """Plans that compute the first segments again: as few as fit the budget, or all."""
        low, high = 1, len(borders) - 1
        found = []
        while low <= high:
            middle = (low + high) // 2
            plan = self._plan(borders, middle)
            found.append(plan)
            if plan.peak <= budget:
                high = middle - 1
            else:
                low = middle + 1
        return found

    def _plan(self, borders: list[int], count: int) -> Plan:
        """Compute the first `count` segments again."""
        tape, end = self.tape, borders[count]
        kept = {number: None for border in borders[1 : count + 1] for number in self._crossing(border)}
        kept.update(
            {number: None for number in range(len(tape.sizes)) if not can_repeat(tape.steps[tape.maker[number]].op)}
        )
        wanted = [number for number in self.wanted if tape.maker[number] < end and tape.roots[number] not in kept]
        again = steps_between(tape, wanted, kept)
        places = tape.places(again, self.place)
        return Plan(
            self.place, places, tape.peak(places, self.place)[0], sum(work(tape.steps[step].op) for step in places)
        )

    def _crossing(self, border: int) -> list[int]:
        """The memory that steps from `border` to the peak use of what was made before."""
        tape = self.tape
        used = (number for step in tape.steps[border : self.place] for number in step.used)
        roots = dict.fromkeys(tape.roots[number] for number in used if tape.maker[number] < border)
        return [root for root in roots if root is not None and tape.maker[root] < border]
