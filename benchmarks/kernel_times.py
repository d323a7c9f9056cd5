"""Where the time of a program goes, kernel by kernel: ``python benchmarks/kernel_times.py FILE.dlir`` or a network's name.

Each kernel call of the entry function becomes a program of its own, which is run on random data, alone and so with warm
caches.  Calls of one kernel with equal shapes are timed once.

    python benchmarks/kernel_times.py resnet18 [--threads 2] [--runs 50]

``train-mlp`` and so on are the training steps of ``train_step.py``.  On one thread, what counts is the CPU's time.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from typing import Any

import numpy as np

from dlir.ir.attributes import IntegerAttr
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func, find_function
from dlir.ir.traversal import Mapping, clone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", help="a .dlir file, or lenet, resnet18, gpt2, train-...")
    parser.add_argument("--threads", default="1")
    parser.add_argument("--runs", type=int, default=50)
    args = parser.parse_args()
    os.environ["DLIR_NUM_THREADS"] = args.threads
    from dlir.backends.compiler import lower_module

    module, weights = read(args.program)
    lowered = lower_module(module, "cpu")
    total = 0.0
    known: dict[str, float] = {}
    print(f"{'us':>9}  {'share':>6}  kernel")
    rows = []
    for op in find_function(lowered, "main").body.ops:
        calls = [inner for inner in op.walk() if inner.name == "func.call"]
        if not calls:
            continue
        key = calls[0]["callee"]
        if key not in known:
            known[key] = seconds_of(lowered, op, weights, args.runs)
        rows.append((known[key], key, describe(calls[0])))
        total += known[key]
    for seconds, key, text in rows:
        print(f"{seconds * 1e6:9.1f}  {seconds / total:6.1%}  {key} {text}")
    print(f"{total * 1e6:9.1f}  in all")


def read(name: str) -> tuple[Module, Any]:
    """The module of a file or a network, and what gives its weights."""
    import networks
    import train_step

    makers = {
        "lenet": lambda: networks.lenet(64),
        "resnet18": lambda: networks.resnet18(1),
        "gpt2": lambda: networks.gpt2_block(256),
    }
    if name in makers:
        net = makers[name]()
        return net.to_dlir(), net.weights.__getitem__
    if name.startswith("train-"):
        net = train_step.NETS[name.removeprefix("train-")]()
        return train_step.to_dlir(net), net.weights.__getitem__
    from dlir.textir import parse_file

    parsed = parse_file(name)
    return parsed.module, parsed.weights


def seconds_of(lowered: Module, op: Operation, weights: Any, runs: int) -> float:
    """The time that one kernel call takes, the best of many."""
    from dlir.backends.executable import numpy_dtype
    from dlir.backends.registry import find_backend
    from dlir.ir.builder import at_end
    from dlir.ir.initializers import is_initializer
    from dlir.ir.ops import func

    outside = values_from_outside(op)
    memrefs = [value for value in outside if hasattr(value.type, "shape")]
    module = Module.empty()
    for other in lowered.body.ops:
        if other.get("sym_name") != "main" and not (isinstance(other, Func) and is_initializer(other)):
            module.body.append(clone(other))
    function = Func.make("main", [value.type for value in memrefs])
    roles = [{"dlir.input": IntegerAttr(number)} for number in range(len(memrefs) - 1)]
    function.set_arg_attributes([*roles, {"dlir.result": IntegerAttr(0)}])
    mapping = Mapping()
    for value, arg in zip(memrefs, function.body.args):
        mapping.values[value] = arg
    for value in outside:
        if value not in mapping.values:
            function.body.append(clone(value.defining_op, mapping))
    function.body.append(clone(op, mapping))
    with at_end(function.body):
        func.return_()
    module.body.append(function)
    executable = find_backend("cpu").load(module, "main", weights)
    rng = np.random.default_rng(0)
    arrays = [random_array(rng, value.type.shape, numpy_dtype(value.type)) for value in memrefs]
    out = [arrays.pop()]
    best = np.inf
    clock = time.thread_time if os.environ["DLIR_NUM_THREADS"] == "1" else time.perf_counter
    for _ in range(runs):
        start = clock()
        executable(*arrays, out=out)
        best = min(best, clock() - start)
    return float(best)


def random_array(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array as a program would have it: aligned to a cache line.  Integers are zeros, which are indices into anything."""
    block = np.zeros(math.prod(shape) * dtype.itemsize + 64, np.uint8)
    start = -block.ctypes.data % 64
    array = block[start : start + math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)
    if dtype.kind == "f":
        array[...] = rng.standard_normal(shape)
    return array


def values_from_outside(op: Operation) -> list[Value]:
    """The values that `op` and its regions use but do not make."""
    made = {result for inner in op.walk() for result in inner.results}
    made |= {arg for inner in op.walk() for region in inner.regions for block in region.blocks for arg in block.args}
    return list(dict.fromkeys(v for inner in op.walk() for v in inner.operands if v not in made))


def describe(call: Operation) -> str:
    return ", ".join("x".join(map(str, value.type.shape)) for value in call.operands if hasattr(value.type, "shape"))


if __name__ == "__main__":
    main()
