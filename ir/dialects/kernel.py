"""The ``kernel`` dialect: a region of array maths that becomes one kernel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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
