"""One training step of a dense network beside JAX and torch: ``python benchmarks/train_step.py``.

Forward, softmax cross-entropy, backward, and the SGD update of every weight, 784-512-512-10 on batches of 256 in f32, on two
threads.  Weights are donated, so each call goes on from the weights of the one before.  Every contestant's weights and loss
after three steps are compared before the timing; times are the best and the median of many calls, in turn.

    python benchmarks/train_step.py [--seconds 5] [--threads 2] [--without NAME ...]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

SIZES = (784, 512, 512, 10)
BATCH = 256
RATE = 0.1
F32 = np.float32

#: A step: from weights and biases in turn to the loss and new ones, all of the contestant's own type.
Step = Callable[[list[Any]], tuple[Any, list[Any]]]


def weights() -> list[np.ndarray]:
    """w0, b0, w1, b1, ..."""
    rng = np.random.default_rng(0)
    found: list[np.ndarray] = []
    for n, m in pairwise(SIZES):
        found += [(rng.standard_normal((n, m)) / np.sqrt(n)).astype(F32), np.zeros(m, F32)]
    return found


def batch() -> tuple[np.ndarray, np.ndarray]:
    """Images and their labels."""
    rng = np.random.default_rng(1)
    return rng.standard_normal((BATCH, SIZES[0]), dtype=F32), rng.integers(0, SIZES[-1], BATCH).astype(np.int32)


def text() -> str:
    """The step as a program: what `diff.gradient` makes of the network, and updates of donated arguments."""
    pairs = list(pairwise(SIZES))
    names = [f"{kind}{n}" for n in range(len(pairs)) for kind in "wb"]
    types = [f"tensor<{'x'.join(map(str, array.shape))}xf32>" for array in weights()]
    arguments = [f"%{name}: {type} {{dlir.donated}}" for name, type in zip(names, types)]
    lines, last = [], "%x"
    for n in range(len(pairs)):
        activation = ' {activation = "relu"}' if n + 1 < len(pairs) else ""
        lines.append(f"%h{n} = nn.dense {last}, %w{n}, %b{n}{activation}")
        last = f"%h{n}"
    lines.append(f"%loss = nn.cross_entropy {last}, %t")
    lines.append(f"{', '.join(f'%g.{x}' for x in names)} = diff.gradient %loss, {', '.join(f'%{x}' for x in names)}")
    lines.append(f"%rate = nd.constant {{value = dense<{RATE}> : tensor<f32>}}")
    for name in names:
        lines += [f"%s.{name} = nd.mul %g.{name}, %rate", f"%n.{name} = nd.sub %{name}, %s.{name}"]
    lines.append(f"func.return %loss, {', '.join(f'%n.{x}' for x in names)}")
    inputs = f"%x: tensor<{BATCH}x{SIZES[0]}xf32>, %t: tensor<{BATCH}xi32>, {', '.join(arguments)}"
    body = "\n  ".join(lines)
    return f"func.func @main({inputs}) -> (tensor<f32>, {', '.join(types)}) {{\n  {body}\n}}\n"


def in_dlir(threads: int) -> Step:
    """The program, which writes new weights over the old."""
    from dlir.backends.compiler import compile_module
    from dlir.textir import parse_text

    start = time.perf_counter()
    program = compile_module(parse_text(text(), "train_step").module)
    print(f"dlir: {program.kernels} kernels, compiled in {time.perf_counter() - start:.2f} s, {program.memory}")
    x, t = batch()

    def step(old: list[np.ndarray]) -> tuple[Any, list[Any]]:
        loss, *new = program(x, t, *old)
        return loss, new

    return step


def in_jax(threads: int) -> Step:
    """The same under `jax.jit`, weights donated."""
    import jax

    x, t = map(jax.numpy.asarray, batch())

    def loss_of(weights: list[Any]) -> Any:
        h = x
        for n, (w, b) in enumerate(zip(weights[::2], weights[1::2])):
            h = h @ w + b
            h = jax.nn.relu(h) if n + 2 < len(SIZES) else h
        return -jax.numpy.take_along_axis(jax.nn.log_softmax(h), t[:, None], 1).mean()

    def update(weights: list[Any]) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(weights)
        return loss, [w - RATE * g for w, g in zip(weights, gradients)]

    jitted = jax.jit(update, donate_argnums=0)

    def step(old: list[Any]) -> tuple[Any, list[Any]]:
        loss, new = jitted([jax.numpy.asarray(w) for w in old])
        new[0].block_until_ready()
        return loss, new

    return step


def in_torch(threads: int) -> Step:
    """The same in eager torch."""
    import torch

    torch.set_num_threads(threads)
    x, t = map(torch.from_numpy, batch())
    t = t.long()

    def step(old: list[Any]) -> tuple[Any, list[Any]]:
        new = [torch.as_tensor(w).detach().requires_grad_() for w in old]
        h = x
        for n, (w, b) in enumerate(zip(new[::2], new[1::2])):
            h = torch.addmm(b, h, w)
            h = torch.relu(h) if n + 2 < len(SIZES) else h
        loss = torch.nn.functional.cross_entropy(h, t)
        loss.backward()
        with torch.no_grad():
            for w in new:
                w -= RATE * w.grad
        return loss.detach(), [w.detach() for w in new]

    return step


CONTESTANTS = {"dlir": in_dlir, "jax": in_jax, "torch": in_torch}


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, time, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="time for all of them")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--without", nargs="*", default=[], help="contestants to leave out")
    options = parser.parse_args(arguments)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "DLIR_NUM_THREADS"):
        os.environ[name] = str(options.threads)
    if options.threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    from timing import human, interleaved

    calls: dict[str, Callable[[], Any]] = {}
    want: list[np.ndarray] = []
    for name, make in CONTESTANTS.items():
        if name in options.without:
            continue
        try:
            step = make(options.threads)
        except ImportError:
            continue
        # Donated arrays are the contestant's own.
        state = [w.copy() for w in weights()]
        for _ in range(3):
            loss, state = step(state)
        got = [np.array(loss), *(np.array(w) for w in state)]
        want = want or got
        if not all(np.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(got, want)):
            sys.exit(f"{name} computes something else")

        def call(step: Step = step, kept: list[Any] = [state]) -> None:  # noqa: B006
            _, kept[0] = step(kept[0])

        calls[name] = call
    times = interleaved(calls, options.seconds)
    ours = times["dlir"].best
    for name, t in sorted(times.items(), key=lambda item: item[1].best):
        print(f"  {name:8} {human(t.best):>10}  median {human(t.median):>10}  {t.best / ours:6.2f}x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
