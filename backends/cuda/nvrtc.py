"""CUDA C text to device code with NVRTC, through ctypes: needs the library, but neither a GPU nor CuPy.

One path serves tests and run time: the cubin that a machine with no GPU checks is the one that CuPy loads on a machine
that has one.
"""

from __future__ import annotations

import ctypes
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from dlir.backends.artifact_cache import ArtifactCache
from dlir.ir.errors import DlirError
from dlir.passes.targets.nvidia_libraries import find_library, folders

#: The flags that decide what kernels compute.  Subnormals and signed zeros agree with the other backends (no ftz), and
#: division and square root are correctly rounded.  Nor is a*b+c contracted behind our back: with that, + - * / and sqrt
#: give the bits that NumPy gives, and a difference such as x*y - x*y stays exactly zero.  Contractions, where fused
#: multiply-adds double the speed, ask for them with math.fma.
FLAGS = ("--std=c++17", "--ftz=false", "--prec-div=true", "--prec-sqrt=true", "--fmad=false")

#: How to get what the CUDA backend needs.
HINT = "pip install 'dlir[cuda13]' (or 'dlir[cuda12]' for a CUDA 12 driver)"


@dataclass(frozen=True)
class KernelUsage:
    """What one kernel occupies on a multiprocessor: registers per thread, and bytes."""

    name: str
    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int


@dataclass(frozen=True)
class Compiled:
    """A cubin, the compiler's log, and the resources of each kernel."""

    image: bytes
    log: str
    usage: tuple[KernelUsage, ...]


class CompileError(RuntimeError):
    """NVRTC refuses generated text: an error of the code generator, with NVRTC's own messages."""


def unavailable() -> str | None:
    """Why nothing can be compiled on this machine, or None if it can."""
    try:
        _library()
    except DlirError as error:
        return error.message
    return None


def version() -> tuple[int, int]:
    """NVRTC's version; DlirError if there is no NVRTC."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def architectures() -> tuple[str, ...]:
    """What this NVRTC compiles for, oldest first, such as ``sm_80``; DlirError if there is no NVRTC."""
    count = ctypes.c_int()
    _library().nvrtcGetNumSupportedArchs(ctypes.byref(count))
    numbers = (ctypes.c_int * count.value)()
    _library().nvrtcGetSupportedArchs(numbers)
    return tuple(f"sm_{number}" for number in numbers)


def compile_cubin(source: str, arch: str = "sm_80") -> Compiled:
    """Compile a CUDA C text for one architecture.

    DlirError if NVRTC is missing or does not know `arch`; CompileError if it refuses the text.
    """
    if arch.rstrip("af") not in architectures():
        known = ", ".join(architectures())
        raise DlirError(f"NVRTC {'.'.join(map(str, version()))} does not compile for '{arch}'", hint=f"one of {known}")
    artifacts = ArtifactCache("cubin")
    key = (source, arch, " ".join(FLAGS), "nvrtc {}.{}".format(*version()))
    payload = artifacts.get(key)
    if payload is None:
        image, log = _compile(source, arch)
        payload = _pack(image, log)
        artifacts.put(key, payload)
    else:
        image, log = _unpack(payload)
    return Compiled(image, log, _usage(log))


def _compile(source: str, arch: str) -> tuple[bytes, str]:
    library = _library()
    folders = [f"-I{folder}" for folder in _include_folders()]
    flags = [*FLAGS, f"--gpu-architecture={arch}", "--ptxas-options=-v", *folders]
    program = ctypes.c_void_p()
    library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None)
    try:
        options = (ctypes.c_char_p * len(flags))(*map(str.encode, flags))
        status = library.nvrtcCompileProgram(program, len(flags), options)
        log = _fetch(library, program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
        if status:
            raise CompileError(f"NVRTC refuses a generated kernel ({_error_name(status)}):\n{log}")
        return _fetch(library, program, "CUBIN"), log
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _fetch(library: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    data = ctypes.create_string_buffer(size.value)
    getattr(library, f"nvrtcGet{what}")(program, data)
    return data.raw


def _error_name(status: int) -> str:
    name = _library().nvrtcGetErrorString
    name.restype = ctypes.c_char_p
    return name(status).decode()


# ---------------------------------------------------------------- the cache's payload: log length, log, cubin


def _pack(image: bytes, log: str) -> bytes:
    encoded = log.encode()
    return struct.pack("<I", len(encoded)) + encoded + image


def _unpack(payload: bytes) -> tuple[bytes, str]:
    (length,) = struct.unpack_from("<I", payload)
    return payload[4 + length :], payload[4 : 4 + length].decode()


# ---------------------------------------------------------------- ptxas' report

_FUNCTION = re.compile(r"Compiling entry function '(\w+)'")
_FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


def _usage(log: str) -> tuple[KernelUsage, ...]:
    found = []
    sections = _FUNCTION.split(log)[1:]
    for name, text in zip(sections[::2], sections[1::2]):
        frame, used, shared = _FRAME.search(text), _USED.search(text), _SHARED.search(text)
        stack, stores, loads = map(int, frame.groups()) if frame else (0, 0, 0)
        found.append(
            KernelUsage(name, int(used[1]) if used else 0, stack, stores, loads, int(shared[1]) if shared else 0)
        )
    return tuple(sorted(found, key=lambda usage: usage.name))


# ---------------------------------------------------------------- finding the library


@cache
def _library() -> ctypes.CDLL:
    path = find_library("nvrtc")
    if path is not None:
        # NVRTC opens its builtins by name, which finds them only when they are already loaded.
        for builtins in sorted(path.parent.glob("libnvrtc-builtins.so.*")):
            ctypes.CDLL(str(builtins))
        return ctypes.CDLL(str(path))
    for name in ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise DlirError("the CUDA backend compiles kernels with NVRTC, which is not installed", hint=HINT)


def _include_folders() -> Sequence[str]:
    """Where cuda_fp16.h and cuda_bf16.h lie."""
    found = [folder / "include" for library in ("nvrtc", "cudart") for folder in folders(library)]
    return [str(folder) for folder in dict.fromkeys(found) if (folder / "cuda_fp16.h").is_file()]
