"""Timing several ways of computing one thing side by side in one process, in turn, so that drift hits all alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

#: Seconds after which the idle threads of every library sleep.
REST = 0.02


@dataclass
class Times:
    """Seconds of each call of one contestant."""

    samples: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        return min(self.samples)

    @property
    def median(self) -> float:
        return statistics.median(self.samples)


def interleaved(
    calls: dict[str, Callable[[], object]], seconds: float, least: int = 5, inner: int = 1
) -> dict[str, Times]:
    """Call each contestant in turn until `seconds` have passed and each ran `least` times; `inner` calls a sample.

    Before each sample stand a rest and a call that is not timed: the idle threads of whoever came before spin for some
    milliseconds (those of OpenMP for about ten) on a core that the next one would lack, and the caches hold the data of others.
    """
    for call in calls.values():
        call()
        call()
    times = {name: Times() for name in calls}
    end = time.perf_counter() + seconds
    gc.disable()
    try:
        while time.perf_counter() < end or len(next(iter(times.values())).samples) < least:
            for name, call in calls.items():
                time.sleep(REST)
                call()
                start = time.perf_counter()
                for _ in range(inner):
                    call()
                times[name].samples.append((time.perf_counter() - start) / inner)
    finally:
        gc.enable()
    return times


def human(seconds: float) -> str:
    """``12.3 ms``, ``4.5 us``."""
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"
