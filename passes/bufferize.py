"""The ``bufferize`` pass."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from dlir.ir.attributes import UNIT, ArrayAttr, Attribute, DenseArrayAttr, DictAttr, IntegerAttr, StringAttr
from dlir.ir.builder import at_end, before, insert
from dlir.ir.core import Block, BlockArgument, Operation, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.kernel import KernelRegion
from dlir.ir.dialects.state import Variable
from dlir.ir.errors import DlirError
from dlir.ir.ops import func, memref
from dlir.ir.types import MemRefType, TensorType
from dlir.passes.manager import Pass
from dlir.passes.memory.buffers import Assignment, Buffer, assign_buffers
from dlir.passes.memory.packing import ALIGNMENT
from dlir.passes.memory.views import reshaped


@dataclass
class Bufferize(Pass, name="bufferize"):
    """Give every tensor a buffer: functions take their inputs, then a buffer for each result.

    Kernels work in place where that is safe, over what is no longer needed; an argument only if it is donated
    (`dlir.donated`).  What an input is called, and which result a buffer is for, stand in the arguments' attributes.
    """

    def run(self, module: Module) -> None:
        for op in list(module.body.ops):
            if isinstance(op, Func) and not op.is_declaration and has_tensors(op):
                _check(op)
                self.stats.update(_Rewrite(op, assign_buffers(op)).run())
        for op in list(module.body.ops):
            if isinstance(op, Variable):
                _make_global(op)
                self.stats["variables"] += 1


def has_tensors(function: Func) -> bool:
    """Whether `function` takes, gives or computes tensors outside of kernels."""
    if any(isinstance(type, TensorType) for type in (*function.type.inputs, *function.type.results)):
        return True
    return any(isinstance(type, TensorType) for op in function.body.ops for type in op.result_types)


def _check(function: Func) -> None:
    """Check that the function is what `assign_buffers` needs: one block, static shapes, results that are tensors."""
    if len(function.regions[0].blocks) != 1:
        raise DlirError(f"'@{function.symbol}' has several blocks: only one can be given buffers", function.location)
    values: list[Value] = [*function.body.args, *(result for op in function.body.ops for result in op.results)]
    for value in values:
        if isinstance(value.type, TensorType) and not value.type.is_static:
            place = value.location if isinstance(value, BlockArgument) else value.owner.location
            hint = "run 'bind-shapes' first, as in bind-shapes{dims=x.0=64}"
            raise DlirError(f"%{value.name or value.index} has the unknown shape {value.type}", place, hint=hint)
    for type in function.type.results:
        if not isinstance(type, TensorType):
            raise DlirError(f"'@{function.symbol}' returns {type}: only tensors have buffers", function.location)


def _memref(type: TensorType) -> MemRefType:
    return MemRefType(type.shape, type.dtype)


class _Rewrite:
    """Moves one function's body into a new block, over the buffers that were assigned."""

    def __init__(self, function: Func, assignment: Assignment) -> None:
        self.function = function
        self.assignment = assignment
        self.old = function.body
        self.new = Block()
        self.returned = self.old.terminator.operands
        #: The memref that each buffer lives in, once it is there, and each tensor's view of its buffer.
        self.places: dict[Buffer, Value] = {}
        self.views: dict[Value, Value] = {}
        self.result_args: dict[int, Value] = {}
        self.stats: Counter[str] = Counter()

    def run(self) -> Counter[str]:
        self._make_arguments()
        for op in list(self.old.ops):
            with at_end(self.new, op.location):
                if op.name == "state.read":
                    self._rewrite_read(op)
                elif isinstance(op, KernelRegion) and op.results:
                    self._rewrite_region(op)
                elif op.is_terminator:
                    self._finish()
                else:
                    op.detach()
                    self.new.append(op)
        for op in reversed(list(self.old.ops)):
            op.erase()
        region = self.function.regions[0]
        region.blocks.clear()
        region.append(self.new)
        self.function.update_type()
        return self.stats

    def _make_arguments(self) -> None:
        """Inputs become memrefs, and each result that has no place yet becomes an argument."""
        attributes: list[dict[str, Attribute]] = []
        for old in self.old.args:
            is_tensor = isinstance(old.type, TensorType)
            arg = self.new.add_arg(_memref(old.type) if is_tensor else old.type, old.name, old.location)
            entry: dict[str, Attribute] = {"dlir.input": IntegerAttr(old.index)}
            if old.name is not None:
                entry["dlir.name"] = StringAttr(old.name)
            entry.update(self.function.arg_attributes(old.index))
            attributes.append(entry)
            if not is_tensor:
                old.replace_by(arg)
                continue
            buffer = self.assignment.buffers[old]
            self.places[buffer] = self.views[old] = arg
            if buffer.result is not None:
                entry["dlir.result"] = IntegerAttr(buffer.result)
        for number, value in enumerate(self.returned):
            buffer = self.assignment.buffers[value]
            is_home = buffer.result == number
            if is_home and buffer in self.places:
                continue
            arg = self.new.add_arg(_memref(value.type), value.name, self.function.location)
            self.result_args[number] = arg
            if is_home:
                self.places[buffer] = arg
            attributes.append({"dlir.result": IntegerAttr(number), **_result_attributes(self.function, number)})
        self.function.set_arg_attributes(attributes)
        self.function.attributes.pop("res_attrs", None)

    def _rewrite_read(self, op: Operation) -> None:
        value = op.results[0]
        place = memref.get_global(name=op.get("variable"), result_types=[_memref(value.type)])
        place.name = value.name
        self.views[value] = self.places[self.assignment.buffers[value]] = place

    def _rewrite_region(self, op: KernelRegion) -> None:
        """Make the kernel again over buffers, with its body; one that only reshapes is gone."""
        sources = self.assignment.reshapes.get(op)
        if sources is not None:
            for result, source in zip(op.results, sources, strict=True):
                self._view(result, self.views[op.operands[source]])
            self.stats["reshapes"] += 1
            return
        for value in op.results:
            buffer = self.assignment.buffers[value]
            if buffer not in self.places:
                place = memref.alloc(alignment=ALIGNMENT, result_types=[_memref(buffer.type)])
                place.name = value.name
                self.places[buffer] = place
                self.stats["allocs"] += 1
            self._view(value, self.places[buffer])
        operands = [self.views[value] for value in (*op.operands, *op.results)]
        attributes = {**op.attributes, "outs": IntegerAttr(len(op.results))}
        pairs = self.assignment.inplace.get(op)
        if pairs:
            # (operand, destination) by position: they are the same memory.
            flat = [n for number, result in pairs for n in (number, len(op.operands) + result)]
            attributes["dlir.inplace"] = DenseArrayAttr(flat)
            self.stats["inplace"] += len(pairs)
        regions, op.regions = op.regions, ()
        insert(KernelRegion(op.name, operands, (), attributes, regions, location=op.location))
        self.stats["kernels"] += 1

    def _view(self, value: Value, place: Value) -> None:
        """Remember that tensor `value` is what memref `place` holds, seen in the value's shape."""
        self.views[value] = reshaped(place, value.type.shape, value.name)

    def _finish(self) -> None:
        """Copy the results that do not live in their place, and return."""
        for number in self.assignment.copied_results:
            memref.copy(self.views[self.returned[number]], self.result_args[number])
            self.stats["copies"] += 1
        func.return_()


def _result_attributes(function: Func, number: int) -> dict[str, Attribute]:
    found = function.attributes.get("res_attrs")
    entry = found.items[number] if isinstance(found, ArrayAttr) else None
    return dict(entry.items) if isinstance(entry, DictAttr) else {}


def _make_global(variable: Variable) -> None:
    """Replace ``state.variable`` by ``memref.global`` with the same value: constant, as no op changes a variable.

    One without a value is left uninitialised, for its initialiser to write.
    """
    init = variable["init"]
    with before(variable):
        memref.global_(
            sym_name=variable["sym_name"],
            sym_visibility="private",
            type=_memref(variable["type"]),
            initial_value=UNIT if init is None else init,
            constant=init is not None,
            alignment=ALIGNMENT,
        )
    variable.erase()
