"""How long compiling takes: in a fresh process with an empty cache, and in the next process, which finds everything there.

    python benchmarks/compile_time.py [CASE ...] [--repeats 3] [--threads 2] [--peers]

Each time is a process of its own, the best of some repeats: the seconds of `compile_module` alone (passes, code, what these
import, the cache, and packing weights), what all threads worked together (on a busy machine that says more), and the seconds
of importing dlir and building the module.  `--peers` adds how long JAX and torch.compile take until the first training step is
over, in a fresh process without caches of theirs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent

DLIR = """
import json, sys, time
start = time.perf_counter()
sys.path.insert(0, sys.argv[1])
from dlir.backends.compiler import compile_module
name = sys.argv[2]
if name == "digits":
    from dlir.textir import parse_file
    net = parse_file(sys.argv[3])
    module, weights = net.module, net.weights
elif name == "train_step":
    from dlir.textir import parse
    import compile_time
    module, weights = parse(compile_time.training_step()), None
else:
    import graphs
    from dlir.textir.weights import declared_arrays
    graph = getattr(graphs, name)()
    module = graph.module
    # They are made when they are asked for, which is no part of compiling.
    weights = {name: graph.get(name) for name in declared_arrays(module)}.__getitem__
built, before = time.perf_counter(), time.process_time()
program = compile_module(module, weights)
end, after = time.perf_counter(), time.process_time()
found = {"compile": end - built, "cpu": after - before, "start": built - start, "phases": program.seconds}
print(json.dumps({**found, "kernels": program.kernels}))
"""

PEER = """
import json, sys, time
start = time.perf_counter()
sys.path.insert(0, sys.argv[1])
import compile_time
name = sys.argv[2]
if name == "jax":
    import jax
else:
    import torch, torch._inductor.config
    torch.set_num_threads(int(sys.argv[3]))
    torch._inductor.config.force_disable_caches = True
