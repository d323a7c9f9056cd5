"""The programs of a function, one for each set of argument types, and why each was compiled."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from dlir.ir.types import TensorType

#: Entries of the history that are kept, and compared with.
_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Compilation:
    """One time that a function was compiled: for which types, why, and the seconds it took."""

    number: int
    types: dict[str, TensorType]
    reason: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.number}. {self.reason} ({self.seconds:.2f} s)"


class Specialisations:
    """At most `limit` programs, of which the one that was not used for longest is dropped first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.compiled = 0
        self.history: deque[Compilation] = deque(maxlen=_REMEMBERED)
        self._programs: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.RLock()

    def find(self, key: Hashable) -> Any:
        """The program for `key`, or None."""
        with self._lock:
            program = self._programs.get(key)
            if program is not None:
                self._programs.move_to_end(key)
            return program

    def make(self, key: Hashable, types: dict[str, TensorType], compile: Callable[[Any], Any]) -> Any:
        """The program that `compile` gives for `types`, unless another thread has put one there meanwhile."""
        with self._lock:
            program = self.find(key)
            if program is not None:
                return program
            start = time.perf_counter()
            program = self._programs[key] = compile(types)
            self.compiled += 1
            reason = _reason(types, self.history, self.limit)
            self.history.append(Compilation(self.compiled, types, reason, time.perf_counter() - start))
            if len(self._programs) > self.limit:
                self._programs.popitem(last=False)
            return program

    def explain(self, name: str) -> str:
        """Each compilation with its reason, a line each."""
        times = "once" if self.compiled == 1 else f"{self.compiled} times"
        head = f"'{name}' was compiled {times}" if self.compiled else f"'{name}' was not compiled yet"
        if self.compiled > len(self.history):
            head += f"; the last {len(self.history)}:"
        return "\n".join([head, *map(str, self.history)])


def _reason(types: Mapping[str, TensorType], history: deque[Compilation], limit: int) -> str:
    """Why a program for `types` is compiled: what is new in comparison with the most similar one before."""
    if not history:
        inputs = ", ".join(f"{name}: {type}" for name, type in types.items())
        return f"first call, with {inputs}" if inputs else "first call"
    before = min(reversed(history), key=lambda entry: len(_changed(types, entry.types)))
    changed = _changed(types, before.types)
    if not changed:
        return f"as number {before.number}, which was dropped to keep {limit} programs at most"
    return "; ".join(_change(name, before.types[name], types[name]) for name in changed)


def _changed(types: Mapping[str, TensorType], before: Mapping[str, TensorType]) -> list[str]:
    return [name for name, type in types.items() if before[name] is not type]


def _change(name: str, old: TensorType, new: TensorType) -> str:
    parts = [
        part for part, is_new in (("shape", old.shape != new.shape), ("dtype", old.dtype is not new.dtype)) if is_new
    ]
    return f"new {' and '.join(parts)} of '{name}': {new}, was {old}"
