"""The patterns of ``bufferize`` for loops, branches and single elements of tensors.

After it nothing carries a tensor: each has its slot (:mod:`dlir.passes.memory.loops`), and scalars go on as they did.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlir.ir.builder import insert
from dlir.ir.core import Block, Operation, Value
from dlir.ir.dialects import scf
from dlir.ir.dialects.arith import constant_value
from dlir.ir.dialects.func import Func
from dlir.ir.errors import DlirError
from dlir.ir.ops import arith, memref
from dlir.ir.types import INDEX, MemRefType, TensorType
from dlir.passes.conversion import ConversionPattern, ConversionRewriter, TypeConverter
from dlir.passes.conversion.pattern import Answer
from dlir.passes.conversion.signature import SignatureConversion
from dlir.passes.memory.assignment import Assignment, Buffer, Move
from dlir.passes.memory.packing import ALIGNMENT


@dataclass
class LoopPatterns:
    """The patterns: `home` gives the memref of a value, in a plan; `plans` has one for each function."""

    plans: Mapping[Operation, Any]
    home: Callable[[Any, Value], Value]
    converter: TypeConverter
    stats: Counter[str]

    @property
    def all(self) -> list[ConversionPattern]:
        patterns: dict[str, Callable[[Any, Sequence[Value], ConversionRewriter], Answer]] = {
            "scf.for": self.for_,
            "scf.if": self.if_,
            "scf.while": self.while_,
            "scf.yield": self.end,
            "scf.condition": self.end,
            "tensor.extract": self.extract,
            "tensor.from_elements": self.from_elements,
        }
        return [
            ConversionPattern(f"bufferize-{name}", (name,), apply, self.converter) for name, apply in patterns.items()
        ]

    def for_(self, op: scf.For, operands: Sequence[Value], rewriter: ConversionRewriter) -> Answer:
        """Fill the slots; the body reads them where it had arguments."""
        homes = self._homes(op, op.carried)
        self.move(op, dict(zip(op.inits, operands[3:])))
        (region,) = rewriter.take_regions(op)
        self._replace_args(region.block, [None, *homes], rewriter)
        made = self._make(op, [*operands[:3], *_scalars(op.inits, operands[3:])], [region])
        return self._results(op, made)

    def while_(self, op: scf.While, operands: Sequence[Value], rewriter: ConversionRewriter) -> Answer:
        """As a ``scf.for``; what the second block gets lies where the results do."""
        before, after = (region.block for region in op.regions)
        homes, handed = self._homes(op, before.args), self._homes(op, op.results)
        self.move(op, dict(zip(op.operands, operands)))
        regions = rewriter.take_regions(op)
        self._replace_args(before, homes, rewriter)
        self._replace_args(after, handed, rewriter)
        return self._results(op, self._make(op, _scalars(op.operands, operands), regions))

    def if_(self, op: scf.If, operands: Sequence[Value], rewriter: ConversionRewriter) -> Answer:
        """Both branches fill the slots of the results."""
        self._homes(op, op.results)
        return self._results(op, self._make(op, operands, rewriter.take_regions(op)))

    def end(self, op: Operation, operands: Sequence[Value], rewriter: ConversionRewriter) -> Answer:
        """Copy what does not lie in its slot, and hand on the scalars."""
        self.move(op, dict(zip(op.operands, operands)))
        insert(type(op)(op.name, _scalars(op.operands, operands), location=op.location))
        return ()

    def extract(self, op: Operation, operands: Sequence[Value], rewriter: ConversionRewriter) -> Answer:
        """A load; an index out of range becomes one that is not, so that no other memory is read."""
        array, *indices = operands
        if 0 in array.shape:
            raise DlirError(f"'{op.name}' takes an element of {op.operands[0].type}, which has none", op.location)
        return memref.load(array, *[_clamped(index, extent) for index, extent in zip(indices, array.shape)])

    def from_elements(self, op: Operation, operands: Sequence[Value], rewriter: ConversionRewriter) -> Answer:
        """Stores, element by element."""
        (home,) = self._homes(op, op.results)
        assert home is not None
        for element, place in zip(operands, itertools.product(*map(range, home.shape)), strict=True):
            memref.store(element, home, list(place))
        return [home]

    # ------------------------------------------------------------ parts

    def _plan(self, op: Operation) -> Any:
        return self.plans[function_of(op)]

    def _homes(self, op: Operation, values: Sequence[Value]) -> list[Value | None]:
        """The memrefs of the tensors among `values`, made in front of `op`."""
        plan = self._plan(op)
        return [self.home(plan, value) if isinstance(value.type, TensorType) else None for value in values]

    def _results(self, op: Operation, made: Operation) -> list[Value]:
        scalars = iter(made.results)
        homes = self._homes(op, op.results)
        return [next(scalars) if home is None else home for home in homes]

    def move(self, op: Operation, now: Mapping[Value, Value]) -> None:
        """The copies that the plan wants at `op`; `now`: what the values that it uses have become."""
        plan = self._plan(op)
        assignment: Assignment = plan.assignment
        asides: dict[Buffer, Value] = {}

        def place(item: Value | Buffer, move: Move) -> Value:
            if isinstance(item, Value):
                return now[item] if item is move.source and item in now else self.home(plan, item)
            if item in plan.places:
                return plan.places[item]
            if item not in asides:
                asides[item] = memref.alloc(alignment=ALIGNMENT, result_types=[_memref(item.type)])
                self.stats["allocs"] += 1
            return asides[item]

        for move in assignment.moves.get(op, ()):
            memref.copy(place(move.source, move), place(move.target, move))
            self.stats["copies"] += 1

    def _replace_args(self, block: Block, homes: Sequence[Value | None], rewriter: ConversionRewriter) -> None:
        signature = SignatureConversion(len(homes))
        for number, (arg, home) in enumerate(zip(list(block.args), homes, strict=True)):
            if home is None:
                signature.add_inputs([arg.type], number)
            else:
                signature.remap_input(number, home)
        rewriter.apply_signature_conversion(block, signature, self.converter)

    def _make(self, op: Operation, operands: Sequence[Value], regions: Sequence[Any]) -> Operation:
        types = [type for type in op.result_types if not isinstance(type, TensorType)]
        made: Operation = insert(type(op)(op.name, operands, types, dict(op.attributes), regions, location=op.location))
        for new, old in zip(made.results, [value for value in op.results if not isinstance(value.type, TensorType)]):
            new.name = old.name
        return made


def function_of(op: Operation) -> Operation:
    """The function in which `op` stands."""
    function = op.parent_op
    while function is not None and not isinstance(function, Func):
        function = function.parent_op
    assert function is not None
    return function


def hoist_reads(function: Func) -> None:
    """Read variables in front of loops and not in them: during a call they are the same value everywhere."""
    for op in list(function.walk()):
        if op.name == "state.read" and op.parent_op is not function:
            outer = op
            while outer.parent_op is not None and outer.parent_op is not function:
                outer = outer.parent_op
            op.move_before(outer)


def _clamped(index: Value, extent: int) -> Value:
    number = constant_value(index)
    if number is not None and 0 <= number < extent:
        return index
    last = arith.constant(extent - 1, INDEX)
    return arith.minsi(arith.maxsi(index, arith.constant(0, INDEX)), last)


def _scalars(values: Sequence[Value], now: Sequence[Value]) -> list[Value]:
    """Of what `values` have become, what is not a buffer."""
    return [new for old, new in zip(values, now, strict=True) if not isinstance(old.type, TensorType)]


def _memref(type: TensorType) -> MemRefType:
    return MemRefType(type.shape, type.dtype)
