"""Training steps of the networks of ``graphs.py``: a loss, gradients, and the SGD update of every weight."""

from __future__ import annotations

from collections.abc import Callable

from graphs import Graph, gpt2, lenet, relu_mlp, resnet18

from dlir.ir.builder import before
from dlir.ir.core import Value
from dlir.ir.dialects.func import Func
from dlir.ir.ops import diff, func, nd, nn, state
from dlir.ir.types import F32, I32, TensorType

RATE = 0.01


def training(graph: Graph) -> Graph:
    """The step that trains a network: ``@main`` takes targets, too, gives the loss, and writes the new weights.

    Results with as many columns as there are classes go into a cross-entropy; those of transformer blocks are compared with
    values.  Batches are normalized by their own statistics, which move the running ones.
    """
    function = next(op for op in graph.module.body.ops if isinstance(op, Func))
    end = function.body.terminator
    (y,) = end.operands
    is_blocks = graph.name.startswith("GPT")
    target = TensorType(y.type.shape, F32) if is_blocks else TensorType(y.type.shape[:1], I32)
    t = function.body.add_arg(target, "t", function.location)
    moved = _use_batch_statistics(function)
    reads = [op for op in function.body.ops if op.name == "state.read" and op.get("variable") not in moved]
    with before(end):
        (y,) = end.operands
        loss = nn.mse_loss(y, t) if is_blocks else nn.cross_entropy(y, t)
        gradients = _tuple(diff.gradient([loss], [], [op.results[0] for op in reads]))
        for op, gradient in zip(reads, gradients, strict=True):
            state.write(nd.sub(op.results[0], nd.mul(gradient, RATE)), variable=op.get("variable"))
        for name, value in moved.items():
            state.write(value, variable=name)
        func.return_(loss)
    end.erase()
    function.update_type()
    graph.inputs.append(
        graph.rng.standard_normal(y.type.shape, "f4")
        if is_blocks
        else graph.rng.integers(0, 10, y.type.shape[:1], "i4")
    )
    graph.name = graph.name.replace(" forward", "") + ", train"
    return graph


def _use_batch_statistics(function: Func) -> dict[str, Value]:
    """Replace inference's batch norms by training's; the new values of the running statistics."""
    moved: dict[str, Value] = {}
    for op in [op for op in function.body.ops if op.name == "nn.batch_norm"]:
        with before(op):
            y, mean, var = nn.batch_norm_train(*op.operands)
        for old, new in zip(op.operands[3:], (mean, var)):
            moved[old.defining_op.get("variable")] = new
        op.replace_by([y])
    return moved


def _tuple(found: Value | tuple[Value, ...]) -> tuple[Value, ...]:
    return found if isinstance(found, tuple) else (found,)


def train_mlp(*sizes: int) -> Graph:
    """784-512-512-10 on batches of 256."""
    return training(relu_mlp(*sizes))


def train_lenet(batch: int = 64) -> Graph:
    return training(lenet(batch))


def train_resnet18(batch: int = 8, side: int = 224, width: int = 64, classes: int = 1000) -> Graph:
    return training(resnet18(batch, side, width, classes))


def train_gpt2_block(length: int = 256, width: int = 768, heads: int = 12) -> Graph:
    return train_gpt2(1, length, width, heads)


def train_gpt2(blocks: int = 12, length: int = 256, width: int = 768, heads: int = 12) -> Graph:
    return training(gpt2(blocks, length, width, heads))


#: Training steps whose memory is planned.
TRAINING: tuple[Callable[[], Graph], ...] = (train_mlp, train_lenet, train_resnet18, train_gpt2_block, train_gpt2)
