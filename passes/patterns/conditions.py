"""Checking conditions and expressions: names, kinds, and the closed list of functions."""

from __future__ import annotations

from dlir.ir.errors import Diagnostic, did_you_mean
from dlir.passes.patterns.schema import Misfit, parse_type
from dlir.passes.patterns.syntax import (
    Anything,
    Call,
    Capture,
    Compare,
    Condition,
    Expression,
    Holds,
    Is,
    List,
    Node,
    Number,
    Plain,
    TypeName,
    Uses,
    Variable,
)
from dlir.passes.patterns.vocabulary import ADJECTIVES, FUNCTIONS
from dlir.textir.source import Source

#: The kinds of the vocabulary, for a person.
WORDS = {
    "value": "a value",
    "type": "a type",
    "integer": "an integer",
    "number": "a number",
    "list": "a list",
    "bool": "true or false",
    "text": "a string",
    "any": "an attribute",
}


def fits(found: str, wanted: str) -> bool:
    """Whether an expression of one kind can stand where another is wanted."""
    if "any" in (found, wanted):
        return "value" not in (found, wanted)
    return found == wanted or (found, wanted) == ("integer", "number")


class ConditionChecker:
    """Checks expressions against the names that a rule binds, and collects what is wrong."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Diagnostic] = []
        #: What the match side binds, and what the rewrite side makes.
        self.values: dict[str, Node] = {}
        self.made: dict[str, Node] = {}
        self.captures: dict[str, str] = {}
        self.used: dict[str, None] = {}

    def error(self, node: Node, message: str, hint: str | None = None, length: int | None = None) -> None:
        """Report a mistake at `node`, or at its first `length` characters."""
        end = node.end if length is None else node.start + length
        self.problems.append(Diagnostic(message, self.source.location(node.start, end), hint=hint))

    def misfit(self, found: Misfit) -> None:
        """Report what does not fit a schema."""
        self.error(found.node, found.message, found.hint)

    def lookup(self, node: Node, name: str, new: bool = False) -> None:
        """Note the use of value `name`; a mistake if nothing is called so."""
        known = {**self.values, **(self.made if new else {})}
        self.used[f"%{name}"] = None
        if name not in known:
            self.error(node, f"'%{name}' is not bound by the match", did_you_mean(f"%{name}", [f"%{k}" for k in known]))

    # ------------------------------------------------------------ conditions

    def condition(self, condition: Condition) -> None:
        """Check one condition."""
        match condition:
            case Compare():
                self._compare(condition)
            case Is():
                self._is(condition)
            case Uses(name=name, count=count):
                self.lookup(condition, name)
                if not isinstance(count, int) or count < 1:
                    self.error(condition, "uses are counted from 1 on")
            case Holds(call=call):
                found = self.kind(call)
                if found not in (None, "bool"):
                    self.error(
                        call, f"'{call.function}' gives {WORDS[found]}, not a condition: compare it with something"
                    )

    def _compare(self, condition: Compare) -> None:
        kinds = self.kind(condition.left), self.kind(condition.right)
        if None in kinds:
            return
        if "value" in kinds:
            hint = "the same name twice in the match stands for the same value; type(%x) and value(%x) can be compared"
            self.error(condition, "values cannot be compared", hint)
        elif condition.operator not in ("==", "!=") and not all(k in ("integer", "number", "any") for k in kinds):
            self.error(condition, f"'{condition.operator}' compares numbers")
        elif not fits(kinds[0], kinds[1]) and not fits(kinds[1], kinds[0]):  # type: ignore[arg-type]
            self.error(condition, f"{WORDS[kinds[0]]} is never {WORDS[kinds[1]]}")  # type: ignore[index]

    def _is(self, condition: Is) -> None:
        found = self.kind(condition.subject)
        for name in condition.adjectives:
            adjective = ADJECTIVES.get(name)
            if adjective is None:
                hint = did_you_mean(name, ADJECTIVES) or f"known are {', '.join(ADJECTIVES)}"
                self.error(condition, f"unknown predicate '{name}'", hint)
            elif found is not None and not any(fits(found, kind) for kind in adjective.kinds):
                wanted = " or ".join(WORDS[kind] for kind in adjective.kinds if kind != "any") or "an attribute"
                hint = None
                if found == "value" and "type" in adjective.kinds and isinstance(condition.subject, Variable):
                    hint = f"write type(%{condition.subject.name}) is {name}"
                self.error(condition, f"'{name}' is said of {wanted}, and this is {WORDS[found]}", hint)

    # ------------------------------------------------------------ expressions

    def kind(self, node: Expression) -> str | None:
        """The kind of an expression; None if it has a mistake, which is reported."""
        match node:
            case Variable(name=name):
                self.lookup(node, name)
                return "value" if name in self.values else None
            case Capture(name=name):
                self.used[f"${name}"] = None
                if name not in self.captures:
                    hint = did_you_mean(f"${name}", [f"${k}" for k in self.captures])
                    self.error(node, f"'${name}' is not bound by the match", hint)
                return self.captures.get(name)
            case Number(value=value):
                return "bool" if isinstance(value, bool) else "integer" if isinstance(value, int) else "number"
            case Plain(value=value):
                return "any" if value is None else "text"
            case List(items=items):
                kinds = [self.kind(item) for item in items]
                return None if None in kinds else "list"
            case TypeName():
                return self._type_name(node)
            case Call():
                return self._call(node)
            case Anything():
                self.error(node, "'_' can only be the whole value of an attribute that is matched")
        return None

    def _type_name(self, node: TypeName) -> str | None:
        try:
            parse_type(node)
        except Misfit as misfit:
            hint = misfit.hint
            if node.text in FUNCTIONS:
                hint = f"'{node.text}' is a function: {signature(node.text)}"
            self.error(node, misfit.message, hint)
            return None
        return "type"

    def _call(self, node: Call) -> str | None:
        function = FUNCTIONS.get(node.function)
        kinds = [self.kind(item) for item in node.args]
        if function is None:
            hint = did_you_mean(node.function, [*FUNCTIONS, *ADJECTIVES]) or f"known are {', '.join(FUNCTIONS)}"
            self.error(node, f"unknown function '{node.function}'", hint, length=len(node.function))
            return None
        if len(kinds) != len(function.params):
            s = "s" * (len(function.params) != 1)
            message = f"'{node.function}' takes {len(function.params)} argument{s}, got {len(kinds)}"
            self.error(node, message, f"it is {signature(node.function)}")
            return function.result
        for item, found, wanted in zip(node.args, kinds, function.params):
            if found is not None and not fits(found, wanted):
                message = f"'{node.function}' takes {WORDS[wanted]} here, and this is {WORDS[found]}"
                self.error(item, message, f"it is {signature(node.function)}")
        return function.result


def signature(name: str) -> str:
    """A function with its arguments, as in ``dim(value, integer)``."""
    return f"{name}({', '.join(FUNCTIONS[name].params)})"
