"""Which memrefs share memory, as far as the function that makes them tells."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dlir.ir.core import BlockArgument, Operation, Value
from dlir.ir.dialects.arith import constant_value
from dlir.ir.dialects.memref import strides_of
from dlir.ir.types import MemRefType

#: What a memref refers to: a buffer, and the bytes of it from a first to an end, which is None if it is not known.
_Extent = tuple[Value | str, int, int | None]


def overlapping(values: Sequence[Value], arguments: Collection[tuple[int, int]] = ()) -> list[tuple[int, int]]:
    """The pairs of positions in `values` whose memrefs may share a byte.

    Different function arguments, globals and allocations are different memory, but for pairs of `arguments`, by number.
    """
    extents = [(number, _extent(value)) for number, value in enumerate(values) if isinstance(value.type, MemRefType)]
    return [
        (i, j)
        for i, one in extents
        for j, two in extents
        if i < j and (_meet(one, two) or _are_arguments(one[0], two[0], arguments))
    ]


def coinciding(values: Sequence[Value], arguments: Collection[tuple[int, int]] = ()) -> list[tuple[int, int]]:
    """The pairs of positions in `values` whose memrefs are the same elements of the same memory; so are pairs of `arguments`,
    by number."""
    extents = [(number, _extent(value)) for number, value in enumerate(values) if isinstance(value.type, MemRefType)]
    return [
        (i, j)
        for i, one in extents
        for j, two in extents
        if i < j
        and (one[0] == two[0] or _are_arguments(one[0], two[0], arguments))
        and one[1:] == two[1:]
        and one[2] is not None
        and values[i].type.dtype is values[j].type.dtype
    ]


def _are_arguments(one: Value | str, two: Value | str, pairs: Collection[tuple[int, int]]) -> bool:
    """Whether two roots are function arguments whose numbers are one of the pairs."""
    if not pairs or not isinstance(one, BlockArgument) or not isinstance(two, BlockArgument):
        return False
    return (min(one.index, two.index), max(one.index, two.index)) in pairs


def is_reshape(op: Operation) -> bool:
    """Whether a ``memref.reinterpret_cast`` shows a contiguous buffer from its start on, under another shape."""
    (result,) = op.results
    return op.get("static_offsets") == (0,) and op.get("static_strides") == strides_of(result.type.shape)


def _extent(value: Value) -> _Extent:
    low, high = 0, value.type.nbytes
    while (op := value.defining_op) is not None:
        if op.name == "memref.view":
            offset = constant_value(op.operands[1])
            if offset is None:
                return op.operands[0], 0, None
            low, high = low + offset, high + offset
        elif op.name == "memref.get_global":
            return op.get("name"), low, high
        elif op.name == "memref.alloc":
            return value, low, high
        elif op.name == "memref.reinterpret_cast" and is_reshape(op):
            high = low + value.type.nbytes
        elif op.name != "memref.cast":
            return op.operands[0] if op.operands else value, 0, None
        value = op.operands[0]
    return value, low, high


def _meet(one: _Extent, two: _Extent) -> bool:
    if one[0] is not two[0] and one[0] != two[0]:
        return False
    return (two[2] is None or one[1] < two[2]) and (one[2] is None or two[1] < one[2])
