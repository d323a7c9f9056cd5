"""What kernels reach on a GPU: ``python benchmarks/gpu.py [--seconds 1] [--output FILE]``.

Fused kernels that are bound by memory are compared with a copy of the same size: the column ``of copy`` is the part of the
copy's bandwidth that they reach, counting each input and result once.  Products of matrices are computed by dlir's own tiles,
by cuBLASLt as dlir calls it, and by CuPy; all times are the GPU's, by events.  Results are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import graphs
import numpy as np

from dlir.backends.compiler import compile_module
from dlir.backends.cuda.backend import load
from dlir.backends.cuda.launcher import import_cupy
from dlir.ir.builder import at_end
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.errors import DlirError
from dlir.ir.ops import func, nd
from dlir.ir.traversal import clone
from dlir.ir.types import TensorType, dtype_from_numpy
from dlir.passes.manager import PassManager
from dlir.passes.pipelines import pipeline_for
from dlir.passes.targets.nvidia_libraries import find_library

#: Larger than any cache of a GPU.
MEMORY_BOUND = (
    lambda: graphs.chain(1 << 26),
    lambda: graphs.softmax(1 << 16, 1024),
    lambda: graphs.layer_norm(1 << 16, 1024),
    lambda: graphs.residual_norm(1 << 16, 768),
    lambda: graphs.cross_entropy(1 << 16, 1000),
)
SIZES = (512, 1024, 2048, 4096)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--output", type=Path, help="write the table to this file, too")
    args = parser.parse_args()
    try:
        cupy = import_cupy()
    except DlirError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1
    name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
    driver = cupy.cuda.runtime.driverGetVersion()
    lines = [f"{name}, driver {driver}, CuPy {cupy.__version__}, Python {platform.python_version()}", ""]
    for part in (memory_bound, products):
        for line in part(cupy, args.seconds):
            print(line, flush=True)
            lines.append(line)
        lines.append("")
    if args.output is not None:
        args.output.write_text("\n".join(lines).rstrip() + "\n")
    return 0


def seconds_of(cupy: Any, run: Callable[[], object], seconds: float) -> float:
    """The best of several groups of calls, by the GPU's clock; the groups together take about so many seconds."""
    start, end = cupy.cuda.Event(), cupy.cuda.Event()

    def group(count: int) -> float:
        start.record()
        for _ in range(count):
            run()
        end.record()
        end.synchronize()
        return cupy.cuda.get_elapsed_time(start, end) / 1e3 / count

    group(3)
    count = max(1, int(seconds / 10 / group(3)))
    return min(group(count) for _ in range(10))


# ---------------------------------------------------------------- bound by memory


def copy_bandwidth(cupy: Any, seconds: float) -> float:
    """Bytes a second, those read and those written."""
    source = cupy.zeros(1 << 28, np.float32)
    target = cupy.empty_like(source)
    return 2 * source.nbytes / seconds_of(cupy, lambda: cupy.copyto(target, source), seconds)


def memory_bound(cupy: Any, seconds: float) -> Any:
    """Lines of the first table."""
    bandwidth = copy_bandwidth(cupy, seconds)
    yield f"copy of 1 GiB: {bandwidth / 1e9:,.0f} GB/s, read and written"
    yield f"{'graph':<46} {'kernels':>7} {'time':>10} {'GB/s':>7} {'of copy':>8}"
    for make in MEMORY_BOUND:
        graph = make()
        program = compile_module(graph.module, graph, backend="cuda")
        want = compile_module(graph.module, graph)(*graph.inputs)
        arrays = [cupy.asarray(array) for array in graph.inputs]
        for one, two in zip(program(*arrays), want, strict=True):
            np.testing.assert_allclose(cupy.asnumpy(one), two, rtol=1e-3, atol=1e-4)
        taken = seconds_of(cupy, lambda program=program, arrays=arrays: program(*arrays), seconds)  # type: ignore[misc]
        reached = program.cost_analysis().bytes_accessed / taken
        yield (
            f"{graph.name:<46} {program.kernels:>7} {taken * 1e6:>7.1f} us {reached / 1e9:>7,.0f} {reached / bandwidth:>8.2f}"
        )


# ---------------------------------------------------------------- products of matrices


def products(cupy: Any, seconds: float) -> Any:
    """Lines of the second table."""
    ways = ["off", *["on"] * (find_library("cublasLt") is not None)]
    yield f"{'relu(x @ w + b), square':<26}" + "".join(f"{WAYS[way]:>22}" for way in ways) + f"{'CuPy':>22}  (TFLOP/s)"
    rng = np.random.default_rng(0)
    for dtype in (np.float16, np.float32):
        for size in SIZES:
            x, w = (cupy.asarray(rng.standard_normal((size, size)).astype(dtype)) for _ in range(2))
            b = cupy.asarray(rng.standard_normal(size).astype(dtype))
            calls = {way: lowered(size, dtype, way) for way in ways}
            calls["CuPy"] = lambda x, w, b: (cupy.maximum(cupy.matmul(x, w) + b, 0),)
            (want,) = calls["CuPy"](x, w, b)
            cells = []
            for call in calls.values():
                (found,) = call(x, w, b)
                tolerance = 1e-4 if dtype is np.float32 else 2e-2
                np.testing.assert_allclose(
                    cupy.asnumpy(found), cupy.asnumpy(want), rtol=tolerance, atol=tolerance * size**0.5
                )
                taken = seconds_of(cupy, lambda call=call, x=x, w=w, b=b: call(x, w, b), seconds)  # type: ignore[misc]
                cells.append(f"{taken * 1e6:>11.1f} us {2 * size**3 / taken / 1e12:>7.1f}")
            yield f"{np.dtype(dtype).name:<9} {size:>5}           " + "".join(cells)


#: What the values of the option `library` mean.
WAYS = {"off": "own tiles", "on": "cuBLASLt where large"}


def lowered(size: int, dtype: Any, library: str) -> Any:
    """``relu(x @ w + b)``, compiled with or without the library."""
    element = dtype_from_numpy(np.dtype(dtype))
    square, row = TensorType((size, size), element), TensorType((size,), element)
    main = Func.make("main", [square, square, row], names=["x", "w", "b"])
    with at_end(main.body):
        x, w, b = main.body.args
        func.return_(nd.relu(nd.add(nd.matmul(x, w), b)))
    main.update_type()
    module = Module.empty()
    module.body.append(main)
    text = pipeline_for("O2", "cuda").replace("target=cuda},", f"target=cuda library={library}}},", 2)
    return load(PassManager.from_text(text).run(clone(module)), "main", None)


if __name__ == "__main__":
    sys.exit(main())
