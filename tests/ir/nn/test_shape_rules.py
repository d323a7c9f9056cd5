"""What layers say about operands that do not fit."""

from __future__ import annotations

from typing import Any

import pytest

from dlir.ir.builder import at_end
from dlir.ir.core import Block
from dlir.ir.errors import DlirError
from dlir.ir.op import Tensor
from dlir.ir.registry import find_op
from dlir.ir.types import F32, F64, I32


def infer(name: str, *shapes: Any, dtype: Any = F32, **attributes: Any) -> Tensor:
    """The result type for operands given as shapes or types."""
    cls: Any = find_op(name)
    types = [s if isinstance(s, Tensor) or s is None else Tensor(s, dtype) for s in shapes]
    block = Block()
    with at_end(block):
        return cls.build(*(t and block.add_arg(t) for t in types), **attributes).type


def message(name: str, *shapes: Any, **attributes: Any) -> str:
    with pytest.raises(DlirError) as caught:
        infer(name, *shapes, **attributes)
    return str(caught.value)


def test_dense() -> None:
    assert infer("nn.dense", (None, 64), (64, 10), (10,)) is Tensor((None, 10), F32)
    said = message("nn.dense", (None, 1, 8, 8), (64, 10))
    assert "'nn.dense' x tensor<?x1x8x8xf32> has 8 features, but w tensor<64x10xf32> takes 64" in said
    assert "nn.flatten" in said
    assert "needs bias of shape 10" in message("nn.dense", (2, 64), (64, 10), (64,))
    assert "needs w of rank 2 (in, out)" in message("nn.dense", (2, 64), (64,))
    assert "one dtype" in message("nn.dense", (2, 64), Tensor((64, 10), F64))
    assert "takes floats, got i32" in message("nn.dense", (2, 64), (64, 10), dtype=I32)
    assert "'relu'" in message("nn.dense", (2, 64), (64, 10), activation="rellu")


def test_conv2d() -> None:
    assert infer("nn.conv2d", (None, 3, 32, 32), (8, 3, 3, 3), padding=(1, 1), stride=(2, 2)).shape == (None, 8, 16, 16)
    assert infer("nn.conv2d", (None, 3, None, 32), (8, 3, 3, 3)).shape == (None, 8, None, 30)
    assert "has 3 channels, but" in message("nn.conv2d", (1, 3, 8, 8), (4, 1, 3, 3))
    assert "the window of 5 is larger than spatial dimension 0" in message("nn.conv2d", (1, 3, 4, 8), (4, 3, 5, 5))
    assert "batch, channels, height, width" in message("nn.conv2d", (3, 8, 8), (4, 3, 3, 3))
    assert "cannot be split into 3 groups" in message("nn.conv2d", (1, 3, 8, 8), (4, 1, 3, 3), groups=3)
    assert "'stride' must be at least 1" in message("nn.conv2d", (1, 3, 8, 8), (4, 3, 3, 3), stride=(0, 1))
    assert "'padding' needs 2 or 4 integers" in message("nn.conv2d", (1, 3, 8, 8), (4, 3, 3, 3), padding=(1, 1, 1))
    assert "needs bias of shape 4" in message("nn.conv2d", (1, 3, 8, 8), (4, 3, 3, 3), (1, 4, 1, 1))


def test_pooling() -> None:
    assert infer("nn.max_pool2d", (None, 3, 9, 8), kernel=(2, 2)).shape == (None, 3, 4, 4)
    assert infer("nn.max_pool2d", (None, 3, 9, 8), kernel=(2, 2), ceil_mode=True).shape == (None, 3, 5, 4)
    assert "must be smaller than the kernel" in message("nn.max_pool2d", (1, 1, 4, 4), kernel=(2, 2), padding=(2, 0))
    assert "'kernel' needs 2 integers" in message("nn.avg_pool2d", (1, 1, 4, 4), kernel=(2,))
    assert "needs attribute 'kernel'" in message("nn.avg_pool2d", (1, 1, 4, 4))


def test_normalization() -> None:
    c = (3,)
    assert infer("nn.batch_norm", (None, 3, None, 4), c, c, c, c).shape == (None, 3, None, 4)
    said = message("nn.batch_norm", (2, 3, 4, 4), c, c, (4,), c)
    assert "needs mean of shape 3 (the channels of x tensor<2x3x4x4xf32>), got tensor<4xf32>" in said
    assert infer("nn.layer_norm", (None, 3, 4), (3, 4), None, axis=1).shape == (None, 3, 4)
    assert "needs gamma of shape 3x4" in message("nn.layer_norm", (2, 3, 4), (4,), None, axis=1)
    assert "axis 3 is out of range for an array of rank 3" in message("nn.layer_norm", (2, 3, 4), axis=3)


def test_flatten_and_softmax() -> None:
    assert infer("nn.flatten", (None, 3, 4)).shape == (None, 12)
    assert infer("nn.flatten", (2, None, 4)).shape == (2, None)
    assert "more than one dimension is dynamic" in message("nn.flatten", (None, None, 4))
    assert "axis 2 is out of range" in message("nn.softmax", (2, 3), axis=2)
    assert "has no elements" in message("nn.softmax", (2, 0))
