"""The steps of a match: each checks what the steps before it have put into the slots, and goes on with the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from dlir.ir.core import Value
from dlir.ir.op import Op
from dlir.passes.patterns.expressions import Evaluate, Slots, same
from dlir.passes.patterns.vocabulary import Undefined, same_number, splat_of

#: Checks the slots, and goes on with the next step.
Step = Callable[[Slots], bool]
#: A step, given the next one.
Link = Callable[[Step], Step]


class Variadic:
    """A group of at least so many operands; of exactly so many unless its end is open."""

    def __init__(self, count: int, open_end: bool) -> None:
        self.count = count
        self.open_end = open_end


def succeed(slots: Slots) -> bool:
    return True


def results(first: int, count: int) -> Link:
    def link(then: Step) -> Step:
        def step(slots: Slots) -> bool:
            results = slots[0].results
            if len(results) != count:
                return False
            slots[first : first + count] = results
            return then(slots)

        return step

    return link


def defined_by(at: int, op: int, name: str, index: int) -> Link:
    def link(then: Step) -> Step:
        def step(slots: Slots) -> bool:
            value: Value = slots[at]
            found = value.defining_op
            if found is None or found.name != name or value.index != index or not isinstance(found, Op):
                return False
            slots[op] = found
            return then(slots)

        return step

    return link


def load(op: int, first: int) -> Link:
    def link(then: Step) -> Step:
        def step(slots: Slots) -> bool:
            for offset, value in enumerate(slots[op].operands, first):
                slots[offset] = value
            return then(slots)

        return step

    return link


def load_groups(op: int, first: int, shape: list[Any]) -> Link:
    """Loads the operands group by group; the number of those that are there must fit."""

    def operands(groups: Iterable[Any]) -> list[Value] | None:
        found: list[Value] = []
        for group, wanted in zip(groups, shape, strict=True):
            if isinstance(wanted, Variadic):
                if len(group) < wanted.count or (len(group) > wanted.count and not wanted.open_end):
                    return None
                found += group[: wanted.count]
            elif wanted == "one":
                if group is None:
                    return None
                found.append(group)
            elif wanted == "absent" and group is not None:
                return None
        return found

    def link(then: Step) -> Step:
        def step(slots: Slots) -> bool:
            found = operands(slots[op].groups)
            if found is None:
                return False
            slots[first : first + len(found)] = found
            return then(slots)

        return step

    return link


def either_way(first: int) -> Link:
    def link(then: Step) -> Step:
        def step(slots: Slots) -> bool:
            # The steps behind may have failed with other values in the slots, but never change these two.
            one, two = slots[first], slots[first + 1]
            if then(slots):
                return True
            slots[first], slots[first + 1] = two, one
            return one is not two and then(slots)

        return step

    return link


def same_value(known: int, at: int) -> Link:
    return lambda then: lambda slots: slots[known] is slots[at] and then(slots)


def number(at: int, number: Any) -> Link:
    def link(then: Step) -> Step:
        def step(slots: Slots) -> bool:
            element = splat_of(slots[at])
            return element is not None and same_number(element, number) and then(slots)

        return step

    return link


def attribute_is(op: int, name: str, wanted: Any) -> Link:
    return lambda then: lambda slots: same(slots[op][name], wanted) and then(slots)


def read_attribute(op: int, name: str, number: int) -> Link:
    def link(then: Step) -> Step:
        def step(slots: Slots) -> bool:
            slots[number] = slots[op][name]
            return then(slots)

        return step

    return link


def equals(found: Evaluate, number: int) -> Link:
    return condition(lambda slots: same(found(slots), slots[number]))


def condition(holds: Callable[[Slots], bool]) -> Link:
    def link(then: Step) -> Step:
        def step(slots: Slots) -> bool:
            try:
                if not holds(slots):
                    return False
            except Undefined:
                return False
            return then(slots)

        return step

    return link


def compute(evaluate: Evaluate, number: int) -> Link:
    def link(then: Step) -> Step:
        def step(slots: Slots) -> bool:
            try:
                slots[number] = evaluate(slots)
            except Undefined:
                return False
            return then(slots)

        return step

    return link
