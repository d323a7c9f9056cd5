"""Compiled programs, found again by the text that they were compiled from: in memory, and on disk for other processes.

A program that is found runs no pass and compiles nothing.  What is kept of it is its machine code, a *skeleton* of the
lowered module (`backends.skeleton`) that it is loaded with, and what is asked of programs most.

The key is the text of the module, the pipeline, the machine, and which dlir it was.  Where plugins have a say in how a
module is compiled, nothing is kept.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import struct
import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dlir.backends.artifact_cache import ArtifactCache
from dlir.backends.function_code import FunctionCode
from dlir.backends.registry import Backend
from dlir.backends.skeleton import NotPlain, read_skeleton, write_skeleton
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.tables import Table
from dlir.passes.pipelines import pipeline_for
from dlir.textir.printer import print_module

#: ``off``: every program is compiled anew.  `DLIR_CACHE_DIR` says where the files are.
SWITCH = "DLIR_PROGRAM_CACHE"
#: Bytes of programs that are kept in memory.
MAX_MEMORY = 64 << 20
#: Larger programs (constants in their text) are not worth it.
MAX_PROGRAM = 256 << 20

_PACKAGES = ("backends", "ir", "passes", "textir")
_LENGTH = struct.Struct("<Q")

_logger = logging.getLogger("dlir.cache")

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compiled:
    """All that it takes to load a program and to answer questions about it."""

    module: Module
    codes: Mapping[str, FunctionCode]
    kernels: int
    #: Bytes that a call needs.
    needed: int
    #: The fields of its `passes.memory.report.MemoryReport`.
    memory: dict[str, int]
    stats: dict[str, dict[str, int]]


# ---------------------------------------------------------------- keys


def program_key(module: Module, function: Func, backend: Backend, level: str, is_shared: bool) -> Key | None:
    """What the compiled `function` is found by; None if it is not to be kept.

    `is_shared`: all variables of the module may change.
    """
    if os.environ.get(SWITCH) == "off" or backend.target is None or not hasattr(backend.code, "load_code"):
        return None
    ours = _fingerprint()
    if ours is None or not _is_all_ours(module):
        return None
    names = json.dumps([arg.name for arg in function.body.args])
    text = hashlib.sha256(print_module(module, generic=True).encode()).hexdigest()
    pipeline = pipeline_for(level, backend.target)
    return (ours, backend.name, *backend.code.machine(), pipeline, str(is_shared), function.symbol, names, text)


#: The tables whose lines have a say in how a module is compiled, by the modules that they are in.
_TABLES = {
    "dlir.ir.registry": "DIALECTS",
    "dlir.passes.manager": "PASSES",
    "dlir.passes.rules": "RULES",
    "dlir.passes.memory.exact": "SEARCHES",
    "dlir.backends.registry": "BACKENDS",
}


def _is_all_ours(module: Module) -> bool:
    """Whether only dlir's own code compiles `module`: a plugin may change without a sign."""
    for home, name in _TABLES.items():
        # What is not imported has no lines but its own.
        if home in sys.modules and not _is_ours(getattr(sys.modules[home], name)):
            return False
    return all(type(op).__module__.startswith("dlir.") for op in module.walk())


def _is_ours(table: Table) -> bool:
    for name, line in table.data.items():
        home = line if isinstance(line, str) else getattr(line, "module", "")
        if not home.startswith("dlir.") and name not in table.installed:
            return False
    return True


@functools.cache
def _fingerprint() -> str | None:
    """Which dlir this is: its files with their sizes and times; None if it does not lie in files."""
    dlir = sys.modules["dlir"]  # which imports this package, and not the other way round
    digest = hashlib.sha256(dlir.__version__.encode())
    try:
        folders = [Path(folder, package) for folder in dlir.__path__ for package in _PACKAGES]
        for path in sorted(found for folder in folders for found in _files(str(folder))):
            digest.update(path.encode())
    except OSError:
        return None
    return digest.hexdigest()


