"""The machine code of one function, without the module that it comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FunctionCode:
    """Objects of a function that Python calls, and what its table of pointers holds (see `backends.cpu.emit.Emitted`)."""

    objects: tuple[bytes, ...]
    #: The symbols of the globals, in order.
    globals: tuple[str, ...]
    scratch_bytes: int
    is_parallel: bool
