"""Machine code from LLVM IR text: parse, optimise, emit an object, link it into the process.

llvmlite takes 150 ms to import, so it is imported at the first compilation.  Errors here are bugs of the emitter, never
a user's mistake: they are raised as :class:`CodegenError`.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from dlir.backends.artifact_cache import ArtifactCache

_library_numbers = itertools.count()


class CodegenError(Exception):
    """LLVM refused what the emitter wrote; `ir` is the text."""

    def __init__(self, message: str, ir: str = "") -> None:
        super().__init__(message)
        self.ir = ir


class Library:
    """Linked code: `library["entry"]` is the address of an exported function, valid while the library lives."""

    def __init__(self, tracker: Any, names: Iterable[str]) -> None:
        self._tracker = tracker
        self._addresses = {name: tracker[name] for name in names}

    def __getitem__(self, name: str) -> int:
        return self._addresses[name]

    def function(self, name: str, prototype: Any) -> Any:
        """The export as a ctypes function of type `prototype`, which keeps the library alive."""
        function = prototype(self._addresses[name])
        function.library = self
        return function


class _Host:
    """This machine as a compilation target; made once, at the first use of llvmlite."""

    def __init__(self) -> None:
        import llvmlite
        import llvmlite.binding as llvm
        from llvmlite.binding.ffi import lib

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.llvm: ModuleType = llvm
        self.version: str = llvmlite.__version__
        self.triple: str = llvm.get_process_triple()
        self.cpu: str = llvm.get_host_cpu_name()
        self.features: str = llvm.get_host_cpu_features().flatten()
        self.target = llvm.Target.from_triple(self.triple)
        self.data_layout = str(self.create_machine().target_data)
        # JITLink maps all sections of an object at once; RuntimeDyld maps them one by one, and aborts the process where they
        # land more than 2 GiB apart.
        self.compiler = llvm.create_lljit_compiler(self.create_machine(), use_jit_link=True)
        # llvmlite lets one thread at a time into LLVM, which needs that only where threads share a context or a machine.
        self.run_passes, self._emit = (
            getattr(call, "_cfn", call)
            for call in (lib.LLVMPY_RunNewModulePassManager, lib.LLVMPY_TargetMachineEmitToMemory)
        )
        self._dispose = lib.LLVMPY_DisposeNewModulePassManger

    def emit_object(self, machine: Any, module: Any) -> bytes:
        """The relocatable object of a module; what llvmlite's `machine.emit_object` does, but beside other threads."""
        from llvmlite.binding.ffi import OutputString, lib

        with OutputString() as error:
            buffer = self._emit(machine, module, 1, error)
            if not buffer:
                raise CodegenError(f"LLVM cannot emit the object: {error}")
        try:
            return ctypes.string_at(lib.LLVMPY_GetBufferStart(buffer), lib.LLVMPY_GetBufferSize(buffer))
        finally:
            lib.LLVMPY_DisposeMemoryBuffer(buffer)

    def free(self, manager: Any) -> None:
        """Free a pass manager, which llvmlite (as of 0.50) never does: 32 kB for each module."""
        self._dispose(manager)
        manager.detach()

    def create_machine(self) -> Any:
        return self.target.create_target_machine(
            cpu=self.cpu, features=self.features, opt=3, reloc="pic", codemodel="small"
        )


@functools.cache
def _host() -> _Host:
    return _Host()


@dataclass(frozen=True, slots=True)
class Target:
    """What emitted code depends on."""

    #: Attributes of every function.
    attributes: str = "nounwind"
    #: Whether vectors are scaled by powers of two in one instruction (`llvm.ldexp`).
    has_ldexp: bool = False


#: Any machine.
GENERIC = Target()


@functools.cache
def host_target() -> Target:
    """This machine, for :func:`dlir.backends.cpu.emit.emit_module`."""
    host = _host()
    attributes = 'nounwind "no-trapping-math"="true"'
    has_avx512 = "+avx512f" in host.features.split(",")
    if has_avx512:
        # LLVM's own default stops at 256 bits.
        attributes += ' "prefer-vector-width"="512"'
    # Before LLVM 22 a loop with llvm.ldexp stays scalar.
    return Target(attributes, has_avx512 and host.llvm.llvm_version_info[0] >= 22)


