"""The ``lower-kernels`` pass."""

from __future__ import annotations

from dataclasses import dataclass, field

from dlir.ir.attributes import UNIT, Attribute
from dlir.ir.builder import at_end, before
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.kernel import KernelRegion
from dlir.ir.errors import DlirError
from dlir.ir.ops import func, memref
from dlir.ir.traversal import clone, structurally_equal
from dlir.ir.types import MemRefType, ScalarType, TensorType
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
        regions = [op for op in module.walk() if isinstance(op, KernelRegion) and op.is_bufferized]
        lowering = _Lowering(module)
        for region in regions:
            if all(0 in target.shape for target in region.destinations):
                region.erase()
                self.stats["empty"] += 1
            else:
                lowering.lower(region)
        self.stats["kernels"] = lowering.number
        self.stats["shared"] = lowering.shared


@dataclass
class _Lowering:
    """Lowers the regions of one module, in order."""

    module: Module
    #: Kernels made, and calls of one that was there already.
    number: int = 0
    shared: int = 0
    #: Lowered regions, without their operands, and their functions.
    known: dict[tuple[object, ...], list[tuple[Operation, Func]]] = field(default_factory=dict)
    tables: dict[Attribute, str] = field(default_factory=dict)

    def lower(self, region: KernelRegion) -> None:
        """Replace `region` by a call."""
        key = (region.operand_types, tuple([op.name for op in region.body.ops]))
        shape = _without_operands(region)
        known = self.known.setdefault(key, [])
        function = next((made for other, made in known if structurally_equal(shape, other)), None)
        if function is None:
            function = self._kernel(region)
            function.set("sym_name", self._free_name("kernel_"))
            self.module.body.append(function)
            known.append((shape, function))
            self.number += 1
        else:
            self.shared += 1
        with before(region):
            func.call(*region.operands, callee=function.symbol, result_types=())
        region.erase()

    def _kernel(self, region: KernelRegion) -> Func:
        """The function of a region, with no name yet."""
        types = [value.type for value in region.operands]
        names = [*(arg.name for arg in region.body.args), *(value.name for value in region.destinations)]
        function = Func.make("kernel", types, names=names, private=True)
        function.location = region.location
        function.attributes["dlir.kernel"] = UNIT
        expand_all(region.body)
        args = function.body.args
        buffers = Buffers(dict(zip(region.body.args, args)), self._table)
        emitter = Emitter(function.body, buffers, region.location)
        values = list(region.body.terminator.operands)
        try:
            plan = plan_kernel(values, lambda op: True)
        except Unfit as reason:
            raise DlirError(f"this region cannot be one kernel: {reason}", region.location) from None
        kernel = Kernel(plan, values, list(args[len(region.ins) :]), emitter, region["tile"] or ())
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
        taken = {op.get("sym_name") for op in self.module.body.ops if isinstance(op, Operation)}
        number = 0
        while f"{prefix}{number}" in taken:
            number += 1
        return f"{prefix}{number}"


def _without_operands(region: KernelRegion) -> Operation:
    """A copy of `region` that uses nothing, to compare others with."""
    copy = clone(region)
    copy.set_operands(())
    return copy
