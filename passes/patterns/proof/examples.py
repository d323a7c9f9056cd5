"""Programs that a rule matches, made from what it matches."""

from __future__ import annotations

import math
from typing import Any

from dlir.ir.attributes import DenseElementsAttr
from dlir.ir.core import Value
from dlir.ir.errors import DlirError
from dlir.ir.types import I1, ScalarType, TensorType
from dlir.passes.patterns.expressions import compile_expression
from dlir.passes.patterns.proof.inputs import DTYPES, random_input
from dlir.passes.patterns.proof.maker import Build, Maker, Unfit
from dlir.passes.patterns.schema import (
    ATTRIBUTE_KINDS,
    fit_operands,
    given_attributes,
    is_literal,
    literal,
    op_class,
    takes_numbers,
)
from dlir.passes.patterns.syntax import Anything, App, Call, Capture, Is, Number, Rest, Rule, Variable, walk
from dlir.passes.patterns.vocabulary import ADJECTIVES, Undefined

#: More elements than this show nothing new, and take long.
LARGEST = 2000


def example_of(rule: Rule) -> Build:
    """What makes programs for a rule of text; it raises Unfit for many a try."""
    return lambda maker: _FromRule(rule, maker).root()


class _FromRule:
    def __init__(self, rule: Rule, maker: Maker) -> None:
        self.rule = rule
        self.maker = maker
        self.names: dict[str, Any] = {}
        self.dtypes = _dtype_hints(rule)
        self.constants = _constant_names(rule)
        wanted = [dtype for dtype in DTYPES if all(dtype in some for some in self.dtypes.values())]
        if wanted and maker.dtype not in wanted:
            maker.dtype = maker.pick(wanted)

    def root(self) -> Value:
        return self._app(self.rule.match)

    # ------------------------------------------------------------ terms

    def _app(self, app: App) -> Any:
        cls = op_class(app)
        schema = cls.schema()
        operands: list[Any] = []
        for spec, group in zip(schema.operands, fit_operands(app, schema), strict=True):
            if isinstance(group, tuple):
                some = [value for term in group for value in self._several(term, cls)]
                operands += some if spec.spread else [tuple(some)]
            elif isinstance(group, Rest):
                operands.append(self._leaf(None, spec) if spec.kind == "one" or self.maker.chance(0.3) else None)
            else:
                operands.append(None if group is None else self._term(group, spec, cls))
        results = self._build(app, operands)
        for name, value in zip(app.names, results):
            self.names[f"%{name}"] = value
        for value in results:
            if isinstance(value.type, TensorType) and value.type.is_static:
                if value.type.size > LARGEST:
                    raise Unfit
                self.maker.shapes.append(value.shape)
        return results[app.result or 0]

    def _build(self, app: App, operands: list[Any]) -> tuple[Value, ...]:
        """The results of the op on these operands; attributes are drawn a few times until they fit."""
        cls = op_class(app)
        known = dict(self.names)
        for _ in range(4 if app.attributes else 1):
            self.names = dict(known)
            attributes = self._attributes(app, [v for v in operands if isinstance(v, Value)])
            try:
                found = cls.build(*operands, **attributes)
            except (DlirError, TypeError, ValueError, OverflowError):
                continue
            return found if isinstance(found, tuple) else (found,)
        raise Unfit

    def _several(self, term: Any, cls: Any) -> list[Value]:
        if isinstance(term, Rest):
            return [self._leaf(None, None) for _ in range(int(self.maker.rng.integers(3)))]
        return [self._term(term, None, cls)]

    def _term(self, term: Any, spec: Any, cls: Any) -> Any:
        match term:
            case App():
                return self._app(term)
            case Number():
                return self._number(term, spec, cls)
            case Variable(name=name):
                if name == "_" or f"%{name}" not in self.names:
                    value = self._leaf(None if name == "_" else name, spec)
                    self.names[f"%{name}"] = value
                    return value
                return self.names[f"%{name}"]
        raise TypeError(term)

    def _number(self, term: Number, spec: Any, cls: Any) -> Any:
        """A number for the builder to take in, or a constant of its own."""
        maker = self.maker
        may_be_plain = term.name is None and takes_numbers(cls)
        if may_be_plain and (maker.chance(0.4) or not _is_tensor(spec)):
            return term.value
        dtype = I1 if isinstance(term.value, bool) else maker.dtype
        value = maker.constant(term.value, dtype)
        if term.name is not None:
            self.names[f"%{term.name}"] = value
        return value

    def _leaf(self, name: str | None, spec: Any) -> Value:
        maker = self.maker
        choices = self.dtypes.get(name or "", ())
        dtype = maker.dtype
        if choices and dtype not in choices:
            dtype = maker.pick(choices)
        elif not choices and maker.chance(0.2):
            dtype = maker.pick([I1, *DTYPES])
        if not _is_tensor(spec):
            return maker.block.add_arg(dtype, name)
        if name in self.constants:
            numbers = [0.0, 1.0, -1.0, 0.5, 1e-5, *range(1, 13)]
            # Of no dimensions, it is broadcast to whatever it meets.
            return maker.constant(maker.pick(numbers), dtype, () if maker.chance(0.7) else None)
        return maker.input(dtype, name=name)

    # ------------------------------------------------------------ attributes

    def _attributes(self, app: App, operands: list[Value]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for spec, value in given_attributes(app):
            if is_literal(value) and not isinstance(value, Anything):
                found[spec.name] = literal(value)
            elif isinstance(value, Capture) and f"${value.name}" in self.names:
                found[spec.name] = self.names[f"${value.name}"]
            else:
                found[spec.name] = self._computed(value, spec, operands)
                if isinstance(value, Capture):
                    self.names[f"${value.name}"] = found[spec.name]
        return found

    def _computed(self, value: Any, spec: Any, operands: list[Value]) -> Any:
        if isinstance(value, Call):
            numbers = {name: at for at, name in enumerate(self.names)}
            try:
                return compile_expression(value, numbers)(list(self.names.values()))
            except (KeyError, Undefined):
                pass
        return self._drawn(spec, operands)

    def _drawn(self, spec: Any, operands: list[Value]) -> Any:
        """A random value for an attribute of an op with these operands."""
        maker = self.maker
        if not spec.required and maker.chance(0.25):
            return spec.default
        if spec.choices:
            return maker.pick(spec.choices)
        shape = operands[0].shape if operands and isinstance(operands[0].type, TensorType) else ()
        known = [-1, -1 if maker.dynamic is None else maker.dynamic]
        shape = tuple(maker.pick(known) if extent is None else extent for extent in shape)
        match ATTRIBUTE_KINDS.get(spec.kind):
            case "bool":
                return maker.chance(0.5)
            case "integer":
                return int(maker.rng.integers(-len(shape), max(len(shape), 1) + 1))
            case "number":
                return maker.pick([1e-5, 0.0, 0.5, 1.0, 2.0])
            case "type":
                return maker.pick([*(value.dtype for value in operands), *DTYPES])
            case "list":
                return self._drawn_list(shape)
        if spec.kind == "dense elements":
            array = random_input(maker.rng, maker.shape, maker.dtype, "mixed")
            return DenseElementsAttr(array, TensorType(maker.shape, maker.dtype))
        raise Unfit

    def _drawn_list(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        rng, rank = self.maker.rng, len(shape)
        axes = tuple(axis - rank * int(rng.integers(2)) for axis in range(rank) if rng.random() < 0.5)
        some = (int(rng.integers(-rank, rank)),) if rank else ()
        size = math.prod(shape)
        choices: list[Any] = [
            tuple(range(rank)),
            tuple(int(axis) for axis in rng.permutation(rank)),
            *(axes, axes, some, some),
            shape,
            *(self.maker.shapes[-3:] * 2),
            *(value for value in self.names.values() if isinstance(value, tuple)),
            self.maker.shape,
            (size,),
            (1, *shape),
            tuple(shape[::-1]),
            tuple(int(extent) for extent in rng.permutation(shape)),
            *((number,) * rank for number in (0, 1, 100)),
            tuple(int(number) for number in rng.integers(-2, 4, rank)),
        ]
        return self.maker.pick(choices)


def _is_tensor(spec: Any) -> bool:
    """Whether an operand takes tensors (else it takes scalars)."""
    return spec is None or not spec.allowed or TensorType in spec.allowed


def _dtype_hints(rule: Rule) -> dict[str, list[ScalarType]]:
    """The dtypes that the conditions of a rule leave for each value, where that is said outright."""
    found: dict[str, list[ScalarType]] = {}
    for condition in rule.where:
        match condition:
            case Is(subject=Call(function="type" | "dtype", args=(Variable(name=name),)), adjectives=words):
                left = found.get(name, list(DTYPES))
                tests = [ADJECTIVES[word].test for word in words if word != "static"]
                if tests:
                    found[name] = [d for d in left if any(test(d) for test in tests) is not condition.negated]
    return found


def _constant_names(rule: Rule) -> set[str]:
    """The values that can only be constants."""
    found = set()
    for condition in rule.where:
        for node in walk(condition):
            match node:
                case Call(function="value", args=(Variable(name=name),)):
                    found.add(name)
                case Is(subject=Variable(name=name), adjectives=("constant",) | ("splat",), negated=False):
                    found.add(name)
    for term in rule.rewrite:
        for node in walk(term):
            match node:
                case Call(function="value", args=(Variable(name=name),)):
                    found.add(name)
    return found
