"""Networks are planned at the lower bound, whether their ops are fused or not."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from dlir.backends.compiler import make_manager
from dlir.ir.traversal import clone
from dlir.passes.memory.report import memory_report

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
#: The networks of benchmarks/memory.py, with their shapes or, where only numbers are smaller, less.
SHAPES = {
    "gelu_mlp": (),
    "relu_mlp": (),
    "lenet": (),
    "alexnet": (),
    "resnet18": (1, 64),
    "resnet50": (1, 64, 16, 10),
    "gpt2_block": (),
    "gpt2": (12, 32, 64, 4),
}


@pytest.fixture(scope="module")
def graphs():
    """The module benchmarks/graphs.py."""
    spec = importlib.util.spec_from_file_location("memory_graphs", BENCHMARKS / "graphs.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def test_the_list_is_the_benchmarks(graphs):
    assert [make.__name__ for make in graphs.NETWORKS] == list(SHAPES)


@pytest.mark.parametrize("level", ["O1", "O2"])
@pytest.mark.parametrize("name", SHAPES)
def test_a_forward_pass_needs_no_more_than_the_bound(graphs, name, level):
    graph = getattr(graphs, name)(*SHAPES[name])
    lowered = make_manager("cpu", level).run(clone(graph.module))
    report = memory_report(graph.module, lowered)
    assert report.planned == report.lower_bound < report.naive
