"""An op that was read, against its schema: attributes, operand groups, operand kinds, inference.

A problem is raised as `OpProblem`, which says which operand or attribute it is about, so that the caret can point there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dlir.ir.attributes import (
    Attribute,
    DenseArrayAttr,
    DenseElementsAttr,
    DenseResourceAttr,
    IntegerAttr,
    OpaqueAttr,
    StringAttr,
    SymbolRefAttr,
    TypeAttr,
)
from dlir.ir.core import Operation, UnregisteredOp, Value
from dlir.ir.errors import DlirError, InferError, did_you_mean
from dlir.ir.op import Op
from dlir.ir.registry import DIALECTS, dialect_ops, find_op, load_dialect
from dlir.ir.schema import AttributeSpec, Schema, flatten_groups, segment_sizes
from dlir.ir.types import I32, FunctionType, ShapedType, Type
from dlir.ir.upstream import NOT_MODELLED
from dlir.textir.build.beyond import is_odd
from dlir.textir.build.dictionaries import Dictionary
from dlir.textir.foreign import foreign_op

SEGMENTS = "operandSegmentSizes"

#: A float as it is printed, and as people write it.
_ROUND = re.compile(r"(\b\d\.\d+?)0*e\+00\b")
#: "'stride' must be ..." from an op's own checks.
_ABOUT_ATTRIBUTE = re.compile(r"'(\w+)' ")
#: The result types that an op of a dialect may state.
_EXAMPLE_TYPES = {"memref": "memref<4xf32>", "arith": "f32", "scf": "f32", "vector": "vector<4xf32>"}


class OpProblem(Exception):
    """Why an op cannot be as it is written."""

    def __init__(
        self,
        message: str,
        *,
        operand: int | None = None,
        attribute: str | None = None,
        symbol: str | None = None,
        is_count: bool = False,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.operand = operand
        self.attribute = attribute
        #: A symbol that is not defined so far.
        self.symbol = symbol
        #: Whether it is about the number of operands.
        self.is_count = is_count
        self.hint = hint


class OpInfo:
    """An op name: its class, and what has been found to be right already."""

    __slots__ = ("accepted", "cls", "name", "needs_segments", "prepares", "regions", "schema")

    def __init__(self, name: str, cls: type[Op] | None) -> None:
        self.name = name
        self.cls: type[Operation] = cls or UnregisteredOp
        self.schema: Schema | None = None if cls is None else cls.schema()
        self.prepares = cls is not None and cls.prepare.__func__ is not Op.prepare.__func__  # type: ignore[attr-defined]
        self.needs_segments = self.schema is not None and self.schema.needs_segments
        #: How many regions it takes; -1 for any number.
        self.regions = 0 if self.schema is None else -1 if self.schema.variadic_regions else len(self.schema.regions)
        #: Signatures whose operand types fit the schema (only for ops without operandSegmentSizes).
        self.accepted: set[FunctionType] = set()

    @property
    def is_registered(self) -> bool:
        return self.schema is not None


def look_up(name: str, is_generic: bool) -> OpInfo:
    """The op called `name`; OpProblem if its dialect is known and has no such op, or no class for one of upstream's that
    is not in the generic form."""
    cls = find_op(name)
    dialect = name.partition(".")[0]
    if cls is None and name in NOT_MODELLED:
        if is_generic:
            return OpInfo(name, None)
        raise OpProblem(f"unknown op '{name}'", hint=f'MLIR\'s is read in the generic form: "{name}"(...)')
    if cls is None and "." in name and is_dialect(dialect):
        hint = _elsewhere(name) or foreign_op(name) or did_you_mean(name, dialect_ops(dialect))
        raise OpProblem(f"unknown op '{name}'", hint=hint)
    if not name:
        raise OpProblem("the name of an operation is empty")
    return OpInfo(name, cls)


def _elsewhere(name: str) -> str | None:
    """The op of this very name in another dialect."""
    op = name.partition(".")[2]
    home = next((home for home in DIALECTS if find_op(f"{home}.{op}") is not None), None)
    return f"did you mean '{home}.{op}'?" if home else None


def is_dialect(name: str) -> bool:
    """Whether `name` is a dialect of dlir or of a plugin."""
    return load_dialect(name) or bool(dialect_ops(name))


def unknown_dialect(name: str) -> OpProblem:
    """The problem of an op in the pretty form whose dialect is not known."""
    dialect = name.partition(".")[0]
    hint = _other_dialect(name) or _elsewhere(name) or foreign_op(name)
    hint = hint or f'an op of a dialect that is not loaded is written in the generic form: "{name}"(...)'
    return OpProblem(f"unknown dialect '{dialect}'", hint=hint)


def _other_dialect(name: str) -> str | None:
    """The dialect that was meant, if it has an op of such a name."""
    dialect, _, op = name.partition(".")
    hint = did_you_mean(dialect, DIALECTS)
    meant = hint.split("'")[1] if hint else ""
    is_like = hint and is_dialect(meant) and did_you_mean(op, [known.partition(".")[2] for known in dialect_ops(meant)])
    return hint if is_like else None


def checked_attributes(
    info: OpInfo, entries: Dictionary | None, named: Sequence[tuple[str, Attribute]], is_strict: bool
) -> dict[str, Attribute]:
    """The attributes of an op, in the form that its schema asks for: those of a dictionary, and others by name.

    `is_strict` refuses names that the schema does not have (other than dotted ones).
    """
    if entries is None:
        if not named and not info.schema.attributes:  # type: ignore[union-attr]
            return {}
        return _checked(info, dict(named), is_strict)
    known = entries[0].checked.get(info) if not named else None
    if known is None:
        known = _checked(info, {**entries[0].attributes, **dict(named)}, is_strict)
        if not named:
            entries[0].checked[info] = known
    return known.copy()


def _checked(info: OpInfo, attributes: dict[str, Attribute], is_strict: bool) -> dict[str, Attribute]:
    assert info.schema is not None
    specs = info.schema.attributes
    for name, attribute in attributes.items():
        spec = specs.get(name)
        if spec is not None:
            if attribute.__class__ is DenseResourceAttr and attribute.type is None:
                attribute = _typed_resource(attribute, attributes)
            attributes[name] = _coerced(info, spec, attribute)
        elif is_strict and "." not in name and name != SEGMENTS:
            message = f"'{info.name}' has no attribute '{name}'"
            raise OpProblem(message, attribute=name, hint=did_you_mean(name, specs) or _listed(specs))
    if "type" in specs and "type" not in attributes:
        # Elements state their type, so that the op need not.
        for attribute in attributes.values():
            if isinstance(attribute, DenseElementsAttr | DenseResourceAttr):
                attributes["type"] = TypeAttr(attribute.type)
                break
    for spec in specs.values():
        if spec.required and spec.name not in attributes:
            raise OpProblem(f"'{info.name}' needs attribute '{spec.name}' ({_kind(spec)})")
    return attributes


def _listed(specs: Mapping[str, AttributeSpec]) -> str:
    """The attributes that an op takes."""
    names = [spec.name for spec in specs.values() if not spec.is_symbol]
    return f"its attributes: {', '.join(names)}" if names else "it takes no attributes"


def check_regions(info: OpInfo, count: int) -> None:
    """Check the number of regions."""
    if info.regions >= 0 and count != info.regions:
        takes = f"{info.regions or 'no'} region{'s' * (info.regions != 1)}"
        raise OpProblem(f"'{info.name}' takes {takes}, got {count}")


def _kind(spec: AttributeSpec) -> str:
    return {"symbol": "a symbol, as in @name", "symbol reference": "a symbol, as in @name"}.get(spec.kind, spec.kind)


def _coerced(info: OpInfo, spec: AttributeSpec, attribute: Attribute) -> Attribute:
    found = spec.coerce(attribute)
    if found is None:
        message = f"attribute '{spec.name}' of '{info.name}' must be {_kind(spec)}, got {_short(attribute)}"
        raise OpProblem(message, attribute=spec.name, hint=_how_to_write(info, spec, attribute))
    if spec.kind == "an attribute" and is_odd(info.name, found):
        raise OpProblem(f"'{info.name}' does not compute with numbers such as {_short(found)}", attribute=spec.name)
    if spec.kind == "a scalar type" and isinstance(found.value, ShapedType):
        message = f"attribute '{spec.name}' of '{info.name}' must be a scalar type, got {found}"
        raise OpProblem(message, attribute=spec.name, hint=f"did you mean {found.value.dtype}?")
    if spec.choices and found.value not in spec.choices:
        listed = ", ".join(map(repr, spec.choices))
        message = f"attribute '{spec.name}' of '{info.name}' must be one of {listed}, got {_short(attribute)}"
        hint = did_you_mean(str(found.value), map(str, spec.choices))
        raise OpProblem(message, attribute=spec.name, hint=hint)
    return found


def _how_to_write(info: OpInfo, spec: AttributeSpec, attribute: Attribute) -> str | None:
    """How an attribute of the right kind is written, where that is a small change."""
    if spec.kind == "a list of integers" and isinstance(attribute, IntegerAttr):
        return f"a list stands in brackets: [{attribute.value}]"
    words = getattr(info.cls, "predicates", ())
    if spec.name == "predicate" and isinstance(attribute, StringAttr) and attribute.value in words:
        return f"it is written as in MLIR's generic form, by its number: {words.index(attribute.value)} : i64"
    if isinstance(attribute, OpaqueAttr) and str(attribute).startswith("dense<"):
        return "these elements can be printed, but no array in memory holds them"
    if spec.kind == "dense elements":
        return "data is written with its type: dense<[1.0, 2.0]> : tensor<2xf32>"
    if spec.kind == "a bool":
        return "write true or false"
    if spec.kind in ("a type", "a scalar type", "a tensor type") and isinstance(attribute, StringAttr):
        return "a type stands without quotes"
    return None


def _short(attribute: Attribute) -> str:
    text = _ROUND.sub(r"\1", str(attribute))
    return text if len(text) <= 60 else text[:57] + "..."


def _typed_resource(attribute: Any, attributes: dict[str, Attribute]) -> Attribute:
    """A dense_resource without a type, with the one that the op's ``type`` attribute states."""
    type = attributes.get("type")
    if not isinstance(type, TypeAttr):
        message = (
            f"dense_resource<{attribute.name}> needs a type, as in dense_resource<{attribute.name}> : tensor<4xf32>"
        )
        raise OpProblem(message)
    return DenseResourceAttr(attribute.name, type.value)


