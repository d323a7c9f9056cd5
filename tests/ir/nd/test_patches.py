"""unfold, fold and padding between elements: what they refuse, and that their text reads back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dlir.ir.dialects.nd.joining import Pad
from dlir.ir.dialects.nd.patches import Fold, Unfold
from dlir.ir.errors import InferError
from dlir.ir.types import F32, I32, TensorType
from dlir.textir import parse, to_text


@pytest.mark.parametrize(
    "cls, type, attributes, message",
    [
        (Unfold, TensorType((4,), F32), {"kernel": (2, 2)}, "a kernel of 2 dimensions does not fit"),
        (Unfold, TensorType((1, 4), F32), {"kernel": (5,)}, "the window of 5 is larger than spatial dimension 0"),
        (Unfold, TensorType((4,), I32), {"kernel": (2,)}, "takes floats, got i32"),
        (Fold, TensorType((3, 2), F32), {"shape": (5,)}, "there are .4. windows of .2. over .5., but x is"),
        (Fold, TensorType((3, 2), F32), {"shape": (2, 2)}, "a shape of 2 dimensions does not fit"),
        (Pad, TensorType((4,), F32), {"low": (0,), "high": (0,), "interior": (-1,)}, "'interior' needs 1 integer"),
        (Pad, TensorType((4,), F32), {"low": (0,), "high": (0,), "interior": (1, 1)}, "'interior' needs 1 integer"),
    ],
)
def test_what_does_not_fit_is_refused(cls: Any, type: TensorType, attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(InferError, match=message):
        cls.infer(type, **attributes)


def test_gaps_go_between_elements_and_not_after_the_last() -> None:
    x = np.array([[1, 2, 3]])
    padded = Pad.eval(x, low=(0, 1), high=(1, 0), interior=(5, 1), value=9)
    np.testing.assert_array_equal(padded, [[9, 1, 9, 2, 9, 3], [9, 9, 9, 9, 9, 9]])
    assert Pad.eval(np.zeros((0,)), low=(1,), high=(1,), interior=(3,)).shape == (2,)


def test_beyond_the_borders_may_be_what_is_equal_to_nothing() -> None:
    text = """
func.func @main(%x: tensor<3xf32>) -> tensor<4x2xf32> {
  %w = nd.unfold %x {kernel = [2], padding = [1], value = 0x7FF8000000000000 : f64}
  return %w
}
"""
    module = parse(text, "t.dlir")
    (unfold,) = [op for op in module.walk() if op.name == "nd.unfold"]
    assert math.isnan(unfold["value"])
    assert to_text(parse(to_text(module), "again.dlir")) == to_text(module)
