"""Fixtures of the CPU backend's tests."""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from dlir.backends.cpu import jit, threads, vector_math
from dlir.backends.cpu.emit import ENTRY, Emitted, emit_module
from dlir.ir.builder import at_end
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.ops import func
from dlir.ir.types import Type
from dlir.ir.verifier import verified

HERE = str(Path(__file__).parent)
# The modules beside the tests that only they use.
sys.path.append(HERE)

LLVM_TYPES = {"f32": "float", "f64": "double"}
NUMPY_TYPES = {"f32": np.float32, "f64": np.float64}


def _loop_over(name: str, dtype: str, arity: int, has_ldexp: bool) -> str:
    """LLVM IR of `void kernel(x0, ..., y, n)`: y[i] = name(x0[i], ...), as the emitter would write it."""
    type_ = LLVM_TYPES[dtype]
    loads = "".join(
        f"  %p{k} = getelementptr inbounds {type_}, ptr %x{k}, i64 %i\n  %e{k} = load {type_}, ptr %p{k}\n"
        for k in range(arity)
    )
    values = ", ".join(f"{type_} %e{k}" for k in range(arity))
    pointers = ", ".join(f"ptr noalias %x{k}" for k in range(arity))
    return f"""{vector_math.prelude([(name, dtype)], has_ldexp=has_ldexp)}
define void @kernel({pointers}, ptr noalias %y, i64 %n) {{
entry:
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %body, label %exit
body:
{loads}  %result = call {type_} {vector_math.symbol(name, dtype)}({values})
  %out = getelementptr inbounds {type_}, ptr %y, i64 %i
  store {type_} %result, ptr %out
  %next = add nsw i64 %i, 1
  br label %head
exit:
  ret void
}}
"""


class ElementwiseLoop:
    """A compiled loop over one function of `vector_math`, called on arrays; `ir` is its text."""

    def __init__(self, name: str, dtype: str = "f32", has_ldexp: bool = False) -> None:
        arity = 2 if name in ("pow", "atan2") else 1
        self.ir = _loop_over(name, dtype, arity, has_ldexp)
        self._dtype = NUMPY_TYPES[dtype]
        prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (arity + 1), ctypes.c_int64)
        self._function = jit.compile_ir(self.ir, ["kernel"]).function("kernel", prototype)

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        arrays = [np.ascontiguousarray(x, self._dtype) for x in inputs]
        result = np.empty_like(arrays[0])
        self._function(*(a.ctypes.data for a in arrays), result.ctypes.data, result.size)
        return result


@pytest.fixture(scope="session")
def elementwise() -> Callable[..., ElementwiseLoop]:
    """`elementwise(name, dtype, has_ldexp)` is the :class:`ElementwiseLoop`, compiled once a session."""
    return functools.cache(ElementwiseLoop)


class CompiledMain:
    """A function `@main` over memrefs, built by `body` from its arguments; called on arrays, which it writes to."""

    def __init__(self, types: Sequence[Type], body: Callable[..., None], module: Module | None = None) -> None:
        self.module = Module.empty() if module is None else module
        main = Func.make("main", types)
        self.module.body.append(main)
        with at_end(main.body):
            body(*main.body.args)
            func.return_()
        verified(self.module)
        self.emitted: Emitted = emit_module(self.module, main, jit.host_target())
        library = jit.compile_ir(self.emitted.ir, [ENTRY], threads.symbols())
        self._function = library.function(ENTRY, ctypes.CFUNCTYPE(None, ctypes.c_void_p))

    def __call__(self, *arrays: np.ndarray) -> None:
        """Run on the arguments' arrays, followed by those of the globals that `emitted` names."""
        scratch = np.full(self.emitted.scratch_bytes, 0xFF, np.uint8)
        pointers = [array.ctypes.data for array in (*arrays, scratch)]
        self._function((ctypes.c_void_p * len(pointers))(*pointers))


@pytest.fixture(scope="session")
def compile_main() -> type[CompiledMain]:
    """The class :class:`CompiledMain`."""
    return CompiledMain


@pytest.fixture(scope="session")
def run_script() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`run_script(body, module, **environment)`: run `body` in a fresh interpreter, after all names of a test module."""

    def run(body: str, module: str, **environment: str) -> subprocess.CompletedProcess[str]:
        prelude = f"import sys; sys.path.insert(0, {HERE!r})\nfrom {module} import *\n"
        return subprocess.run(
            [sys.executable, "-c", prelude + body],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run
