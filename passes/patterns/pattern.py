"""A rule of text as a pattern of the rewrite driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlir.ir.attributes import DenseElementsAttr
from dlir.ir.core import Operation, Value
from dlir.ir.errors import DlirError, Note
from dlir.ir.location import UNKNOWN, Location
from dlir.ir.ops import arith, nd
from dlir.ir.types import ScalarType, TensorType
from dlir.passes.patterns.expressions import Slots
from dlir.passes.patterns.match import Matcher
from dlir.passes.patterns.schema import fit_operands, given_attributes, is_literal, literal, op_class
from dlir.passes.patterns.syntax import Anything, App, Number, Rule, Variable
from dlir.passes.rewriter import Pattern

#: Makes a value, or a Python number for a builder to take in, from what a match has found.
Build = Callable[[Slots], Any]


@dataclass(frozen=True)
class TextPattern(Pattern):
    """A pattern that was read from text.  `rule` is what it says."""

    rule: Rule = None  # type: ignore[assignment]

    @property
    def equation(self) -> str:
        """The comment above the rule."""
        return self.rule.equation


def compile_rule(rule: Rule, location: Location = UNKNOWN) -> TextPattern:
    """The pattern of a rule that was checked."""
    matcher = Matcher(rule)
    builder = _Builder(matcher)
    build = [builder.root(number, term) for number, term in enumerate(rule.rewrite)]
    matches = matcher.finish()
    name = rule.name.replace("_", "-")

    def apply(op: Operation) -> Sequence[Value] | None:
        slots = matches(op)
        if slots is None:
            return None
        try:
            found = [make(slots) for make in build]
        except DlirError as error:
            notes = [Note("the pattern stands here", location)] if location != UNKNOWN else []
            message = f"pattern '{name}' cannot make its rewrite of this '{op.name}': {error.message}"
            raise DlirError(message, op.location, notes=notes) from None
        return found[0] if len(found) == 1 and isinstance(found[0], tuple) else found

    return TextPattern(
        name, (rule.match.op,), apply, rule.benefit, rule.match.depth, location, tuple(rule.ignores), rule=rule
    )


class _Builder:
    """Compiles the rewrite side; expressions of attributes are computed before anything is made."""

    def __init__(self, matcher: Matcher) -> None:
        self.matcher = matcher
        self.numbers = dict(matcher.numbers)

    def root(self, result: int, term: Any) -> Build:
        """What stands for result number `result`; a number is a constant of its type."""
        if isinstance(term, Number):
            value = term.value
            self.matcher.require(lambda slots: _can_fill(slots[0], result))
            return lambda slots: _filled(value, slots[0].results[result].type)
        return self.term(term)

    def term(self, term: Any) -> Build:
        match term:
            case Variable(name=name):
                number = self.numbers[f"%{name}"]
                return lambda slots: slots[number]
            case Number(value=value):
                return lambda slots: value
            case App():
                return self._app(term)
        raise TypeError(term)

    def _app(self, app: App) -> Build:
        cls = op_class(app)
        schema = cls.schema()
        operands: list[Build] = []
        for spec, group in zip(schema.operands, fit_operands(app, schema), strict=True):
            if isinstance(group, tuple):
                some = [self.term(item) for item in group]
                operands += some if spec.spread else [_together(some)]
            else:
                operands.append(_nothing if group is None else self.term(group))
        known: dict[str, Any] = {}
        computed: dict[str, int] = {}
        for attribute, value in given_attributes(app):
            assert not isinstance(value, Anything)
            if is_literal(value):
                known[attribute.name] = literal(value)
            else:
                computed[attribute.name] = self.matcher.compute(value)  # type: ignore[arg-type]
        number = None
        if app.names:
            number = self.matcher.new_slot()
            self.numbers[f"%{app.names[0]}"] = number

        def build(slots: Slots) -> Any:
            args = [make(slots) for make in operands]
            found = cls.build(*args, **known, **{name: slots[at] for name, at in computed.items()})
            if app.result is not None:
                found = (found if isinstance(found, tuple) else (found,))[app.result]
            if number is not None:
                slots[number] = found
            return found

        return build


def _together(some: list[Build]) -> Build:
    return lambda slots: tuple(make(slots) for make in some)


def _nothing(slots: Slots) -> None:
    return None


def _can_fill(op: Operation, result: int) -> bool:
    """Whether a constant can have the type of a result of `op`."""
    if result >= len(op.results):
        return False
    type = op.results[result].type
    return isinstance(type, ScalarType) or (isinstance(type, TensorType) and type.is_static)


def _filled(number: Any, type: Any) -> Value:
    """The constant of this type that is `number` everywhere."""
    if isinstance(type, ScalarType):
        return arith.constant(number, type)
    with np.errstate(all="ignore"):
        return nd.constant(value=DenseElementsAttr(np.asarray(number).astype(type.dtype.numpy), type))
