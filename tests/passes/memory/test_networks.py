"""Networks are planned at the lower bound, whether their ops are fused or not; training steps close to it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dlir.ir.traversal import clone
from dlir.passes.manager import PassManager
from dlir.passes.memory.report import memory_report
from dlir.passes.pipelines import PIPELINES

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))
graphs = pytest.importorskip("graphs")
training_graphs = pytest.importorskip("training_graphs")

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
TRAINING = {
    "train_mlp": (),
    "train_lenet": (),
    "train_resnet18": (2, 64, 16, 10),
    "train_gpt2_block": (),
    "train_gpt2": (4, 32, 64, 4),
}


def test_the_lists_are_the_benchmarks():
    assert [make.__name__ for make in graphs.NETWORKS] == list(SHAPES)
    assert [make.__name__ for make in training_graphs.TRAINING] == list(TRAINING)


def report_on(graph, level):
    pipeline = PIPELINES[level].partition(",lower-kernels")[0]
    lowered = PassManager.from_text(pipeline, verify_each=False).run(clone(graph.module))
    return memory_report(graph.module, lowered)


@pytest.mark.parametrize("level", ["O1", "O2"])
@pytest.mark.parametrize("name", SHAPES)
def test_a_forward_pass_needs_no_more_than_the_bound(name, level):
    report = report_on(getattr(graphs, name)(*SHAPES[name]), level)
    assert report.planned == report.lower_bound < report.naive


@pytest.mark.parametrize("level", ["O1", "O2"])
@pytest.mark.parametrize("name", TRAINING)
def test_a_training_step_needs_little_more_than_the_bound(name, level):
    """With the default effort; more of it may be spent on what is over."""
    report = report_on(getattr(training_graphs, name)(*TRAINING[name]), level)
    # Inputs and variables are what they are: only what is planned is compared.
    fixed = report.inputs + report.state + report.results
    assert report.planned - fixed <= 1.02 * (report.lower_bound - fixed)
    assert report.planned < report.naive / 2
