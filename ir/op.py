"""One op, one class: the base of all registered ops.

    class Matmul(Op, name="nd.matmul"):
        '''Batched matrix product: [..., m, k] x [..., k, n] -> [..., m, n].'''

        @staticmethod
        def infer(a: Tensor, b: Tensor, *, transpose_b: bool = False) -> Tensor: ...    # the signature is the schema

        @staticmethod
        def eval(a, b, *, transpose_b=False): ...                                       # NumPy: the meaning

An op is an instance of its class.  ``infer`` gets the operands' types (a tuple for a variadic group, None for an absent
optional one) and the attributes as plain Python values, and returns the result type, a tuple of them, or None; it
raises InferError for operands that do not fit.  ``eval`` gets NumPy arrays in the same places, and, if the op states
its result types (`Declared`), those as the keyword `result_types`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from dlir.ir.attributes import Attribute
from dlir.ir.builder import current_location, insert
from dlir.ir.core import ALLOC, IO, READ, WRITE, Block, Operation, Region, Value
from dlir.ir.errors import DlirError, InferError, did_you_mean
from dlir.ir.location import Location
from dlir.ir.registry import register
from dlir.ir.schema import (
    Declared,
    Elements,
    Schema,
    Symbol,
    SymbolRef,
    Unit,
    flatten_groups,
    schema_of,
    segment_sizes,
)
from dlir.ir.types import INDEX, IndexType, MemRefType, ScalarType, TensorType, Type, VectorType

Tensor = TensorType
MemRef = MemRefType
Vector = VectorType
Scalar = ScalarType
Index = IndexType


class _Compact(type):
    """Makes classes whose instances have no dictionary of their own: a module holds very many ops."""

    def __new__(cls, title: str, bases: tuple[type, ...], body: dict[str, Any], /, **options: Any) -> _Compact:
        body.setdefault("__slots__", ())
        return super().__new__(cls, title, bases, body, **options)


class Op(Operation, metaclass=_Compact):
    """Base of all registered ops; the class attributes below are the traits."""

    __slots__ = ()
    op_name: ClassVar[str] = ""
    is_registered: ClassVar[bool] = True
    #: Names from READ, WRITE, ALLOC, IO; an op with none may be removed when unused and merged when repeated.
    effects: ClassVar[frozenset[str]] = frozenset()
    #: a op b == b op a.
    is_commutative: ClassVar[bool] = False
    #: Regions must not use values from outside.
    is_isolated: ClassVar[bool] = False
    #: Regions hold symbols.
    is_symbol_table: ClassVar[bool] = False
    #: Order inside the regions does not matter and no terminator is needed (a module).
    is_graph: ClassVar[bool] = False
    #: The op class that ends each block of the regions; None: any terminator.
    terminated_by: ClassVar[str | None] = None
    #: The op class in whose region this op must stand.
    parent_name: ClassVar[str | tuple[str, ...] | None] = None
    #: Attributes of the schema that upstream keeps with the discardable ones, not with the op's properties.
    discardable: ClassVar[tuple[str, ...]] = ()
    #: Whether results depend on operands in a way that has slopes; the gradient of others (comparisons, floor) is zero.
    differentiable: ClassVar[bool] = True
    #: The op's gradient rule, a method ``vjp(self, cotangents, needs)``; None: that of its decomposition, if it has one.
    #: `cotangents` has a Value of the result's type, or None for zero, for each result, and not all are None; `needs` says
    #: for each operand whether a gradient is asked for.  Makes ops at the insertion point, which may use the op's operands
    #: and results, and returns for each operand its cotangent: a Value of the operand's type, or None for zero.
    vjp: Callable[..., Sequence[Value | None]] | None = None
    _schema: ClassVar[Schema | None] = None

    def __init_subclass__(cls, name: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._schema = None
        cls.op_name = name
        if name:
            register(name, cls)

    # ------------------------------------------------------------ what subclasses define

    @staticmethod
    def infer(*operands: Any, **keywords: Any) -> Any:
        """The result types; its signature is the schema."""
        raise TypeError("an op must define infer")

    def verify(self) -> None:
        """Check what the schema cannot say; raise DlirError."""

    def verify_symbols(self, lookup: Callable[[str], Operation | None]) -> None:
        """Check the ops that the symbol references name; `lookup` finds one, which is there."""

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        """Turn what a person may write into what the op takes (broadcasting, promotion, Python numbers)."""
        return groups

    @classmethod
    def default_segments(cls, count: int) -> list[int]:
        """Sizes of the operand groups for `count` operands when a text does not give them.

        Operands fill the groups from the left, each required one getting its own.
        """
        spare = count - sum(spec.kind == "one" for spec in cls.schema().operands)
        sizes = []
        for spec in cls.schema().operands:
            size = 1 if spec.kind == "one" else max(spare, 0) if spec.kind == "variadic" else min(max(spare, 0), 1)
            sizes.append(size)
            spare -= 0 if spec.kind == "one" else size
        return sizes

    def side_effects(self) -> frozenset[str]:
        """What this very op may do, its regions not counted (see `dlir.ir.effects`)."""
        return self.effects

    # ------------------------------------------------------------ schema

    @classmethod
    def schema(cls) -> Schema:
        """The schema, made on first use; DlirError if the signature of `infer` is none."""
        if cls._schema is None:
            try:
                cls._schema = schema_of(cls.infer)
            except (AttributeError, NameError, TypeError, ValueError) as error:
                raise DlirError(f"class {cls.__qualname__} of '{cls.op_name}' has no schema: {error}") from error
        return cls._schema

    @property
    def groups(self) -> list[Any]:
        """The operands by group: a Value, a Value or None, or a tuple of Values."""
        segments = self.get("operandSegmentSizes")
        return self.schema().group(self.operands, segments)

    def group(self, name: str) -> Any:
        """The operand group called `name`."""
        names = [spec.name for spec in self.schema().operands]
        return self.groups[names.index(name)]

    def __getitem__(self, name: str) -> Any:
        """The plain value of attribute `name`, or its default."""
        found = self.attributes.get(name)
        if found is not None:
            return found if self.schema().attributes[name].kind in _KEPT else found.value
        return self.schema().attributes[name].default

    def set(self, name: str, value: Any) -> None:
        """Set attribute `name` from a plain value; None removes it."""
        if value is None:
            self.attributes.pop(name, None)
        else:
            self.attributes[name] = self.schema().attributes[name].encode(value)

    @property
    def keywords(self) -> dict[str, Any]:
        """All attributes of the schema as plain values, defaults included: the keyword arguments of infer and eval."""
        return {name: self[name] for name in self.schema().attributes}

    def evaluate(self, operands: Sequence[Any]) -> tuple[Any, ...]:
        """Run ``eval`` on one NumPy value per operand; returns one per result.  DlirError if the op has no ``eval``."""
        run = getattr(type(self), "eval", None)
        if run is None:
            raise DlirError(f"'{self.name}' cannot be evaluated", self.location)
        schema = self.schema()
        groups = schema.group(operands, self.get("operandSegmentSizes"))
        keywords = self.keywords
        if not schema.infers:
            keywords["result_types"] = self.result_types
        with np.errstate(all="ignore"):
            found = run(*spread_groups(schema, groups), **keywords)
        return found if isinstance(found, tuple) else (found,)

    # ------------------------------------------------------------ making

    @classmethod
    def types_from_symbol(cls, symbol: Operation) -> tuple[Type, ...] | None:
        """Result types of an op that declares them, from the op that its symbol names; None if they do not follow."""
        return None

    @classmethod
    def infer_types(cls, groups: Sequence[Any], keywords: dict[str, Any]) -> tuple[Type, ...]:
        """Run ``infer`` on the types of operands given in groups; its region parameters only stand in the schema."""
        schema = cls.schema()
        types = [tuple([v.type for v in g]) if isinstance(g, tuple) else g and g.type for g in groups]
        if not schema.is_memoizable or any(type(value) is list for value in keywords.values()):
            return results_of(cls.infer(*spread_groups(schema, types), **keywords, **dict.fromkeys(schema.regions)))
        # Types are interned and the same ones come again and again.  Of equal keywords, 1 and True mean the same here.
        key = (cls, *types, *keywords.values())
        found = _INFERRED.get(key)
        if found is None:
            found = results_of(cls.infer(*spread_groups(schema, types), **keywords, **dict.fromkeys(schema.regions)))
            if len(_INFERRED) >= _INFERRED_LIMIT:
                _INFERRED.clear()
            _INFERRED[key] = found
        return found

    @classmethod
    def create(
        cls,
        *operands: Any,
        result_types: Iterable[Type] | None = None,
        regions: Iterable[Region] = (),
        successors: Iterable[Block] = (),
        location: Location | None = None,
        **attributes: Any,
    ) -> Any:
        """Make the op without putting it anywhere.

        Operands come by group, as in ``infer``; attributes as plain values, dotted (discardable) ones through
        ``{"dialect.name": ...}``; `result_types` only where they cannot be inferred; a type after the operands stands
        for `result_types` with that one type.
        """
        schema = cls.schema()
        if operands and isinstance(operands[-1], Type):
            result_types = (operands[-1],)
            operands = operands[:-1]
        if schema.is_fixed and len(operands) == len(schema.operands):
            groups = list(operands)
        else:
            groups = cls._take_groups(operands, attributes)
        location = current_location() if location is None else location
        try:
            encoded = _encode(schema, attributes) if attributes or schema.attributes else {}
            groups = cls.prepare(groups, attributes)
            if result_types is None:
                keywords = {n: attributes.get(n, spec.default) for n, spec in schema.attributes.items()}
                if not schema.infers:
                    raise InferError("cannot infer its result types: give result_types")
                result_types = cls.infer_types(groups, keywords)
        except InferError as error:
            raise DlirError(f"'{cls.op_name}' {error.message}", location, hint=error.diagnostics[0].hint) from None
        if schema.needs_segments:
            encoded["operandSegmentSizes"] = segment_sizes(groups)
        return cls(cls.op_name, flatten_groups(groups), result_types, encoded, regions, successors, location)

    @classmethod
    def _take_groups(cls, operands: Sequence[Any], attributes: dict[str, Any]) -> list[Any]:
        groups: list[Any] = []
        position = 0
        for spec in cls.schema().operands:
            if spec.spread:
                rest = operands[position:]
                if len(rest) == 1 and isinstance(rest[0], tuple | list):
                    rest = rest[0]
                groups.append(tuple(rest))
                position = len(operands)
            elif position < len(operands):
                group = operands[position]
                groups.append(tuple(group) if spec.kind == "variadic" else group)
                position += 1
            elif spec.name in attributes:
                groups.append(attributes.pop(spec.name))
            elif spec.kind == "variadic":
                groups.append(())
            elif spec.kind == "optional":
                groups.append(None)
            else:
                raise DlirError(f"'{cls.op_name}' needs operand '{spec.name}'", current_location())
        if position < len(operands):
            raise DlirError(f"'{cls.op_name}' takes {cls.schema().arity()}, got {len(operands)}", current_location())
        return groups

    @classmethod
    def build(cls, *operands: Any, **keywords: Any) -> Any:
        """Make the op at the insertion point; returns its result, the tuple of results, or the op if it has none."""
        op = insert(cls.create(*operands, **keywords))
        return op if not op.results else op.results[0] if len(op.results) == 1 else op.results


#: Attributes of these kinds are handed out as they are, not as plain values.
_KEPT = ("dense elements", "an attribute")


#: What ``infer`` gave for types and attributes that were seen before.
_INFERRED: dict[tuple[Any, ...], tuple[Type, ...]] = {}
_INFERRED_LIMIT = 1 << 14


def results_of(inferred: Any) -> tuple[Type, ...]:
    """What ``infer`` returned, as a tuple of types."""
    if inferred is None:
        return ()
    return inferred if isinstance(inferred, tuple) else (inferred,)


def spread_groups(schema: Schema, groups: Sequence[Any]) -> list[Any]:
    """Groups as the positional arguments of ``infer`` or ``eval``: a group declared as ``*xs`` is spread out."""
    out: list[Any] = []
    for spec, group in zip(schema.operands, groups, strict=True):
        if spec.spread:
            out.extend(group)
        else:
            out.append(group)
    return out


def _encode(schema: Schema, attributes: dict[str, Any]) -> dict[str, Attribute]:
    """Attributes from plain values; those equal to their default are left out."""
    encoded: dict[str, Attribute] = {}
    for name, value in attributes.items():
        spec = schema.attributes.get(name)
        if spec is None:
            if "." in name and isinstance(value, Attribute):
                encoded[name] = value
                continue
            raise InferError(f"has no attribute '{name}'", hint=did_you_mean(name, schema.attributes))
        absent = value is None or (value is False and spec.kind == "unit")
        if absent or (not spec.required and _same(value, spec.default)):
            continue
        if spec.choices and value not in spec.choices:
            raise InferError(f"attribute '{name}' must be one of {', '.join(map(repr, spec.choices))}, got {value!r}")
        attribute = value if isinstance(value, Attribute) else spec.encode(value)
        checked = spec.coerce(attribute)
        if checked is None:
            raise InferError(f"attribute '{name}' must be {spec.kind}, got {attribute}")
        encoded[name] = checked
    for name, spec in schema.attributes.items():
        if spec.required and name not in encoded:
            raise InferError(f"needs attribute '{name}' ({spec.kind})")
    return encoded


def _same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and value == default


__all__ = [
    "ALLOC",
    "INDEX",
    "IO",
    "READ",
    "WRITE",
    "Declared",
    "Elements",
    "Index",
    "InferError",
    "MemRef",
    "Op",
    "Region",
    "Scalar",
    "Symbol",
    "SymbolRef",
    "Tensor",
    "Type",
    "Unit",
    "Value",
    "Vector",
    "results_of",
    "spread_groups",
]
