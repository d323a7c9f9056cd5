"""The ``lower-kernels`` pass."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from dlir.ir.attributes import UNIT, Attribute
from dlir.ir.builder import at_end, insert
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.kernel import INPLACE, KernelRegion
from dlir.ir.errors import DlirError
from dlir.ir.ops import func, memref
from dlir.ir.traversal import clone, structurally_equal
from dlir.ir.types import MemRefType, ScalarType, TensorType
from dlir.passes.conversion import (
    ConversionPattern,
    ConversionRewriter,
    ConversionTarget,
    NoMatch,
    apply_partial_conversion,
)
from dlir.passes.conversion.pattern import Answer
from dlir.passes.kernels.buffers import Buffers
from dlir.passes.kernels.emit import Emitter
from dlir.passes.kernels.expand import expand_all
from dlir.passes.kernels.kernel import Kernel
from dlir.passes.kernels.plan import Unfit
from dlir.passes.kernels.planner import plan_kernel
from dlir.passes.kernels.schedules import schedule_for
from dlir.passes.manager import Pass


@dataclass
class LowerKernels(Pass, name="lower-kernels"):
    """Make each kernel region over buffers a function of loops, and call it; equal kernels are one function."""

    def run(self, module: Module) -> None:
        lowering = _Lowering(module, self.stats)
        target = ConversionTarget()
        target.add_illegal_dialect("kernel")
        target.add_legal_op("func.func", "kernel.matmul")
        # What is a kernel already has no regions of kernels in it.
        target.mark_op_recursively_legal("func.func", legal=lambda op: "dlir.kernel" in op.attributes)
        pattern = ConversionPattern("kernel-to-call", ("kernel.region",), lowering.lower)
        apply_partial_conversion(module, target, [pattern])
        self.stats["kernels"] = lowering.number
        self.stats["shared"] = lowering.shared


@dataclass
class _Lowering:
    """Lowers the regions of one module, in order."""

    module: Module
    stats: Counter[str]
    #: Kernels made, and calls of one that was there already.
    number: int = 0
    shared: int = 0
    #: Lowered regions, and the names of their functions; copies of regions to compare, without their operands.
    known: dict[tuple[object, ...], list[tuple[KernelRegion, str]]] = field(default_factory=dict)
    shapes: dict[Operation, Operation] = field(default_factory=dict)
    tables: dict[Attribute, str] = field(default_factory=dict)
    #: Symbols of the module before, and for each prefix the first number that is not ours.
    taken: set[str] = field(default_factory=set)
    next_number: dict[str, int] = field(default_factory=dict)

    def lower(self, region: KernelRegion, operands: Sequence[Value], rewriter: ConversionRewriter) -> Answer:
        """Replace `region` by a call; nothing is left of one that writes nothing."""
        if not region.is_bufferized:
            return NoMatch("it has no buffers: run 'bufferize' first")
        if all(0 in target.shape for target in region.destinations):
            self.stats["empty"] += 1
            return ()
        func.call(*operands, callee=self._name(region), result_types=())
        return ()

    def _name(self, region: KernelRegion) -> str:
        """The name of the function of `region`, which is made unless there is one for an equal region."""
        known = self.known.setdefault((region.operand_types, tuple([op.name for op in region.body.ops])), [])
        for other, name in known:
            if structurally_equal(self._shape(region), self._shape(other)):
                self.shared += 1
                return name
        function = self._kernel(region)
        name = self._free_name("kernel_")
        function.set("sym_name", name)
        with at_end(self.module.body):
            insert(function)
        known.append((region, name))
        self.number += 1
        return name

    def _shape(self, region: KernelRegion) -> Operation:
        if region not in self.shapes:
            self.shapes[region] = _without_operands(region)
        return self.shapes[region]

    def _kernel(self, region: KernelRegion) -> Func:
        """The function of a region, with no name yet."""
        types = [value.type for value in region.operands]
        names = [*(arg.name for arg in region.body.args), *(value.name for value in region.destinations)]
        function = Func.make("kernel", types, names=names, private=True)
        function.location = region.location
        function.attributes["dlir.kernel"] = UNIT
        body = _without_operands(region).body  # a copy: the region stays as it is until all are lowered
        expand_all(body)
        args = function.body.args
        buffers = Buffers(dict(zip(body.args, args)), self._table)
        emitter = Emitter(function.body, buffers, region.location)
        try:
            plan = plan_kernel(body.terminator.operands, lambda op: True)
        except Unfit as reason:
            raise DlirError(f"this region cannot be one kernel: {reason}", region.location) from None
        pairs = region.attributes[INPLACE].value if INPLACE in region.attributes else ()
        inplace = {body.args[operand]: args[target] for operand, target in zip(pairs[::2], pairs[1::2])}
        kernel = Kernel(plan, list(args[len(region.ins) :]), emitter, region["tile"] or (), inplace)
        try:
            schedule_for(region["schedule"], kernel).emit(kernel)
        except Unfit as reason:
            raise DlirError(f"this region cannot have its schedule: {reason}", region.location) from None
        with at_end(function.body, region.location):
            func.return_()
        return function

    def _table(self, elements: Attribute) -> Value:
        """The buffer of a constant array, made at the insertion point."""
        type = elements.type  # type: ignore[attr-defined]
        assert isinstance(type, TensorType) and isinstance(type.dtype, ScalarType)
        buffer = MemRefType(type.shape, type.dtype)
        if elements not in self.tables:
            self.tables[elements] = name = self._free_name("constant_")
            with at_end(self.module.body):
                memref.global_(
                    sym_name=name,
                    sym_visibility="private",
                    type=buffer,
                    initial_value=elements,
                    constant=True,
                    alignment=64,
                )
        return memref.get_global(buffer, name=self.tables[elements])

    def _free_name(self, prefix: str) -> str:
        """A symbol that is not taken: the prefix and a number."""
        if not self.taken:
            self.taken.update(name for op in self.module.body.ops if (name := op.get("sym_name")) is not None)
        number = next(n for n in itertools.count(self.next_number.get(prefix, 0)) if f"{prefix}{n}" not in self.taken)
        self.next_number[prefix] = number + 1
        return f"{prefix}{number}"


def _without_operands(region: KernelRegion) -> Operation:
    """A copy of `region` that uses nothing."""
    copy = clone(region)
    copy.set_operands(())
    return copy