def grouped(info: OpInfo, operands: Sequence[Value], attributes: dict[str, Attribute], fill: bool) -> list[Any]:
    """Operands by group, with their kinds checked.

    With `fill`, an op that lacks operandSegmentSizes gets what it says for so many operands.
    """
    schema = info.schema
    assert schema is not None
    found = attributes.get(SEGMENTS)
    if schema.needs_segments and found is None and fill:
        sizes = info.cls.default_segments(len(operands))  # type: ignore[attr-defined]
        if sum(sizes) != len(operands):
            raise OpProblem(f"'{info.name}' takes {schema.arity()}, got {len(operands)}", is_count=True)
        found = attributes[SEGMENTS] = DenseArrayAttr(sizes, I32)
    if found is not None and not isinstance(found, DenseArrayAttr):
        raise OpProblem(f"'{SEGMENTS}' must be a list such as array<i32: 1, 1>", attribute=SEGMENTS)
    try:
        return schema.group(operands, None if found is None else found.value)
    except InferError as error:
        message, hint = f"'{info.name}' {error.message}", error.diagnostics[0].hint
        raise OpProblem(message, is_count=True, hint=hint) from None


def check_kinds(info: OpInfo, groups: Sequence[Any]) -> None:
    """Check that each operand is of a type that its group allows."""
    assert info.schema is not None
    index = 0
    for spec, group in zip(info.schema.operands, groups, strict=True):
        for value in group if group.__class__ is tuple else () if group is None else (group,):
            if spec.allowed and not isinstance(value.type, spec.allowed):
                message = f"operand '{spec.name}' of '{info.name}' must be {spec.expected}, got {value.type}"
                raise OpProblem(message, operand=index)
            index += 1


