"""Loops that LLVM should widen: what its own simplification would keep from it."""

import numpy as np
import pytest

from dlir.backends.compiler import compile_module
from dlir.ir.builder import at_end
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.ops import func, nd
from dlir.ir.types import TensorType, dtype_from_numpy


def compiled(body, x):
    """`body` of one array, for the CPU."""
    module = Module.empty()
    function = Func.make("main", [TensorType(x.shape, dtype_from_numpy(x.dtype))], names=["x"])
    module.body.append(function)
    with at_end(function.body):
        func.return_(body(*function.body.args))
    function.update_type()
    return compile_module(module)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize(("reduce", "numpy", "edge"), [(nd.max, np.max, -np.inf), (nd.min, np.min, np.inf)])
def test_the_largest_of_some_elements_is_not_found_under_a_condition(dtype, reduce, numpy, edge):
    """max(total, select(c, x, -inf)) is max(total, x) if c: the infinity is hidden from LLVM."""
    x = np.random.default_rng(0).standard_normal((5, 100)).astype(dtype)
    x[1] = -5
    x[2] = 5
    x[3, 4] = np.nan
    program = compiled(lambda x: reduce(nd.select(nd.greater(x, 0.5), x, edge), axes=(1,)), x)
    np.testing.assert_array_equal(program(x)[0], numpy(np.where(x > 0.5, x, dtype(edge)), axis=1))
    assert "load volatile" in program.source()


def test_other_choices_are_constants():
    x = np.zeros((5, 100), np.float32)
    assert "volatile" not in compiled(lambda x: nd.max(nd.select(nd.greater(x, 0.0), x, 0.0), axes=(1,)), x).source()
    assert "volatile" not in compiled(lambda x: nd.sum(nd.select(nd.greater(x, 0.0), x, 0.0), axes=(1,)), x).source()
