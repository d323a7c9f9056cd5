"""The ``check-numerics`` pass."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dlir.ir.attributes import ArrayAttr, Attribute, DenseElementsAttr, DictAttr, IntegerAttr, StringAttr
from dlir.ir.builder import after, at_start, before
from dlir.ir.core import BlockArgument, Operation, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Call, Func
from dlir.ir.dialects.nd.movement import View
from dlir.ir.initializers import is_initializer
from dlir.ir.location import Location, file_location
from dlir.ir.ops import nd, state
from dlir.ir.state import function_writes
from dlir.ir.types import I32, TensorType, is_float
from dlir.passes.manager import Pass
from dlir.passes.rules.constants import constant

#: The attribute of a function whose last result is the number of the first check that failed, or how many there are: what
#: was checked, a dictionary each.
CHECKS = "dlir.checks"

#: What is found in an array: nothing, an infinity, a NaN.
INFINITE, NAN = 1, 2


@dataclass
class CheckNumerics(Pass, name="check-numerics"):
    """Find the first op that makes a NaN, or an infinity, of what had none.

    Functions get one more result: the number of that op in the list `dlir.checks`, or the length of the list.  Variables are
    only written if nothing was found.  Infinities that are given (inputs, constants) may go on; a NaN that is given is
    found.  Run it behind `inline` and `differentiate`.
    """

    def run(self, module: Module) -> None:
        called = {op["callee"]: None for op in module.walk() if isinstance(op, Call)}
        for op in module.body.ops:
            # A function that others call keeps its signature.
            if isinstance(op, Func) and op.symbol not in called and _can_check(op):
                self.stats["checks"] += _Checks(op).add()


def _can_check(function: Func) -> bool:
    if function.is_declaration or len(function.regions[0].blocks) != 1 or CHECKS in function.attributes:
        return False
    types = (*function.type.inputs, *function.type.results)
    return not is_initializer(function) and all(isinstance(type, TensorType) for type in types)


@dataclass
class _Checks:
    """The checks of one function."""

    function: Func
    #: What each float array holds: 0, `INFINITE` or `NAN`, an i32 scalar, or a number that is known.
    found: dict[Value, Value | int] = field(default_factory=dict)
    entries: list[Attribute] = field(default_factory=list)
    #: For each check, whether it failed.
    failed: list[Value] = field(default_factory=list)

    def add(self) -> int:
        """Add them; how many there are."""
        body = self.function.body
        ops = list(body.ops)
        with at_start(body, self.function.location):
            for arg in body.args:
                self._check(arg, 0)
        for op in ops:
            self._visit(op)
        ending = body.terminator
        with before(ending):
            first = self._first()
            self._guard_writes(first)
        ending.set_operands([*ending.operands, first])
        attributes = self.function.attributes.get("res_attrs")
        if isinstance(attributes, ArrayAttr):
            self.function.attributes["res_attrs"] = ArrayAttr([*attributes.items, DictAttr({})])
        self.function.update_type()
        self.function.attributes[CHECKS] = ArrayAttr(self.entries)
        return len(self.entries)

    def _visit(self, op: Operation) -> None:
        if op.is_terminator or not any(_is_checked(value) for value in op.results):
            return
        elements = op.attributes.get("value")
        if op.name == "nd.constant" and isinstance(elements, DenseElementsAttr):
            self.found[op.results[0]] = _known(elements.value)
        elif isinstance(op, View) and op.operands[0] in self.found:
            self.found[op.results[0]] = self.found[op.operands[0]]
        else:
            with after(op):
                given = self._most([self.found[value] for value in _used(op) if value in self.found])
                for value in op.results:
                    self._check(value, given)

    def _check(self, value: Value, given: Value | int) -> None:
        """Check that `value` holds nothing worse than what it was made of."""
        if not _is_checked(value):
            return
        here = _look(value)
        self.found[value] = here
        is_given = isinstance(value, BlockArgument) or value.owner.name == "state.read"
        least = INFINITE if is_given else given
        number = np.int32(len(self.entries))
        self.failed.append(nd.select(nd.greater(here, _scalar(least)), number, np.int32(2**31 - 1)))
        self.entries.append(_entry(value))

    def _most(self, found: list[Value | int]) -> Value | int:
        known = max((item for item in found if isinstance(item, int)), default=0)
        values = dict.fromkeys(item for item in found if isinstance(item, Value))
        if known == NAN or not values:
            return known
        most, *rest = values
        for other in rest:
            most = nd.maximum(most, other)
        return nd.maximum(most, np.int32(known)) if known else most

    def _first(self) -> Value:
        """The number of the first check that failed, or how many there are."""
        level: list[Value] = [*self.failed, _scalar(len(self.entries))]
        while len(level) > 1:
            pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
            level = [nd.minimum(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
        level[0].name = "check"
        return level[0]

    def _guard_writes(self, first: Value) -> None:
        """Variables keep their values if a check failed."""
        writes = function_writes(self.function)
        is_right = nd.equal(first, _scalar(len(self.entries))) if writes else None
        for write in writes:
            (value,) = write.operands
            old = state.read(value.type, variable=write["variable"])
            write.set_operands([nd.select(is_right, value, old)])
            write.move_before(self.function.body.terminator)


def _is_checked(value: Value) -> bool:
    type = value.type
    return isinstance(type, TensorType) and is_float(type.dtype) and 0 not in type.shape


def _used(op: Operation) -> list[Value]:
    return [value for inner in op.walk() for value in inner.operands]


def _look(value: Value) -> Value:
    """What an array holds."""
    is_infinite = nd.equal(nd.abs(value), constant(np.asarray(np.inf), TensorType((), value.dtype)))
    codes = nd.select(is_infinite, np.int32(INFINITE), np.int32(0))
    codes = nd.select(nd.not_equal(value, value), np.int32(NAN), codes)
    return codes if value.type.rank == 0 else nd.max(codes)


def _known(array: np.ndarray) -> int:
    with np.errstate(all="ignore"):
        numbers = array.astype(np.float64)
    return NAN if np.isnan(numbers).any() else INFINITE if np.isinf(numbers).any() else 0


def _scalar(number: Value | int) -> Value:
    return constant(np.asarray(number), TensorType((), I32)) if isinstance(number, int) else number


def _entry(value: Value) -> Attribute:
    """What was checked: the op, the value's name and the place in the source."""
    op = value.defining_op
    location: Location = value.location if isinstance(value, BlockArgument) else value.owner.location
    entry: dict[str, Attribute] = {}
    if op is not None:
        entry["op"] = StringAttr(op.name)
        if op.name == "state.read":
            entry["variable"] = StringAttr(op.get("variable"))
    if value.name is not None:
        entry["value"] = StringAttr(value.name)
    place = file_location(location)
    if place is not None:
        entry |= {"file": StringAttr(place.file), "line": IntegerAttr(place.line), "column": IntegerAttr(place.column)}
    return DictAttr(entry)