def prepared(info: OpInfo, operands: list[Value], attributes: dict[str, Attribute]) -> tuple[list[Value], list[Any]]:
    """Operands as the op takes them (broadcast, promoted), in one list and by group."""
    groups = grouped(info, operands, attributes, fill=True)
    check_kinds(info, groups)
    if not info.prepares:
        return operands, groups
    cls: Any = info.cls
    assert info.schema is not None
    specs = info.schema.attributes
    try:
        groups = cls.prepare(
            groups, {name: _plain(specs[name], attributes[name]) for name in attributes if name in specs}
        )
    except DlirError as error:
        raise _from_error(info, error) from None
    if info.needs_segments:
        attributes[SEGMENTS] = segment_sizes(groups)
    return flatten_groups(groups), groups


def inferred(
    info: OpInfo,
    groups: list[Any],
    attributes: dict[str, Attribute],
    symbol: Callable[[str], Operation | None],
    is_named: bool,
) -> tuple[Type, ...]:
    """The result types that follow from the operands and attributes, or from the op that a symbol names.

    An op that states its result types and neither does nor has names for them (`is_named`) has none: `scf.if %c (...)`.
    """
    schema, cls = info.schema, info.cls
    assert schema is not None and issubclass(cls, Op)
    if not schema.infers:
        return _types_from_symbol(info, attributes, symbol, is_named)
    keywords = {}
    for name, spec in schema.attributes.items():
        attribute = attributes.get(name)
        keywords[name] = spec.default if attribute is None else _plain(spec, attribute)
    try:
        return cls.infer_types(groups, keywords)
    except DlirError as error:
        raise _from_error(info, error) from None


