"""Sizes are checked, in Python ints that cannot overflow, before anything is allocated."""

from __future__ import annotations

from dlir.ir.byte_counts import human_bytes
from dlir.ir.core import Operation
from dlir.ir.errors import DlirError
from dlir.ir.location import UNKNOWN, Location
from dlir.ir.types import ScalarType, ShapedType, Type

#: Bytes that one tensor or buffer may have unless the user raises it.
MAX_BYTES = 8 << 30


def check_sizes(root: Operation, limit: int = MAX_BYTES) -> None:
    """DlirError for the first value inside `root` that needs more than `limit` bytes."""
    checked: dict[ShapedType, None] = {}
    for op in root.walk():
        types = [result.type for result in op.results]
        types += [arg.type for region in op.regions for block in region.blocks for arg in block.args]
        declared = op.get("type")
        for type in [*types, declared]:
            if isinstance(type, ShapedType) and type.is_static and type not in checked:
                checked[type] = None
                if isinstance(type.dtype, ScalarType) and _bytes(type) > limit:
                    raise too_large(type, limit).at(op.location)


def check_type(type: Type, limit: int, location: Location = UNKNOWN) -> None:
    """DlirError if a value of `type` needs more than `limit` bytes; a type without a known size passes."""
    if isinstance(type, ShapedType) and type.is_static and isinstance(type.dtype, ScalarType) and _bytes(type) > limit:
        raise too_large(type, limit).at(location)


def too_large(type: ShapedType, limit: int) -> DlirError:
    """The error for a value of `type`."""
    needed, allowed = human_bytes(_bytes(type)), human_bytes(limit)
    return DlirError(f"{type} needs {needed}; the limit is {allowed} (--max-bytes)")


def _bytes(type: ShapedType) -> int:
    try:
        return type.nbytes
    except TypeError:  # an element type with no size in memory: never allocated
        return 0
