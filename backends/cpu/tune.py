"""Tiles by measurement: each contraction is run with every candidate, alone and on random data, and keeps the fastest.

What was measured is kept on disk, by the kernel, this machine and the number of threads, so that tuning again gives the same.
The choices stand in the text as `schedule` and `tile`, which later compilations then follow.  To tune while compiling::

    compile_module(module, weights, after=Tuner().after)
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from dlir.backends.artifact_cache import ArtifactCache
from dlir.backends.cpu import jit, threads
from dlir.backends.executable import numpy_dtype
from dlir.ir.builder import at_end
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.kernel import KernelRegion
from dlir.ir.errors import DlirError
from dlir.ir.ops import func
from dlir.ir.traversal import Mapping, clone
from dlir.passes.manager import Pass, PassManager
from dlir.passes.targets.cpu import host_vector_bytes
from dlir.passes.targets.cpu_tiles import REGISTERS
from dlir.textir import to_text

_LOWER = "bufferize,plan-memory,lower-kernels,map"
#: Seconds for each candidate, and how much faster than the first choice another one must be.
SECONDS = 0.03
MARGIN = 0.97


class Tuner:
    """Tunes modules at level 3; `progress` is called with (done, total) for each candidate that was measured."""

    def __init__(self, progress: Callable[[int, int], None] | None = None, cache: ArtifactCache | None = None) -> None:
        self._progress = progress or (lambda done, total: None)
        self._cache = cache or ArtifactCache("tune")

    def after(self, pass_: Pass, module: Module) -> None:
        """Tune after the pass ``schedule``: for `compile_module`."""
        if pass_.name == "schedule":
            self.tune(module)

    def tune(self, module: Module) -> int:
        """Give the contractions of `module` their fastest tiles; how many have another one than before."""
        groups: dict[str, list[KernelRegion]] = {}
        for op in module.walk():
            if isinstance(op, KernelRegion) and op.results and op["schedule"] in ("direct", "contraction"):
                groups.setdefault(to_text(alone(op)), []).append(op)
        work = [(text, regions, candidates(regions[0])) for text, regions in groups.items()]
        total = sum(len(tiles) for *_, tiles in work)
        done = changed = 0
        for text, regions, tiles in work:
            best = self._known(text, tiles)
            if best is None:
                best = self._measure(regions[0], tiles, done, total)
                self._cache.put(_key(text), json.dumps(best).encode())
            done += len(tiles)
            self._progress(done, total)
            for region in regions:
                changed += region["tile"] != best
                region.set("tile", best)
        return changed

    def _known(self, text: str, tiles: list[tuple[int, ...]]) -> tuple[int, ...] | None:
        found = self._cache.get(_key(text))
        tile = tuple(json.loads(found)) if found is not None else None
        return tile if tile in tiles else None

    def _measure(self, region: KernelRegion, tiles: list[tuple[int, ...]], done: int, total: int) -> tuple[int, ...]:
        """The fastest of `tiles`, of which the first is the one that the kernel has."""
        best, least = tiles[0], math.inf
        for number, tile in enumerate(tiles):
            seconds = seconds_of(region, tile)
            if seconds < least * (MARGIN if number else 1):
                best, least = tile, seconds
            self._progress(done + number + 1, total)
        # On a machine with other work, the first measurement may just have been unlucky.
        if best != tiles[0] and seconds_of(region, best) > MARGIN * seconds_of(region, tiles[0]):
            return tiles[0]
        return best


def _key(text: str) -> list[str]:
    host = jit.host_target()
    return [text, host.attributes, str(host_vector_bytes()), str(threads.thread_count()), jit.host_name()]


def candidates(region: KernelRegion) -> list[tuple[int, ...]]:
    """The tiles to try for a contraction, the one that it has first: all numbers of rows that fit the registers, and the
    widths of panels where these are packed by the kernel itself."""
    rows, columns, lanes = region["tile"]
    registers = REGISTERS[host_vector_bytes()]
    widths = [columns] if region["schedule"] == "direct" else [lanes * n for n in range(1, 5)]
    found = [(rows, columns, lanes)]
    for width in widths:
        vectors = width // lanes
        most = (registers - 1 - vectors) // vectors
        found += [(n, width, lanes) for n in range(max(1, most // 2), most + 1)]
    return list(dict.fromkeys(found))


def alone(region: KernelRegion) -> Module:
    """A module whose @main is just this kernel."""
    module = Module.empty()
    function = Func.make("main", [value.type for value in region.operands])
    module.body.append(function)
    mapping = Mapping()
    mapping.values.update(zip(region.operands, function.body.args))
    with at_end(function.body):
        copy = function.body.append(clone(region, mapping))
        func.return_(*copy.results)
    function.update_type()
    return module


def seconds_of(region: KernelRegion, tile: tuple[int, ...]) -> float:
    """The time that a kernel takes with a tile, the best of several runs; infinite if it cannot have that tile."""
    from dlir.backends.cpu.backend import load

    module = alone(region)
    (copy,) = [op for op in module.walk() if isinstance(op, KernelRegion)]
    copy.set("tile", tile)
    try:
        PassManager.from_text(_LOWER, verify_each=False).run(module)
    except DlirError:
        return math.inf
    executable = load(module, "main", None)
    rng = np.random.default_rng(0)
    arrays: list[Any] = [rng.random(value.type.shape).astype(numpy_dtype(value.type)) for value in region.operands]
    executable(*arrays)
    best, end = math.inf, time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        executable(*arrays)
        best = min(best, time.perf_counter() - start)
    return best
