"""The reference backend as the driver sees it."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.backends.registry import find_backend
from dlir.ir.errors import DlirError
from dlir.textir.parser import parse

TEXT = """module { func.func @f(%x: tensor<2xf32>) -> (tensor<2xf32>, tensor<f32>) {
  %y = nd.exp %x
  %s = nd.sum %x
  return %y, %s
} }"""


def test_it_is_called_like_a_compiled_function():
    executable = find_backend("ref").load(parse(TEXT), "f", None)
    assert str(executable.signature) == "(x: tensor<2xf32>) -> (tensor<2xf32>, tensor<f32>)"
    x = np.array([0, 1], np.float32)
    y, total = executable(x)
    np.testing.assert_allclose(y, np.exp(x), rtol=1e-6)
    assert total.shape == () and total == 1


def test_results_go_where_out_says():
    executable = find_backend("ref").load(parse(TEXT), "f", None)
    out = (np.zeros(2, np.float32), np.zeros((), np.float32))
    got = executable(x=np.ones(2, np.float32), out=out)
    assert got[0] is out[0] and out[1] == 2
    with pytest.raises(DlirError):
        executable(np.ones(2, np.float32), out=[np.zeros(3, np.float32), out[1]])


def test_an_unknown_function_is_suggested():
    with pytest.raises(DlirError, match="no function '@g'"):
        find_backend("ref").load(parse(TEXT), "g", None)
