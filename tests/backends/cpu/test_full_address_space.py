"""Code and its constants reach each other where the address space around has no room left for both."""

import subprocess
import sys

import pytest

# Single free pages near, and nothing else for 16 GiB: parts of an object that are mapped one by one land too far apart for
# 32-bit offsets.
SCRIPT = """
import ctypes, mmap
import numpy as np
from dlir.backends.compiler import compile_module
from dlir.backends.cpu import jit
from dlir.textir import parse

libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
M_MMAP_THRESHOLD = -3
libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
PRIVATE_ANONYMOUS_NORESERVE = 0x4022
WALL = 1 << 34


def reserve(size):
    return libc.mmap(None, size, 0, PRIVATE_ANONYMOUS_NORESERVE, -1, 0)


def link(*arguments):
    wall = reserve(WALL)
    while reserve(mmap.PAGESIZE) > wall:
        pass
    for hole in range(512):
        libc.munmap(wall + WALL - (3 * hole + 2) * mmap.PAGESIZE, mmap.PAGESIZE)
    sizes.extend(len(code) for code in arguments[0])
    return linked(*arguments)


def function(*ops):
    lines = [f"  %x{n + 1} = nd.{op.replace(' ', f' %x{n} ', 1)}" for n, op in enumerate(ops)]
    head = "func.func @main(%x0: tensor<64x33xf32>) -> tensor<64x33xf32> {"
    return parse("\\n".join([head, *lines, f"  func.return %x{len(ops)}", "}"]))


x, sizes = np.linspace(-1, 1, 64 * 33, dtype=np.float32).reshape(64, 33), []
compile_module(function("exp "))(x)
linked, jit.link = jit.link, link
ops = ["softmax {axis = -1}", "cumsum {axis = -1}", "log_softmax {axis = -1}", "tanh "] * 3
(y,) = compile_module(function(*ops))(x)
assert max(sizes) > mmap.PAGESIZE
(want,) = compile_module(function(*ops), backend="ref")(x)
np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-5)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="fills the address space as Linux lays it out")
def test_an_object_stays_together(monkeypatch):
    monkeypatch.setenv("DLIR_CACHE_DIR", "off")
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-2000:]
