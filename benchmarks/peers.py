"""dlir beside what a user would pick instead, in one run: ``python benchmarks/peers.py``.

Every peer that is installed takes part (numpy, numexpr, torch eager, torch.compile, jax, onnxruntime), all on two threads,
called in turn.  Times are the best of many calls; ratios are peer / dlir, so above 1 dlir is faster.  Outputs are measured
both fresh (a new array a call) and reused.  Also measured: how long compiling ``examples/digits.dlir`` takes in a new
process, with a cold and with a warm cache.

    python benchmarks/peers.py [--seconds 3] [--only softmax] [--json FILE]
"""

from __future__ import annotations

import os

THREADS = 2
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "DLIR_NUM_THREADS", "NUMEXPR_MAX_THREADS"):
    os.environ[_name] = str(THREADS)

import argparse  # noqa: E402
import importlib.metadata  # noqa: E402
import json  # noqa: E402
import platform  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from peer_cases import CASES, Case, optional  # noqa: E402
from timing import human, interleaved  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each case and way of output")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--json", metavar="FILE", help="also write the figures as JSON")
    args = parser.parse_args()
    torch = optional("torch")
    if torch is not None:
        torch.set_num_threads(THREADS)
    results: dict[str, Any] = {"machine": machine(), "cases": []}
    print(json.dumps(results["machine"]))
    for make in CASES:
        if args.only and args.only not in make.__name__:
            continue
        results["cases"].append(measure(make(THREADS), args.seconds))
    if not args.only or args.only in "digits":
        results["digits"] = digits_start()
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line), cpu)
    versions = {}
    for name in ("dlir", "numpy", "llvmlite", "numexpr", "torch", "jax", "onnxruntime"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"cpu": cpu, "cores": os.cpu_count(), "threads": THREADS, "python": platform.python_version(), **versions}


def measure(case: Case, seconds: float) -> dict[str, Any]:
    """Check every contestant's answer, time them in turn, print the table."""
    print(f"\n{case.name}")
    record: dict[str, Any] = {"name": case.name}
    for way, calls in (("fresh", case.fresh), ("reused", case.reused)):
        for name, call in calls.items():
            got = np.asarray(call())
            if not np.allclose(got, case.want, rtol=case.tolerance, atol=case.tolerance):
                sys.exit(f"{case.name}: {name} computes something else")
            del got
        if len(calls) < 2 and way == "reused":
            continue
        times = interleaved(calls, seconds, inner=case.inner)
        ours = times["dlir"].best
        record[way] = {name: {"best": t.best, "median": t.median} for name, t in times.items()}
        for name, t in sorted(times.items(), key=lambda item: item[1].best):
            ratio = f"{t.best / ours:6.2f}x" if name != "dlir" else "      -"
            print(f"  {way:7} {name:14} {human(t.best):>10}  median {human(t.median):>10}  {ratio}")
    return record


START = """
import sys, time, json
import numpy, llvmlite.binding, lark
import dlir.backends.compiler, dlir.backends.cpu.backend, dlir.textir, dlir.frontends.cli.inputs, dlir.passes.patterns
from dlir.ir.registry import DIALECTS, load_dialect
from dlir.passes.manager import PASSES, find_pass
for name in DIALECTS: load_dialect(name)
for name in PASSES: find_pass(name)
start = time.perf_counter()
from dlir.textir import parse_file
from dlir.backends.compiler import compile_module
from dlir.frontends.cli.inputs import from_file
from dlir.backends.executable import input_types
from dlir.ir.dialects.func import find_function
parsed = parse_file(sys.argv[1])
data = from_file(parsed.sidecar("dlir.data"), *input_types(find_function(parsed.module, "main")))
program = compile_module(parsed.module, parsed.weights)
program(*data.batch(0))
print(json.dumps(time.perf_counter() - start))
"""


def digits_start() -> dict[str, float]:
    """Seconds from parsing to the first result for the digits example, beyond imports, in new processes."""
    print("\ndigits, from text to first result, beyond imports")
    record = {}
    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "DLIR_CACHE_DIR": cache}
        command = [sys.executable, "-c", START, str(ROOT / "examples" / "digits.dlir")]
        seconds = [
            json.loads(subprocess.run(command, env=env, check=True, capture_output=True).stdout) for _ in range(6)
        ]
    record["cold"] = seconds[0]
    record["warm"] = min(seconds[1:])
    for name, value in record.items():
        print(f"  {name:7} {human(value):>10}")
    return record


if __name__ == "__main__":
    main()
