"""A compiled function for the CPU: takes and returns NumPy arrays."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from dlir.backends.cpu.buffers import ArenaPool, ResultPool, aligned_bytes
from dlir.backends.cpu.emit import ENTRY, Emitted
from dlir.backends.cpu.jit import Library
from dlir.backends.cpu.native_call import Argument, EntryPoint, make_call
from dlir.backends.executable import Signature, numpy_dtype
from dlir.ir.attributes import DenseElementsAttr, DenseResourceAttr
from dlir.ir.dialects.memref import Global
from dlir.ir.errors import DlirError

#: Gives the array of a ``dense_resource`` by its name.
Weights = Callable[[str], Any]

#: A call that touches fewer bytes is over before another thread could make use of the GIL.
GIL_BYTES = 256 << 10
BYTES = np.dtype(np.uint8)
