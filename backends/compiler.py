"""From a module at any level to something that runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dlir.backends.device_memory import check_fits, fits
from dlir.backends.numerics import Checked, read_checks
from dlir.backends.program_cache import Compiled, find_program, keep_program, program_key
from dlir.backends.registry import Backend, find_backend
from dlir.backends.variables import VariableStore
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import find_function
from dlir.ir.dialects.state import Variable
from dlir.ir.errors import DlirError
from dlir.ir.state import state_of
from dlir.ir.traversal import clone
from dlir.ir.verifier import verified
from dlir.passes.check_numerics import CHECKS
from dlir.passes.manager import Pass, PassManager
from dlir.passes.pipelines import pipeline_for

if TYPE_CHECKING:
    from dlir.passes.kernels.counts import CostAnalysis


@dataclass
class Program:
    """A compiled function: call it with arrays in the order of the arguments; it returns a tuple of arrays."""

    module: Module
    entry: str
    backend: Backend
    executable: Any
    #: Seconds by phase: "passes" and "code", or "cache" if it was found there.
    seconds: dict[str, float]
    #: What each pass counted, by its name in the pipeline.
    stats: dict[str, dict[str, int]] = field(default_factory=dict)
    #: The variables that calls change.
    variables: VariableStore = field(default_factory=VariableStore)
    #: Makes the lowered module of a program that was found.
    lower: Callable[[], Module] | None = field(default=None, repr=False)
    #: What is known of a program without its lowered module.
    facts: Compiled | None = field(default=None, repr=False)
    level: str = "O2"

    def __call__(self, *arrays: Any, out: Sequence[np.ndarray] | None = None) -> tuple[np.ndarray, ...]:
        return self.executable(*arrays, out=out)

    @cached_property
    def lowered(self) -> Module:
        """The module after all passes, which are run now if the program was found in the cache."""
        assert self.lower is not None
        return self.lower()

    @property
    def kernels(self) -> int:
        """How many kernels one call launches."""
        return count_kernels(self.lowered, self.entry) if self.facts is None else self.facts.kernels

    @property
    def memory(self) -> Any:
        """Bytes that a call needs: naive, planned and the lower bound."""
        from dlir.passes.memory.report import MemoryReport, memory_report

        if self.facts is not None:
            return MemoryReport(**self.facts.memory)
        return memory_report(self.module, self.lowered, self.entry)

    def memory_analysis(self) -> Any:
        """`memory`, which answers to JAX's names, too: `temp_size_in_bytes` and so on."""
        return self.memory

    def cost_analysis(self) -> CostAnalysis:
        """Operations on floats and bytes moved, of each kernel and in all."""
        from dlir.backends.inspection import cost_of

        return cost_of(self)

    def stage(self, name: str) -> Module:
        """The module after a pass: its name, or "source", "fused", "bufferized", "planned", "lowered"."""
        from dlir.backends.inspection import module_at

        return module_at(self, name)

    def as_text(self, stage: str = "source") -> str:
        """The module at a `stage`, as text."""
        from dlir.textir import to_text

        return to_text(self.stage(stage))

    def sources(self) -> dict[str, str]:
        """What the backend compiles, by language; nothing for one that runs modules as they are."""
        return {} if self.backend.source is None else {self.backend.source: self.source()}

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
    variables: VariableStore | None = None,
    check_numerics: bool = False,
) -> Program:
    """Compile function `entry` of `module`, which stays as it is.

    `weights` gives the arrays of ``dense_resource`` names (`textir.weights`); `after` is called after each pass with the
    pass and the module.  With `variables`, all variables of the module live in that store, where other programs and Python
    may change them, and none is taken for a constant; without, the program has a store of its own for those that the module
    writes.  With `check_numerics`, a call raises DlirError for the first op that makes a NaN or an infinity, and no variable
    is changed (the pass `check-numerics`); it takes longer.

    DlirError if there is no such function or something in the module cannot be compiled.
    """
    chosen = find_backend(backend)
    if check_numerics:
        module = PassManager.from_text("inline,differentiate,check-numerics").run(clone(module))
    function = find_function(module, entry)
    is_shared, store = variables is not None, VariableStore() if variables is None else variables
    start = time.perf_counter()
    key = program_key(module, function, chosen, level, is_shared) if after is None else None
    found = find_program(key, module) if key is not None else None
    # One that does not fit is compiled again, and ends with the message that says what is too large.
    if found is not None and fits(found.needed, chosen):
        executable = _loaded(chosen, found.module, entry, weights, store, found.codes)
        seconds = {"cache": time.perf_counter() - start}
        lower = partial(_lower_again, module, chosen.target, level, is_shared)
        facts = replace(found, codes={})
        return Program(module, function.symbol, chosen, executable, seconds, found.stats, store, lower, facts, level)
    manager = _manager_for(module, chosen.target, level, after)
    lowered = _lower(module, manager, is_shared)
    middle = time.perf_counter()
    check_fits(find_function(lowered, entry), chosen)
    codes = chosen.code.compile_code(lowered, entry) if key is not None else None
    executable = _loaded(chosen, lowered, entry, weights, store, codes)
    stats = {str(item): dict(item.stats) for item in manager.passes}
    if key is not None and codes is not None:
        keep_program(key, describe(module, lowered, entry, codes, stats))
    seconds = {"passes": middle - start, "code": time.perf_counter() - middle}
    program = Program(module, function.symbol, chosen, executable, seconds, stats, store, level=level)
    program.lowered = lowered
    return program


