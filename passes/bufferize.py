"""The ``bufferize`` pass: a conversion from tensors to memrefs.

Which tensors share memory is decided first, for a whole function (:mod:`dlir.passes.memory.buffers`); the patterns then only
carry it out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dlir.ir.attributes import (
    UNIT,
    ArrayAttr,
    Attribute,
    DenseArrayAttr,
    DictAttr,
    IntegerAttr,
    StringAttr,
    SymbolRefAttr,
)
from dlir.ir.builder import insert
from dlir.ir.core import BlockArgument, Operation, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func, Return
from dlir.ir.dialects.kernel import INPLACE, KernelRegion
from dlir.ir.dialects.state import Variable
from dlir.ir.errors import DlirError
from dlir.ir.ops import arith, func, memref
from dlir.ir.state import MUTABLE, WRITES, mutable_variables, state_of
from dlir.ir.types import I8, INDEX, FunctionType, MemRefType, TensorType, Type
from dlir.passes.bufferize_loops import LoopPatterns, function_of, hoist_reads
from dlir.passes.conversion import (
    MODIFIED,
    ConversionPattern,
    ConversionRewriter,
    ConversionTarget,
    TypeConverter,
    apply_full_conversion,
)
from dlir.passes.conversion.pattern import Answer
from dlir.passes.manager import Pass
from dlir.passes.memory.assignment import Assignment, Buffer
from dlir.passes.memory.buffers import assign_buffers
from dlir.passes.memory.packing import ALIGNMENT
from dlir.passes.memory.timeline import timeline
from dlir.passes.memory.views import reshaped


@dataclass
class Bufferize(Pass, name="bufferize"):
    """Give every tensor a buffer: functions take their inputs, then a buffer for each result.

    Kernels work in place where that is safe, over what is no longer needed; an argument only if it is donated
    (`dlir.donated`).  What an input is called, and which result a buffer is for, stand in the arguments' attributes.
    """

    def run(self, module: Module) -> None:
        variables = [op for op in module.body.ops if isinstance(op, Variable)]
        functions = [op for op in module.body.ops if isinstance(op, Func) and has_tensors(op)]
        plans: dict[Operation, _Plan] = {}
        for function in functions:
            _check(function)
            hoist_reads(function)
            plans[function] = _Plan(assign_buffers(function), mutable=bool(state_of(module, function).variables))
        converter = tensors_to_memrefs()
        patterns = _Patterns(plans, converter, self.stats, mutable_variables(module)).all
        fired = apply_full_conversion([*variables, *functions], _target(converter, plans), patterns)
        if variables:
            self.stats["variables"] = fired["bufferize-state.variable"]


def has_tensors(function: Func) -> bool:
    """Whether `function` has a body, and takes, gives or computes tensors outside of kernels."""
    if function.is_declaration:
        return False
    if any(isinstance(type, TensorType) for type in (*function.type.inputs, *function.type.results)):
        return True
    return any(isinstance(type, TensorType) for op in function.body.ops for type in op.result_types)


def _check(function: Func) -> None:
    """Check that the function is what `assign_buffers` needs: one block, static shapes, results that are tensors."""
    if len(function.regions[0].blocks) != 1:
        hint = "write loops and branches as scf.for, scf.while and scf.if"
        message = f"'@{function.symbol}' has several blocks: only one can be given buffers"
        raise DlirError(message, function.location, hint=hint)
    for value in _values(function):
        if isinstance(value.type, TensorType) and not value.type.is_static:
            place = value.location if isinstance(value, BlockArgument) else value.owner.location
            hint = "run 'bind-shapes' first, as in bind-shapes{dims=x.0=64}"
            raise DlirError(f"%{value.name or value.index} has the unknown shape {value.type}", place, hint=hint)
    for type in function.type.results:
        if not isinstance(type, TensorType):
            hint = f"return a tensor<{type}>, which tensor.from_elements makes"
            message = f"'@{function.symbol}' returns {type}: only tensors have buffers"
            raise DlirError(message, function.location, hint=hint)


def _values(function: Func) -> Iterator[Value]:
    """The values of a function, but for those in kernels."""
    yield from function.body.args
    for op in timeline(function).starts:
        yield from op.results
        if not op.is_isolated:
            yield from (arg for region in op.regions for block in region.blocks for arg in block.args)


# ---------------------------------------------------------------- what becomes of types and ops


def _memref(type: TensorType) -> MemRefType:
    return MemRefType(type.shape, type.dtype)


def tensors_to_memrefs() -> TypeConverter:
    """Every tensor becomes the memref that holds it; other types stay."""
    converter = TypeConverter()

    def convert(type: Type) -> Type:
        return _memref(type) if isinstance(type, TensorType) else type

    converter.add_conversion(convert)
    return converter


def _target(converter: TypeConverter, plans: Mapping[Operation, _Plan]) -> ConversionTarget:
    """No tensors, but in the bodies of kernels that have buffers."""
    target = ConversionTarget()

    def takes_buffers(function: Any) -> bool:
        if not converter.is_signature_legal(function.type):
            return False
        if function in plans and plans[function].mutable and WRITES not in function.attributes:
            return False
        roles = [function.arg_attributes(number) for number in range(len(function.type.inputs))]
        return all("dlir.input" in role or "dlir.result" in role for role in roles)

    # Variables are copied before their function returns, also one that takes and gives nothing.
    ends = {op for plan in plans.values() for op in plan.assignment.moves if op.name == "func.return"}
    target.add_illegal_dialect("state")
    target.add_dynamically_legal_op(
        "func.return",
        legal=lambda op: op not in ends and converter.is_legal_op(op),
        why="it must give buffers, and variables their values",
    )
    target.add_dynamically_legal_op("func.func", legal=takes_buffers, why="its arguments must be buffers with a role")
    target.mark_unknown_op_dynamically_legal(converter.is_legal_op, "it takes or gives a tensor")
    target.mark_op_recursively_legal("kernel.region")
    return target


@dataclass
class _Plan:
    """The buffers of one function, and what its patterns tell each other."""

    assignment: Assignment
    #: The memref that each buffer lives in, once it is there, and the arguments for results.
    places: dict[Buffer, Value] = field(default_factory=dict)
    result_args: dict[int, Value] = field(default_factory=dict)
    #: Whether the function reads or writes variables that are no constants.
    mutable: bool = False


@dataclass
class _Patterns:
    """The patterns for what stands in functions, over their plans."""

    plans: dict[Operation, _Plan]
    converter: TypeConverter
    stats: Counter[str]
    #: The variables that calls, other programs or Python may change.
    mutable: Mapping[str, object]

    def __post_init__(self) -> None:
        self.loops = LoopPatterns(self.plans, self._home, self.converter, self.stats)

    @property
    def all(self) -> list[ConversionPattern]:
        patterns: dict[str, Callable[[Any, Sequence[Value], ConversionRewriter], Answer]] = {
            "func.func": self.function,
            "func.return": self.return_,
            "state.variable": self.variable,
            "state.read": self.read,
            "state.write": self.write,
            "kernel.region": self.kernel,
        }
        return [
            ConversionPattern(f"bufferize-{name}", (name,), apply, self.converter) for name, apply in patterns.items()
        ] + self.loops.all

    def variable(self, op: Variable, operands: Sequence[Value], rewriter: ConversionRewriter) -> Answer:
        """``state.variable`` becomes ``memref.global`` with the same value: constant, if nothing changes the variable.

        One without a value is left uninitialised, for its initialiser to write.
        """
        init, name = op["init"], op["sym_name"]
        made = memref.global_(
            sym_name=name,
            sym_visibility="private",
            type=_memref(op["type"]),
            initial_value=UNIT if init is None else init,
            constant=init is not None and name not in self.mutable,
            alignment=ALIGNMENT,
        )
        if init is None and name in self.mutable:
            made.attributes[MUTABLE] = UNIT
        return ()

    def function(self, op: Func, operands: Sequence[Value], rewriter: ConversionRewriter) -> Answer:
        """Inputs become memrefs, and each result that has no place yet becomes an argument."""
        plan = self.plans[op]
        buffers = plan.assignment.buffers
        signature = self.converter.convert_block_signature(op.body)
        assert signature is not None
        inputs = list(op.body.args)
        attributes = [_input_attributes(op, arg, buffers.get(arg)) for arg in inputs]
        homes = [buffers[arg] for arg in inputs if arg in buffers]
        returned = op.body.terminator.operands
        placed = [n for n, value in enumerate(returned) if buffers[value] not in homes or buffers[value].result != n]
        for number in placed:
            signature.add_inputs([_memref(returned[number].type)])
            attributes.append({"dlir.result": IntegerAttr(number), **_result_attributes(op, number)})
        rewriter.modify(op)
        args = rewriter.apply_signature_conversion(op.body, signature, self.converter)
        plan.places.update((buffers[old], new) for old, new in zip(inputs, args) if old in buffers)
        for number, arg in zip(placed, args[len(inputs) :]):
            arg.name, arg.location = returned[number].name, op.location
            plan.result_args[number] = arg
            if buffers[returned[number]].result == number:
                plan.places[buffers[returned[number]]] = arg
        op.set_arg_attributes(attributes)
        op.attributes.pop("res_attrs", None)
        if plan.mutable:
            op.attributes[WRITES] = ArrayAttr([SymbolRefAttr(name) for name in plan.assignment.writes])
        op.set("function_type", FunctionType(signature.converted_types, ()))
        return MODIFIED

    def return_(self, op: Return, operands: Sequence[Value], rewriter: ConversionRewriter) -> Answer:
        """Copy the results that do not live in their place, and return."""
        plan = self.plans[function_of(op)]
        for number in plan.assignment.copied_results:
            memref.copy(operands[number], plan.result_args[number])
            self.stats["copies"] += 1
        for move in plan.assignment.moves.get(op, ()):
            if isinstance(move.target, Buffer) and move.target.variable is not None:
                _find_state(plan, move.target)
        self.loops.move(op, {})
        func.return_()
        return ()

    def read(self, op: Operation, operands: Sequence[Value], rewriter: ConversionRewriter) -> Answer:
        """A variable is read where it lies."""
        plan = self.plans[function_of(op)]
        value = op.result
        buffer = plan.assignment.buffers[value]
        if buffer not in plan.places:
            plan.places[buffer] = memref.get_global(name=op.get("variable"), result_types=[_memref(value.type)])
            plan.places[buffer].name = value.name
        return [plan.places[buffer]]

    def write(self, op: Operation, operands: Sequence[Value], rewriter: ConversionRewriter) -> Answer:
        """The new value lies in the variable already, or is copied there when the function returns."""
        return ()

    def kernel(self, op: KernelRegion, operands: Sequence[Value], rewriter: ConversionRewriter) -> Answer:
        """Make the kernel again over buffers, with its body; one that only reshapes is gone, and one without results."""
        plan = self.plans[function_of(op)]
        sources = plan.assignment.reshapes.get(op)
        if sources is not None:
            self.stats["reshapes"] += 1
            return [_view(value, operands[source]) for value, source in zip(op.results, sources, strict=True)]
        if not op.results:
            return ()
        views = [self._home(plan, value) for value in op.results]
        if op in plan.assignment.merged:
            self.stats["parts"] += 1
            return views
        attributes = {**op.attributes, "outs": IntegerAttr(len(views))}
        pairs = plan.assignment.inplace.get(op)
        if pairs:
            # (operand, destination) by position: they are the same memory.
            flat = [n for number, result in pairs for n in (number, len(operands) + result)]
            attributes[INPLACE] = DenseArrayAttr(flat)
            self.stats["inplace"] += len(pairs)
        regions = rewriter.take_regions(op)
        insert(KernelRegion(op.name, [*operands, *views], (), attributes, regions, location=op.location))
        self.stats["kernels"] += 1
        return views

    def _home(self, plan: _Plan, value: Value) -> Value:
        """The memref that `value` is: its buffer under its shape, or a part of it."""
        place = self._place(plan, value)
        if not plan.assignment.buffers[value].is_bytes:
            return _view(value, place)
        begin = arith.constant(plan.assignment.parts[value], INDEX)
        part = memref.view(place, begin, result_types=[_memref(value.type)])
        part.name = value.name
        return part

    def _place(self, plan: _Plan, value: Value) -> Value:
        """The memref of the buffer of `value`, allocated if this is its first value."""
        buffer = plan.assignment.buffers[value]
        if buffer.variable is not None:
            _find_state(plan, buffer)
        if buffer not in plan.places:
            type = MemRefType((buffer.nbytes,), I8) if buffer.is_bytes else _memref(buffer.type)
            place = memref.alloc(alignment=ALIGNMENT, result_types=[type])
            place.name = value.name
            plan.places[buffer] = place
            self.stats["allocs"] += 1
        return plan.places[buffer]


def _find_state(plan: _Plan, buffer: Buffer) -> None:
    """See to it that a variable has its place, also if the function does not read it."""
    if buffer not in plan.places:
        plan.places[buffer] = memref.get_global(name=buffer.variable, result_types=[_memref(buffer.type)])


def _view(value: Value, place: Value) -> Value:
    """What memref `place` holds, seen in the shape of tensor `value`."""
    return reshaped(place, value.type.shape, value.name)


def _input_attributes(function: Func, arg: BlockArgument, buffer: Buffer | None) -> dict[str, Attribute]:
    """The attributes of an input: which it is, what it is called, and which result it holds at the end."""
    entry: dict[str, Attribute] = {"dlir.input": IntegerAttr(arg.index)}
    if arg.name is not None:
        entry["dlir.name"] = StringAttr(arg.name)
    entry.update(function.arg_attributes(arg.index))
    if buffer is not None and buffer.result is not None:
        entry["dlir.result"] = IntegerAttr(buffer.result)
    return entry


def _result_attributes(function: Func, number: int) -> dict[str, Attribute]:
    found = function.attributes.get("res_attrs")
    entry = found.items[number] if isinstance(found, ArrayAttr) else None
    return dict(entry.items) if isinstance(entry, DictAttr) else {}
