"""Sizes are checked before memory is asked for: what a file may make the interpreter allocate is bounded."""

from __future__ import annotations

from dlir.ir.errors import DlirError
from dlir.ir.location import UNKNOWN, Location
from dlir.ir.types import ScalarType, ShapedType, Type

#: The largest tensor or buffer that is made unless the caller says otherwise, in bytes.
MAX_BYTES = 8 << 30

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def spell_bytes(count: int) -> str:
    """``4.0 TiB``, ``8 GiB``, ``12 bytes``: at most one decimal, none for whole numbers of bytes."""
    unit = 0
    while count >= 1 << (10 * (unit + 1)) and unit + 1 < len(_UNITS):
        unit += 1
    return f"{count} bytes" if unit == 0 else f"{count / (1 << (10 * unit)):.1f} {_UNITS[unit]}"


def check_bytes(type: Type, limit: int, location: Location = UNKNOWN) -> None:
    """DlirError if a value of static shaped `type` needs more than `limit` bytes; any other type is fine."""
    if not isinstance(type, ShapedType) or not type.is_static or not isinstance(type.dtype, ScalarType):
        return
    if type.nbytes > limit:
        what = type_word(type)
        spelled = spell_bytes(limit).replace(".0 ", " ")
        raise DlirError(f"{what} needs {spell_bytes(type.nbytes)}; limit {spelled} (--max-bytes)", location)


def type_word(type: ShapedType) -> str:
    """``tensor``, ``memref`` or ``vector``."""
    return str(type).partition("<")[0]