def _loaded(backend: Backend, module: Module, entry: str, weights: Any, store: VariableStore, codes: Any) -> Any:
    """An executable of a lowered module, or of what is left of one, with machine code if that is there already."""
    has_state = bool(state_of(module, find_function(module, entry)).variables)
    # A backend that knows no variables need not take them.
    variables = {"variables": store} if has_state else {}
    if codes is None:
        executable = backend.load(module, entry, weights, **variables)
    else:
        executable = backend.code.load_code(module, entry, codes, weights, **variables)
    checks = find_function(module, entry).attributes.get(CHECKS)
    return executable if checks is None else Checked(executable, read_checks(checks))


def describe(module: Module, lowered: Module, entry: str, codes: Any, stats: dict[str, dict[str, int]]) -> Compiled:
    """A program that has just been compiled, for the cache."""
    from dlir.passes.memory.report import memory_report, needed_bytes

    function = find_function(lowered, entry)
    memory = asdict(memory_report(module, lowered, entry))
    return Compiled(lowered, codes, count_kernels(lowered, entry), needed_bytes(function)[0], memory, stats)


def count_kernels(lowered: Module, entry: str) -> int:
    """How many kernels a call of function `entry` launches."""
    names = ("func.call", "gpu.launch_func", "kernel.region", "kernel.matmul")
    return sum(op.name in names for op in find_function(lowered, entry).walk())


def lower_module(module: Module, target: str | None, level: str = "O2") -> Module:
    """A copy of `module`, lowered for a target by the pipeline of that level; for target None one with gradients made."""
    return _lower(module, _manager_for(module, target, level))


def _lower_again(module: Module, target: str | None, level: str, is_shared: bool) -> Module:
    return _lower(module, make_manager(target, level), is_shared)


def make_manager(target: str | None, level: str, after: Callable[[Pass, Module], None] | None = None) -> PassManager:
    """The passes from any level down to `target`."""
    text = "" if target is None else pipeline_for(level, target)
    # The passes are verified one by one in the tests; here the module is, before and after all of them.
    return PassManager.from_text(text, verify_each=False, after=after)


def _manager_for(
    module: Module, target: str | None, level: str, after: Callable[[Pass, Module], None] | None = None
) -> PassManager:
    """As `make_manager`; a module that runs as it is has its gradients made, for these are no ops to run."""
    if target is None and any(op.name.startswith("diff.") for op in module.walk()):
        return PassManager.from_text("inline,differentiate", verify_each=False, after=after)
    return make_manager(target, level, after)


def _lower(module: Module, manager: PassManager, is_shared: bool = False) -> Module:
    copy = clone(module)
    for op in copy.body.ops if is_shared else ():
        if isinstance(op, Variable):
            op.set("mutable", True)
    return verified(manager.run(verified(copy)))
