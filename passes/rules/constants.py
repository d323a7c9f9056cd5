"""What the rules ask of constants."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlir.ir.attributes import DenseElementsAttr
from dlir.ir.core import Value
from dlir.ir.ops import nd
from dlir.passes.rewriter import defined_by


def elements_of(value: Value) -> DenseElementsAttr | None:
    """The elements of a constant that stands in the text, or None."""
    op = defined_by(value, "nd.constant")
    found = op.attributes["value"] if op is not None else None
    return found if isinstance(found, DenseElementsAttr) else None


def constant(array: np.ndarray, type: Any) -> Value:
    """A constant of tensor type `type`, stored as a splat when all elements have the same bits."""
    array = np.asarray(array, type.dtype.numpy)
    if array.size > 1:
        raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8).reshape(array.size, -1)
        if (raw == raw[0]).all():
            array = array.reshape(-1)[0]
    return nd.constant(value=DenseElementsAttr(np.asarray(array), type))
