"""The training steps of benchmarks/train_step.py: few kernels, weights updated where they lie, and torch's weights after them."""

import sys
from pathlib import Path

import numpy as np
import pytest

from dlir.backends.compiler import compile_module
from dlir.backends.variables import VariableStore
from dlir.ir.dialects.func import find_function
from dlir.ir.dialects.kernel import KernelRegion
from dlir.passes.manager import PassManager
from dlir.passes.pipelines import pipeline_for

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))
networks = pytest.importorskip("networks")
train_step = pytest.importorskip("train_step")


def small_residual():
    """A block with a stride, whose shortcut is a 1x1 convolution, behind a convolution."""
    net = networks.Net((2, 3, 13, 13))
    h = net.add("relu", net.conv(0, 3, 16, 3, 1, 1))
    inner = net.conv(net.add("relu", net.conv(h, 16, 32, 3, 2, 1)), 32, 32, 3, 1, 1)
    h = net.add("relu", net.add("add", inner, net.conv(h, 16, 32, 1, 2)))
    net.dense(net.add("global_mean", h), 32, 10)
    return net


def small_mlp():
    net = networks.Net((32, 40))
    h = net.add("relu", net.dense(0, 40, 48))
    net.dense(net.add("relu", net.dense(h, 48, 48)), 48, 10)
    return net


VIEWS = ("nd.slice", "nd.transpose", "nd.reshape", "nd.unpack", "kernel.yield", "nd.constant")
NETS = {
    "mlp": small_mlp,
    "lenet": lambda: networks.lenet(4),
    "residual": small_residual,
}


@pytest.mark.parametrize("level", ["O1", "O2"])
@pytest.mark.parametrize("name", NETS)
def test_a_step_moves_weights_as_torch_does(name, level):
    torch = pytest.importorskip("torch")
    net = NETS[name]()
    x, t = train_step.batch(net)
    store = VariableStore()
    program = compile_module(train_step.to_dlir(net), net.weights.__getitem__, level=level, variables=store)
    (found,) = program(x, t)
    new = store.snapshot()

    weights = {key: torch.tensor(array, requires_grad=True) for key, array in net.weights.items()}
    result = net.apply(networks.torch_ops(torch), torch.from_numpy(x), weights)
    loss = torch.nn.functional.cross_entropy(result, torch.from_numpy(t).long())
    loss.backward()
    np.testing.assert_allclose(found, loss.item(), rtol=1e-5)
    for key, weight in weights.items():
        gradient = (net.weights[key] - new[key]) / train_step.RATE
        want = weight.grad.numpy()
        np.testing.assert_allclose(gradient, want, rtol=1e-3, atol=1e-3 * np.abs(want).max(), err_msg=key)


def test_the_step_of_the_benchmark_is_few_kernels_that_write_weights_in_place():
    net = train_step.mlp()
    program = compile_module(train_step.to_dlir(net), net.weights.__getitem__)
    assert program.kernels <= 9
    main = find_function(program.lowered, "main")
    assert not [op for op in main.walk() if op.name == "memref.copy"]


@pytest.mark.parametrize(("name", "most"), [("lenet", 22), ("resnet", 17), ("gpt", 32)])
def test_steps_are_few_kernels(name, most):
    module = train_step.to_dlir(train_step.NETS[name]())
    PassManager.from_text(pipeline_for("O2", "cpu").partition("schedule")[0].rstrip(",")).run(module)
    regions = [op for op in find_function(module, "main").walk() if isinstance(op, KernelRegion)]
    assert len(regions) <= most
    # Nothing is only laid out, but for weights in one kernel and what has too few channels to be read where it lies.
    moved = [region for region in regions if {op.name for op in region.body.ops} <= {"nd.pack", "nd.pad", *VIEWS}]
    assert len(moved) <= (3 if name == "lenet" else 1)
