"""How the terms of a rule fit the schema of an op."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlir.ir.attributes import Attribute
from dlir.ir.errors import did_you_mean
from dlir.ir.op import Op
from dlir.ir.registry import find_op
from dlir.ir.schema import AttributeSpec, Schema
from dlir.ir.types import ARRAY_DTYPES, INDEX, TensorType
from dlir.passes.patterns.syntax import (
    Absent,
    App,
    Call,
    Capture,
    List,
    Node,
    Number,
    Plain,
    Rest,
    TypeName,
    Variable,
    walk,
)

DTYPES = {str(t): t for t in (*ARRAY_DTYPES, INDEX)}

#: The kind of value that an attribute has, in the words of the vocabulary.
ATTRIBUTE_KINDS = {
    "a bool": "bool",
    "an integer": "integer",
    "a float": "number",
    "a string": "text",
    "a list of integers": "list",
    "a scalar type": "type",
    "a tensor type": "type",
    "a type": "type",
}

_PYTHON: dict[str, Any] = {"bool": bool, "integer": int, "number": int | float, "text": str, "list": tuple}


class Misfit(Exception):
    """The terms do not fit; `node` is the one to point at, and `hint` what may help."""

    def __init__(self, message: str, node: Node, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.node = node
        self.hint = hint


def op_class(app: App) -> Any:
    """The class of the op, which is known to exist."""
    found = find_op(app.op)
    assert found is not None
    return found


def takes_numbers(cls: Any) -> bool:
    """Whether the builder of an op makes constants of Python numbers."""
    return cls.prepare.__func__ is not Op.prepare.__func__  # type: ignore[attr-defined]


def fit_operands(app: App, schema: Schema) -> list[Any]:
    """What each operand group of the schema is: a term, None (absent), Rest (anything), or a tuple of terms."""
    args = list(app.args)
    for arg in args[:-1]:
        if isinstance(arg, Rest):
            raise Misfit("'...' stands for all further operands, so nothing can follow it", arg)
    open_end = bool(args) and isinstance(args[-1], Rest)
    rest = args.pop() if open_end else None
    groups: list[Any] = []
    for number, spec in enumerate(schema.operands):
        if spec.kind == "variadic":
            if number < len(schema.operands) - 1:
                raise Misfit(f"'{app.op}' cannot stand in a rule: operands follow its '*{spec.name}'", app)
            groups.append(tuple(args) + ((rest,) if rest is not None else ()))
            args, rest = [], None
        elif args:
            groups.append(_one(args.pop(0), spec.name, spec.kind == "optional"))
        elif rest is not None or spec.kind == "optional":
            groups.append(rest)
        else:
            raise _wrong_arity(app, schema)
    if args:
        raise _wrong_arity(app, schema)
    return groups


def _one(arg: Any, name: str, is_optional: bool) -> Any:
    if isinstance(arg, Absent):
        if not is_optional:
            raise Misfit(f"operand '{name}' is not optional", arg)
        return None
    return arg


def _wrong_arity(app: App, schema: Schema) -> Misfit:
    given = sum(not isinstance(arg, Rest) for arg in app.args)
    hint = "write '...' for operands that do not matter" if given < len(schema.operands) else None
    return Misfit(f"'{app.op}' takes {schema.arity()}, got {given}", app, hint)


def is_literal(node: Node) -> bool:
    """Whether an expression is known when the rule is read."""
    return not any(isinstance(item, Variable | Capture | Call) for item in walk(node))


def literal(node: Any) -> Any:
    """The plain value of an expression that `is_literal`."""
    match node:
        case Number() | Plain():
            return node.value
        case TypeName():
            return parse_type(node)
        case List():
            return tuple(map(literal, node.items))
    raise TypeError(node)


def parse_type(node: TypeName) -> Any:
    """The type of that name; Misfit if there is none."""
    text = node.text
    if not text.startswith("tensor<"):
        if text not in DTYPES:
            raise Misfit(f"unknown type '{text}'", node, did_you_mean(text, DTYPES))
        return DTYPES[text]
    *dims, dtype = text.removeprefix("tensor<").removesuffix(">").replace(" ", "").split("x")
    if dtype not in DTYPES or not all(dim == "?" or dim.isdigit() for dim in dims):
        raise Misfit(f"'{text}' is not a tensor type", node, "a tensor type is written tensor<4x?xf32>")
    return TensorType([None if dim == "?" else int(dim) for dim in dims], DTYPES[dtype])


def encode(spec: AttributeSpec, value: Any, node: Node) -> Attribute | None:
    """The attribute for a plain value, None for its absence; Misfit if `spec` does not take it."""
    if value is None:
        if spec.required or spec.default is not None:
            raise Misfit(f"attribute '{spec.name}' cannot be none", node)
        return None
    kind = ATTRIBUTE_KINDS.get(spec.kind, "")
    fits = isinstance(value, _PYTHON.get(kind, object)) and (kind == "bool" or not isinstance(value, bool))
    if kind == "list":
        fits = fits and all(type(item) is int for item in value)
    try:
        found = spec.coerce(spec.encode(value)) if fits else None
    except (TypeError, ValueError, AttributeError, OverflowError):
        found = None
    if found is None:
        raise Misfit(f"attribute '{spec.name}' must be {spec.kind}", node)
    if spec.choices and value not in spec.choices:
        listed = ", ".join(map(repr, spec.choices))
        raise Misfit(f"attribute '{spec.name}' must be one of {listed}", node)
    return found


def given_attributes(app: App) -> Sequence[tuple[AttributeSpec, Node]]:
    """The attributes that a term writes, with their specs."""
    specs = op_class(app).schema().attributes
    return [(specs[entry.name], entry.value) for entry in app.attributes]
