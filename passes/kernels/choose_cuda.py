"""How a kernel's work items are spread over a GPU: a thread or a block for each, and how many threads to a block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dlir.ir.core import Operation, Value
from dlir.ir.dialects.arith import constant_value
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.scf import Parallel
from dlir.ir.types import INDEX
from dlir.passes.kernels.loops_cuda import Box
from dlir.passes.memory.views import strides  # type: ignore[attr-defined]