def _types_from_symbol(
    info: OpInfo, attributes: dict[str, Attribute], symbol: Callable[[str], Operation | None], is_named: bool
) -> tuple[Type, ...]:
    reason, missing = "", None
    for attribute in attributes.values():
        if not isinstance(attribute, SymbolRefAttr):
            continue
        named = symbol(attribute.path[0]) if len(attribute.path) == 1 else None
        types = None if named is None else info.cls.types_from_symbol(named)  # type: ignore[attr-defined]
        if types is not None:
            return types
        if named is None:
            reason, missing = f": '{attribute}' is not defined before it", attribute.path[0]
    if not is_named:
        return ()
    example = _EXAMPLE_TYPES.get(info.name.partition(".")[0], "tensor<4xf32>")
    hint = f"write them at the end, as in ': {example}'"
    raise OpProblem(f"'{info.name}' cannot infer its result types{reason}", symbol=missing, hint=hint)


def _plain(spec: AttributeSpec, attribute: Attribute) -> Any:
    return attribute if spec.kind in ("dense elements", "an attribute") else attribute.value


def _from_error(info: OpInfo, error: DlirError) -> OpProblem:
    message, hint = error.message, error.diagnostics[0].hint
    about = _ABOUT_ATTRIBUTE.match(message)
    if about is not None and info.schema is not None and about[1] in info.schema.attributes:
        rest = message[about.end() :]
        return OpProblem(f"attribute '{about[1]}' of '{info.name}' {rest}", attribute=about[1], hint=hint)
    return OpProblem(message if message.startswith("'") else f"'{info.name}' {message}", hint=hint)
