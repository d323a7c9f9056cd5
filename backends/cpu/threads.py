"""The worker threads behind `@dlir.parallel_for(ptr body, ptr context, i64 n)`, which machine code calls.

It calls `body(context, t)` for each t in [0, n), shared among the caller and the workers.  The pool itself is LLVM IR
(parallel_for.ll); Python creates its threads, which then stay in native code without the GIL.  They start at the first
loop that could use them and are started again in a forked child.  `DLIR_NUM_THREADS` limits their number, else every
CPU that the process may use takes part.  Where POSIX semaphores are missing, loops run in their caller.

Workers that sleep are woken on other CPUs than the caller's (placement.ll), as long as there is one for each thread.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import os
import platform
import sys
import threading
from collections.abc import Mapping
from importlib import resources

from dlir.backends.artifact_cache import ArtifactCache
from dlir.backends.cpu import jit
from dlir.ir.errors import DlirError

# About 20 us: longer than the gap between two loops of one graph, shorter than a scheduler's slice.
SPINS = 1000
_JOIN_SECONDS = 2.0
# What the C library's `cpu_set_t` holds.
_MAX_CPUS = 1024

_PAUSE = {
    "x86_64": ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
    "aarch64": ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"),
}
_NO_PLACEMENT = """
define void @dlir.placement_reset() {
  ret void
}
define void @dlir.placement_begin(ptr %members, i32 %count, ptr %cpus) {
  ret void
}
define internal void @dlir.make_room(i32 %posts) {
  ret void
}
"""
_SERIAL = """
define void @dlir.parallel_for(ptr %body, ptr %context, i64 %n) {
entry:
  br label %head
head:
  %t = phi i64 [ 0, %entry ], [ %next, %run ]
  %more = icmp slt i64 %t, %n
  br i1 %more, label %run, label %exit
run:
  call void %body(ptr %context, i64 %t)
  %next = add nsw i64 %t, 1
  br label %head
exit:
  ret void
}
"""


def thread_count() -> int:
    """How many threads share a loop, the caller included; DlirError if `DLIR_NUM_THREADS` is not a positive number."""
    configured = os.environ.get("DLIR_NUM_THREADS", "")
    if not configured:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not configured.isdecimal() or int(configured) == 0:
        raise DlirError(f"DLIR_NUM_THREADS must be a positive number, not '{configured}'")
    return int(configured)


def symbols() -> Mapping[str, int]:
    """Addresses for the linker of what emitted code may call; DlirError as for :func:`thread_count`."""
    thread_count()
    # The cache alone would let two threads make a pool each.
    with _creation:
        return {"dlir.parallel_for": _pool().library["dlir.parallel_for"]}


class _Pool:
    """The native pool and the Python threads in it."""

    def __init__(self) -> None:
        self._native = sys.platform == "linux"
        exports = ["dlir.parallel_for"]
        if self._native:
            exports += [
                "dlir.pool_reset",
                "dlir.pool_stop",
                "dlir.worker",
                "dlir.placement_reset",
                "dlir.placement_begin",
            ]
        self.library = jit.compile_ir(_source() if self._native else _SERIAL, exports, cache=ArtifactCache("cpu"))
        if not self._native:
            return
        procedure = ctypes.CFUNCTYPE(None)
        self._reset = self.library.function("dlir.pool_reset", ctypes.CFUNCTYPE(None, ctypes.c_void_p))
        self._stop = self.library.function("dlir.pool_stop", procedure)
        self._work = self.library.function("dlir.worker", procedure)
        self._unplace = self.library.function("dlir.placement_reset", procedure)
        placing = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p)
        self._place = self.library.function("dlir.placement_begin", placing)
        self._starter = ctypes.CFUNCTYPE(ctypes.c_int32)(self._start)
        self._ended = False
        self.forget()
        os.register_at_fork(after_in_child=self.forget)
        atexit.register(self._shut_down)

    def forget(self) -> None:
        """No workers, no jobs: the state at the start and in a forked child."""
        self._threads: list[threading.Thread] = []
        # Reentrant: a signal handler may run a loop while the workers are being created.
        self._lock = threading.RLock()
        self._unplace()
        self._reset(ctypes.cast(self._starter, ctypes.c_void_p))

    def _start(self) -> int:
        """Create the workers; called from machine code, so nothing may be raised.  Returns their number."""
        with self._lock:
            # Thread creation fails when the system has no more, or the interpreter is ending; those there are will do.
            with contextlib.suppress(RuntimeError, DlirError):
                while not self._ended and len(self._threads) < thread_count() - 1:
                    name = f"dlir-worker-{len(self._threads)}"
                    thread = threading.Thread(target=self._work, name=name, daemon=True)
                    thread.start()
                    self._threads.append(thread)
                self._keep_apart()
            return 0 if self._ended else len(self._threads)

    def _keep_apart(self) -> None:
        """Let callers choose where workers run, if there is a CPU for each thread."""
        cpus = os.sched_getaffinity(0)
        members = [thread.native_id or 0 for thread in self._threads]
        if members and len(members) < len(cpus) and max(cpus) < _MAX_CPUS:
            ids = (ctypes.c_int32 * len(members))(*members)
            mask = sum(1 << cpu for cpu in cpus).to_bytes(_MAX_CPUS // 8, "little")
            self._place(ctypes.addressof(ids), len(members), ctypes.c_char_p(mask))

    def _shut_down(self) -> None:
        """Stop the workers before the interpreter takes down what they run in."""
        self._ended = True
        self._stop()
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)


_creation = threading.RLock()


@functools.cache
def _pool() -> _Pool:
    return _Pool()


def _source() -> str:
    """parallel_for.ll and placement.ll with what depends on the machine filled in."""
    text = _text("parallel_for.ll") + (_text("placement.ll") if _can_place() else _NO_PLACEMENT)
    declaration, pause = _PAUSE.get(platform.machine(), ("", ""))
    definition = f"{declaration}\ndefine internal void @dlir.pause() alwaysinline {{\n  {pause}\n  ret void\n}}\n"
    for name, value in (("SPINS", SPINS), ("MAX_CPUS", _MAX_CPUS), ("MASK_BYTES", _MAX_CPUS // 8)):
        text = text.replace(name, str(value))
    return text + definition


def _text(name: str) -> str:
    return resources.files("dlir.backends.cpu").joinpath(name).read_text(encoding="utf-8")


def _can_place() -> bool:
    """Whether the C library has what placement.ll calls, with a `cpu_set_t` of little-endian words."""
    process = ctypes.CDLL(None)
    return sys.byteorder == "little" and all(hasattr(process, name) for name in ("sched_getcpu", "sched_setaffinity"))
