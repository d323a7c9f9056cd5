"""How many kernels dlir makes of a network, beside the goal, and what fusing brings.

    python benchmarks/kernel_counts.py [GRAPH ...] [--seconds 2] [--output FILE]

`fused` is the default pipeline, `unfused` the same with one kernel per op (O1); both run side by side, interleaved, and
the smallest time of each counts.  A line says ``over`` where there are more kernels than the goal, and ``slower`` where the
fused form takes longer than the other.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from graphs import GRAPHS, Graph
from timing import human, interleaved

from dlir.backends.compiler import Program, compile_module

#: A fused form that takes this many times as long is called slower.
SLOWER = 1.03


def programs(graph: Graph) -> tuple[Program, Program]:
    """The graph compiled with fusion and without; ValueError if the two differ by more than rounding."""
    fused, unfused = (compile_module(graph.module, weights=graph, level=level) for level in ("O2", "O1"))
    for got, want in zip(fused(*graph.inputs), unfused(*graph.inputs), strict=True):
        if not np.allclose(got, want, rtol=1e-3, atol=1e-3 * np.abs(want).max()):
            raise ValueError(f"{graph.name}: fused and unfused differ by {np.abs(got - want).max()}")
    return fused, unfused


def line_of(graph: Graph, seconds: float) -> str:
    """One line of the table."""
    fused, unfused = programs(graph)
    calls = {
        "fused": lambda: fused(*graph.inputs),
        "unfused": lambda: unfused(*graph.inputs),
    }
    times = interleaved(calls, seconds)
    one, two = times["fused"].best, times["unfused"].best
    remarks = ["over"] * (fused.kernels > graph.goal) + ["slower"] * (one > SLOWER * two)
    cells = f"{graph.name:44} {fused.kernels:5} {graph.goal:5} {unfused.kernels:8} {human(one):>9} {human(two):>9}"
    return f"{cells} {two / one:7.2f}x  {' '.join(remarks)}".rstrip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 if a line is over or slower."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("graphs", nargs="*", help="names of functions in graphs.py; all of them if none is given")
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each graph")
    parser.add_argument("--output", type=Path, help="a file for the table, too")
    options = parser.parse_args(arguments)
    known = {make.__name__: make for make in GRAPHS}
    for name in options.graphs:
        if name not in known:
            parser.error(f"there is no graph '{name}'; there are {', '.join(known)}")
    lines = [f"{'graph':44} {'dlir':>5} {'goal':>5} {'unfused':>8} {'fused':>9} {'unfused':>9} {'gain':>8}"]
    print(lines[0])
    for name in options.graphs or known:
        lines.append(line_of(known[name](), options.seconds))
        print(lines[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(any(line.endswith(("over", "slower")) for line in lines))


if __name__ == "__main__":
    sys.exit(main())
