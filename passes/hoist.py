"""The ``hoist-constants`` pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dlir.ir.attributes import ArrayAttr, DenseElementsAttr, SymbolRefAttr
from dlir.ir.builder import at_end, before
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.nd.base import Primitive
from dlir.ir.dialects.state import Variable
from dlir.ir.effects import NONE, effects_of, is_removable
from dlir.ir.initializers import INITIALIZES, is_initializer, symbols_in
from dlir.ir.ops import func, state
from dlir.ir.traversal import Mapping, clone_ops
from dlir.ir.types import TensorType
from dlir.passes.cse import CommonSubexpressions
from dlir.passes.kernels.classify import FusionClass, fusion_class
from dlir.passes.manager import Pass, option

#: What a result may have more bytes than what it is computed from: times this much, and `slack` besides.
GROWTH = 2


@dataclass
class HoistConstants(Pass, name="hoist-constants"):
    """Compute once, when the program is loaded, what depends only on constants and on variables that nobody writes.

    Such parts of a function move into an initialiser (`dlir.initializes`), and the function reads their results from new
    variables.  What would take much more memory than it is computed from, such as a broadcast, stays with its user, and so
    do views.
    """

    min_bytes: int = option(128, "bytes of variables and constants from which on a result is computed once", least=0)
    slack: int = option(1 << 18, "bytes that a result may have beyond twice those that it is computed from", least=0)

    def run(self, module: Module) -> None:
        frozen = frozen_variables(module)
        for function in list(module.body.ops):
            if isinstance(function, Func) and _may_hoist_from(function):
                cut = _Cut(function, frozen, self.min_bytes, self.slack)
                if cut.values:
                    self.stats["variables"] += _move(module, function, cut.values)


def frozen_variables(module: Module) -> dict[str, Variable]:
    """The variables that keep their first values, by name: those which no op but ``state.read`` names.

    Others may write a mutable one.
    """
    found = {op["sym_name"]: op for op in module.body.ops if isinstance(op, Variable) and op["mutable"] is None}
    for op in module.walk() if found else ():
        if op.name != "state.read":
            for name, attribute in op.attributes.items():
                if name != INITIALIZES:
                    for path in symbols_in(attribute):
                        found.pop(path[0], None)
    return found


def _may_hoist_from(function: Func) -> bool:
    return (
        not function.is_declaration
        and len(function.regions[0].blocks) == 1
        and "dlir.kernel" not in function.attributes
        and not is_initializer(function)
    )


class _Cut:
    """Which values of a function are worth computing once; `values` are in program order."""

    def __init__(self, function: Func, frozen: dict[str, Variable], min_bytes: int, slack: int) -> None:
        self.frozen = frozen
        self.min_bytes = min_bytes
        self.slack = slack
        self.ops = list(function.body.ops)
        #: Ops that depend on nothing but constants and frozen variables -> a bit for each array that they depend on.
        self.fixed: dict[Operation, int] = {}
        self.array_bytes: list[int] = []
        for op in self.ops:
            self._classify(op)
        #: The values of which a user reads each element many times, so that their layout matters.
        self.read_often = self._find_read_often()
        #: Fixed ops that compute something, and views of what they compute.
        self.computed: dict[Operation, None] = {}
        for op, arrays in self.fixed.items():
            if arrays and op.operands and (not self._is_view(op) or op.operands[0].owner in self.computed):
                self.computed[op] = None
        self.values = self._choose()

    # ------------------------------------------------------------ what is fixed

    def _classify(self, op: Operation) -> None:
        if op.name in ("nd.constant", "state.read"):
            self._classify_leaf(op)
        elif (
            op.name.startswith("nd.") and _is_pure(op) and all(value.defining_op in self.fixed for value in op.operands)
        ):
            self.fixed[op] = 0
            for value in op.operands:
                self.fixed[op] |= self.fixed[value.owner]

    def _classify_leaf(self, op: Operation) -> None:
        """Only arrays are worth computing with: a constant that repeats one number takes no memory."""
        type = op.results[0].type
        if not isinstance(type, TensorType) or not type.is_static:
            return
        if op.name == "state.read" and op.get("variable") not in self.frozen:
            return
        elements = op.attributes.get("value")
        self.fixed[op] = 0
        if not (isinstance(elements, DenseElementsAttr) and elements.is_splat):
            self.fixed[op] = 1 << len(self.array_bytes)
            self.array_bytes.append(type.nbytes)

    def _find_read_often(self) -> dict[Value, None]:
        found: dict[Value, None] = {}
        for op in reversed(self.ops):
            if op not in self.fixed and _class(op) in (FusionClass.CONTRACTION, FusionClass.WINDOW):
                found.update(dict.fromkeys(op.operands))
            elif op in self.fixed and _class(op) is FusionClass.VIEW and op.results[0] in found:
                found[op.operands[0]] = None
        return found

    def _is_view(self, op: Operation) -> bool:
        """Whether `op` only shows elements in another place, where its users can as well read them themselves."""
        is_moved = op.name == "nd.transpose" and op.results[0] in self.read_often
        return _class(op) is FusionClass.VIEW and not is_moved

    # ------------------------------------------------------------ what is worth it

    def _choose(self) -> list[Value]:
        """The values to hoist: users before what they use, so that what is not worth it asks for its operands."""
        needed: dict[Value, None] = {}
        chosen: dict[Operation, list[Value]] = {}
        for op in reversed(self.ops):
            results: list[Value] = [value for value in op.results if value in needed]
            if op not in self.fixed or (results and not self._is_worth_it(op, results)):
                needed.update(dict.fromkeys(_uses(op)))
            elif results:
                chosen[op] = results
        return [value for op in reversed(chosen) for value in chosen[op]]

    def _is_worth_it(self, op: Operation, results: list[Value]) -> bool:
        sources = sum(self.array_bytes[bit] for bit in _bits(self.fixed[op]))
        if op not in self.computed or sources < self.min_bytes:
            return False
        size = sum(value.type.nbytes for value in results)
        is_spread = _class(op) in (FusionClass.ELEMENTWISE, FusionClass.VIEW) and op.name not in ("nd.pad", "nd.pack")
        if size > GROWTH * sources + (0 if is_spread else self.slack):
            return False
        if self._is_view(op):
            # A view of what the function reads anyway is free.
            base = op.operands[0]
            if isinstance(base.owner, Primitive) and base.owner.is_stored:
                # The layout of its result is the point.
                return False
            return size <= base.type.nbytes and all(user in self.fixed for user in base.users)
        return True


def _class(op: Operation) -> FusionClass:
    types = [*op.result_types, *op.operand_types]
    is_static = all(isinstance(type, TensorType) and type.is_static for type in types)
    return fusion_class(op) if is_static else FusionClass.OPAQUE


def _is_pure(op: Operation) -> bool:
    if op.regions or effects_of(op) != NONE:
        return False
    return all(isinstance(type, TensorType) and type.is_static for type in [*op.result_types, *op.operand_types])


def _uses(op: Operation) -> Iterable[Value]:
    """The values that `op` and the ops inside it use."""
    return [value for inner in op.walk() for value in inner.operands] if op.regions else op.operands


def _bits(mask: int) -> Iterable[int]:
    while mask:
        yield (mask & -mask).bit_length() - 1
        mask &= mask - 1


# ---------------------------------------------------------------- moving


def _move(module: Module, function: Func, values: list[Value]) -> int:
    """Compute `values` in an initialiser, and read them in `function`; how many variables that takes."""
    cone = _cone(values)
    mapping = Mapping()
    taken = {op.get("sym_name"): None for op in module.body.ops}
    initializer = Func.make(_free_name(taken, "initialize"), (), private=True)
    initializer.location = function.location
    for op in clone_ops(cone, mapping):
        initializer.body.append(op)
    with at_end(initializer.body, function.location):
        func.return_(*[mapping.value(value) for value in values])
    merge = CommonSubexpressions()
    merge.stats = Counter()
    merge.run(initializer)
    returned = initializer.body.terminator.operands
    names: dict[Value, str] = {}
    for value, result in zip(values, returned, strict=True):
        if result not in names:
            names[result] = _free_name(taken, _name(value))
            with before(function):
                state.variable(sym_name=names[result], type=result.type)
        with before(value.owner):
            read = state.read(result.type, variable=names[result])
        read.name = value.name
        value.replace_by(read)
    initializer.body.terminator.set_operands(list(names))
    initializer.update_type()
    initializer.attributes[INITIALIZES] = ArrayAttr([SymbolRefAttr(name) for name in names.values()])
    module.body.insert_before(function, initializer)
    for op in reversed(cone):
        if not op.is_used and is_removable(op):
            op.erase()
    return len(names)


def _name(value: Value) -> str:
    """What to call the variable that holds `value`: as the value, or after a variable that it is computed from."""
    if value.name is not None:
        return value.name
    op = value.owner
    last = op.name.rpartition(".")[2]
    while op.operands:
        op = op.operands[0].owner
    return f"{op.get('variable') or 'constant'}_{last}"


def _cone(values: Iterable[Value]) -> list[Operation]:
    """The ops that compute `values`, in program order."""
    found: dict[Operation, None] = {}
    waiting = [value.owner for value in values]
    for op in waiting:  # grows while it is walked
        if op not in found:
            found[op] = None
            waiting += [value.owner for value in op.operands]
    block = waiting[0].parent
    return [op for op in block.ops if op in found]


def _free_name(taken: dict[Any, None], wanted: str) -> str:
    """A symbol that is not taken yet, and now is: `wanted`, or that and a number."""
    number = 0
    name = wanted
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken[name] = None
    return name