imported = time.perf_counter()
getattr(compile_time, f"first_step_in_{name}")()
end = time.perf_counter()
print(json.dumps({"compile": end - imported, "start": imported - start}))
"""

CASES = ("digits", "lenet", "resnet18", "gpt2_block", "train_step")

SIZES, BATCH, RATE = (784, 512, 512, 10), 256, 0.1


def training_step() -> str:
    """A step of SGD on a dense network, as text."""
    variables, reads, layers, updates, names = [], [], [], [], []
    last = "%x"
    for number, (n, m) in enumerate(pairwise(SIZES)):
        for name, type in ((f"w{number}", f"tensor<{n}x{m}xf32>"), (f"b{number}", f"tensor<{m}xf32>")):
            names.append(name)
            variables.append(f"state.variable @{name} {{init = dense<0.01> : {type}, type = {type}}}")
            reads.append(f"%{name} = state.read @{name}")
            updates += [f"%s.{name} = nd.mul %g.{name}, %rate", f"%n.{name} = nd.sub %{name}, %s.{name}"]
            updates.append(f"state.write @{name}, %n.{name}")
        activation = ' {activation = "relu"}' if number + 2 < len(SIZES) else ""
        layers.append(f"%h{number} = nn.dense {last}, %w{number}, %b{number}{activation}")
        last = f"%h{number}"
    layers.append(f"%loss = nn.cross_entropy {last}, %t")
    gradients = ", ".join(f"%g.{name}" for name in names)
    layers.append(f"{gradients} = diff.gradient %loss, {', '.join(f'%{name}' for name in names)}")
    layers.append(f"%rate = nd.constant {{value = dense<{RATE}> : tensor<f32>}}")
    head = f"func.func @main(%x: tensor<{BATCH}x{SIZES[0]}xf32>, %t: tensor<{BATCH}xi32>) -> tensor<f32> {{"
    return "\n".join([*variables, head, *reads, *layers, *updates, "return %loss", "}"])


def arrays() -> list[np.ndarray]:
    """Images, labels, and weights and biases in turn."""
    rng = np.random.default_rng(0)
    found = [rng.standard_normal((BATCH, SIZES[0]), dtype=np.float32), rng.integers(0, 10, BATCH).astype(np.int32)]
    for n, m in pairwise(SIZES):
        found += [np.full((n, m), 0.01, np.float32), np.full(m, 0.01, np.float32)]
    return found


def first_step_in_jax() -> None:
    """The same step under `jax.jit`, with donated weights."""
    import jax

    x, t, *weights = map(jax.numpy.asarray, arrays())

    def loss_of(weights: list[Any]) -> Any:
        h = x
        for n, (w, b) in enumerate(zip(weights[::2], weights[1::2])):
            h = h @ w + b
            h = jax.nn.relu(h) if n + 2 < len(SIZES) else h
        return -jax.numpy.take_along_axis(jax.nn.log_softmax(h), t[:, None], 1).mean()

    def update(weights: list[Any]) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(weights)
        return loss, [w - RATE * g for w, g in zip(weights, gradients)]

    jax.block_until_ready(jax.jit(update, donate_argnums=0)(weights))


def first_step_in_torch() -> None:
    """Loss and gradients under `torch.compile`; the updates are left to eager torch."""
    import torch

    x, t, *weights = map(torch.from_numpy, arrays())
    weights = [w.requires_grad_() for w in weights]

    def loss_of(*weights: Any) -> Any:
        h = x
        for n, (w, b) in enumerate(zip(weights[::2], weights[1::2])):
            h = torch.addmm(b, h, w)
            h = torch.relu(h) if n + 2 < len(SIZES) else h
        return torch.nn.functional.cross_entropy(h, t.long())

    torch.compile(loss_of)(*weights).backward()
    with torch.no_grad():
        for w in weights:
            w -= RATE * w.grad


def timed(code: str, threads: int, cache: str, *arguments: str | Path) -> dict:
    """What a fresh process prints."""
    environment = {**os.environ, "DLIR_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    environment["DLIR_CACHE_DIR"] = cache
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(name: str, repeats: int, threads: int) -> tuple[dict, dict]:
    """The best of some first and of some second processes."""
    digits = HERE.parent / "examples" / "digits.dlir"
    cold, warm = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as cache:
            for found in (cold, warm):
                found.append(timed(DLIR, threads, cache, HERE, name, digits))
    return min(cold, key=lambda item: item["compile"]), min(warm, key=lambda item: item["compile"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a line a case."""
    parser = argparse.ArgumentParser(description="How long compiling takes, first and next time.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", action="store_true", help="JAX and torch.compile, for the training step")
    options = parser.parse_args(arguments)
    head = f"{'case':<12} {'cold':>6} {'passes':>7} {'code':>6} {'next':>6} {'share':>6}   {'cpu':>6} {'next':>6} {'share':>6}"
    print(f"{head}  kernels  start")
    for name in options.cases or CASES:
        cold, warm = measure(name, options.repeats, options.threads)
        phases = cold["phases"]
        wall = f"{cold['compile']:6.2f} {phases['passes']:7.2f} {phases['code']:6.2f} {warm['compile']:6.3f}"
        work = f"{cold['cpu']:6.2f} {warm['cpu']:6.3f} {warm['cpu'] / cold['cpu']:6.1%}"
        share = warm["compile"] / cold["compile"]
        print(f"{name:<12} {wall} {share:6.1%}   {work}  {cold['kernels']:7}  {warm['start']:.2f}", flush=True)
    for peer in ("jax", "torch") if options.peers else ():
        found = [timed(PEER, options.threads, "off", HERE, peer, str(options.threads)) for _ in range(options.repeats)]
        best = min(item["compile"] for item in found)
        print(
            f"{peer:<12} {best:7.2f}  (until the first training step is over; importing it took {found[0]['start']:.2f})"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
