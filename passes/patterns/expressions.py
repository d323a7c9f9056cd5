"""Expressions and conditions of a rule as Python functions of the slots that a match fills."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Primitive
from dlir.passes.patterns.schema import is_literal, literal
from dlir.passes.patterns.syntax import Call, Capture, Compare, Condition, Expression, Holds, Is, List, Uses, Variable
from dlir.passes.patterns.vocabulary import ADJECTIVES, FUNCTIONS, Undefined

#: What a match has found so far: values, the plain values of attributes, and what was computed from them.
Slots = list[Any]
Evaluate = Callable[[Slots], Any]

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def compile_expression(node: Expression, numbers: dict[str, int]) -> Evaluate:
    """The function for an expression; `numbers` are the slots of the names.  It raises Undefined where there is no answer."""
    if is_literal(node):
        found = literal(node)
        return lambda slots: found
    match node:
        case Variable(name=name):
            number = numbers[f"%{name}"]
            return lambda slots: slots[number]
        case Capture(name=name):
            number = numbers[f"${name}"]
            return lambda slots: slots[number]
        case List(items=items):
            parts = [compile_expression(item, numbers) for item in items]
            return lambda slots: tuple(part(slots) for part in parts)
        case Call(function=name, args=args):
            call = FUNCTIONS[name].call
            inputs = [compile_expression(item, numbers) for item in args]
            return lambda slots: _call(call, [item(slots) for item in inputs])
    raise TypeError(node)


def _call(function: Callable[..., Any], args: list[Any]) -> Any:
    try:
        return function(*args)
    except (TypeError, ValueError, IndexError, AttributeError):
        # The value of an attribute is not of the kind that the function takes: none instead of a list, for example.
        raise Undefined from None


def compile_condition(node: Condition, numbers: dict[str, int]) -> Callable[[Slots], bool]:
    """The function for a condition."""
    match node:
        case Compare(operator=name, left=left, right=right):
            one, two = compile_expression(left, numbers), compile_expression(right, numbers)
            if name in _OPERATORS:
                ordered = _OPERATORS[name]
                return lambda slots: _call(ordered, [one(slots), two(slots)])
            wanted = name == "=="
            return lambda slots: same(one(slots), two(slots)) is wanted
        case Is(subject=subject, negated=negated, adjectives=names):
            value = compile_expression(subject, numbers)
            tests = [ADJECTIVES[name].test for name in names]
            return lambda slots: _any(tests, value(slots)) is not negated
        case Uses(name=name, count=count):
            number = numbers[f"%{name}"]
            return lambda slots: _has_uses(slots[number], count)
        case Holds(call=call):
            return compile_expression(call, numbers)
    raise TypeError(node)


def same(one: Any, two: Any) -> bool:
    """Whether two plain values are the same; 1 and true are not."""
    if isinstance(one, tuple) and isinstance(two, tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return isinstance(one, bool) is isinstance(two, bool) and bool(one == two)


def _any(tests: list[Callable[[Any], bool]], found: Any) -> bool:
    return any(test(found) for test in tests)


def _has_uses(value: Value, count: int) -> bool:
    """Whether the elements of `value` are used so many times; a use of nothing but its shape does not count."""
    for use in value.uses:
        owner = use.owner
        if isinstance(owner, Primitive) and use.index in owner.shape_operands():
            continue
        count -= 1
        if count < 0:
            return False
    return count == 0
