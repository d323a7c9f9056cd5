"""The ``map`` pass."""

from __future__ import annotations

from dataclasses import dataclass

from dlir.ir.dialects.builtin import Module
from dlir.passes.manager import Pass, option


@dataclass
class Map(Pass, name="map"):
    """Assign the parallel loops of kernels to the machine: threads and SIMD of a CPU, or the grid of a GPU.

    On a CPU a kernel takes the range of work items that it computes; the work of a large one is split into chunks that
    threads share, along its inner loops if it has few items, and what chunks reduce is combined in their order.  On a GPU
    kernels become `gpu.func`.
    """

    target: str = option("cpu", "the machine", choices=("cpu", "cuda"))
    threads: int = option(0, "chunks of a large kernel, one for each thread; 0: enough for any number", least=0)
    threshold: int = option(200_000, "scalar ops from which on a kernel is split into chunks", least=0)

    def run(self, module: Module) -> None:
        if self.target == "cuda":
            from dlir.passes.map_cuda import map_cuda

            map_cuda(module, self.stats)
        else:
            from dlir.passes.map_cpu import map_cpu

            map_cpu(module, self.stats, self.threads, self.threshold)
