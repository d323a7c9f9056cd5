"""Training steps beside JAX and torch: ``python benchmarks/train_step.py [mlp lenet resnet gpt]``.

A step is the network, softmax cross-entropy of its result, gradients, and the SGD update of every weight, in f32.  dlir keeps
weights in variables that the step writes, JAX donates them, torch updates them in place.  The loss after a few steps is
compared before the timing; times are the best and the median of many calls, in turn.

    python benchmarks/train_step.py [--seconds 5] [--threads 2] [--without NAME ...]

Kernel by kernel: ``kernel_times.py train-mlp`` and so on.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from networks import DLIR, F32, Net, gpt2_block, jax_ops, lenet, torch_ops

from dlir.ir.attributes import DenseResourceAttr
from dlir.ir.builder import at_end
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.ops import diff, func, nd, nn, state
from dlir.ir.types import F32 as FLOAT
from dlir.ir.types import I32, TensorType

RATE = 0.01
#: Steps before the losses are compared.
STEPS = 5

#: A contestant's step: it moves on its own weights, and gives the loss before that.
Step = Callable[[], Any]


# ---------------------------------------------------------------- networks


def mlp() -> Net:
    """784-512-512-10 on batches of 256."""
    net = Net((256, 784))
    h = net.add("relu", net.dense(0, 784, 512))
    net.dense(net.add("relu", net.dense(h, 512, 512)), 512, 10)
    return net


def resnet() -> Net:
    """Two residual blocks on 16 images, the second with a stride of 2."""
    net = Net((16, 64, 28, 28))
    h = 0
    for outputs, stride in ((64, 1), (128, 2)):
        inner = net.add("relu", net.conv(h, 64, outputs, 3, stride, 1))
        inner = net.conv(inner, outputs, outputs, 3, 1, 1)
        skip = h if stride == 1 else net.conv(h, 64, outputs, 1, stride)
        h = net.add("relu", net.add("add", inner, skip))
    net.dense(net.add("global_mean", h), 128, 10)
    return net


def gpt() -> Net:
    """A block of width 128 with 4 heads on 128 tokens, with a vocabulary of 65."""
    net = gpt2_block(128, 128, 4)
    net.dense(net.layer_norm(len(net.steps), 128), 128, 65)
    return net


def small_images() -> Net:
    """LeNet-5 on batches of 64."""
    return lenet(64)


NETS: dict[str, Callable[[], Net]] = {"mlp": mlp, "lenet": small_images, "resnet": resnet, "gpt": gpt}


def batch(net: Net) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels."""
    rng = np.random.default_rng(1)
    return rng.standard_normal(net.shape, dtype=F32), rng.integers(0, 10, net.shape[0]).astype(np.int32)


def trained(net: Net) -> list[str]:
    """The weights that move: all but masks."""
    return [name for name, array in net.weights.items() if array.ndim != 2 or array.min() > -1e8]


# ---------------------------------------------------------------- contestants


def to_dlir(net: Net) -> Module:
    """A function of inputs and labels that returns the loss and writes the new weights."""
    module = Module.empty()
    types = {name: TensorType(array.shape, FLOAT) for name, array in net.weights.items()}
    with at_end(module.body):
        for name, type in types.items():
            state.variable(sym_name=name, init=DenseResourceAttr(name, type), type=type)
    labels = TensorType(net.shape[:1], I32)
    function = Func.make("main", [TensorType(net.shape, FLOAT), labels], names=["x", "t"])
    module.body.append(function)
    with at_end(function.body):
        x, t = function.body.args
        read = {name: state.read(variable=name, result_types=[type]) for name, type in types.items()}
        loss = nn.cross_entropy(net.apply(DLIR, x, read), t)
        names = trained(net)
        gradients = diff.gradient([loss], [], [read[name] for name in names])
        for name, gradient in zip(names, gradients):
            state.write(nd.sub(read[name], nd.mul(gradient, RATE)), variable=name)
        func.return_(loss)
    function.update_type()
    return module


def in_dlir(net: Net, threads: int) -> Step:
    from dlir.backends.compiler import compile_module

    start = time.perf_counter()
    program = compile_module(to_dlir(net), net.weights.__getitem__)
    print(f"  {program.kernels} kernels, compiled in {time.perf_counter() - start:.2f} s, {program.memory}")
    x, t = batch(net)
    return lambda: program(x, t)[0]


def in_jax(net: Net, threads: int) -> Step:
    import jax

    x, t = map(jax.numpy.asarray, batch(net))
    ops, names = jax_ops(jax), trained(net)
    weights = {name: jax.numpy.array(array) for name, array in net.weights.items()}
    fixed = {name: array for name, array in weights.items() if name not in names}

    def loss_of(moving: dict[str, Any]) -> Any:
        logarithms = jax.nn.log_softmax(net.apply(ops, x, {**moving, **fixed}))
        return -jax.numpy.take_along_axis(logarithms, t[:, None], 1).mean()

    def update(moving: dict[str, Any]) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(moving)
        return loss, {name: moving[name] - RATE * gradients[name] for name in moving}

    jitted = jax.jit(update, donate_argnums=0)
    held = [{name: weights[name] for name in names}]

    def step() -> Any:
        loss, held[0] = jitted(held[0])
        jax.block_until_ready(held[0])
        return loss

    return step


def in_torch(net: Net, threads: int) -> Step:
    import torch

    torch.set_num_threads(threads)
    x, t = map(torch.from_numpy, batch(net))
    t = t.long()
    ops = torch_ops(torch)
    weights = {name: torch.tensor(array) for name, array in net.weights.items()}
    moving = [weights[name].requires_grad_() for name in trained(net)]
    optimiser = torch.optim.SGD(moving, RATE)

    def step() -> Any:
        loss = torch.nn.functional.cross_entropy(net.apply(ops, x, weights), t)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.detach()

    return step


CONTESTANTS = {"dlir": in_dlir, "jax": in_jax, "torch": in_torch}


def measure(net: Net, options: argparse.Namespace) -> None:
    """Compare and time the steps of one network."""
    from timing import human, interleaved

    calls: dict[str, Step] = {}
    want: list[float] | None = None
    for name, make in CONTESTANTS.items():
        if name in options.without:
            continue
        try:
            calls[name] = make(net, options.threads)
        except ImportError:
            continue
        losses = [float(np.asarray(calls[name]())) for _ in range(STEPS)]
        want = want or losses
        if not np.allclose(losses, want, rtol=1e-3):
            sys.exit(f"{name} computes something else: {losses}, not {want}")
    times = interleaved(calls, options.seconds)
    ours = times["dlir"].best
    for name, t in sorted(times.items(), key=lambda item: item[1].best):
        print(f"  {name:8} {human(t.best):>10}  median {human(t.median):>10}  {t.best / ours:6.2f}x", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, time, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("nets", nargs="*", choices=[*NETS, []], help="which networks; all of them if none is given")
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each network")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--without", nargs="*", default=[], help="contestants to leave out")
    options = parser.parse_args(arguments)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "DLIR_NUM_THREADS"):
        os.environ[name] = str(options.threads)
    if options.threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    for name in options.nets or NETS:
        print(f"{name}: {NETS[name].__doc__}")
        measure(NETS[name](), options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
