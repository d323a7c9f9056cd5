"""Whole networks with frozen weights, written once and given to each contestant in its own terms.

A `Net` is a list of steps over named values.  It is made a dlir module (`to_dlir`), an ONNX graph (`to_onnx`) or run with the
functions of a framework (`apply`).  Weights are random, the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dlir.ir.attributes import DenseResourceAttr
from dlir.ir.builder import at_end
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.ops import func, nd, nn, state
from dlir.ir.types import F32 as FLOAT
from dlir.ir.types import TensorType

F32 = np.float32


@dataclass(frozen=True)
class Step:
    """One op: its operands are values by number, or weights by name."""

    op: str
    operands: tuple[int | str, ...]
    attributes: dict[str, Any]


@dataclass
class Net:
    """Value 0 is the input, value i the result of step i - 1; the last one is the result."""

    shape: tuple[int, ...]
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    steps: list[Step] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, op: str, *operands: int | str, **attributes: Any) -> int:
        """Append a step; the number of its value."""
        self.steps.append(Step(op, operands, attributes))
        return len(self.steps)

    def weight(self, array: np.ndarray) -> str:
        """Keep an array; its name."""
        name = f"w{len(self.weights)}"
        self.weights[name] = np.ascontiguousarray(array, F32)
        return name

    def random(self, *shape: int, scale: float = 1.0) -> str:
        return self.weight(self.rng.standard_normal(shape) * scale)

    # ------------------------------------------------------------ layers

    def conv(self, x: int, channels: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> int:
        """A convolution with a bias."""
        w = self.random(outputs, channels, kernel, kernel, scale=(2 / (channels * kernel**2)) ** 0.5)
        return self.add("conv", x, w, self.random(outputs, scale=0.1), stride=stride, padding=padding)

    def conv_norm(self, x: int, channels: int, outputs: int, kernel: int, stride: int = 1) -> int:
        """A convolution and a batch norm, as in ResNet."""
        w = self.random(outputs, channels, kernel, kernel, scale=(2 / (channels * kernel**2)) ** 0.5)
        found = self.add("conv", x, w, stride=stride, padding=kernel // 2)
        gamma, var = (self.weight(self.rng.uniform(0.5, 1.0, outputs)) for _ in range(2))
        beta, mean = (self.random(outputs, scale=0.1) for _ in range(2))
        return self.add("batch_norm", found, gamma, beta, mean, var)

    def dense(self, x: int, inputs: int, outputs: int) -> int:
        w = self.random(inputs, outputs, scale=inputs**-0.5)
        return self.add("dense", x, w, self.random(outputs, scale=0.1))

    def layer_norm(self, x: int, size: int) -> int:
        return self.add("layer_norm", x, self.weight(self.rng.uniform(0.5, 1.5, size)), self.random(size, scale=0.1))

    # ------------------------------------------------------------ uses

    def apply(self, ops: dict[str, Callable[..., Any]], x: Any, weights: dict[str, Any]) -> Any:
        """The result, with the functions of some framework."""
        values = [x]
        for step in self.steps:
            operands = [weights[item] if isinstance(item, str) else values[item] for item in step.operands]
            values.append(ops[step.op](*operands, **step.attributes))
        return values[-1]

    def to_dlir(self) -> Module:
        """A module whose weights are variables; their values are named as in `weights`."""
        module = Module.empty()
        types = {name: TensorType(array.shape, FLOAT) for name, array in self.weights.items()}
        with at_end(module.body):
            for name, type in types.items():
                state.variable(sym_name=name, init=DenseResourceAttr(name, type), type=type)
        function = Func.make("main", [TensorType(self.shape, FLOAT)], names=["x"])
        module.body.append(function)
        with at_end(function.body):
            read = {name: state.read(variable=name, result_types=[type]) for name, type in types.items()}
            func.return_(self.apply(DLIR, function.body.args[0], read))
        function.update_type()
        return module

    def to_onnx(self, onnx: Any) -> tuple[list[Any], dict[str, np.ndarray]]:
        """The nodes of an ONNX graph from ``x`` to ``y``, and its initialisers."""
        graph = _Onnx(onnx.helper.make_node, dict(self.weights))
        last = self.apply(graph.ops(), "x", {name: name for name in self.weights})
        graph.node("Identity", [last], "y")
        return graph.nodes, graph.arrays


def _heads_in_dlir(x: Any, heads: int, part: int) -> Any:
    tokens, width = x.shape
    size = width // (3 * heads)
    qkv = nd.transpose(nd.reshape(x, shape=(tokens, 3, heads, size)), perm=(1, 2, 0, 3))
    chosen = nd.slice(qkv, start=(part, 0, 0, 0), stop=(part + 1, heads, tokens, size))
    return nd.reshape(chosen, shape=(heads, tokens, size))


def _attention_in_dlir(q: Any, k: Any, v: Any, mask: Any) -> Any:
    scores = nd.add(nd.mul(nd.matmul(q, k, transpose_b=True), q.shape[-1] ** -0.5), mask)
    found = nd.transpose(nd.matmul(nn.softmax(scores, axis=-1), v), perm=(1, 0, 2))
    return nd.reshape(found, shape=(found.shape[0], -1))


def _gelu_in_dlir(x: Any) -> Any:
    cube = nd.mul(nd.mul(x, x), x)
    inner = nd.mul(nd.add(x, nd.mul(cube, 0.044715)), (2 / np.pi) ** 0.5)
    return nd.mul(nd.mul(x, 0.5), nd.add(nd.tanh(inner), 1.0))


#: Each step in dlir.
DLIR: dict[str, Callable[..., Any]] = {
    "conv": lambda x, w, b=None, *, stride, padding: nn.conv2d(
        x, w, b, stride=(stride, stride), padding=(padding, padding)
    ),
    "batch_norm": lambda x, *p: nn.batch_norm(x, *p, epsilon=1e-5),
    "relu": lambda x: nn.relu(x),
    "add": lambda x, y: nd.add(x, y),
    "max_pool": lambda x, *, kernel, stride, padding: nn.max_pool2d(
        x, kernel=(kernel, kernel), stride=(stride, stride), padding=(padding, padding)
    ),
    "global_mean": lambda x: nd.mean(x, axes=(2, 3)),
    "flatten": lambda x: nd.reshape(x, shape=(x.shape[0], -1)),
    "dense": lambda x, w, b: nn.dense(x, w, b),
    "layer_norm": lambda x, g, b: nn.layer_norm(x, g, b, epsilon=1e-5),
    "gelu": _gelu_in_dlir,
    "heads": _heads_in_dlir,
    "attention": _attention_in_dlir,
}


def torch_ops(torch: Any) -> dict[str, Callable[..., Any]]:
    """Each step in torch."""
    f = torch.nn.functional

    def heads(x: Any, heads: int, part: int) -> Any:
        tokens, width = x.shape
        return x.reshape(tokens, 3, heads, width // (3 * heads)).permute(1, 2, 0, 3)[part]

    def attention(q: Any, k: Any, v: Any, mask: Any) -> Any:
        found = f.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]
        return found.transpose(0, 1).reshape(found.shape[1], -1)

    return {
        "conv": lambda x, w, b=None, *, stride, padding: f.conv2d(x, w, b, stride, padding),
        "batch_norm": lambda x, g, b, m, v: f.batch_norm(x, m, v, g, b, False, 0.0, 1e-5),
        "relu": torch.relu,
        "add": torch.add,
        "max_pool": lambda x, *, kernel, stride, padding: f.max_pool2d(x, kernel, stride, padding),
        "global_mean": lambda x: x.mean((2, 3)),
        "flatten": lambda x: x.flatten(1),
        "dense": lambda x, w, b: torch.addmm(b, x, w),
        "layer_norm": lambda x, g, b: f.layer_norm(x, x.shape[-1:], g, b, 1e-5),
        "gelu": lambda x: f.gelu(x, approximate="tanh"),
        "heads": heads,
        "attention": attention,
    }


def jax_ops(jax: Any) -> dict[str, Callable[..., Any]]:
    """Each step in JAX."""
    np_, lax = jax.numpy, jax.lax

    def per_channel(array: Any) -> Any:
        return array[:, None, None]

    def conv(x: Any, w: Any, b: Any = None, *, stride: int, padding: int) -> Any:
        found = lax.conv_general_dilated(x, w, (stride, stride), [(padding, padding)] * 2)
        return found if b is None else found + per_channel(b)

    def batch_norm(x: Any, g: Any, b: Any, m: Any, v: Any) -> Any:
        scale = g * lax.rsqrt(v + 1e-5)
        return x * per_channel(scale) + per_channel(b - m * scale)

    def max_pool(x: Any, *, kernel: int, stride: int, padding: int) -> Any:
        pads = [(0, 0), (0, 0), (padding, padding), (padding, padding)]
        return lax.reduce_window(x, -np_.inf, lax.max, (1, 1, kernel, kernel), (1, 1, stride, stride), pads)

    def layer_norm(x: Any, g: Any, b: Any) -> Any:
        return (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-5) * g + b

    def heads(x: Any, heads: int, part: int) -> Any:
        tokens, width = x.shape
        return x.reshape(tokens, 3, heads, width // (3 * heads)).transpose(1, 2, 0, 3)[part]

    def attention(q: Any, k: Any, v: Any, mask: Any) -> Any:
        scores = q @ k.swapaxes(-1, -2) * q.shape[-1] ** -0.5 + mask
        found = (jax.nn.softmax(scores, -1) @ v).transpose(1, 0, 2)
        return found.reshape(found.shape[0], -1)

    return {
        "conv": conv,
        "batch_norm": batch_norm,
        "relu": jax.nn.relu,
        "add": np_.add,
        "max_pool": max_pool,
        "global_mean": lambda x: x.mean((2, 3)),
        "flatten": lambda x: x.reshape(x.shape[0], -1),
        "dense": lambda x, w, b: x @ w + b,
        "layer_norm": layer_norm,
        "gelu": lambda x: jax.nn.gelu(x, approximate=True),
        "heads": heads,
        "attention": attention,
    }


class _Onnx:
    """Writes steps as ONNX nodes; values are their names."""

    def __init__(self, make_node: Callable[..., Any], arrays: dict[str, np.ndarray]) -> None:
        self._make = make_node
        self.nodes: list[Any] = []
        self.arrays = arrays

    def node(self, op: str, inputs: list[str], result: str | None = None, **attributes: Any) -> str:
        result = result or f"t{len(self.nodes)}"
        self.nodes.append(self._make(op, inputs, [result], **attributes))
        return result

    def array(self, array: np.ndarray) -> str:
        name = f"c{len(self.arrays)}"
        self.arrays[name] = array
        return name

    def ops(self) -> dict[str, Callable[..., str]]:
        return {
            "conv": lambda x, *w, stride, padding: self.node("Conv", [x, *w], strides=[stride] * 2, pads=[padding] * 4),
            "batch_norm": lambda x, *p: self.node("BatchNormalization", [x, *p], epsilon=1e-5),
            "relu": lambda x: self.node("Relu", [x]),
            "add": lambda x, y: self.node("Add", [x, y]),
            "max_pool": lambda x, *, kernel, stride, padding: self.node(
                "MaxPool", [x], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[padding] * 4
            ),
            "global_mean": lambda x: self.node("Flatten", [self.node("GlobalAveragePool", [x])]),
            "flatten": lambda x: self.node("Flatten", [x]),
            "dense": lambda x, w, b: self.node("Gemm", [x, w, b]),
            "layer_norm": lambda x, *p: self.node("LayerNormalization", [x, *p], axis=-1, epsilon=1e-5),
            "gelu": self._gelu,
            "heads": self._heads,
            "attention": self._attention,
        }

    def _gelu(self, x: str) -> str:
        return self.node("Gelu", [x], approximate="tanh")

    def _heads(self, x: str, heads: int, part: int) -> str:
        shape = self.array(np.array([0, 3, heads, -1], np.int64))
        split = self.node("Transpose", [self.node("Reshape", [x, shape])], perm=[1, 2, 0, 3])
        return self.node("Gather", [split, self.array(np.array(part, np.int64))], axis=0)

    def _attention(self, q: str, k: str, v: str, mask: str) -> str:
        size = 64
        scores = self.node("MatMul", [q, self.node("Transpose", [k], perm=[0, 2, 1])])
        scaled = self.node("Mul", [scores, self.array(np.array(size**-0.5, F32))])
        weights = self.node("Softmax", [self.node("Add", [scaled, mask])], axis=-1)
        found = self.node("Transpose", [self.node("MatMul", [weights, v])], perm=[1, 0, 2])
        return self.node("Reshape", [found, self.array(np.array([0, -1], np.int64))])


# ---------------------------------------------------------------- the networks


def lenet(batch: int) -> Net:
    """LeNet-5 on 28x28 images, with max pooling and ReLU."""
    net = Net((batch, 1, 28, 28))
    h = net.add("max_pool", net.add("relu", net.conv(0, 1, 6, 5, padding=2)), kernel=2, stride=2, padding=0)
    h = net.add("max_pool", net.add("relu", net.conv(h, 6, 16, 5)), kernel=2, stride=2, padding=0)
    h = net.add("relu", net.dense(net.add("flatten", h), 400, 120))
    net.dense(net.add("relu", net.dense(h, 120, 84)), 84, 10)
    return net


def resnet18(batch: int, size: int = 224) -> Net:
    """ResNet-18 for 1000 classes."""
    net = Net((batch, 3, size, size))
    h = net.add("relu", net.conv_norm(0, 3, 64, 7, 2))
    h = net.add("max_pool", h, kernel=3, stride=2, padding=1)
    channels = 64
    for outputs in (64, 128, 256, 512):
        for stride in (1 if outputs == 64 else 2, 1):
            inner = net.add("relu", net.conv_norm(h, channels, outputs, 3, stride))
            inner = net.conv_norm(inner, outputs, outputs, 3)
            skip = h if stride == 1 else net.conv_norm(h, channels, outputs, 1, stride)
            h = net.add("relu", net.add("add", inner, skip))
            channels = outputs
    net.dense(net.add("global_mean", h), 512, 1000)
    return net


def gpt2_block(tokens: int, width: int = 768, heads: int = 12) -> Net:
    """One block of GPT-2 with causal attention, for one sequence [tokens, width]."""
    net = Net((tokens, width))
    qkv = net.dense(net.layer_norm(0, width), width, 3 * width)
    q, k, v = (net.add("heads", qkv, heads=heads, part=part) for part in range(3))
    mask = net.weight(np.where(np.tri(tokens, dtype=bool), 0.0, -1e9))
    h = net.add("add", net.dense(net.add("attention", q, k, v, mask), width, width), 0)
    inner = net.add("gelu", net.dense(net.layer_norm(h, width), width, 4 * width))
    net.add("add", net.dense(inner, 4 * width, width), h)
    return net
