"""The ``fuse`` pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from dlir.ir.core import Block, Operation
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.decompose import Decomposed
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.kernel import FUSE, RECOMPUTE, KernelRegion
from dlir.ir.effects import is_removable
from dlir.ir.state import sink_writes
from dlir.passes.kernels.cluster import Check, Clustering
from dlir.passes.kernels.expand import expand
from dlir.passes.kernels.groups import check_blocks
from dlir.passes.kernels.horizontal import merge_contractions, merge_pointwise
from dlir.passes.kernels.legality import check_static, is_fusible
from dlir.passes.kernels.plan import Unfit
from dlir.passes.kernels.regions import make_regions
from dlir.passes.kernels.shadow import Shadow
from dlir.passes.kernels.sink import sink_free
from dlir.passes.manager import Pass, option
from dlir.passes.targets import find_target


@dataclass
class Fuse(Pass, name="fuse"):
    """Group array ops into kernels: each op ends inside a `kernel.region`.

    Pointwise ops join what they depend on, reductions over the same rows join each other, and a contraction takes the
    pointwise ops on its result; views and constants are made again wherever they are used.  Small pointwise kernels that
    need nothing of each other become one, and on a CPU so do contractions that read the same array.  Regions that are there
    stay as they are.  An op with `dlir.fuse = "none"` is a kernel of its own, and those with one other name are one kernel.
    """

    max_ops: int = option(64, "array ops in one kernel at most; 1: every op is a kernel", least=1)
    max_buffers: int = option(32, "inputs and results of one kernel at most", least=2)
    target: str = option("cpu", "the machine to fuse for", choices=("cpu", "cuda"))
    library: str = option(
        "auto",
        "leave large products to cuBLASLt on a GPU; auto: if it is installed here",
        choices=("auto", "on", "off"),
    )

    def run(self, module: Module) -> None:
        for block, clustering in self.clusters(module):
            self.merge_side_by_side(clustering)
            self.stats["kernels"] += len(make_regions(block, clustering))

    def clusters(self, module: Module) -> Iterator[tuple[Block, Clustering]]:
        """The blocks of `module` that hold array ops, one after another, cleaned up, each with its ops in kernels-to-be."""
        for function in list(module.body.ops):
            if isinstance(function, Func) and not function.is_declaration and "dlir.kernel" not in function.attributes:
                blocks = _blocks(function)
                check_blocks(blocks)
                for block in reversed(blocks):
                    _drop_unused(block)  # first in bodies: what nobody needs there must not count as a use here
                if sunk := sink_free(blocks[1:]):
                    self.stats["sunk"] += sunk
                for block in blocks:
                    clustering = self._cluster(block)
                    if clustering is not None:
                        yield block, clustering

    def _cluster(self, block: Block) -> Clustering | None:
        _drop_unused(block)
        sink_writes(block)
        ops = [op for op in block.ops if is_fusible(op)]
        if not ops:
            return None
        for op in ops:
            check_static(op)
        check = self._check()
        for op in ops:
            self.stats["expanded"] += _expand_unless_kernel(op, check)
        clustering = Clustering(block, self.max_ops, self.max_buffers, check)
        clustering.run()
        return clustering

    def merge_side_by_side(self, clustering: Clustering) -> None:
        """Make one kernel of some that need nothing of each other."""
        if self.max_ops > 1:
            self.stats["side by side"] += merge_pointwise(clustering)
            if self.target == "cpu":
                self.stats["side by side"] += merge_contractions(clustering)

    def _check(self) -> Check:
        target = find_target(self.target)
        if self.target != "cuda":
            return target.check
        return partial(target.check, library=target.uses_cublaslt(self.library))


def _blocks(function: Func) -> list[Block]:
    """All blocks of a function that are not inside a region of its own kernels."""
    found: list[Block] = []
    waiting: list[Operation] = [function]
    while waiting:
        for region in waiting.pop().regions:
            for block in region.blocks:
                found.append(block)
                waiting += [op for op in block.ops if op.regions and not isinstance(op, KernelRegion)]
    return found


def _drop_unused(block: Block) -> None:
    for op in reversed(list(block.ops)):
        if is_fusible(op) and not op.is_used and is_removable(op):
            op.erase()


def _expand_unless_kernel(op: Operation, check: Check) -> int:
    """Replace a composite that is more than one kernel by what it is made of; how many were replaced."""
    count = 0
    waiting = [op]
    while waiting:
        here = waiting.pop()
        if isinstance(here, Decomposed) and not _is_one_kernel(here, check):
            made = expand(here)
            for name in (FUSE, RECOMPUTE):
                if name in here.attributes:
                    for new in made:
                        new.attributes.setdefault(name, here.attributes[name])
            waiting += reversed(made)
            count += 1
    return count


def _is_one_kernel(op: Operation, check: Check) -> bool:
    try:
        check(Shadow([op]).plan({op: None}, [value for value in op.results if value.is_used]))
    except Unfit:
        return False
    return True
