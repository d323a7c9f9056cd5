"""Values that are made of Python numbers alone: like the numbers, they take the dtype of what they meet.

``nd.select(x > 0, 1.0, 0.0) * x`` has the dtype of `x`, as ``1.0 * x`` has it.  Such a value is computed in f64 or i64, which
is also what it has where it meets nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dlir.frontends.symbolic.node import CONSTANT, Node
from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Elementwise
from dlir.ir.dialects.nd.operands import common_dtype
from dlir.ir.errors import InferError
from dlir.ir.ops import nd
from dlir.ir.registry import find_op
from dlir.ir.types import F64, I1, I64, ScalarType, TensorType, Type, is_float

#: The dtypes of Python numbers, and a number of each.
_DTYPES: dict[type, ScalarType] = {bool: I1, int: I64, float: F64}
_NUMBERS: dict[ScalarType, bool | int | float] = {I1: True, I64: 0, F64: 0.0}


def weak_nodes(nodes: Iterable[Node]) -> dict[Node | None, ScalarType]:
    """The weak ones of `nodes`, each of which comes after what it is made of, with their own dtypes."""
    found: dict[Node | None, ScalarType] = {}
    for node in nodes:
        dtype = _weak_dtype(node, found)
        if dtype is not None:
            found[node] = dtype
    return found


def met(node: Node, operands: Sequence[Any], weak: Mapping[Node | None, ScalarType]) -> list[Any]:
    """The operands of `node`, with the weak ones cast to the dtype that they get beside the others."""
    is_weak = [item in weak and isinstance(value, Value) for item, value in zip(node.inputs, operands, strict=True)]
    if node in weak or not any(is_weak):
        return list(operands)
    return [
        in_dtype(value, dtype) if here else value
        for value, here, dtype in zip(operands, is_weak, wanted_dtypes(node, operands, weak), strict=True)
    ]


def in_dtype(value: Value, dtype: Type) -> Value:
    """A value cast to the element type `dtype`, if it has another."""
    assert isinstance(dtype, ScalarType)
    return value if value.type.dtype is dtype else nd.cast(value, dtype=dtype)


def wanted_dtypes(node: Node, operands: Sequence[Any], weak: Mapping[Node | None, ScalarType]) -> Sequence[ScalarType]:
    """The dtype that each operand of `node`, a Value or an array, is needed in."""
    items = [
        _NUMBERS[weak[item]] if item is not None and item in weak else value
        for item, value in zip(node.inputs, operands, strict=True)
    ]
    cls = _converting(node)
    if cls is not None:
        dtypes = cls.operand_dtypes(items)
        # What is asked whether it is true is asked as it is.
        return [
            weak[item] if dtype is I1 and item in weak else dtype
            for item, dtype in zip(node.inputs, dtypes, strict=True)
        ]
    # An op of other shapes: floats go with floats, and indices have no say.
    floats = [item for item in items if _is_of_floats(item)]
    return [
        common_dtype(floats) if isinstance(item, float) else weak.get(key, F64)
        for key, item in zip(node.inputs, items, strict=True)
    ]


def _weak_dtype(node: Node, weak: Mapping[Node | None, ScalarType]) -> ScalarType | None:
    """The own dtype of a weak value; None for a value that is not weak.  `weak` has those of what it is made of."""
    if node.op == CONSTANT:
        return _DTYPES.get(type(node.attributes["value"]))
    cls = _converting(node)
    if cls is None or not any(item in weak for item in node.inputs):
        return None
    # What is only asked whether it is true has no say: the condition of a choice.
    asked = [dtype is I1 for dtype in cls.operand_dtypes([0.0] * len(node.inputs))]
    own = [I1 if here else weak.get(item) for item, here in zip(node.inputs, asked, strict=True)]
    if any(dtype is None for dtype in own) or all(asked):
        return None
    dtypes = cls.operand_dtypes([_NUMBERS[dtype] for dtype in own if dtype is not None])
    found = dtypes[asked.index(False)]
    try:
        result = cls.infer(*(TensorType((), dtype) for dtype in dtypes))
    except InferError:
        return None  # said where the op is made
    return found if found is not I1 and result.dtype is found else None


def _converting(node: Node) -> type[Elementwise] | None:
    """The class of an op that works element by element and converts its operands to a common dtype; else None."""
    cls = find_op(node.op)
    if cls is None or not issubclass(cls, Elementwise) or node.attributes or any(item is None for item in node.inputs):
        return None
    return cls


def _is_of_floats(item: Any) -> bool:
    if isinstance(item, Value):
        return isinstance(item.type, TensorType) and is_float(item.type.dtype)
    return item is not None and is_float(common_dtype([item]))
