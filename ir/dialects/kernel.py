"""The ``kernel`` dialect: a region of array maths that becomes one kernel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dlir.ir.attributes import DenseArrayAttr
from dlir.ir.core import Region
from dlir.ir.dialects.regions import only_block
from dlir.ir.errors import DlirError, count
from dlir.ir.op import READ, WRITE, Declared, Op, Type
from dlir.ir.types import MemRefType, ShapedType, TensorType

#: The attribute of an op that says which kernel it is to be in: "none" for one of its own, or the name of a group.
FUSE = "dlir.fuse"
#: The unit attribute of an op that computes again, next to its use, what another op has computed: neither `cse` nor fusion
#: makes one of the two.
RECOMPUTE = "dlir.recompute"
#: Pairs of operands by number, one read and one written, that are the same memory: ``array<i64: 0, 2>``.
INPLACE = "dlir.inplace"


class KernelRegion(Op, name="kernel.region"):
    """Array maths that runs as one kernel.

    Over tensors, operands are the block's arguments and ``kernel.yield`` gives the results.  Over memrefs (after
    ``bufferize``) the last `outs` operands are destinations, one per yielded tensor, and there are no results; the body
    stays over tensors until it is lowered.  `schedule` says how it iterates; ``fuse = false`` keeps other ops out.
    """

    is_isolated = True
    terminated_by = "kernel.yield"

    @staticmethod
    def infer(  # type: ignore[empty-body]
        *operands: TensorType | MemRefType,
        outs: int = 0,
        schedule: str | None = None,
        tile: tuple[int, ...] | None = None,
        fuse: bool = True,
        body: Region,
    ) -> Declared: ...

    @property
    def ins(self) -> tuple:
        """The operands that are read."""
        operands = self.operands
        return operands[: len(operands) - self["outs"]]

    @property
    def destinations(self) -> tuple:
        """The operands that are written; empty over tensors."""
        operands = self.operands
        return operands[len(operands) - self["outs"] :]

    @property
    def is_bufferized(self) -> bool:
        return self["outs"] > 0

    def side_effects(self) -> frozenset[str]:
        return frozenset({READ, WRITE}) if self.is_bufferized else frozenset()

    def verify(self) -> None:
        if not 0 <= self["outs"] <= len(self.operands):
            raise DlirError(
                f"has outs = {self['outs']}, but takes {count(len(self.operands), 'operand')}", self.location
            )
        ins, args = self.ins, only_block(self).args
        if len(ins) != len(args):
            reads, takes = count(len(ins), "operand"), count(len(args), "argument")
            raise DlirError(f"reads {reads}, but its block has {takes}", self.location)
        for value, arg in zip(ins, args, strict=True):
            if _extent(value.type) != _extent(arg.type):
                raise DlirError(f"operand {value.type} does not fit block argument {arg.type}", self.location)
        yielded = self.body.terminator.operand_types
        targets = [value.type for value in self.destinations] if self.is_bufferized else list(self.result_types)
        if [_extent(t) for t in yielded] != [_extent(t) for t in targets]:
            what = "destinations" if self.is_bufferized else "results"
            raise DlirError(
                f"yields {_spell(yielded)}, but its {what} are {_spell(targets)}", self.body.terminator.location
            )
        if INPLACE in self.attributes:
            self._verify_inplace()

    def _verify_inplace(self) -> None:
        """The pairs must be of an operand that is read and a destination, with as many bytes of one element type."""
        attribute = self.attributes[INPLACE]
        flat = attribute.value if isinstance(attribute, DenseArrayAttr) else ()
        if not flat or len(flat) % 2:
            hint = f"{INPLACE} = array<i64: 0, 2> says that operands 0 and 2 are the same memory"
            raise DlirError(f"needs pairs of operand numbers in {INPLACE}", self.location, hint=hint)
        ins, types = len(self.ins), self.operand_types
        for one, two in zip(flat[::2], flat[1::2], strict=True):
            if not 0 <= one < ins <= two < len(types):
                message = f"has {INPLACE} with operands {one} and {two}, which are not one that is read and one that is written"
                raise DlirError(message, self.location)
            if types[one].dtype is not types[two].dtype or types[one].size != types[two].size:
                raise DlirError(f"has {INPLACE} for {types[one]} and {types[two]}", self.location)


def _extent(type: Type) -> Any:
    """What a tensor and the memref that holds it have in common."""
    return (type.shape, type.dtype) if isinstance(type, ShapedType) else type


def _spell(types: Iterable[Type]) -> str:
    return "(" + ", ".join(map(str, types)) + ")"


class Yield(Op, name="kernel.yield"):
    """The tensors that a kernel computes."""

    is_terminator = True
    parent_name = "kernel.region"

    @staticmethod
    def infer(*operands: Type) -> None: ...
