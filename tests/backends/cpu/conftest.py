"""Fixtures of the CPU backend's tests."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import numpy as np
import pytest

from dlir.backends.cpu import jit, vector_math

LLVM_TYPES = {"f32": "float", "f64": "double"}
NUMPY_TYPES = {"f32": np.float32, "f64": np.float64}


def _loop_over(name: str, dtype: str, arity: int) -> str:
    """LLVM IR of `void kernel(x0, ..., y, n)`: y[i] = name(x0[i], ...), as the emitter would write it."""
    type_ = LLVM_TYPES[dtype]
    loads = "".join(
        f"  %p{k} = getelementptr inbounds {type_}, ptr %x{k}, i64 %i\n  %e{k} = load {type_}, ptr %p{k}\n"
        for k in range(arity)
    )
    values = ", ".join(f"{type_} %e{k}" for k in range(arity))
    pointers = ", ".join(f"ptr noalias %x{k}" for k in range(arity))
    return f"""{vector_math.prelude([(name, dtype)])}
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

    def __init__(self, name: str, dtype: str = "f32") -> None:
        arity = 2 if name in ("pow", "atan2") else 1
        self.ir = _loop_over(name, dtype, arity)
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
    """`elementwise(name, dtype)` is the :class:`ElementwiseLoop`, compiled once a session."""
    return functools.cache(ElementwiseLoop)