def host_name() -> str:
    """What this machine's processor is called, with its features."""
    host = _host()
    return f"{host.cpu} {host.features}"


@dataclass(frozen=True, slots=True)
class Source:
    """The text of one LLVM module; `runs_once`: compiling it takes longer than running it."""

    ir: str
    runs_once: bool = False


def optimised(ir: str, *, runs_once: bool = False) -> Any:
    """The llvmlite module of `ir` after O2, verified; after O1 if the code runs once.  Its str is the optimised text."""
    return _optimised(Source(ir, runs_once), _host().create_machine(), None)


def _optimised(source: Source, machine: Any, context: Any) -> Any:
    """The module of `source`; the caller closes it before the context goes away."""
    host = _host()
    module = None
    try:
        module = host.llvm.parse_assembly(source.ir, context)
        module.verify()
    except RuntimeError as error:
        if module is not None:
            module.close()
        raise CodegenError(f"LLVM refused the emitted IR: {error}", source.ir) from error
    module.triple = host.triple
    module.data_layout = host.data_layout
    # O3 takes a fifth longer, and no graph of benchmarks/graphs.py runs faster for it.
    options = host.llvm.create_pipeline_tuning_options(speed_level=1 if source.runs_once else 2)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = not source.runs_once
    builder = host.llvm.create_pass_builder(machine, options)
    host.run_passes(manager := builder.getModulePassManager(), module, builder)
    host.free(manager)
    return module


def object_code(source: Source, cache: ArtifactCache | None = None) -> bytes:
    """The relocatable object of `source` for this CPU, out of `cache` where it holds it."""
    (code,) = object_codes([source], cache)
    return code


def object_codes(sources: Sequence[Source], cache: ArtifactCache | None = None, workers: int = 1) -> list[bytes]:
    """The relocatable object of each of `sources`, compiled by so many threads at a time."""
    keys = [_key(source) for source in sources]
    found = [cache.get(key) if cache else None for key in keys]
    # The longest first: what comes last should be over soon.
    missing = sorted((n for n, code in enumerate(found) if code is None), key=lambda n: -len(sources[n].ir))
    if workers > 1 and len(missing) > 1:
        from concurrent.futures import ThreadPoolExecutor  # who finds everything does without

        with ThreadPoolExecutor(min(workers, len(missing)), "dlir-compiler") as pool:
            fresh = list(pool.map(_compiled, [sources[n] for n in missing]))
    else:
        fresh = [_compiled(sources[n]) for n in missing]
    for number, code in zip(missing, fresh):
        found[number] = code
        if cache:
            cache.put(keys[number], code)
    return found  # type: ignore[return-value]


def host_key() -> tuple[str, ...]:
    """What machine code depends on besides its source: the compiler and the machine."""
    host = _host()
    return host.version, host.triple, host.cpu, host.features


def _key(source: Source) -> tuple[str, ...]:
    return *host_key(), "O1" if source.runs_once else "O2", source.ir


def _compiled(source: Source) -> bytes:
    """The object of `source`, compiled in a context of its own, so that other threads may compile at the same time."""
    host = _host()
    machine, context = host.create_machine(), host.llvm.create_context()
    with _optimised(source, machine, context) as module:
        return host.emit_object(machine, module)


def link(codes: Iterable[bytes], exports: Iterable[str], imports: Mapping[str, int] | None = None) -> Library:
    """Load objects, which may name each other's symbols; `imports` gives addresses to those that are neither theirs nor of
    the process (libc, libm, Python)."""
    host = _host()
    names = sorted(exports)
    builder = host.llvm.JITLibraryBuilder().add_current_process()
    for code in codes:
        builder.add_object_img(code)
    for name, address in (imports or {}).items():
        builder.import_symbol(name, address)
    for name in names:
        builder.export_symbol(name)
    try:
        tracker = builder.link(host.compiler, f"dlir.{next(_library_numbers)}")
    except RuntimeError as error:
        raise CodegenError(f"cannot link the object: {error}") from error
    return Library(tracker, names)


def compile_ir(
    ir: str,
    exports: Iterable[str],
    imports: Mapping[str, int] | None = None,
    cache: ArtifactCache | None = None,
) -> Library:
    """`ir` compiled and linked."""
    return link([object_code(Source(ir), cache)], exports, imports)
