"""The match side of a rule as one function.

A rule becomes a list of steps, each a check on what the steps before it have put into the slots; every step calls the next one,
so that a commutative op can try the rest again with its operands swapped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from dlir.ir.core import Operation, Value
from dlir.ir.op import Op
from dlir.passes.patterns.expressions import Evaluate, Slots, compile_condition, compile_expression, same
from dlir.passes.patterns.schema import encode, fit_operands, given_attributes, is_literal, literal, op_class
from dlir.passes.patterns.syntax import Anything, App, Capture, Expression, Node, Number, Rest, Rule, Variable
from dlir.passes.patterns.vocabulary import Undefined, same_number, splat_of

#: Checks the slots, and goes on with the next step.
Step = Callable[[Slots], bool]
#: A step, given the next one.
Link = Callable[[Step], Step]


class Matcher:
    """Compiles the match side, the conditions, and what is computed for the rewrite side."""

    def __init__(self, rule: Rule) -> None:
        #: The slots of names (``%x``, ``$p``), and how many there are; slot 0 holds the op that the rule matches.
        self.numbers: dict[str, int] = {}
        self.count = 1
        self.links: list[Link] = []
        self._computed: list[tuple[Expression, int]] = []
        self._root(rule.match)
        for found, number in self._computed:
            self.links.append(_equals(compile_expression(found, self.numbers), number))
        for condition in rule.where:
            self.require(compile_condition(condition, self.numbers))

    def new_slot(self) -> int:
        """A slot that nothing else uses."""
        self.count += 1
        return self.count - 1

    def require(self, holds: Callable[[Slots], bool]) -> None:
        """Match only where this holds."""
        self.links.append(_condition(holds))

    def compute(self, expression: Expression) -> int:
        """A slot with the value of an expression; where that is undefined the rule does not match."""
        number = self.new_slot()
        self.links.append(_compute(compile_expression(expression, self.numbers), number))
        return number

    def finish(self) -> Callable[[Operation], Slots | None]:
        """The function that matches an op: the slots, or None."""
        step: Step = _succeed
        for link in reversed(self.links):
            step = link(step)
        size = self.count

        def matches(op: Operation) -> Slots | None:
            slots: Slots = [None] * size
            slots[0] = op
            return slots if step(slots) else None

        return matches

    # ------------------------------------------------------------ terms

    def _root(self, app: App) -> None:
        first = self.count
        self.count += len(app.names)
        for offset, name in enumerate(app.names):
            self.numbers[f"%{name}"] = first + offset
        if app.names:
            self.links.append(_results(first, len(app.names)))
        self._operands(app, 0)

    def _term(self, term: Node, at: int) -> None:
        """Steps that check the value in slot `at`."""
        match term:
            case Variable(name=name):
                if name != "_":
                    known = self.numbers.setdefault(f"%{name}", at)
                    if known != at:
                        self.links.append(_same_value(known, at))
            case Number(value=value, name=name):
                if name is not None:
                    self.numbers[f"%{name}"] = at
                self.links.append(_number(at, value))
            case App():
                for name in term.names:
                    self.numbers[f"%{name}"] = at
                op = self.new_slot()
                self.links.append(_defined_by(at, op, term.op, term.result or 0))
                self._operands(term, op)

    def _operands(self, app: App, op: int) -> None:
        """Steps that check the operands and attributes of the op in slot `op`."""
        cls = op_class(app)
        groups = fit_operands(app, cls.schema())
        first = self.count
        shape: list[Any] = []
        terms: list[Node] = []
        for group in groups:
            open_end = isinstance(group, tuple) and bool(group) and isinstance(group[-1], Rest)
            some = list(group[:-1] if open_end else group) if isinstance(group, tuple) else [group]
            shape.append(_Variadic(len(some), open_end) if isinstance(group, tuple) else _kind(group))
            terms += [term for term in some if term is not None and not isinstance(term, Rest)]
        self.count += len(terms)
        self._attributes(app, op)
        simple = all(spec.kind == "one" for spec in cls.schema().operands) and len(terms) == len(groups)
        self.links.append(_load(op, first) if simple else _load_groups(op, first, shape))
        if cls.is_commutative and len(terms) == 2 and simple and terms[0] != terms[1]:
            self.links.append(_either_way(first))
        for offset, term in enumerate(terms):
            self._term(term, first + offset)

    def _attributes(self, app: App, op: int) -> None:
        cls = op_class(app)
        given = {spec.name: value for spec, value in given_attributes(app)}
        for name, spec in cls.schema().attributes.items():
            value = given.get(name)
            if value is None:
                self.links.append(_attribute_is(op, name, spec.default))
            elif isinstance(value, Anything):
                continue
            elif is_literal(value):
                encoded = encode(spec, literal(value), value)
                self.links.append(_attribute_is(op, name, None if encoded is None else encoded.value))
            else:
                number = self.new_slot()
                self.links.append(_read_attribute(op, name, number))
                is_new = isinstance(value, Capture) and f"${value.name}" not in self.numbers
                if is_new:
                    assert isinstance(value, Capture)
                    self.numbers[f"${value.name}"] = number
                else:
                    self._computed.append((value, number))  # type: ignore[arg-type]


class _Variadic:
    """A group of at least so many operands; of exactly so many unless its end is open."""

    def __init__(self, count: int, open_end: bool) -> None:
        self.count = count
        self.open_end = open_end


def _kind(term: Any) -> str:
    return "absent" if term is None else "any" if isinstance(term, Rest) else "one"


# ---------------------------------------------------------------- steps


def _succeed(slots: Slots) -> bool:
    return True


def _results(first: int, count: int) -> Link:
    def link(then: Step) -> Step:
        def step(slots: Slots) -> bool:
            results = slots[0].results
            if len(results) != count:
                return False
            slots[first : first + count] = results
            return then(slots)

        return step

    return link


def _defined_by(at: int, op: int, name: str, index: int) -> Link:
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


def _load(op: int, first: int) -> Link:
    def link(then: Step) -> Step:
        def step(slots: Slots) -> bool:
            for offset, value in enumerate(slots[op].operands, first):
                slots[offset] = value
            return then(slots)

        return step

    return link


def _load_groups(op: int, first: int, shape: list[Any]) -> Link:
    """Loads the operands group by group; the number of those that are there must fit."""

    def operands(groups: Iterable[Any]) -> list[Value] | None:
        found: list[Value] = []
        for group, wanted in zip(groups, shape, strict=True):
            if isinstance(wanted, _Variadic):
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


def _either_way(first: int) -> Link:
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


def _same_value(known: int, at: int) -> Link:
    return lambda then: lambda slots: slots[known] is slots[at] and then(slots)


def _number(at: int, number: Any) -> Link:
    def link(then: Step) -> Step:
        def step(slots: Slots) -> bool:
            element = splat_of(slots[at])
            return element is not None and same_number(element, number) and then(slots)

        return step

    return link


def _attribute_is(op: int, name: str, wanted: Any) -> Link:
    return lambda then: lambda slots: same(slots[op][name], wanted) and then(slots)


def _read_attribute(op: int, name: str, number: int) -> Link:
    def link(then: Step) -> Step:
        def step(slots: Slots) -> bool:
            slots[number] = slots[op][name]
            return then(slots)

        return step

    return link


def _equals(found: Evaluate, number: int) -> Link:
    return _condition(lambda slots: same(found(slots), slots[number]))


def _condition(holds: Callable[[Slots], bool]) -> Link:
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


def _compute(evaluate: Evaluate, number: int) -> Link:
    def link(then: Step) -> Step:
        def step(slots: Slots) -> bool:
            try:
                slots[number] = evaluate(slots)
            except Undefined:
                return False
            return then(slots)

        return step

    return link
