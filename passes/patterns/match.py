"""The match side of a rule as one function.

A rule becomes a list of steps; every step calls the next one, so that a commutative op can try the rest again with its operands
swapped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dlir.ir.core import Operation
from dlir.passes.patterns import steps
from dlir.passes.patterns.expressions import Slots, compile_condition, compile_expression
from dlir.passes.patterns.schema import encode, fit_operands, given_attributes, is_literal, literal, op_class
from dlir.passes.patterns.steps import Link, Step, Variadic
from dlir.passes.patterns.syntax import Anything, App, Capture, Expression, Node, Number, Rest, Rule, Variable


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
            self.links.append(steps.equals(compile_expression(found, self.numbers), number))
        for condition in rule.where:
            self.require(compile_condition(condition, self.numbers))

    def new_slot(self) -> int:
        """A slot that nothing else uses."""
        self.count += 1
        return self.count - 1

    def require(self, holds: Callable[[Slots], bool]) -> None:
        """Match only where this holds."""
        self.links.append(steps.condition(holds))

    def compute(self, expression: Expression) -> int:
        """A slot with the value of an expression; where that is undefined the rule does not match."""
        number = self.new_slot()
        self.links.append(steps.compute(compile_expression(expression, self.numbers), number))
        return number

    def finish(self) -> Callable[[Operation], Slots | None]:
        """The function that matches an op: the slots, or None."""
        step: Step = steps.succeed
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
            self.links.append(steps.results(first, len(app.names)))
        self._operands(app, 0)

    def _term(self, term: Node, at: int) -> None:
        """Steps that check the value in slot `at`."""
        match term:
            case Variable(name=name):
                if name != "_":
                    known = self.numbers.setdefault(f"%{name}", at)
                    if known != at:
                        self.links.append(steps.same_value(known, at))
            case Number(value=value, name=name):
                if name is not None:
                    self.numbers[f"%{name}"] = at
                self.links.append(steps.number(at, value))
            case App():
                for name in term.names:
                    self.numbers[f"%{name}"] = at
                op = self.new_slot()
                self.links.append(steps.defined_by(at, op, term.op, term.result or 0))
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
            shape.append(Variadic(len(some), open_end) if isinstance(group, tuple) else _kind(group))
            terms += [term for term in some if term is not None and not isinstance(term, Rest)]
        self.count += len(terms)
        self._attributes(app, op)
        simple = all(spec.kind == "one" for spec in cls.schema().operands) and len(terms) == len(groups)
        self.links.append(steps.load(op, first) if simple else steps.load_groups(op, first, shape))
        if cls.is_commutative and len(terms) == 2 and simple and terms[0] != terms[1]:
            self.links.append(steps.either_way(first))
        for offset, term in enumerate(terms):
            self._term(term, first + offset)

    def _attributes(self, app: App, op: int) -> None:
        cls = op_class(app)
        given = {spec.name: value for spec, value in given_attributes(app)}
        for name, spec in cls.schema().attributes.items():
            value = given.get(name)
            if value is None:
                self.links.append(steps.attribute_is(op, name, spec.default))
            elif isinstance(value, Anything):
                continue
            elif is_literal(value):
                encoded = encode(spec, literal(value), value)
                self.links.append(steps.attribute_is(op, name, None if encoded is None else encoded.value))
            else:
                number = self.new_slot()
                self.links.append(steps.read_attribute(op, name, number))
                is_new = isinstance(value, Capture) and f"${value.name}" not in self.numbers
                if is_new:
                    assert isinstance(value, Capture)
                    self.numbers[f"${value.name}"] = number
                else:
                    self._computed.append((value, number))  # type: ignore[arg-type]


def _kind(term: Any) -> str:
    return "absent" if term is None else "any" if isinstance(term, Rest) else "one"
