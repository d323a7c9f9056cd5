"""What nd ops say about operands and attributes that do not fit, and what they infer for dynamic shapes."""

from __future__ import annotations

from typing import Any

import pytest

from dlir.ir.builder import at_end
from dlir.ir.core import Block
from dlir.ir.errors import DlirError, InferError
from dlir.ir.op import Tensor
from dlir.ir.registry import find_op
from dlir.ir.types import F32, I1, I32, UI8

N = None


def infer(name: str, *shapes: Any, of: Any = F32, **attributes: Any) -> Any:
    cls: Any = find_op(name)
    types = [s if isinstance(s, Tensor) else Tensor(s, of) for s in shapes]
    block = Block(types)
    with at_end(block):
        return cls.build(*block.args, **attributes).type


def message(name: str, *shapes: Any, **attributes: Any) -> str:
    with pytest.raises(DlirError) as caught:
        infer(name, *shapes, **attributes)
    assert caught.value.message.startswith(f"'{name}' ")
    return str(caught.value)


def test_elementwise_ops_need_equal_types_in_the_ir() -> None:
    """Builders insert what is needed; text in the generic form must have it."""
    cls: Any = find_op("nd.add")
    with pytest.raises(InferError, match="needs operands of one shape, got tensor<3xf32> and tensor<4xf32>"):
        cls.infer(Tensor((3,), F32), Tensor((4,), F32))
    with pytest.raises(InferError, match="needs operands of one dtype, got tensor<3xf32> and tensor<3xi32>"):
        cls.infer(Tensor((3,), F32), Tensor((3,), I32))


def test_dtypes_are_checked() -> None:
    assert "takes integers or floats, got i1" in message("nd.sub", (2,), (2,), of=I1)
    assert "takes floats, got i32" in message("nd.conv", (1, 1, 3), (1, 1, 2), of=I32)
    assert "takes floats, got ui8" in message("nd.conv", (1, 1, 3), (1, 1, 2), of=UI8)


def test_matmul() -> None:
    assert infer("nd.matmul", (N, 3, 4), (4, 5)).shape == (N, 3, 5)
    assert infer("nd.matmul", (2, 1, 4, 3), (6, 5, 4), transpose_a=True, transpose_b=True).shape == (2, 6, 3, 5)
    assert "4 columns do not meet 3 rows" in message("nd.matmul", (2, 4), (3, 4))
    assert "needs matrices, but b is tensor<4xf32>" in message("nd.matmul", (2, 4), (4,))
    assert "do not broadcast" in message("nd.matmul", (2, 3, 4), (3, 4, 5))


def test_reshape() -> None:
    assert infer("nd.reshape", (N, 4, 4), shape=(-1, 16)).shape == (N, 16)
    assert infer("nd.reshape", (N, N), shape=(2, -1)).shape == (2, N)
    assert infer("nd.reshape", (2, 6), shape=(3, -1)).shape == (3, 4)
    assert "of 6 elements to 4 of 4" in message("nd.reshape", (2, 3), shape=(4,))
    assert "nothing fits in place of -1" in message("nd.reshape", (2, 3), shape=(4, -1))
    assert "one -1" in message("nd.reshape", (2, 3), shape=(-1, -1))
    assert "7 is no multiple of 16" in message("nd.reshape", (N, 16), shape=(7,))


def test_broadcast_to() -> None:
    assert infer("nd.broadcast_to", (3,), shape=(2, 3)).shape == (2, 3)
    assert infer("nd.broadcast_to", (1, 3), (N, 3), shape=(-1, -1)).shape == (N, 3)
    assert infer("nd.broadcast_to", (N, 1), (N, 4), shape=(-1, -1)).shape == (N, 4)
    assert "3 is neither 1 nor 4" in message("nd.broadcast_to", (3,), shape=(2, 4))
    assert "fewer dimensions" in message("nd.broadcast_to", (2, 3), shape=(3,))


def test_axes() -> None:
    assert infer("nd.sum", (N, 3, 4), axes=(-1,), keepdims=True).shape == (N, 3, 1)
    assert infer("nd.sum", (N, 3, 4)).shape == ()
    assert "axis 3 is out of range for an array of rank 3" in message("nd.sum", (2, 3, 4), axes=(3,))
    assert "name an axis twice" in message("nd.mean", (2, 3), axes=(1, -1))
    assert "axis 1 has no elements" in message("nd.max", (2, 0), axes=(1,))
    assert "'perm' must name each of the 2 axes once" in message("nd.transpose", (2, 3), perm=(0, 0))


def test_slice_and_pad_and_concat() -> None:
    assert infer("nd.slice", (N, 8), start=(0, 2), stop=(5, 100)).shape == (N, 6)
    assert "'stop' needs 2 integers" in message("nd.slice", (2, 3), start=(0, 0), stop=(1,))
    assert "'step' must not be 0" in message("nd.slice", (2,), start=(0,), stop=(1,), step=(0,))
    assert infer("nd.pad", (N, 3), low=(1, 0), high=(1, 2)).shape == (N, 5)
    assert "none negative" in message("nd.pad", (3,), low=(-1,), high=(0,))
    assert "the padding 0.5 is no value of i32" in message("nd.pad", (3,), of=I32, low=(1,), high=(0,), value=0.5)
    assert infer("nd.concat", (N, 3), (2, 3), axis=0).shape == (N, 3)
    assert infer("nd.concat", (N, 3), (2, 4), axis=-1).shape == (2, 7)
    assert "axis 1 differs" in message("nd.concat", (2, 3), (2, 4), axis=0)
    assert "the ranks differ" in message("nd.concat", (2, 3), (2,), axis=0)


def test_creation() -> None:
    assert infer("nd.iota", (N, 3), shape=(-1, 3), dtype=I32) is Tensor((N, 3), I32)
    assert "operand 'like', which must have rank 1" in message("nd.iota", shape=(-1,))
    assert "cannot count in i1" in message("nd.iota", shape=(3,), dtype=I1)
    assert "axis 1 is out of range" in message("nd.iota", shape=(3,), axis=1)


def test_unknown_attributes_have_a_hint() -> None:
    said = message("nd.sum", (2, 3), axis=1)
    assert "has no attribute 'axis'" in said and "did you mean 'axes'?" in said
