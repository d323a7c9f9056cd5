"""What emission leaves for those who load the code."""

from __future__ import annotations

from dataclasses import dataclass

from dlir.ir.dialects.memref import Global

#: The function that a module of LLVM IR exports.
ENTRY = "dlir.entry"


@dataclass(frozen=True, slots=True)
class Emitted:
    """The text, and what the table of :data:`ENTRY` holds besides the arguments."""

    ir: str
    #: The same in several modules, which may be compiled at the same time; one if it is short.
    parts: tuple[str, ...]
    globals: tuple[Global, ...]
    #: Bytes of temporaries that no pass has placed in an arena; 0: no pointer in the table.
    scratch_bytes: int
    #: Whether the code runs loops on several threads.
    is_parallel: bool
