"""The networks of ``kernel_counts.py``: written in small ops or layers, with weights that never change.

Each function gives a :class:`Graph`.  Shapes are those of the comparison with other compilers; `small` ones keep the
structure and shrink the sizes, for tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from dlir.ir.attributes import DenseResourceAttr
from dlir.ir.builder import at_end
from dlir.ir.core import Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.ops import func, nd, nn, state
from dlir.ir.types import F32, TensorType

Body = Callable[..., Value | tuple[Value, ...]]


@dataclass
class Graph:
    """A module with its weights (which it takes as dlir's backends do: ``get(name, type)``) and inputs for it."""

    name: str
    goal: int
    module: Module = field(default_factory=Module.empty)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    #: What the weights are like; each is made when it is asked for.
    recipes: dict[str, tuple[tuple[int, ...], float | None]] = field(default_factory=dict)
    inputs: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def get(self, name: str, type: Any = None) -> np.ndarray:
        """The weights called `name`."""
        if name not in self.arrays:
            shape, scale = self.recipes[name]
            rng = np.random.default_rng([1, list(self.recipes).index(name)])
            array = rng.standard_normal(shape, dtype=np.float32)
            self.arrays[name] = np.abs(array) + np.float32(0.5) if scale is None else array * np.float32(scale)
        return self.arrays[name]

    def __call__(self, name: str) -> np.ndarray:
        return self.get(name)

    def main(self, body: Body, **shapes: tuple[int, ...]) -> Graph:
        """Fill in ``@main`` with `body`, for inputs of these shapes; the graph itself."""
        function = Func.make("main", [TensorType(shape, F32) for shape in shapes.values()], names=list(shapes))
        self.module.body.append(function)
        with at_end(function.body):
            found = body(*function.body.args)
            func.return_(*(found if isinstance(found, tuple) else (found,)))
        function.update_type()
        self.inputs = [self.rng.standard_normal(shape, dtype=np.float32) for shape in shapes.values()]
        return self

    def weight(self, *shape: int, scale: float | None = None, positive: bool = False) -> Value:
        """A variable that is read here, with random numbers scaled so that what it multiplies keeps its size."""
        name = f"w{len(self.recipes)}"
        fan_in = math.prod(shape[1:]) if len(shape) == 4 else shape[0] if len(shape) == 2 else 1
        self.recipes[name] = (shape, None if positive else scale or 1 / math.sqrt(fan_in))
        type = TensorType(shape, F32)
        with at_end(self.module.body):
            state.variable(sym_name=name, init=DenseResourceAttr(name, type), type=type)
        return state.read(type, variable=name)

    def dense(self, x: Value, outputs: int) -> Value:
        """x @ w + b, in small ops."""
        return nd.add(nd.matmul(x, self.weight(x.shape[-1], outputs)), self.weight(outputs))

    def conv_norm(self, x: Value, outputs: int, size: int, stride: int = 1) -> Value:
        """A convolution and batch normalization, as layers."""
        w = self.weight(outputs, x.shape[1], size, size)
        pad = size // 2
        y = nn.conv2d(x, w, stride=(stride, stride), padding=(pad, pad))
        statistics = (self.weight(outputs, positive=True), self.weight(outputs), self.weight(outputs))
        return nn.batch_norm(y, *statistics, self.weight(outputs, positive=True))


def chain(size: int = 1 << 22) -> Graph:
    """Four elementwise ops."""
    graph = Graph("chain of 4 ops", 1)
    return graph.main(lambda a, b, c: nd.tanh(nd.sub(nd.mul(nd.add(a, b), c), a)), a=(size,), b=(size,), c=(size,))


def written_softmax(x: Value) -> Value:
    """softmax along the last axis, in small ops."""
    powers = nd.exp(nd.sub(x, nd.max(x, axes=(-1,), keepdims=True)))
    return nd.div(powers, nd.sum(powers, axes=(-1,), keepdims=True))


def written_norm(x: Value, scale: Value, bias: Value) -> Value:
    """Affine layer normalization of the last axis, in small ops."""
    centred = nd.sub(x, nd.mean(x, axes=(-1,), keepdims=True))
    variance = nd.mean(nd.mul(centred, centred), axes=(-1,), keepdims=True)
    return nd.add(nd.mul(nd.div(centred, nd.sqrt(nd.add(variance, 1e-5))), scale), bias)


def written_gelu(x: Value) -> Value:
    """x * Phi(x), in small ops."""
    return nd.mul(nd.mul(0.5, x), nd.add(1.0, nd.erf(nd.div(x, math.sqrt(2.0)))))


def written_attention(q: Value, k: Value, v: Value) -> Value:
    """Causal attention over [..., T, d], in small ops."""
    length, width = q.shape[-2:]
    scores = nd.div(nd.matmul(q, nd.transpose(k, perm=(0, 1, 3, 2))), math.sqrt(width))
    mask = np.tril(np.ones((length, length), bool))
    scores = nd.select(mask, scores, -1e30)
    return nd.matmul(written_softmax(scores), v)


def softmax(rows: int = 512, columns: int = 1024) -> Graph:
    """softmax written out."""
    return Graph(f"softmax ({rows}, {columns})", 1).main(written_softmax, x=(rows, columns))


def layer_norm(rows: int = 512, columns: int = 1024) -> Graph:
    """Affine layer normalization written out."""
    graph = Graph(f"layer norm ({rows}, {columns})", 1)
    return graph.main(lambda x: written_norm(x, graph.weight(columns), graph.weight(columns)), x=(rows, columns))


def residual_norm(rows: int = 256, columns: int = 768) -> Graph:
    """Bias, residual connection and layer normalization."""
    graph = Graph(f"bias + residual + layer norm ({rows}, {columns})", 1)

    def body(x: Value, rest: Value) -> Value:
        return written_norm(
            nd.add(nd.add(x, graph.weight(columns)), rest), graph.weight(columns), graph.weight(columns)
        )

    return graph.main(body, x=(rows, columns), rest=(rows, columns))


def cross_entropy(rows: int = 256, classes: int = 1000) -> Graph:
    """The mean cross-entropy of logits and one-hot labels, written out."""

    def body(x: Value, labels: Value) -> Value:
        below = nd.sub(x, nd.max(x, axes=(-1,), keepdims=True))
        logs = nd.sub(below, nd.log(nd.sum(nd.exp(below), axes=(-1,), keepdims=True)))
        return nd.neg(nd.mean(nd.sum(nd.mul(logs, labels), axes=(-1,))))

    return Graph(f"cross-entropy ({rows}, {classes})", 1).main(body, x=(rows, classes), labels=(rows, classes))


def gelu_mlp(rows: int = 256, width: int = 768, hidden: int = 3072) -> Graph:
    """Two dense layers with gelu between them, in small ops."""
    graph = Graph(f"GELU MLP {width}-{hidden}-{width}, {rows} rows", 2)
    return graph.main(lambda x: graph.dense(written_gelu(graph.dense(x, hidden)), width), x=(rows, width))


def relu_mlp(rows: int = 256, sizes: tuple[int, ...] = (784, 512, 512, 10)) -> Graph:
    """Dense layers with relu between them, in small ops."""
    graph = Graph(f"ReLU MLP {'-'.join(map(str, sizes))}, batch {rows}", len(sizes) - 1)

    def body(x: Value) -> Value:
        for number, (_, outputs) in enumerate(pairwise(sizes)):
            x = graph.dense(x, outputs)
            x = nd.maximum(x, 0.0) if number < len(sizes) - 2 else x
        return x

    return graph.main(body, x=(rows, sizes[0]))


def attention(heads: int = 12, length: int = 256, width: int = 64) -> Graph:
    """Causal attention written out."""
    shape = (1, heads, length, width)
    return Graph(f"causal attention {shape}, small ops", 1).main(written_attention, q=shape, k=shape, v=shape)


def conv_norm_relu(channels: int = 64, side: int = 56) -> Graph:
    """A 3x3 convolution, batch normalization, relu."""
    graph = Graph(f"conv {channels}-{channels} 3x3 + batch norm + relu", 1)
    return graph.main(lambda x: nn.relu(graph.conv_norm(x, channels, 3)), x=(1, channels, side, side))


def lenet(batch: int = 64) -> Graph:
    """LeNet-5 with relu and the largest of 2x2."""
    graph = Graph(f"LeNet-5, batch {batch}", 5)

    def body(x: Value) -> Value:
        for outputs, padding in ((6, 2), (16, 0)):
            w, b = graph.weight(outputs, x.shape[1], 5, 5), graph.weight(outputs)
            x = nn.max_pool2d(nn.conv2d(x, w, b, padding=(padding, padding), activation="relu"), kernel=(2, 2))
        x = nn.flatten(x)
        for outputs, activation in ((120, "relu"), (84, "relu"), (10, "none")):
            x = nn.dense(x, graph.weight(x.shape[1], outputs), graph.weight(outputs), activation=activation)
        return x

    return graph.main(body, x=(batch, 1, 28, 28))


def resnet18(batch: int = 1, side: int = 224, width: int = 64, classes: int = 1000) -> Graph:
    """ResNet-18 for inference."""
    graph = Graph(f"ResNet-18 forward, batch {batch}", 19)

    def block(x: Value, outputs: int, stride: int) -> Value:
        y = nn.relu(graph.conv_norm(x, outputs, 3, stride))
        y = graph.conv_norm(y, outputs, 3)
        short = x if stride == 1 and x.shape[1] == outputs else graph.conv_norm(x, outputs, 1, stride)
        return nn.relu(nd.add(y, short))

    def body(x: Value) -> Value:
        x = nn.relu(graph.conv_norm(x, width, 7, 2))
        x = nn.max_pool2d(x, kernel=(3, 3), stride=(2, 2), padding=(1, 1))
        for stage in range(4):
            for number in range(2):
                x = block(x, width << stage, 2 if stage and not number else 1)
        x = nd.mean(x, axes=(2, 3))
        return nn.dense(x, graph.weight(x.shape[1], classes), graph.weight(classes))

    return graph.main(body, x=(batch, 3, side, side))


def alexnet(batch: int = 1, side: int = 224, classes: int = 1000) -> Graph:
    """AlexNet as torchvision has it: five convolutions, three of them behind each other, and wide dense layers."""
    graph = Graph(f"AlexNet, batch {batch}", 8)

    def body(x: Value) -> Value:
        for outputs, size, stride, pad, is_pooled in (
            (64, 11, 4, 2, True),
            (192, 5, 1, 2, True),
            (384, 3, 1, 1, False),
            (256, 3, 1, 1, False),
            (256, 3, 1, 1, True),
        ):
            w, b = graph.weight(outputs, x.shape[1], size, size), graph.weight(outputs)
            x = nn.conv2d(x, w, b, stride=(stride, stride), padding=(pad, pad), activation="relu")
            x = nn.max_pool2d(x, kernel=(3, 3), stride=(2, 2)) if is_pooled else x
        x = nn.flatten(x)
        for outputs, activation in ((4096, "relu"), (4096, "relu"), (classes, "none")):
            x = nn.dense(x, graph.weight(x.shape[1], outputs), graph.weight(outputs), activation=activation)
        return x

    return graph.main(body, x=(batch, 3, side, side))


def resnet50(batch: int = 1, side: int = 224, width: int = 64, classes: int = 1000) -> Graph:
    """ResNet-50 for inference: blocks of three convolutions, the middle one narrow."""
    graph = Graph(f"ResNet-50 forward, batch {batch}", 54)

    def block(x: Value, inner: int, stride: int) -> Value:
        y = nn.relu(graph.conv_norm(x, inner, 1))
        y = nn.relu(graph.conv_norm(y, inner, 3, stride))
        y = graph.conv_norm(y, 4 * inner, 1)
        short = x if stride == 1 and x.shape[1] == 4 * inner else graph.conv_norm(x, 4 * inner, 1, stride)
        return nn.relu(nd.add(y, short))

    def body(x: Value) -> Value:
        x = nn.relu(graph.conv_norm(x, width, 7, 2))
        x = nn.max_pool2d(x, kernel=(3, 3), stride=(2, 2), padding=(1, 1))
        for stage, count in enumerate((3, 4, 6, 3)):
            for number in range(count):
                x = block(x, width << stage, 2 if stage and not number else 1)
        x = nd.mean(x, axes=(2, 3))
        return nn.dense(x, graph.weight(x.shape[1], classes), graph.weight(classes))

    return graph.main(body, x=(batch, 3, side, side))


def gpt2_block(length: int = 256, width: int = 768, heads: int = 12) -> Graph:
    """One block of GPT-2: attention and MLP, each behind a layer normalization and beside a residual connection."""
    return gpt2(1, length, width, heads)


def gpt2(blocks: int = 12, length: int = 256, width: int = 768, heads: int = 12) -> Graph:
    """The blocks of GPT-2."""
    name = f"GPT-2 block d={width}, T={length}" if blocks == 1 else f"GPT-2 x{blocks} blocks d={width}, T={length}"
    graph = Graph(name, 7 * blocks)

    def block(x: Value) -> Value:
        y = graph.dense(written_norm(x, graph.weight(width), graph.weight(width)), 3 * width)
        parts = nd.transpose(nd.reshape(y, shape=(length, 3, heads, width // heads)), perm=(1, 2, 0, 3))
        full = (1, heads, length, width // heads)
        q, k, v = (
            nd.reshape(nd.slice(parts, start=(i, 0, 0, 0), stop=(i + 1, *full[1:])), shape=full) for i in range(3)
        )
        y = nd.reshape(nd.transpose(written_attention(q, k, v), perm=(0, 2, 1, 3)), shape=(length, width))
        x = nd.add(x, graph.dense(y, width))
        y = written_norm(x, graph.weight(width), graph.weight(width))
        return nd.add(x, graph.dense(written_gelu(graph.dense(y, 4 * width)), width))

    def body(x: Value) -> Value:
        for _ in range(blocks):
            x = block(x)
        return x

    return graph.main(body, x=(length, width))


def updates(count: int = 20, size: int = 5000) -> Graph:
    """A step of gradient descent on many small parameters."""
    graph = Graph(f"{count} parameter updates", 1)

    def body(*args: Value) -> tuple[Value, ...]:
        return tuple(nd.sub(w, nd.mul(g, 0.1)) for w, g in zip(args[::2], args[1::2], strict=True))

    shapes = {f"{kind}{i}": (size + 100 * i,) for i in range(count) for kind in "wg"}
    return graph.main(body, **shapes)


#: Networks whose memory is planned, besides.
NETWORKS: tuple[Callable[[], Graph], ...] = (gelu_mlp, relu_mlp, lenet, alexnet, resnet18, resnet50, gpt2_block, gpt2)
#: Every graph of the table of kernels, in its order.
GRAPHS: tuple[Callable[[], Graph], ...] = (
    chain,
    softmax,
    layer_norm,
    residual_norm,
    cross_entropy,
    gelu_mlp,
    relu_mlp,
    attention,
    conv_norm_relu,
    lenet,
    resnet18,
    gpt2_block,
    updates,
)