def _files(folder: str) -> list[str]:
    """The files below a folder, each with its size and time."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if entry.name != "__pycache__":
                    found += _files(entry.path)
            else:
                status = entry.stat()
                found.append(f"{entry.path}\0{status.st_size}\0{status.st_mtime_ns}\n")
    return found


# ---------------------------------------------------------------- finding and keeping


class _Recent:
    """Payloads of the last programs, of `max_bytes` at most."""

    def __init__(self, max_bytes: int = MAX_MEMORY) -> None:
        self.max_bytes = max_bytes
        self._payloads: OrderedDict[Key, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Key) -> bytes | None:
        with self._lock:
            found = self._payloads.get(key)
            if found is not None:
                self._payloads.move_to_end(key)
            return found

    def put(self, key: Key, payload: bytes) -> None:
        with self._lock:
            self._bytes += len(payload) - len(self._payloads.pop(key, b""))
            self._payloads[key] = payload
            while self._bytes > self.max_bytes:
                _, dropped = self._payloads.popitem(last=False)
                self._bytes -= len(dropped)

    def clear(self) -> None:
        with self._lock:
            self._payloads.clear()
            self._bytes = 0

    def __len__(self) -> int:
        return len(self._payloads)

    @property
    def nbytes(self) -> int:
        return self._bytes


RECENT = _Recent()


def find_program(key: Key, source: Module) -> Compiled | None:
    """What was kept under `key` of a program that was compiled from `source`; None: compile it."""
    payload = RECENT.get(key)
    is_new = payload is None
    if payload is None:
        payload = ArtifactCache("programs").get(key)
        if payload is None:
            return None
    try:
        found = _decoded(payload, source)
    except (ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
        _logger.warning("ignored a cached program that cannot be read: %s", error)
        return None
    if is_new:
        RECENT.put(key, payload)
    return found


def keep_program(key: Key, program: Compiled) -> None:
    """Keep a program that was compiled; `program.module` is the whole lowered module."""
    try:
        payload = _encoded(program)
    except NotPlain as reason:
        _logger.debug("a program is not kept: %s", reason)
        return
    if len(payload) > MAX_PROGRAM:
        return
    RECENT.put(key, payload)
    ArtifactCache("programs").put(key, payload)


# ---------------------------------------------------------------- payloads: a description in JSON, then arrays and code


def _encoded(program: Compiled) -> bytes:
    skeleton, arrays = write_skeleton(program.module, program.codes)
    description = {
        "skeleton": skeleton,
        "arrays": [array.nbytes for array in arrays],
        "functions": [
            [symbol, [len(code) for code in item.objects], item.globals, item.scratch_bytes, item.is_parallel]
            for symbol, item in program.codes.items()
        ],
        "kernels": program.kernels,
        "needed": program.needed,
        "memory": program.memory,
        "stats": program.stats,
    }
    text = json.dumps(description, separators=(",", ":")).encode()
    codes = [code for item in program.codes.values() for code in item.objects]
    return b"".join([_LENGTH.pack(len(text)), text, *(array.tobytes() for array in arrays), *codes])


def _decoded(payload: bytes, source: Module) -> Compiled:
    (length,) = _LENGTH.unpack_from(payload)
    place = _LENGTH.size + length
    description = json.loads(payload[_LENGTH.size : place])

    def take(size: int) -> bytes:
        nonlocal place
        place += size
        return payload[place - size : place]

    arrays = [take(size) for size in description["arrays"]]
    codes = {
        symbol: FunctionCode(tuple(map(take, sizes)), tuple(names), scratch_bytes, is_parallel)
        for symbol, sizes, names, scratch_bytes, is_parallel in description["functions"]
    }
    if place != len(payload):
        raise ValueError(f"{len(payload)} bytes, of which {place} are described")
    module = read_skeleton(description["skeleton"], arrays, source)
    return Compiled(module, codes, **{name: description[name] for name in ("kernels", "needed", "memory", "stats")})
