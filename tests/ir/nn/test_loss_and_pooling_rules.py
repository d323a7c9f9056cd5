"""What losses, attention, training statistics and pooling to a size infer, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from dlir.ir.builder import at_end
from dlir.ir.core import Block
from dlir.ir.errors import DlirError
from dlir.ir.op import Tensor
from dlir.ir.registry import find_op
from dlir.ir.types import F16, F32, F64, I1, I64

N = None


def infer(name: str, *shapes: Any, of: Any = F32, **attributes: Any) -> Any:
    """The result types for operands given as shapes or types."""
    cls: Any = find_op(name)
    types = [s if isinstance(s, Tensor) or s is None else Tensor(s, of) for s in shapes]
    block = Block()
    with at_end(block):
        found = cls.build(*(t and block.add_arg(t) for t in types), **attributes)
    return tuple(value.type for value in found) if isinstance(found, tuple) else found.type


def message(name: str, *shapes: Any, **attributes: Any) -> str:
    with pytest.raises(DlirError) as caught:
        infer(name, *shapes, **attributes)
    return str(caught.value)


def test_cross_entropy() -> None:
    labels = Tensor((N, 4), I64)
    assert infer("nn.cross_entropy", (N, 10, 4), labels) is Tensor((), F32)
    assert infer("nn.cross_entropy", (N, 10, 4), labels, reduction="none") is Tensor((N, 4), F32)
    assert infer("nn.cross_entropy", (N, 4, 10), labels, axis=-1, reduction="sum") is Tensor((), F32)
    assert infer("nn.cross_entropy", (2, 10), (2, 10), reduction="none") is Tensor((2,), F32)
    assert "axis 1 is out of range for an array of rank 1" in message("nn.cross_entropy", (10,), Tensor((), I64))
    said = message("nn.cross_entropy", (2, 10), Tensor((2, 10), I64))
    assert "needs labels of shape 2 (class indices for logits tensor<2x10xf32>, of which axis 1 is classes)" in said
    assert "needs labels of shape 2x10 (probabilities" in message("nn.cross_entropy", (2, 10), (2,))
    assert "one dtype" in message("nn.cross_entropy", (2, 10), Tensor((2, 10), F64))
    assert "has no elements" in message("nn.cross_entropy", (2, 0), Tensor((2,), I64))
    assert "got i1" in message("nn.cross_entropy", (2, 10), Tensor((2,), I1))
    assert "takes floats, got i64" in message("nn.cross_entropy", (2, 10), (2,), of=I64)
    assert "'ignore_index' is for class indices" in message("nn.cross_entropy", (2, 3), (2, 3), ignore_index=0)
    assert "'mean'" in message("nn.cross_entropy", (2, 3), (2, 3), reduction="average")


def test_mse_loss() -> None:
    assert infer("nn.mse_loss", (N, 3), (N, 3), of=F16) is Tensor((), F16)
    assert infer("nn.mse_loss", (N, 3), (N, 3), reduction="none") is Tensor((N, 3), F32)
    assert "one shape" in message("nn.mse_loss", (2, 3), (3,))
    assert "one dtype" in message("nn.mse_loss", (2, 3), Tensor((2, 3), F64))


def test_batch_norm_train() -> None:
    c = (3,)
    assert infer("nn.batch_norm_train", (N, 3, 4), c, c, c, c) == (Tensor((N, 3, 4), F32), *[Tensor(c, F32)] * 2)
    assert "needs var of shape 3" in message("nn.batch_norm_train", (2, 3, 4), c, c, c, (4,))
    assert "more than one value for each channel" in message("nn.batch_norm_train", (1, 3, 1), c, c, c, c)


def test_group_norm() -> None:
    assert infer("nn.group_norm", (N, 6, 4), (6,), None, groups=3).shape == (N, 6, 4)
    assert "cannot be split into 4 groups" in message("nn.group_norm", (2, 6, 4), groups=4)
    assert "cannot be split into 0 groups" in message("nn.group_norm", (2, 6, 4), groups=0)
    assert "one dynamic dimension at most" in message("nn.group_norm", (N, 6, N), groups=2)
    assert "needs gamma of shape 6" in message("nn.group_norm", (2, 6, 4), (4,), groups=2)


def test_rms_norm() -> None:
    assert infer("nn.rms_norm", (N, 3, 4), (3, 4), axis=1).shape == (N, 3, 4)
    assert "needs gamma of shape 4" in message("nn.rms_norm", (2, 4), (2,))


def test_pooling_to_a_size() -> None:
    assert infer("nn.global_avg_pool2d", (N, 3, N, 4)).shape == (N, 3, 1, 1)
    assert infer("nn.adaptive_max_pool2d", (N, 3, N, 4), output_size=(2, 3)).shape == (N, 3, 2, 3)
    assert "batch, channels, height, width" in message("nn.global_max_pool2d", (3, 4, 4))
    assert "has no elements" in message("nn.global_max_pool2d", (1, 3, 0, 4))
    assert "'output_size' needs 2 integers" in message("nn.adaptive_avg_pool2d", (1, 3, 4, 4), output_size=(2,))
    assert "takes floats, got i64" in message("nn.global_avg_pool2d", (1, 3, 4, 4), of=I64)


@pytest.mark.parametrize("name", "gelu gelu_tanh silu hardswish hardsigmoid elu leaky_relu log_softmax".split())
def test_activations_by_name(name: str) -> None:
    assert infer("nn.dense", (2, 3), (3, 4), activation=name).shape == (2, 4)
    assert infer("nn.conv2d", (1, 3, 4, 4), (2, 3, 1, 1), activation=name).shape == (1, 2, 4, 4)
