"""An op's schema, read from the signature of its ``infer``.

Positional parameters are operands; ``*xs`` or ``xs: tuple[Tensor, ...]`` is variadic, ``x: Tensor | None = None`` an optional
operand.  Keyword-only parameters are attributes (with their defaults) or, when annotated `Region`, regions
(``tuple[Region, ...]``: any number of them).  The annotation says what is allowed.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from dlir.ir.attributes import (
    ArrayAttr,
    Attribute,
    BoolAttr,
    DenseArrayAttr,
    DenseElementsAttr,
    DenseResourceAttr,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    SymbolRefAttr,
    TypeAttr,
    UnitAttr,
)
from dlir.ir.core import Region, Value
from dlir.ir.errors import InferError
from dlir.ir.types import (
    F64,
    I32,
    FloatType,
    FunctionType,
    IndexType,
    IntegerType,
    MemRefType,
    ScalarType,
    TensorType,
    Type,
    VectorType,
)


class Declared:
    """Return annotation of an ``infer`` whose result types cannot be worked out: the op states them."""


class Symbol(str):
    """Annotation of an attribute that defines a symbol (a string attribute, written ``@name``)."""


class SymbolRef(str):
    """Annotation of an attribute that refers to a symbol."""


class Elements:
    """Annotation of an attribute that holds a constant array: ``dense`` or ``dense_resource``, as an Attribute."""


class Unit:
    """Annotation of an attribute whose presence is its meaning; a bool in Python."""


@dataclass(frozen=True, slots=True)
class OperandSpec:
    """One operand group: exactly one value, an optional one, or any number."""

    name: str
    kind: Literal["one", "optional", "variadic"]
    allowed: tuple[type, ...]
    #: Declared as ``*xs``: handed to infer and eval as positional arguments of their own.
    spread: bool = False

    def accepts(self, type: Type) -> bool:
        return not self.allowed or isinstance(type, self.allowed)

    @property
    def expected(self) -> str:
        return " or ".join(_TYPE_WORDS.get(kind, kind.__name__) for kind in self.allowed) or "any type"


_TYPE_WORDS: dict[type, str] = {
    TensorType: "a tensor",
    MemRefType: "a memref",
    VectorType: "a vector",
    FunctionType: "a function",
    ScalarType: "a scalar",
    IndexType: "an index",
    IntegerType: "an integer",
    FloatType: "a float",
}


@dataclass(frozen=True, slots=True)
class AttributeSpec:
    """One attribute: `encode` makes it from a Python value, `coerce` accepts one that was read (None: wrong kind)."""

    name: str
    kind: str
    encode: Callable[[Any], Attribute]
    coerce: Callable[[Attribute], Attribute | None]
    required: bool
    default: Any = None
    choices: tuple[Any, ...] = ()

    @property
    def is_symbol(self) -> bool:
        return self.kind in ("symbol", "symbol reference")


@dataclass(slots=True)
class Schema:
    """What an op takes and gives."""

    operands: list[OperandSpec] = field(default_factory=list)
    attributes: dict[str, AttributeSpec] = field(default_factory=dict)
    regions: list[str] = field(default_factory=list)
    #: The last region name stands for any number of regions.
    variadic_regions: bool = False
    infers: bool = True
    #: The attributes that the pretty form writes as ``@name`` before the operands.
    symbols: list[AttributeSpec] = field(init=False)
    #: Whether the op carries ``operandSegmentSizes``, as in MLIR: it has more than one group of unknown length.
    needs_segments: bool = field(init=False)
    #: Whether each group is one operand.
    is_fixed: bool = field(init=False)
    #: Whether equal types and attributes can be recognised cheaply, so that inferred types are worth remembering.
    is_memoizable: bool = field(init=False)

    def __post_init__(self) -> None:
        flexible = sum(spec.kind != "one" for spec in self.operands)
        self.symbols = [spec for spec in self.attributes.values() if spec.is_symbol]
        self.needs_segments = flexible > 1
        self.is_fixed = flexible == 0
        unhashable = ("dense elements", "an attribute", "a list")
        self.is_memoizable = self.infers and not any(spec.kind in unhashable for spec in self.attributes.values())

    def group(self, operands: Sequence[Any], segments: tuple[int, ...] | None) -> list[Any]:
        """Operands sorted into groups: a value, a value or None, or a tuple.  InferError if they do not fit."""
        if self.is_fixed and len(operands) == len(self.operands):
            return list(operands)
        sizes = self._sizes(len(operands), segments)
        groups: list[Any] = []
        position = 0
        for spec, size in zip(self.operands, sizes, strict=True):
            part = tuple(operands[position : position + size])
            position += size
            groups.append(part if spec.kind == "variadic" else part[0] if part else None)
        return groups

    def _sizes(self, count: int, segments: tuple[int, ...] | None) -> Sequence[int]:
        specs = self.operands
        if self.needs_segments:
            if segments is None:
                raise InferError(f"needs operandSegmentSizes for its operand groups ({self.signature()})")
            valid = isinstance(segments, tuple) and all(isinstance(size, int) and size >= 0 for size in segments)
            valid = valid and len(segments) == len(specs) and sum(segments) == count
            if not valid or any(
                size != 1 if spec.kind == "one" else spec.kind == "optional" and size > 1
                for spec, size in zip(specs, segments, strict=True)
            ):
                raise InferError(f"operandSegmentSizes {segments} do not fit {count} operands ({self.signature()})")
            return segments
        free = count - sum(spec.kind == "one" for spec in specs)
        flexible = next((spec for spec in specs if spec.kind != "one"), None)
        if free < 0 or (flexible is None and free) or (flexible and flexible.kind == "optional" and free > 1):
            raise InferError(f"takes {self.arity()}, got {count}")
        return [free if spec.kind != "one" else 1 for spec in specs]

    def arity(self) -> str:
        """How many operands, in words: ``2 operands (a, b)``."""
        names = f" ({self.signature()})" if self.operands else ""
        least = sum(spec.kind == "one" for spec in self.operands)
        most = least + sum(spec.kind == "optional" for spec in self.operands)
        if any(spec.kind == "variadic" for spec in self.operands):
            words = f"at least {least} operand{'s' * (least != 1)}"
        elif least == most:
            words = f"{least or 'no'} operand{'s' * (least != 1)}"
        else:
            words = f"{least} to {most} operands"
        return words + names

    def signature(self) -> str:
        """The operand names, as in ``x, w, [bias], *rest``."""
        form = {"one": "{}", "optional": "[{}]", "variadic": "*{}"}
        return ", ".join(form[spec.kind].format(spec.name) for spec in self.operands)


def schema_of(infer: Callable[..., Any]) -> Schema:
    """The schema that the signature of `infer` states."""
    hints = typing.get_type_hints(infer)
    operands: list[OperandSpec] = []
    attributes: dict[str, AttributeSpec] = {}
    regions: list[str] = []
    variadic_regions = False
    for name, parameter in inspect.signature(infer).parameters.items():
        hint = hints.get(name, Any)
        if parameter.kind is not parameter.KEYWORD_ONLY:
            operands.append(_operand_spec(name, hint, parameter.kind is parameter.VAR_POSITIONAL))
        elif hint in (Region, tuple[Region, ...]):
            regions.append(name)
            variadic_regions = hint is not Region
        else:
            attributes[name] = _attribute_spec(name, hint, parameter.default)
    return Schema(operands, attributes, regions, variadic_regions, hints.get("return") is not Declared)


def _operand_spec(name: str, hint: Any, spread: bool) -> OperandSpec:
    kind: Any = "variadic" if spread else "one"
    if typing.get_origin(hint) is tuple:
        kind, hint = "variadic", typing.get_args(hint)[0]
    parts = [part for part in _union(hint) if part is not type(None)]
    if len(parts) < len(_union(hint)):
        kind = "optional"
    allowed = tuple(part for part in parts if isinstance(part, type) and part is not Type)
    return OperandSpec(name, kind, allowed, spread)


def _union(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def _attribute_spec(name: str, hint: Any, default: Any) -> AttributeSpec:
    required = default is inspect.Parameter.empty
    default = None if required else default
    kinds = [part for part in _union(hint) if part is not type(None)]
    if len(kinds) != 1:
        raise TypeError(f"keyword '{name}' of infer has several types")
    (hint,) = kinds
    choices: tuple[Any, ...] = ()
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        hint = type(choices[0])
    hint = typing.get_origin(hint) or hint
    if hint not in _CODECS:
        raise TypeError(
            f"no attribute holds the keyword '{name}' of infer, which is annotated {getattr(hint, '__name__', hint)}"
        )
    kind, encode, coerce = _CODECS[hint]
    return AttributeSpec(name, kind, encode, coerce, required, default, choices)


def _only(*kinds: type) -> Callable[[Attribute], Attribute | None]:
    return lambda found: found if isinstance(found, kinds) else None


def _as_float(found: Attribute) -> Attribute | None:
    if isinstance(found, IntegerAttr):
        return FloatAttr(float(found.value), F64)
    return found if isinstance(found, FloatAttr) else None


def _as_tuple(found: Attribute) -> Attribute | None:
    if isinstance(found, DenseArrayAttr) and isinstance(found.type, IntegerType):
        return found
    if isinstance(found, ArrayAttr) and all(isinstance(item, IntegerAttr) for item in found.items):
        return DenseArrayAttr(found.value)
    return None


def _as_symbol_ref(found: Attribute) -> Attribute | None:
    return SymbolRefAttr(found.value) if isinstance(found, StringAttr) else _only(SymbolRefAttr)(found)


def _symbol_ref(value: Any) -> Attribute:
    return value if isinstance(value, SymbolRefAttr) else SymbolRefAttr(*str(value).split("::"))


def _elements(value: Any) -> Attribute:
    return value if isinstance(value, Attribute) else DenseElementsAttr(np.asarray(value))


_CODECS: dict[Any, tuple[str, Callable[[Any], Attribute], Callable[[Attribute], Attribute | None]]] = {
    bool: ("a bool", BoolAttr, _only(BoolAttr)),
    int: ("an integer", IntegerAttr, _only(IntegerAttr)),
    float: ("a float", FloatAttr, _as_float),
    str: ("a string", StringAttr, _only(StringAttr)),
    tuple: ("a list of integers", DenseArrayAttr, _as_tuple),
    Type: ("a type", TypeAttr, _only(TypeAttr)),
    TensorType: ("a tensor type", TypeAttr, _only(TypeAttr)),
    list: ("a list", lambda value: ArrayAttr(value), _only(ArrayAttr)),
    ScalarType: ("a scalar type", TypeAttr, _only(TypeAttr)),
    FunctionType: ("a function type", TypeAttr, _only(TypeAttr)),
    Symbol: ("symbol", StringAttr, _only(StringAttr)),
    SymbolRef: ("symbol reference", _symbol_ref, _as_symbol_ref),
    Elements: ("dense elements", _elements, _only(DenseElementsAttr, DenseResourceAttr)),
    Unit: ("unit", lambda value: UnitAttr(), _only(UnitAttr)),
    Attribute: ("an attribute", lambda value: value, _only(Attribute)),
}


def segment_sizes(groups: Sequence[Any]) -> DenseArrayAttr:
    """The ``operandSegmentSizes`` attribute for operands given in groups."""
    return DenseArrayAttr([0 if g is None else len(g) if isinstance(g, tuple | list) else 1 for g in groups], I32)


def flatten_groups(groups: Sequence[Any]) -> list[Value]:
    """The operands of all groups in one list."""
    flat: list[Value] = []
    for group in groups:
        if isinstance(group, tuple | list):
            flat.extend(group)
        elif group is not None:
            flat.append(group)
    return flat
