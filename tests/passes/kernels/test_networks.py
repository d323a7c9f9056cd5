"""The networks of benchmarks/kernel_counts.py, small: as many kernels as the goal, and fused they compute what they do unfused."""

import importlib.util
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from dlir.backends.compiler import compile_module

ROOT = Path(__file__).parents[3]


@cache
def graphs():
    """The module benchmarks/graphs.py."""
    spec = importlib.util.spec_from_file_location("benchmark_graphs", ROOT / "benchmarks" / "graphs.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


#: Sizes for each graph, and kernels on a GPU, which are more where the CPU's trick does not pay there.
SMALL = {
    "chain": ((40,), 1),
    "softmax": ((5, 9), 1),
    "layer_norm": ((5, 9), 1),
    "residual_norm": ((5, 9), 1),
    "cross_entropy": ((6, 10), None),
    "gelu_mlp": ((9, 12, 20), 2),
    "relu_mlp": ((9, (12, 8, 8, 5)), 3),
    "attention": ((2, 20, 4), 1),
    "conv_norm_relu": ((8, 9), 1),
    "lenet": ((2,), 7),
    "resnet18": ((1, 96, 8, 10), None),
    "gpt2_block": ((12, 16, 2), 7),
    "updates": ((4, 30), 1),
}


@cache
def graph(name):
    return getattr(graphs(), name)(*SMALL[name][0])


@cache
def unfused(name):
    """The results op by op, by the interpreter."""
    found = graph(name)
    return compile_module(found.module, weights=found, backend="ref", level="O0")(*found.inputs)


@pytest.mark.parametrize("name", list(SMALL))
@pytest.mark.parametrize("backend", ["cpu", "cuda-sim", "ref"])
def test_fused_and_unfused_agree_and_kernels_are_few(name, backend):
    if name == "resnet18" and backend == "cuda-sim":
        pytest.skip("its kernels are those of the other networks, and take long to simulate")
    found = graph(name)
    program = compile_module(found.module, weights=found, backend=backend)
    for got, want in zip(program(*found.inputs), unfused(name), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-4 * max(1.0, np.abs(want).max()))
    if backend == "cpu":
        assert program.kernels <= found.goal
    elif backend == "cuda-sim" and SMALL[name][1] is not None:
        assert program.kernels <= SMALL[name][1]


def test_every_graph_of_the_table_is_tested():
    assert [make.__name__ for make in graphs().GRAPHS] == list(SMALL)
