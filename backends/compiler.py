"""From a module at any level to something that runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dlir.backends.device_memory import check_fits
from dlir.backends.registry import Backend, find_backend
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import find_function
from dlir.ir.errors import DlirError
from dlir.ir.traversal import clone
from dlir.ir.verifier import verified
from dlir.passes.manager import Pass, PassManager
from dlir.passes.pipelines import pipeline_for


@dataclass
class Program:
    """A compiled function: call it with arrays in the order of the arguments; it returns a tuple of arrays."""

    module: Module
    lowered: Module
    entry: str
    backend: Backend
    executable: Any
    #: Seconds by phase: "passes" and "code".
    seconds: dict[str, float]
    #: What each pass counted, by its name in the pipeline.
    stats: dict[str, dict[str, int]] = field(default_factory=dict)

    def __call__(self, *arrays: Any, out: Sequence[np.ndarray] | None = None) -> tuple[np.ndarray, ...]:
        return self.executable(*arrays, out=out)

    @property
    def kernels(self) -> int:
        """How many kernels one call launches."""
        function = find_function(self.lowered, self.entry)
        names = ("func.call", "gpu.launch_func", "kernel.region")
        return sum(op.name in names for op in function.walk())

    @property
    def memory(self) -> Any:
        """Bytes that a call needs: naive, planned and the lower bound."""
        from dlir.passes.memory.report import memory_report

        return memory_report(self.module, self.lowered, self.entry)

    def memory_analysis(self) -> Any:
        """`memory`, which answers to JAX's names, too: `temp_size_in_bytes` and so on."""
        return self.memory

    def source(self) -> str:
        """The text that the backend compiles: LLVM IR or CUDA C."""
        from dlir.backends.registry import emit_source

        if self.backend.source is None:
            raise DlirError(f"backend '{self.backend.name}' has no source")
        return emit_source(self.lowered, self.entry, self.backend.source)


def compile_module(
    module: Module,
    weights: Any = None,
    *,
    backend: str = "cpu",
    level: str = "O2",
    entry: str = "main",
    after: Callable[[Pass, Module], None] | None = None,
) -> Program:
    """Compile function `entry` of `module`, which stays as it is.

    `weights` gives the arrays of ``dense_resource`` names (`textir.weights`); `after` is called after each pass with the
    pass and the module.  DlirError if there is no such function or something in the module cannot be compiled.
    """
    chosen = find_backend(backend)
    function = find_function(module, entry)
    start = time.perf_counter()
    manager = make_manager(chosen.target, level, after)
    lowered = _lower(module, manager)
    middle = time.perf_counter()
    check_fits(find_function(lowered, entry), chosen)
    executable = chosen.load(lowered, entry, weights)
    seconds = {"passes": middle - start, "code": time.perf_counter() - middle}
    stats = {str(item): dict(item.stats) for item in manager.passes}
    return Program(module, lowered, function.symbol, chosen, executable, seconds, stats)


def lower_module(module: Module, target: str | None, level: str = "O2") -> Module:
    """A copy of `module`, lowered for a target by the pipeline of that level; just a copy for target None."""
    return _lower(module, make_manager(target, level))


def make_manager(target: str | None, level: str, after: Callable[[Pass, Module], None] | None = None) -> PassManager:
    """The passes from any level down to `target`."""
    text = "" if target is None else pipeline_for(level, target)
    # The passes are verified one by one in the tests; here the module is, before and after all of them.
    return PassManager.from_text(text, verify_each=False, after=after)


def _lower(module: Module, manager: PassManager) -> Module:
    return verified(manager.run(verified(clone(module))))
