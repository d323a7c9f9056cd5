"""The ``tensor`` dialect, as upstream: between arrays and single numbers, for loops and branches that depend on data.

Array maths is the ``nd`` dialect's.  Other ops of upstream's dialect are read in the generic form and kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dlir.ir.dialects.memref import IndexedOp
from dlir.ir.errors import DlirError, InferError, count
from dlir.ir.op import Declared, Index, Op, Tensor, Type
from dlir.ir.types import TensorType


class Extract(IndexedOp, name="tensor.extract"):
    """One element.  There must be one: out of range, a program may get any of them."""

    @staticmethod
    def infer(tensor: Tensor, *indices: Index) -> Type:
        if len(indices) != tensor.rank:
            raise InferError(f"needs {count(tensor.rank, 'index', 'indices')} for {tensor}, got {len(indices)}")
        return tensor.dtype

    @staticmethod
    def eval(tensor: Any, *indices: Any) -> Any:
        place = tuple(int(index) for index in indices)
        if any(not 0 <= at < extent for at, extent in zip(place, tensor.shape, strict=True)):
            raise IndexError(f"{list(place)} is out of range for shape {list(tensor.shape)}")
        return tensor[place]


class FromElements(Op, name="tensor.from_elements"):
    """A tensor of these elements, row by row: ``tensor.from_elements %i : tensor<index>``."""

    @staticmethod
    def infer(*elements: Type) -> Declared: ...  # type: ignore[empty-body]

    @staticmethod
    def eval(*elements: Any, result_types: tuple[Type, ...]) -> Any:
        (type,) = result_types
        assert isinstance(type, TensorType)
        return np.array(elements, dtype=type.dtype.numpy).reshape(type.shape)  # type: ignore[attr-defined]

    def verify(self) -> None:
        type = self.result.type
        if not isinstance(type, TensorType) or not type.is_static:
            raise DlirError(f"gives a tensor of static shape, not {type}", self.location)
        if type.size != len(self.operands):
            raise DlirError(f"needs {count(type.size, 'element')} for {type}, got {len(self.operands)}", self.location)
        for value in self.operands:
            if value.type is not type.dtype:
                raise DlirError(f"needs elements of type {type.dtype}, got {value.type}", self.location)
