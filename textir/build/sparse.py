"""``sparse<indices, values> : type``, MLIR's attribute for the few elements of a tensor that are not zero.

No op of dlir takes one, so it is checked and kept as its text.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from dlir.ir.attributes import Attribute, DenseElementsAttr, OpaqueAttr
from dlir.ir.errors import count
from dlir.ir.spelling import spell_elements
from dlir.ir.types import I64, ShapedType, TensorType
from dlir.textir.build.dense import dense_attribute
from dlir.textir.build.misfit import ElementsError, leaf_span

_SIGN = re.compile(r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"|//[^\n]*|\([^()]*\)|[\[\],]')


def sparse_attribute(body: str, type: Any) -> Attribute:
    """The attribute of ``sparse<body> : type``; ValueError as for ``dense``, with the place in `body`."""
    if not isinstance(type, ShapedType) or not type.is_static:
        raise ValueError(f"sparse needs a tensor or vector type of static shape, not {type}")
    if not body.strip():
        return OpaqueAttr(f"sparse<> : {type}")
    comma, items = _outline(body)
    indices = _part(body, 0, comma[0], lambda text: _indices(text, items[0], items[1], type))
    values = _part(body, comma[1], len(body), lambda text: _values(text, items, len(indices), type))
    if not len(indices):
        return OpaqueAttr(f"sparse<> : {type}")
    return OpaqueAttr(f"sparse<{spell_elements(indices, TensorType(indices.shape, I64))}, {values}> : {type}")


def _outline(body: str) -> tuple[tuple[int, int], list[int | None]]:
    """Where the ``,`` between the two parts stands, and the length of the list in each; None for a single element."""
    depth = 0
    comma = (len(body), len(body))
    items: list[int | None] = [None]
    for match in _SIGN.finditer(body):
        sign = match[0]
        depth += (sign == "[") - (sign == "]")
        if sign == "," and depth == 0:
            comma = match.span()
            items.append(None)
        elif sign == "[" and depth == 1:
            items[-1] = 0 if body[match.end() :].lstrip().startswith("]") else 1
        elif sign == "," and depth == 1:
            items[-1] = (items[-1] or 0) + 1
    return comma, items


def _part(body: str, start: int, end: int, read: Any) -> Any:
    """What `read` makes of body[start:end], with the places of its errors in the whole."""
    try:
        return read(body[start:end])
    except ElementsError as error:
        first, last = error.span or (0, end - start)
        raise ElementsError(str(error), (start + first, start + last)) from None
    except ValueError as error:
        raise ElementsError(str(error), (start, end)) from None


def _indices(text: str, length: int | None, values: int | None, type: ShapedType) -> np.ndarray:
    """The indices as an array of one row for each value."""
    rank = len(type.shape)
    number = values or 1 if length is None else length
    is_list = rank == 1 and "[" not in text.partition("[")[2]
    shape = (number,) if is_list else (number, rank)
    try:
        found = dense_attribute(text, TensorType(shape, I64))
    except ElementsError as error:
        if " takes " not in str(error):
            raise
        message = f"an index of {type} is a list of {count(rank, 'integer')}, and the indices are a list of these"
        raise ElementsError(message, error.span) from None
    assert isinstance(found, DenseElementsAttr)
    indices = found.value.reshape(number, rank)
    outside = np.argwhere((indices < 0) | (indices >= np.array(type.shape, np.int64)))
    if len(outside):
        row, column = map(int, outside[0])
        message = f"index {indices[row].tolist()} lies outside of {type}"
        raise ElementsError(message, leaf_span(text, 0 if found.is_splat else row * rank + column))
    return indices


def _values(text: str, items: list[int | None], number: int, type: ShapedType) -> str:
    """The values as they are printed."""
    if items[1] is not None and items[1] != number:
        given = "one is given" if items[1] == 1 else f"{items[1]} are given"
        raise ValueError(f"there {'is' if number == 1 else 'are'} {count(number, 'index', 'indices')}, and {given}")
    found = dense_attribute(text, TensorType((number,), type.dtype))
    if isinstance(found, DenseElementsAttr) and not found.is_splat and number:
        bits = np.ascontiguousarray(found.array).view(np.uint8).reshape(number, -1)
        if (bits == bits[0]).all():
            # As MLIR prints it.
            found = DenseElementsAttr(found.array[0], found.type)
    spelled = str(found)
    return spelled[len("dense<") : spelled.rindex("> :")]
