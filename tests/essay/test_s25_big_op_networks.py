"""S25: memory planning on graphs of big ops: LeNet, AlexNet, and nets of ResNet's kind.

Run with -s to see the table.
"""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends.symbolic import Node, Variable, compile, nd, nn
from dlir.frontends.symbolic.graph import Graph
from dlir.ir.byte_counts import human_bytes
from dlir.ir.traversal import clone
from dlir.ir.types import F32, TensorType
from dlir.passes.manager import PassManager
from dlir.passes.memory.report import memory_report

PLANS = {
    "ops": "inline,lower-nn,canonicalize,cse,fuse{max-ops=1},schedule,reorder,bufferize,plan-memory",
    "fused": "inline,lower-nn,canonicalize,cse,recognise,fuse,schedule,reorder,bufferize,plan-memory",
}


class Net:
    """A graph of big ops and the types of its inputs, weights included."""

    def __init__(self, *shape: int) -> None:
        self.types = {"x": TensorType(shape, F32)}
        self.out = Variable("x")

    def weight(self, *shape: int) -> Node:
        name = f"w{len(self.types)}"
        self.types[name] = TensorType(shape, F32)
        return Variable(name)

    def conv(self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        w = self.weight(outputs, inputs, kernel, kernel)
        self.out = nn.conv2d(self.out, w, self.weight(outputs), stride=(stride, stride), padding=(padding, padding))

    def norm(self, channels: int) -> None:
        self.out = nn.batch_norm(self.out, *[self.weight(channels) for _ in range(4)])

    def relu(self) -> None:
        self.out = nn.relu(self.out)

    def pool(self, kernel: int, stride: int) -> None:
        self.out = nn.max_pool2d(self.out, kernel=(kernel, kernel), stride=(stride, stride))

    def dense(self, inputs: int, outputs: int, activation: str = "relu") -> None:
        self.out = nn.dense(self.out, self.weight(inputs, outputs), self.weight(outputs), activation=activation)

    def flatten(self) -> None:
        self.out = nn.flatten(self.out)


def lenet() -> Net:
    net = Net(64, 1, 28, 28)
    net.conv(1, 6, 5, padding=2)
    net.relu()
    net.pool(2, 2)
    net.conv(6, 16, 5)
    net.relu()
    net.pool(2, 2)
    net.flatten()
    net.dense(400, 120)
    net.dense(120, 84)
    net.dense(84, 10, "none")
    return net


def alexnet() -> Net:
    net = Net(8, 3, 224, 224)
    for inputs, outputs, kernel, stride, padding in ((3, 64, 11, 4, 2), (64, 192, 5, 1, 2)):
        net.conv(inputs, outputs, kernel, stride, padding)
        net.relu()
        net.pool(3, 2)
    for inputs, outputs in ((192, 384), (384, 256), (256, 256)):
        net.conv(inputs, outputs, 3, padding=1)
        net.relu()
    net.pool(3, 2)
    net.flatten()
    net.dense(9216, 4096)
    net.dense(4096, 4096)
    net.dense(4096, 1000, "none")
    return net


def resnet(blocks: tuple[int, ...], batch: int = 8, size: int = 224) -> Net:
    net = Net(batch, 3, size, size)
    net.conv(3, 64, 7, 2, 3)
    net.norm(64)
    net.relu()
    net.pool(3, 2)
    channels = 64
    for stage, count in enumerate(blocks):
        outputs = 64 << stage
        for number in range(count):
            stride = 2 if stage and not number else 1
            before = net.out
            net.conv(channels, outputs, 3, stride, 1)
            net.norm(outputs)
            net.relu()
            net.conv(outputs, outputs, 3, 1, 1)
            net.norm(outputs)
            inner, net.out = net.out, before
            if stride == 2:
                net.conv(channels, outputs, 1, 2)
                net.norm(outputs)
            net.out = nn.relu(inner + net.out)
            channels = outputs
    net.out = nd.mean(net.out, axes=(2, 3))
    net.dense(512, 1000, "none")
    return net


NETS = {"LeNet-5 b64": lenet, "AlexNet b8": alexnet, "ResNet-18 b8": lambda: resnet((2, 2, 2, 2))}
NETS["ResNet-34 b8"] = lambda: resnet((3, 4, 6, 3))
#: Naive memory of the values between inputs and result, over what is planned: at least this much.
SAVING = {"LeNet-5 b64": 2, "AlexNet b8": 2, "ResNet-18 b8": 7, "ResNet-34 b8": 12}


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", NETS)
def test_plans_are_at_the_lower_bound(name, plan, measured):
    net = NETS[name]()
    module = Graph([net.out], []).module(net.types)
    lowered = PassManager.from_text(PLANS[plan]).run(clone(module))
    memory = memory_report(module, lowered)
    naive, planned, least = (n - memory.inputs for n in (memory.naive, memory.planned, memory.lower_bound))
    ratio = f"{planned / least:.2f} of the lower bound"
    measured(f"{name}, {plan}: naive {human_bytes(naive)}, planned {human_bytes(planned)}, {ratio}")
    assert planned == least
    assert naive >= SAVING[name] * planned


@pytest.mark.parametrize("make", [lenet, lambda: resnet((1, 1, 1, 1), batch=1, size=32)], ids=["lenet", "resnet"])
def test_the_planned_net_computes_what_the_unplanned_one_does(make):
    net = make()
    rng = np.random.default_rng(0)
    arrays = {}
    for name, type in net.types.items():
        scale = (
            1 if len(type.shape) < 2 else np.prod(type.shape[1:] if len(type.shape) == 4 else type.shape[:1]) ** -0.5
        )
        arrays[name] = (np.abs(rng.standard_normal(type.shape)) * scale).astype(np.float32)
    wanted = compile(net.out, level="O0", backend="ref")(**arrays)
    found = compile(net.out, level="O2")(**arrays)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())
