"""Building cuda-sim libraries with the system's C++ compiler: kernel text in, shared library out.

The runtime is compiled once and linked into every library.  Kernel text is compiled with the instrumentation of
``-fsanitize=thread`` and ``-fsanitize=undefined`` but without their run-time libraries: the callbacks are cuda-sim's.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from dlir.backends.artifact_cache import ArtifactCache
from dlir.ir.errors import DlirError

_HERE = Path(__file__).resolve().parent
_RUNTIME = ("runtime.cpp", "shadow.cpp")
_COMMON = ("-std=c++17", "-O2", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-pipe")
_KERNEL = (
    *("-fsanitize=thread", "-fsanitize=bounds,alignment,integer-divide-by-zero,signed-integer-overflow,shift"),
    # Accesses stay one by one, as the instrumentation reports them: no memcpy, no vectors.
    *("-fno-tree-loop-distribute-patterns", "-fno-tree-vectorize", "-fno-tree-slp-vectorize"),
    # A simulated thread has 64 KiB of stack.
    *("-Werror=frame-larger-than=32768", "-Wno-unknown-pragmas"),
)


def unavailable() -> str | None:
    """Why cuda-sim cannot run on this machine, or None if it can."""
    if sys.platform != "linux":
        return f"cuda-sim runs on Linux only, not on '{sys.platform}'"
    if shutil.which("g++") is None:
        return "cuda-sim compiles kernels for the host with g++, which is not installed"
    return None


def build(source: str, kernels: tuple[str, ...]) -> bytes:
    """The shared library (as bytes) in which the CUDA C text `source` exports `kernels` to :mod:`.module`.

    DlirError if the machine has no g++; RuntimeError with the compiler's messages if the text does not compile.
    """
    reason = unavailable()
    if reason is not None:
        raise DlirError(reason, hint="install g++, or use --backend=cpu")
    exports = "".join(f"DLIR_SIM_EXPORT({name})\n" for name in kernels)
    text = f'#include "cuda_sim.h"\n#line 1 "kernels.cu"\n{source}\n{exports}DLIR_SIM_EXPORT_SHARED()\n'
    artifacts = ArtifactCache("cuda-sim")
    key = (text, _fingerprint(), " ".join(_COMMON + _KERNEL))
    found = artifacts.get(key)
    if found is None:
        found = _compile(text)
        artifacts.put(key, found)
    return found


def _compile(text: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="dlir-cuda-sim-") as folder:
        kernels = Path(folder, "kernels.o")
        include = f"-I{_HERE / 'include'}"
        _run("-x", "c++", *_COMMON, *_KERNEL, include, "-c", "-", "-o", str(kernels), text=text)
        objects = []
        for index, payload in enumerate(_runtime_objects()):
            objects.append(Path(folder, f"runtime{index}.o"))
            objects[-1].write_bytes(payload)
        library = Path(folder, "kernels.so")
        _run("-shared", "-Wl,-Bsymbolic", str(kernels), *map(str, objects), "-o", str(library))
        return library.read_bytes()


@cache
def _runtime_objects() -> tuple[bytes, ...]:
    """The runtime's object files, which never change within a process."""
    artifacts = ArtifactCache("cuda-sim")
    objects = []
    for name in _RUNTIME:
        key = (name, _fingerprint(), " ".join(_COMMON))
        payload = artifacts.get(key)
        if payload is None:
            with tempfile.TemporaryDirectory(prefix="dlir-cuda-sim-") as folder:
                output = Path(folder, "runtime.o")
                _run(*_COMMON, "-c", str(_HERE / name), "-o", str(output))
                payload = output.read_bytes()
            artifacts.put(key, payload)
        objects.append(payload)
    return tuple(objects)


@cache
def _fingerprint() -> str:
    """What a library depends on besides kernel text and flags: the compiler and the runtime's sources."""
    digest = hashlib.sha256(_run("--version").encode())
    digest.update(_run("-dumpmachine").encode())
    for path in sorted([*_HERE.glob("*.cpp"), *_HERE.glob("*.h"), *_HERE.glob("include/*.h")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _run(*args: str, text: str | None = None) -> str:
    result = subprocess.run(["g++", *args], input=text, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"g++ could not build a cuda-sim library:\n{result.stderr}")
    return result.stdout


def kernel_names(source: str) -> tuple[str, ...]:
    """The names of the ``__global__`` functions in CUDA C text, in order."""
    return tuple(re.findall(r"\b__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\s*\(", source))
