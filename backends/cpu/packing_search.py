"""Runs the packing search as machine code: :func:`dive` is `dlir.passes.memory.exact.dive`, a thousand times faster."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable

import numpy as np

from dlir.backends.artifact_cache import ArtifactCache
from dlir.backends.cpu import jit
from dlir.backends.cpu.emit import ENTRY, emit_module
from dlir.backends.cpu.search_kernel import (
    BEGIN,
    CAPACITY,
    FIRST,
    LAST,
    LEFT,
    LIMIT,
    NODES,
    OFFSET,
    RANK,
    SECTIONS,
    SHAPES,
    SIZE,
    STATUS,
    WALL,
    search_module,
)
from dlir.ir.dialects.func import find_function
from dlir.passes.memory.exact import Dive, Order, Problem


def dive(problem: Problem, order: Order, capacity: int, limit: int) -> Dive:
    """One search with `limit` nodes at most: the same nodes as `dlir.passes.memory.exact.dive` visits."""
    item, section, starts, links, trail, scalar = (_memory(shape) for shape in SHAPES)
    count = len(problem.size)
    item[:, :count] = 0
    for row, values in ((FIRST, problem.first), (LAST, problem.last), (SIZE, problem.size), (RANK, order.rank)):
        item[row, :count] = values
    section[BEGIN, : len(problem.begin)] = problem.begin
    section[LEFT, : problem.sections] = problem.fullness()
    starts[: count + 1] = problem.starts
    links[: len(problem.links)] = problem.links
    scalar[:] = 0
    for which, value in ((LIMIT, limit), (CAPACITY, capacity), (WALL, order.wall), (SECTIONS, problem.sections)):
        scalar[which] = value
    buffers = (item, section, starts, links, trail, scalar)
    _code()((ctypes.c_void_p * len(buffers))(*[buffer.ctypes.data for buffer in buffers]))
    return Dive(int(scalar[STATUS]), int(scalar[NODES]), item[OFFSET, :count].tolist())


def _memory(shape: tuple[int, ...]) -> np.ndarray:
    """Memory as large as the code may expect; pages that are not used cost nothing."""
    return np.empty(math.prod(shape), np.int64).reshape(shape)


@functools.cache
def _code() -> Callable[[object], None]:
    module = search_module()
    emitted = emit_module(module, find_function(module, "main"), jit.host_target())
    library = jit.compile_ir(emitted.ir, [ENTRY], cache=ArtifactCache("cpu"))
    return library.function(ENTRY, ctypes.CFUNCTYPE(None, ctypes.c_void_p))
